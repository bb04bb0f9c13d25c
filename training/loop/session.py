"""What the loops stand on: the task and its hooks, metrics on their way to callbacks and loggers, and state.

It knows no loop: training/loop/fit.py and training/loop/evaluate.py are functions of a Session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.optim import Optimizer

from training.config import TrainConfig
from training.data.batches import Batches, has, length
from training.data.data_module import DataModule
from training.data.hooks import TRANSFERS, DataHooks, transfer_hooks
from training.data.tensors import move
from training.errors import ConfigError, portable
from training.generators import Keys, set_generators
from training.hyperparameters import hyperparameters_to_log
from training.loop import cadence
from training.loop.attributes import Attributes
from training.loop.callback import Callback, check_keys, with_own
from training.loop.device import choose_device, convert, made_in, precision
from training.loop.gradients import gradient_norm, gradients
from training.loop.hooks import Hooks, original, overridden, refuse_iterators, refuse_old_hooks, takes_index
from training.loop.logged_metrics import MetricTensors, Results
from training.loop.loggers import Quiet, begin_loggers, finish_loggers, names_of, save_loggers
from training.loop.optimizers import CountingOptimizer, Scheduler
from training.loop.progress import FitProgress
from training.loop.states import RunningStage, TrainerFn, TrainerState, TrainerStatus
from training.loop.task import Task
from training.loop.view import TrainerView
from training.parallel.group import join
from training.values import loss_fault

Chain = tuple[list[Callable[..., Any]], Callable[..., Any] | None, list[Callable[..., Any]]]
BY_THE_LOOP = ("optimizer_step", "optimizer_zero_grad", "backward")
"""What the loop does itself where a task does not do it in another way: each call less counts in a short step."""


class MetricsLogger(Protocol):
    """Takes what is logged; a Run is one."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Scalars by name, at a global step."""
        ...


def _is_ours(callback: Callback) -> bool:
    return type(callback).__module__.startswith("training.")


class _Chains(dict[str, Chain | tuple[()]]):
    """The functions of each hook by its name, looked up once."""

    def __init__(self, find: Callable[[str], Chain | tuple[()]]) -> None:
        self._find = find

    def __missing__(self, hook: str) -> Chain | tuple[()]:
        found = self[hook] = self._find(hook)
        return found


