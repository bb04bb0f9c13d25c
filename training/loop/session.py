"""What the loops stand on: the task and its hooks, metrics on their way to callbacks and loggers, and state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch.optim import Optimizer

from training import checkpoint
from training.config import TrainConfig
from training.errors import ConfigError
from training.loop import cadence, nonfinite
from training.loop import schedulers as learning_rates
from training.loop import step as optimization
from training.loop.callback import Callback, check_keys
from training.loop.device import choose_device, move
from training.loop.hooks import Hooks, original, overridden, takes_index
from training.loop.logged_metrics import MetricTensors, Results
from training.loop.precision import convert, made_in, precision
from training.loop.snapshot import capture, capture_weights, restore_model
from training.loop.step import CountingOptimizer, Scheduler
from training.loop.task import Task

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

Chain = tuple[list[Callable[..., Any]], Callable[..., Any] | None, list[Callable[..., Any]]]


class MetricsLogger(Protocol):
    """Takes what is logged; a Run is one."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Scalars by name, at a global step."""
        ...


class TrainerCore:
    """The Trainer without its loops. Counters are Lightning's:

    ``current_epoch`` epochs completed, ``global_step`` optimizer steps, ``batch_idx`` the batch of the epoch that is being
    run or comes next, ``stage`` where in the epoch the run is (see training/loop/trainer.py).
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        callbacks: Sequence[Callback] | Callback | None = (),
        loggers: Sequence[MetricsLogger] = (),
        keep_going: Callable[[Trainer], None] | None = None,
        checkpoint_dir: str | Path | None = None,
    ) -> None:
        self.config = config
        given = [callbacks] if isinstance(callbacks, Callback) else callbacks or ()
        self.callbacks = sorted(given, key=lambda c: c.last)
        check_keys(self.callbacks)
        self.limits = cadence.limits(config)
        self.fast_dev_run = quick = config.fast_dev_run
        self.max_epochs, self.max_steps = (1, quick) if quick else (config.max_epochs, config.max_steps)
        self.step_limit = math.inf if self.max_steps == -1 else self.max_steps
        self.val_check_interval = 1.0 if quick else config.val_check_interval
        self.check_val_every_n_epoch = 1 if quick else config.check_val_every_n_epoch
        self.has_loggers = bool(loggers)
        self.loggers = [] if self.fast_dev_run else list(loggers)
        self.keep_going = keep_going
        """Called at every batch boundary of a fit; raises to stop there (see training/run/preemption.py)."""
        self.checkpoint_dir = checkpoint_dir
        """Where a ModelCheckpoint without a folder of its own writes."""
        self.device = choose_device(config.device)
        self.accumulate_grad_batches = config.accumulate_grad_batches
        self.optimizers: list[CountingOptimizer] = []
        self.schedulers: list[Scheduler] = []
        self.fitting = self.sanity_checking = self.should_stop = self.validates = self.validated = self.accumulating = False
        self.current_epoch = self.epochs_processed = self.global_step = 0
        self.batches_that_stepped = self.total_batches = 0
        self.batch_idx, self.stage = 0, "start"
        self.num_training_batches = self.num_val_batches = self.validation_interval = 0
        self.take_step: Callable[[Trainer, Any, int], Any] = optimization.automatic_step
        self.may_skip = False  # whether the task has an on_train_batch_start
        self.eval_steps: dict[int, int] = {}
        """Evaluation batches run so far, by source: the step at which their metrics are logged."""
        self.own_gradients = False
        """Whether the task makes its gradients itself, and hands them out as ``ledger_tensors``."""
        self._norm: float | None = 0.0
        self._stepped: Optimizer | None = None
        self.hook = ""
        """The hook that is being run."""
        self.train_results, self.eval_results = Results(training=True), Results(training=False)
        self.results = self.train_results
        self.in_batch = self.uncollected = False
        self.callback_values: dict[str, float] = {}
        self.bar_values: dict[str, float] = {}
        self.logged_values: dict[str, float] = {}
        self.resume_point: dict[str, Any] | None = None
        self.cut: dict[str, Any] | None = None
        """Where max_steps ended the epoch before its last batch: the next batch, and the epoch's metrics so far."""
        self.resumed_from: Path | None = None
        """The file whose state a fit goes on with, if it is one that somebody keeps."""
        self._task: Task | None = None
        self._chains: dict[str, Chain | tuple[()]] = {}
        self._indexed: dict[str, bool] = {}

    @property
    def _me(self) -> Trainer:
        return cast("Trainer", self)

    # -- task and hooks -----------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task that is being run."""
        if self._task is None:
            raise RuntimeError("the Trainer has no task: call fit, validate, test or predict")
        return self._task

    @contextmanager
    def _attached(self, task: Task, stage: str, state: dict[str, Any] | None = None) -> Iterator[None]:
        """Set the task up on the device, as in ``state``, with optimizers for a fit; callbacks hear of errors; tear down."""
        task._trainer, self._task, self.hook = self._me, task, ""
        self.forget_hooks()
        self.eval_steps, self.resume_point = {}, None
        self.results, self.in_batch, self.uncollected = self.train_results, False, False
        self.train_results.reset()
        self.eval_results.reset()
        for values in (self.callback_values, self.bar_values, self.logged_values):
            values.clear()
        for callback in self.callbacks:
            callback.log, callback.log_dict = task.log, task.log_dict
        try:
            self.call("setup", stage=stage)
            with made_in(self.config.precision):
                self.call("configure_model")
            task.to(self.device)
            if self.config.precision == "64-true":
                task.double()
            if state is not None:
                restore_model(self._me, state)
            if stage == "fit":
                self._configure_optimizers(task)
                self.take_step = optimization.automatic_step if task.automatic_optimization else optimization.manual_step
            self.own_gradients = overridden(task, "ledger_tensors", Task)
            yield
            self.call("teardown", stage=stage)
        except BaseException as error:
            self.call_callbacks("on_exception", error)
            raise

    def _configure_optimizers(self, task: Task) -> None:
        given = self.call("configure_optimizers")
        own_step = overridden(task, "lr_scheduler_step", Task)
        optimizers, self.schedulers = optimization.configure(given, task.automatic_optimization, own_step)
        self.optimizers = [CountingOptimizer(each, self._me, task.automatic_optimization) for each in optimizers]

    def forget_hooks(self) -> None:
        """Look the hooks up anew: one that was set on a task or a callback meanwhile counts from here on."""
        self._chains, self._indexed = {}, {}

    def call(self, hook: str, *arguments: Any, **named: Any) -> Any:
        """Run a hook: the callbacks' first, then the task's, whose result is returned.

        At on_train_epoch_end the callbacks that monitor come after the task, to see what it logged there.
        """
        chain = self._chains.get(hook)
        if chain is None:
            chain = self._chains[hook] = self._chain(hook)
        if not chain:
            return None
        first, own, last = chain
        before, self.hook = self.hook, hook
        for function in first:
            function(self, self._task, *arguments, **named)
        result = own(*arguments, **named) if own is not None else None
        for function in last:
            function(self, self._task, *arguments, **named)
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
                function(self._me, self._task, *arguments)
        self.hook = before

    def _chain(self, hook: str) -> Chain | tuple[()]:
        """The functions of a hook; those that are not overridden, or None, are left out: () where there are none."""
        own = getattr(self.task, hook, None) if hasattr(Task, hook) else None
        function = original(own)
        unclipped = function is Task.configure_gradient_clipping and self.config.gradient_clip_val == 0
        if not callable(own) or unclipped or function is getattr(Hooks, hook, None):
            own = None
        callbacks = [c for c in self.callbacks if hasattr(Callback, hook) and overridden(c, hook, Callback)]
        late = [c for c in callbacks if c.monitors and hook == "on_train_epoch_end"]
        first = [getattr(c, hook) for c in callbacks if c not in late]
        return (first, own, [getattr(c, hook) for c in late]) if own is not None or callbacks else ()

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
        if self.task.backward is None:
            raise ConfigError("backward: expected a method, got None: nothing would be trained")
        self.call("on_before_backward", loss)
        self.call("backward", loss, *arguments, **named)
        self.call("on_after_backward")

    def place(self, batch: Any) -> Any:
        """The batch on the device, in the configured precision."""
        if self.device.type != "cpu":
            batch = move(batch, self.device)
        return convert(batch) if self.config.precision == "64-true" else batch

    def forget_norm(self, optimizer: Optimizer) -> None:
        """``gradient_norm`` is that of this optimizer's gradients from now on."""
        self._norm, self._stepped = None, optimizer

    def keep_norm(self) -> float:
        """``gradient_norm``, computed while there are gradients."""
        if self._norm is None:
            assert self._stepped is not None
            self._norm = optimization.gradient_norm(nonfinite.gradients(self._stepped))
        return self._norm

    @property
    def gradient_norm(self) -> float:
        """The norm of the last step's gradients, before ``clip_gradients``; computed when it is first asked for."""
        return self.keep_norm()

    @gradient_norm.setter
    def gradient_norm(self, norm: float) -> None:
        self._norm = norm

    def note_norm(self, norm: float) -> None:
        """The gradients' norm, found by clipping them: it is the step's unless that is known."""
        if self._norm is None:
            self._norm = norm

    def where(self) -> str:
        """The place in the run, for messages."""
        return f"epoch {self.current_epoch}, batch {self.batch_idx}, step {self.global_step}"

    def boundary(self) -> None:
        """A batch boundary of a fit: the one place where it may be left."""
        if self.keep_going is not None:
            self.keep_going(self._me)

    @property
    def validates_once_an_epoch(self) -> bool:
        """Whether validation runs just at each epoch's end, by default settings."""
        return self.val_check_interval == 1.0 and self.check_val_every_n_epoch == 1

    @property
    def validates_this_epoch(self) -> bool:
        """Whether there is a validation to run in the current epoch."""
        return self.num_val_batches > 0 and cadence.validates_in(self.current_epoch, self.check_val_every_n_epoch)

    def accumulates(self) -> bool:
        """Whether the current batch only adds to the gradients, without an optimizer step: ``accumulating``, looked up."""
        ready = self.batch_idx + 1
        return ready % self.accumulate_grad_batches != 0 and ready != self.num_training_batches

    # -- metrics ------------------------------------------------------------------------------------------------------

    @property
    def should_log(self) -> bool:
        """Whether this step's metrics are written: every log_every_n_steps, and when a stop is due."""
        every = self.config.log_every_n_steps
        return every > 0 and ((self.batches_that_stepped + 1) % every == 0 or self.should_stop)

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
            plain.setdefault("epoch", self.current_epoch)
            step = self.batches_that_stepped
        for logger in self.loggers:
            logger.log_metrics(dict(plain), step)

    def learning_rates(self, interval: str = "any", **also: bool) -> dict[str, float]:
        """The learning rates by name; arguments as of training/loop/schedulers.py."""
        return learning_rates.by_name(self._me, interval, **also)

    def collect(self) -> dict[str, float]:
        """Bring the values that callbacks and the progress bar see up to date; returns those for the loggers."""
        self.uncollected = False
        found = self.results.collect(self.in_batch)
        self.callback_values.update(found["callback"])
        self.bar_values.update(found["pbar"])
        self.logged_values.update(found["log"])
        return found["log"]

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

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here: weights, optimizers, schedulers, counters, metrics, callbacks."""
        return capture(self._me)

    def save_checkpoint(self, path: str | Path, weights_only: bool = False) -> None:
        """Write the state, or with ``weights_only`` the weights and counters alone. NonFiniteError: see check_weights."""
        nonfinite.check_weights(self._me)
        checkpoint.save(Path(path), capture_weights(self._me) if weights_only else self.state())