class Session:
    """A task at work: its hooks, its optimizers, its metrics, and how far it is.

    ``view`` is what hooks get as the trainer; ``keep_going`` and ``checkpoint_dir`` are as of the Trainer.
    """

    def __init__(
        self,
        config: TrainConfig,
        view: TrainerView,
        *,
        callbacks: Sequence[Callback] | Callback | None = (),
        loggers: Sequence[MetricsLogger] = (),
        keep_going: Callable[..., None] | None = None,
        checkpoint_dir: str | Path | None = None,
        limit_predict_batches: int | float | None = None,
        inference_mode: bool = True,
    ) -> None:
        self.config, self.view, self.inference_mode = config, view, inference_mode
        self.tell: Callable[[str], None] = lambda line: None
        """Hears what a person should know, a line each."""
        self.limits = cadence.limits(config, limit_predict_batches)
        self.fast_dev_run = quick = config.fast_dev_run
        self.max_epochs, self.max_steps = (1, quick) if quick else (config.max_epochs, config.max_steps)
        self.step_limit = math.inf if self.max_steps == -1 else self.max_steps
        self.val_check_interval = 1.0 if quick else config.val_check_interval
        self.check_val_every_n_epoch = 1 if quick else config.check_val_every_n_epoch
        self.accumulate_grad_batches = config.accumulate_grad_batches
        given = [callbacks] if isinstance(callbacks, Callback) else callbacks or ()
        self.group = join(config)
        """The processes that share the work."""
        self.loggers_asked = 0
        """How often a task or a callback asked for the loggers."""
        self.watched = 0
        """The batches of the fit whose shards were watched (see training/loop/kept.py)."""
        self.told = False
        """Whether, in the batch that is run, the processes have told each other of stops."""
        self._told: set[str] = set()
        self.install(given, loggers, keep_going, checkpoint_dir)
        self.device = choose_device(config.device)
        self.shard: int | None = None
        """Which part of the batch is being run; None outside of one, and where a batch has one part."""
        self.turns: Any = None
        """Of a batch that is run with manual optimization: its shards at work (see training/loop/turns.py)."""
        self.datamodule: DataModule | None = None
        """Where the task's data comes from, if from one."""

        self.loaders: dict[str, Any] = {}
        """What the last call read its batches from, by split: as it was given, or as the hook made it."""
        self.progress = FitProgress()
        self.optimizers: list[CountingOptimizer] = []
        self.schedulers: list[Scheduler] = []
        self.status, self.fn = TrainerStatus.INITIALIZING, TrainerFn.FITTING
        self.ckpt_path: str | Path | None = None
        """The file whose weights the last verb began with, if it loaded one."""
        self.fitting = self.sanity_checking = self.validates = self.accumulating = False
        self.evaluating = ""
        """The kind of evaluation that is run: "validation", "test" or "predict"; else ""."""
        self.num_training_batches: int | float = math.inf
        """Of an epoch; infinite where it is only known once they are read."""
        self.batches_of: dict[TrainerFn, list[int | float]] = {fn: [] for fn in TrainerFn}
        """By verb: the batches that its evaluation runs, of each source."""
        self.evaluated: dict[TrainerFn, list[int]] = {fn: [0, 0] for fn in TrainerFn}
        """By verb: the evaluation batches begun, of the current pass and of all passes."""
        self.batches_ready = 0
        """The training batches of the epoch that were begun; once it is over, until the next begins, all of them."""
        self.validation_interval: int | float = 0
        self.attributes: Attributes | None = None
        """Of a fit: what users' code keeps in plain attributes."""
        self.sources: list[Batches] = []
        """Of a fit: where its batches come from, training's first."""
        self.plan: Any = None
        """The epoch's training batches, from its beginning on."""
        self.surely: int | float = 0
        """How many of them there are at least."""
        self.may_skip = False
        """Whether the task has an on_train_batch_start, which may skip batches."""
        self.eval_steps: dict[int, int] = {}
        """Evaluation batches run so far, by source: the step at which their metrics are logged."""
        self.uses_generators = True
        """Whether the task's code draws from the global generators, so that they are set before it runs."""
        self.automatic = True
        """Whether the loop steps the optimizer; else the task's training_step does."""
        self.own_gradients = False
        """Whether the task makes its gradients itself, and hands them out as ``ledger_tensors``."""
        self.batch_indices: list[Any] | None = None
        """Of the evaluation batch that is run: which items of the data set are in it, as far as a sampler says so."""
        self.modes: dict[nn.Module, bool] = {}
        """While an evaluation runs: whether each module was in train mode before."""
        self.resume_point: dict[str, Any] | None = None
        """The state from before the validation that is being run: left inside of it, a fit goes on from its beginning."""
        self.cut: dict[str, Any] | None = None
        """Where max_steps ended the epoch before its last batch: the next batch, and the epoch's metrics so far."""
        self.resumed_from: Path | None = None
        """The file whose state a fit goes on with, if it is one that somebody keeps."""

        self.hook = ""
        """The hook that is being run."""
        self.train_results, self.eval_results = Results(training=True), Results(training=False)
        self.results = self.train_results
        self.in_batch = self.uncollected = False
        self.callback_values: dict[str, float] = {}
        self.bar_values: dict[str, float] = {}
        self.logged_values: dict[str, float] = {}
        self._stepped: Optimizer | None = None
        """The optimizer whose gradients' norm was not asked for yet."""
        self._task: Task | None = None
        self.chains = _Chains(self._chain)
        """The functions of each hook; () where there are none, so that there is nothing to call."""
        self._indexed: dict[str, bool] = {}
        self._keys: dict[str, Keys] = {}
        self._transfers: dict[str, Callable[..., Any]] | None = None
        self._stays = False
        """Whether batches need nothing done before the loop has them."""

    def install(
        self,
        callbacks: Sequence[Callback],
        loggers: Sequence[MetricsLogger],
        keep_going: Callable[..., None] | None,
        checkpoint_dir: str | Path | None,
    ) -> None:
        """Whom the loop talks to."""
        self.callbacks = sorted(callbacks, key=lambda c: c.last)
        check_keys(self.callbacks)
        self.has_loggers = bool(loggers)
        self.loggers = [] if self.fast_dev_run else list(loggers)
        if not self.group.writes:  # a run's own is silent there already
            self.loggers = [each if hasattr(each, "manifest") else cast(MetricsLogger, Quiet(each)) for each in self.loggers]
        self.keep_going, self.checkpoint_dir = keep_going, checkpoint_dir

    def __getstate__(self) -> dict[str, Any]:
        """A copy is at no work: what a fit makes anew, or has open, is not in it."""
        made: dict[str, Any] = {"plan": None, "attributes": None, "resume_point": None, "_stepped": None, "_transfers": None}
        made |= {name: [] for name in ("sources", "optimizers", "schedulers")}
        made |= {name: {} for name in ("loaders", "modes", "_indexed", "_keys")}
        return {name: value for name, value in {**vars(self), **made}.items() if name != "chains"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Hooks are looked up anew."""
        vars(self).update(state)
        self.chains = _Chains(self._chain)

    # -- task and hooks -----------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task that is being run."""
        if self._task is None:
            raise RuntimeError("the Trainer has no task: call fit, validate, test or predict")
        return self._task

    @property
    def has_task(self) -> bool:
        """Whether a task was ever run."""
        return self._task is not None

    @contextmanager
    def running(self, fn: str) -> Iterator[None]:
        """The verb that runs; how it ends is noted."""
        self.status, self.fn, self.ckpt_path = TrainerStatus.RUNNING, TrainerFn(fn), None
        try:
            yield
        except BaseException:
            self.status = TrainerStatus.INTERRUPTED
            raise
        self.status = TrainerStatus.FINISHED

    @property
    def state(self) -> TrainerState:
        """What is being done."""
        if self.status is TrainerStatus.INITIALIZING:
            return TrainerState()
        return TrainerState(self.status, self.fn, self._stage() if self.status is TrainerStatus.RUNNING else None)

    def _stage(self) -> RunningStage:
        if self.sanity_checking:
            return RunningStage.SANITY_CHECKING
        if self.evaluating == "validation":
            return RunningStage.VALIDATING
        return RunningStage.TRAINING if self.fn is TrainerFn.FITTING else RunningStage(self.fn.value)

    @contextmanager
    def attached(self, task: Task, stage: str, datamodule: DataModule | None = None) -> Iterator[None]:
        """Set the task and its data module up, the task on the device; callbacks hear of errors; tear down."""
        refuse_old_hooks(task, stage)
        refuse_iterators(task)
        task.check_hyperparameters()
        task.trainer, self._task, self.datamodule, self.hook = self.view, task, datamodule, ""
        self.forget_hooks()
        self.begin_plan(None)
        self.eval_steps, self.resume_point, self.modes = {}, None, {}
        self.results, self.in_batch, self.uncollected = self.train_results, False, False
        self.callbacks = with_own(self.callbacks, self.call_own("configure_callbacks"))
        self.train_results.begin(task)
        self.eval_results.begin(task)
        self.forget_metrics()
        for callback in self.callbacks:
            callback.log, callback.log_dict = task.log, task.log_dict
        try:
            if datamodule is not None:
                datamodule.trainer = self.view
            self._share_loggers()
            self._prepare_data(datamodule, task)
            self._call_data("setup", datamodule, stage=stage)
            self.call("setup", stage=stage)
            with made_in(self.config.precision):
                self.call("configure_model")
            task.to(self.device)
            if self.config.precision == "64-true":
                task.double()
            if task.cuts_batches:  # initial weights need not be seeded
                self.group.share([each.detach() for each in (*task.parameters(), *task.buffers())])
            self.own_gradients = overridden(task, "ledger_tensors", Task)
            self.uses_generators = task.uses_generators
            if stage != "fit":  # there it is after on_fit_start
                self.begin_loggers()
            yield
            self._call_data("teardown", datamodule, stage=stage)
            self.call("teardown", stage=stage)
            finish_loggers(self.loggers)
        except BaseException as error:
            self.call_callbacks("on_exception", error)
            if datamodule is not None and callable(hook := getattr(datamodule, "on_exception", None)):
                hook(error)
            finish_loggers(self.loggers, error)
            raise

    def _share_loggers(self) -> None:
        """Where the first process's loggers write, all know."""
        if self.group.world > 1 and self.loggers:
            told = self.group.broadcast([names_of(each) for each in self.loggers] if self.group.writes else None)
            for logger, names in zip(self.loggers, told, strict=True):
                if type(logger) is Quiet:
                    logger.told = names

    def _prepare_data(self, *owners: DataHooks | None) -> None:
        """prepare_data, which may download and write: once on each machine, before any process goes on."""
        error: Exception | None = None
        if self.group.local_rank == 0:
            try:
                self._call_data("prepare_data", *owners)
            except Exception as found:
                error = portable(found, self.group.rank, self.group.world)
        for each in self.group.gather(error):
            if each is not None:
                raise each

    def agree(self) -> None:
        """Whether to stop is process 0's word, as far as a hook of users' code may have asked for it."""
        if self.group.world > 1 and (self.task.keeps_attributes or any(not _is_ours(each) for each in self.callbacks)):
            self.progress.should_stop = self.group.broadcast(self.progress.should_stop)

    @staticmethod
    def _call_data(hook: str, *owners: DataHooks | None, **named: Any) -> None:
        """Run a hook of data: that of the data module, and the task's, as far as they are there."""
        for owner in owners:
            if owner is not None and callable(function := getattr(owner, hook)):
                function(**named)

    def begin_loggers(self) -> None:
        """The loggers hear of the task before anything is run."""
        begin_loggers(self.loggers, self.task, hyperparameters_to_log(self.task, self.datamodule) or None)

    def forget_hooks(self) -> None:
        """Look the hooks up anew: one that was set on a task or a callback meanwhile counts from here on."""
        self.chains.clear()
        self._indexed, self._transfers = {}, None

    def call(self, hook: str, *arguments: Any, **named: Any) -> Any:
        """Run a hook: the callbacks' first, then the task's, whose result is returned.

        At on_train_epoch_end the callbacks that monitor come after the task, to see what it logged there.
        """
        chain = self.chains[hook]
        if not chain:
            return None
        first, own, last = chain
        before, self.hook = self.hook, hook
        for function in first:
            function(self.view, self._task, *arguments, **named)
        result = own(*arguments, **named) if own is not None else None
        for function in last:
            function(self.view, self._task, *arguments, **named)
        self.hook = before
        return result

    def call_own(self, hook: str, *arguments: Any) -> Any:
        """Run the task's hook alone."""
        own = getattr(self._task, hook, None)
        before, self.hook = self.hook, hook
        result = own(*arguments) if callable(own) else None
        self.hook = before
        return result

    def call_callbacks(self, hook: str, *arguments: Any) -> None:
        """Run the callbacks' hook alone."""
        before, self.hook = self.hook, hook
        for callback in self.callbacks:
            if callable(function := getattr(callback, hook)):
                function(self.view, self._task, *arguments)
        self.hook = before

    def _chain(self, hook: str) -> Chain | tuple[()]:
        """The functions of a hook; those that are not overridden, or None, are left out: () where there are none."""
        own = getattr(self.task, hook, None) if hasattr(Task, hook) else None
        function = original(own)
        if hook == "backward" and own is None:
            raise ConfigError("backward: expected a method, got None: nothing would be trained")
        unclipped = function is Task.configure_gradient_clipping and self.config.gradient_clip_val == 0
        by_the_loop = hook in BY_THE_LOOP and function is getattr(Task, hook)
        if not callable(own) or unclipped or by_the_loop or function is getattr(Hooks, hook, None):
            own = None
        callbacks = [c for c in self.callbacks if hasattr(Callback, hook) and overridden(c, hook, Callback)]
        late = [c for c in callbacks if c.monitors and hook == "on_train_epoch_end"]
        first = [getattr(c, hook) for c in callbacks if c not in late]
        return (first, own, [getattr(c, hook) for c in late]) if own is not None or callbacks else ()

    def has_hook(self, hook: str) -> bool:
        """Whether the task or a callback does something there."""
        return bool(self.chains[hook])

    def overrides(self, name: str) -> bool:
        """Whether the task has a ``name`` of its own, by its class or set on itself; one that is None is none."""
        return overridden(self.task, name, Task)

    def seed(self, purpose: str, *counters: int) -> None:
        """Make what users' code draws next a function of (seed, purpose, counters), whatever was drawn before."""
        if self.uses_generators:
            keys = self._keys.get(purpose)
            if keys is None:
                keys = self._keys[purpose] = Keys(self.config.seed, purpose)
            set_generators(keys(*counters))

    @property
    def cuts_batches(self) -> bool:
        """Whether a training batch is run in parts."""
        return self.group.shards > 1 and self.task.cuts_batches

    @property
    def turn(self) -> Any:
        """What a part of a batch waits by for the others, with manual optimization; None outside of one."""
        return self.turns if self.shard is not None else None

    # -- steps --------------------------------------------------------------------------------------------------------

    def place(self, batch: Any, source: int = 0) -> Any:
        """The batch on the device, in the configured precision, as the hooks around that want it. It is the current one."""
        if self._transfers is None:
            self._transfers = transfer_hooks(self.task, self.datamodule)
            self._stays = not self._transfers and self.device.type == "cpu" and self.config.precision != "64-true"
        if not self._stays:
            batch = self._placed(batch, source, self._transfers)
        self.results.batch, self.results.batch_size = batch, None
        return batch

    def _placed(self, batch: Any, source: int, hooks: dict[str, Callable[..., Any]]) -> Any:
        if self.config.precision == "64-true":
            batch = convert(batch)
        return self._transferred(batch, source, hooks) if hooks else move(batch, self.device)

    def _transferred(self, batch: Any, source: int, hooks: dict[str, Callable[..., Any]]) -> Any:
        before = self.hook
        for name in TRANSFERS:
            self.hook = name
            if name == "transfer_batch_to_device":
                transfer = hooks.get(name)
                batch = transfer(batch, self.device, source) if transfer else move(batch, self.device)
            elif hook := hooks.get(name):
                batch = hook(batch, source)
        self.hook = before
        return batch

    def step(self, name: str, batch: Any, batch_idx: int, *source: int) -> Any:
        """Run the task's ``name`` (training_step, …) in the configured precision; with ``batch_idx`` where it takes one."""
        indexed = self._indexed.get(name)
        if indexed is None:
            indexed = self._indexed[name] = takes_index(getattr(self._task, name))
        arguments = (batch, batch_idx, *source) if indexed else (batch, *source)
        before, self.hook = self.hook, name
        if self.config.precision == "32-true":
            result = getattr(self._task, name)(*arguments)
        else:
            with precision(self.config.precision, self.device):
                result = getattr(self._task, name)(*arguments)
        self.hook = before
        return result

    def backward(self, loss: torch.Tensor, *arguments: Any, **named: Any) -> None:
        """Backward with its hooks; the rest is for ``Tensor.backward``."""
        chains = self.chains
        if chains["on_before_backward"]:
            self.call("on_before_backward", loss)
        if chains["backward"]:
            self.call("backward", loss, *arguments, **named)
        else:
            if not (loss.requires_grad and (arguments or named or loss.numel() == 1)):
                raise ConfigError(f"training_step: {loss_fault(loss)}")
            loss.backward(*arguments, **named)
        if chains["on_after_backward"]:
            self.call("on_after_backward")

    @property
    def gradient_norm(self) -> float:
        """The norm of the last step's gradients, before ``clip_gradients``; computed when it is first asked for."""
        return self.keep_norm()

    def keep_norm(self) -> float:
        """``gradient_norm``, computed while there are gradients."""
        if self._stepped is not None:
            self.note_norm(gradient_norm(gradients(self._stepped)))
        return self.progress.gradient_norm

    def forget_norm(self, optimizer: Optimizer) -> None:
        """``gradient_norm`` is that of this optimizer's gradients from now on."""
        self._stepped = optimizer

    def note_norm(self, norm: float) -> None:
        """The gradients' norm, found by clipping them: it is the step's unless that is known."""
        if self._stepped is not None:
            self.progress.gradient_norm, self._stepped = norm, None

    def tell_all(self, value: Any) -> list[Any]:
        """What each process has to tell, by rank; stops that were asked for travel with it, so that all stop at once."""
        keeper: Any = self.keep_going
        word = keeper.word() if hasattr(keeper, "word") else None
        told = self.group.gather((value, word))
        self.told = True
        if word is not None:
            keeper.hear([each for _, each in told])
        return [each for each, _ in told]

    def tell_once(self, line: str) -> None:
        """``tell``, but a line that was said before is not said again."""
        if line not in self._told:
            self._told.add(line)
            self.tell(line)

    def boundary(self) -> None:
        """A batch boundary of a fit: the one place where it may be left."""
        if self.keep_going is not None:
            self.keep_going(self.view)

    # -- how far, how often --------------------------------------------------------------------------------------------

    def progress_state(self) -> dict[str, Any]:
        """The counters for a checkpoint."""
        self.keep_norm()
        return self.progress.state_dict()

    def load_progress(self, state: dict[str, Any]) -> None:
        """Back from ``progress_state``."""
        self.progress.load_state_dict(state)
        self._stepped = None

    def batches_to_run(self, split: str, sources: Sequence[Batches]) -> list[int | float]:
        """How many batches of each source to run; ``split`` ("train", "val", …) says whose limit holds. Infinite for all."""
        name, limit = self.limits[split]
        epoch = self.progress.current_epoch
        return [cadence.limit_batches(limit, length(each.plan(epoch)), name) for each in sources]

    @property
    def num_val_batches(self) -> list[int | float]:
        """Batches of a validation, of each source: of the last validate(), if that is what ran last, else of the fit's."""
        return list(self.batches_of[TrainerFn.VALIDATING if self.fn is TrainerFn.VALIDATING else TrainerFn.FITTING])

    @property
    def num_sanity_val_steps(self) -> int | float:
        """Batches of each source in the sanity check, at most; infinite for all."""
        most = 0 if self.fast_dev_run else self.config.num_sanity_val_steps
        return math.inf if most < 0 else most

    @property
    def num_sanity_val_batches(self) -> list[int | float]:
        """Batches of the sanity check, of each source."""
        return [min(self.num_sanity_val_steps, n) for n in self.batches_of[TrainerFn.FITTING]]

    def begin_plan(self, plan: Any) -> None:
        """The epoch's training batches are those of ``plan``; with None it is not known yet which they are."""
        self.plan = plan
        is_known = plan is not None and getattr(plan, "known", not hasattr(plan, "has"))
        self.surely = min(self.num_training_batches, len(plan)) if is_known else 0

    def has_batch(self, batch_idx: int) -> bool:
        """Whether the epoch has a training batch of that number to run."""
        if batch_idx < self.surely:
            return True
        return batch_idx < self.num_training_batches and (self.plan is None or has(self.plan, batch_idx))

    @property
    def is_last_batch(self) -> bool:
        """Whether the current training batch is the epoch's last."""
        return not self.has_batch(self.progress.batch_idx + 1)

    def accumulates(self) -> bool:
        """Whether the current batch only adds to the gradients, without an optimizer step: ``accumulating``, looked up."""
        ready = self.progress.batch_idx + 1
        return ready % self.accumulate_grad_batches != 0 and self.has_batch(ready)

    @property
    def validates_once_an_epoch(self) -> bool:
        """Whether validation runs just at each epoch's end, by default settings."""
        return self.val_check_interval == 1.0 and self.check_val_every_n_epoch == 1

    @property
    def validates_this_epoch(self) -> bool:
        """Whether there is a validation to run in the current epoch."""
        epoch = self.progress.current_epoch
        return sum(self.num_val_batches) > 0 and cadence.validates_in(epoch, self.check_val_every_n_epoch)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def log_value(self, name: str, value: Any, batch_size: int | None, arguments: Any) -> None:
        """``Task.log``, as called from the hook that is being run."""
        self.uncollected = True
        self.results.log(self.hook, name, value, batch_size, arguments)

    def collect(self) -> dict[str, float]:
        """Bring the values that callbacks and the progress bar see up to date; returns those for the loggers."""
        self.uncollected = False
        found = self.results.collect(self.in_batch)
        self.callback_values.update(found["callback"])
        self.bar_values.update(found["pbar"])
        self.logged_values.update(found["log"])
        return found["log"]

    def forget_metrics(self) -> None:
        """What was logged before does not count."""
        for values in (self.callback_values, self.bar_values, self.logged_values):
            values.clear()

    @property
    def should_log(self) -> bool:
        """Whether this step's metrics are written: every log_every_n_steps, and when a stop is due."""
        every, progress = self.config.log_every_n_steps, self.progress
        return every > 0 and ((progress.batches_that_stepped + 1) % every == 0 or progress.should_stop)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write scalars to the loggers, with the epoch, at the current step; or as they are, at ``step``.

        A metric called "step" gives the step, as in Lightning.
        """
        if not metrics or not self.loggers:
            return
        self.logged_values.update(metrics)
        plain = {name: float(value) for name, value in metrics.items()}
        if step is None and "step" in plain:
            step = int(plain.pop("step"))
        elif step is None:
            plain.setdefault("epoch", self.progress.current_epoch)
            step = self.progress.batches_that_stepped
        for logger in self.loggers:
            logger.log_metrics(dict(plain), step)
        save_loggers(self.loggers)

    @property
    def metrics(self) -> dict[str, float]:
        """The newest value of every logged name, the plain and the forked ones, as plain numbers; what is monitored."""
        self.collect()
        return self.callback_values

    @property
    def callback_metrics(self) -> dict[str, torch.Tensor]:
        """``metrics`` as tensors; what is set there can be monitored."""
        return MetricTensors(self.metrics)

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The newest value of what was logged with prog_bar=True."""
        self.collect()
        return self.bar_values

    @property
    def progress_bar_fields(self) -> dict[str, float | int | str]:
        """What a progress bar shows: ``v_num``, the version of the first logger that has one, then progress_bar_metrics."""
        version = next((v for v in (getattr(each, "version", None) for each in self.loggers) if v is not None), None)
        return {**({} if version is None else {"v_num": version}), **self.progress_bar_metrics}

    @property
    def logged_metrics(self) -> dict[str, torch.Tensor]:
        """The newest value of what was logged with logger=True, as tensors."""
        self.collect()
        return MetricTensors(self.logged_values)
