"""The Trainer: fit, validate, test and predict, and what callbacks and tasks see of them."""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch

from training import checkpoint
from training.bar import say
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.model_summary import ModelSummary
from training.callbacks.progress_bar import ProgressBar
from training.callbacks.timer import Timer
from training.config import TrainConfig
from training.determinism import flags
from training.determinism.flags import determinism
from training.determinism.unkept import Unkept
from training.errors import ConfigError, NonFiniteError
from training.generators import kept_generators
from training.intervals import seconds
from training.loop import nonfinite
from training.loop.callback import Callback
from training.loop.ckpt_path import checkpoint_path
from training.loop.evaluate import Metrics, evaluate
from training.loop.fit import fit
from training.loop.keywords import predict_limit, refuse, settings
from training.loop.loggers import DummyLogger, checkpoint_folder
from training.loop.names import Names, Of
from training.loop.optimizers import CountingOptimizer, Scheduler
from training.loop.schedulers import by_name
from training.loop.session import MetricsLogger, Session
from training.loop.snapshot import capture_weights, load_weights, restore_weights
from training.loop.sources import Data
from training.loop.states import TrainerFn
from training.loop.step import configure_optimizers, take_step
from training.loop.tables import results_table
from training.loop.task import Task
from training.run.experiment import Experiment, RunOptions
from training.run.inputs import Inputs
from training.run.own import Ahead, adding, finished, own_run, to_go_on_with
from training.values import shown


class Trainer(Names):
    """Runs a Task: fit, validate, test, predict. Hooks, their order, the counters and the keywords are Lightning 2.6's.

    Args:
        config: an experiment's run, to train in it; or a TrainConfig (the keywords below then change it); or None.
        accelerator: "auto" (CUDA if there is some), "cpu", "gpu" or "cuda".
        devices: this many processes on this machine share the ``shards`` of each batch; "auto" and 1 are one. The program
            is started again in each.
        shards: cut each batch into this many parts, a power of two; 1 by default. Any number of processes that divides it
            gives the same bits.
        precision: "32-true", "64-true" or "bf16-mixed".
        logger: True: a fit is a run of its own, in the folder ``default_root_dir/Task's name/version_N``: metrics,
            TensorBoard, ledger, manifest, checkpoints; killed or stopped, it is resumed with ``ckpt_path="last"``. False:
            nothing is written. Or one logger, or several, with ``log_metrics(metrics, step)``.
        callbacks: one or several; those with ``last`` run after all others.
        fast_dev_run: run everything on this many batches (True is 1), without loggers or checkpoints.
        max_epochs, min_epochs, max_steps, min_steps: when a fit ends; -1 for no limit. 1000 epochs if
            neither max_epochs nor max_steps is given.
        max_time: "DD:HH:MM:SS", a timedelta or a dict of its arguments: a run stops after this time and can be resumed
            exactly there; a fit without a folder just ends.
        limit_train_batches, limit_val_batches, limit_test_batches, limit_predict_batches: a number of batches (10) or a
            share of them (0.1).
        overfit_batches: train and validate on these few batches of the training data.
        val_check_interval: validate after this many batches (50), or after this share of an epoch (0.25).
        check_val_every_n_epoch: validate every N epochs; None counts batches across epochs.
        num_sanity_val_steps: validation batches before training, to fail early; 2 by default, -1 for all.
        log_every_n_steps: how often the metrics of steps are logged; 50 by default.
        enable_checkpointing: whether a ModelCheckpoint is added where there is none; by default where a run has a folder.
        enable_progress_bar: whether progress is shown; yes by default.
        enable_model_summary: whether the layers are listed before training; yes by default where there is a run's folder.
        accumulate_grad_batches: average the gradients of this many batches for one step.
        gradient_clip_val, gradient_clip_algorithm: clip the gradients' "norm", or each "value", to this.
        deterministic: use only deterministic algorithms, and fail on an operation that has none.
        inference_mode: whether validate, test and predict run in torch's inference mode; otherwise only without gradients.
        detect_anomaly: let autograd say which operation made a NaN.
        default_root_dir: where runs are kept; "runs" by default.
        seed: of all that is random in a fit: the order of data, what the task's code draws. By default ``config.seed``, or
            the seed that ``seed_everything`` was given last.
        keep_going: called with the Trainer at every batch boundary of a fit, and may end the fit there by raising an
            exception. A ``Trainer.state()`` taken there resumes exactly there.
        checkpoint_dir: where a ModelCheckpoint without a folder of its own writes, and where a batch whose loss or
            gradient is not finite is saved; by default in the run's folder.
        others: Lightning's other keywords are refused, with what to do instead, unless they change nothing.

    Raises:
        ConfigError: for a setting out of range or not offered, a device that is not there, callbacks that would keep their
            state under one name.

    Example:
        >>> import torch
        >>> from training import FixedBatches, Task, Trainer
        >>> class Line(Task):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = torch.nn.Parameter(torch.tensor(0.0))
        ...     def training_step(self, batch, batch_idx):
        ...         x, y = batch
        ...         return (self.slope * x - y).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> x = torch.tensor([1.0, 2.0])
        >>> task, trainer = Line(), Trainer(max_epochs=50, accelerator="cpu", logger=False)
        >>> trainer.fit(task, FixedBatches([(x, 3 * x)]))
        >>> round(task.slope.item(), 4), trainer.global_step
        (3.0, 50)

    Source: Lightning 2.6's ``Trainer``; where this one differs, docs/lightning.md says so.
    """

    def __init__(
        self,
        config: TrainConfig | Experiment | None = None,
        *,
        accelerator: str = "auto",
        devices: Any = "auto",
        shards: int | None = None,
        precision: Any = None,
        logger: MetricsLogger | Iterable[MetricsLogger] | bool | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: Any = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: bool | None = None,
        inference_mode: bool = True,
        detect_anomaly: bool = False,
        default_root_dir: str | Path | None = None,
        seed: int | None = None,
        keep_going: Callable[[Trainer], None] | None = None,
        checkpoint_dir: str | Path | None = None,
        **others: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in KEYWORDS}
        refuse(others)
        run = config if isinstance(config, Experiment) else None
        if not isinstance(config, TrainConfig | Experiment | None):
            raise ConfigError(f"Trainer: expected settings or an experiment, got {shown(config)}; give keywords by name")
        if run is not None:
            changed = [name for name in CONFIGURED if given[name] != DEFAULTS[name]]
            if changed:
                raise ConfigError(f"Trainer: {changed[0]}: expected it in the experiment's settings, got it as a keyword")
            settled = run.config
        else:
            settled = settings(cast("TrainConfig | None", config), {**given, "seed": _seed(seed, config)})
        self.run = run
        """The run that is trained in; a Trainer without an experiment has one from its first fit on."""
        self.default_root_dir, self._has_root = str(default_root_dir or "runs"), default_root_dir is not None
        self._keeps = run is None and logger in (None, True) and keep_going is None and not settled.fast_dev_run
        self._ahead, self._dummies = Ahead(), []
        self._own_loggers = [] if logger is None or isinstance(logger, bool) else _listed(logger)
        if not all(hasattr(each, "log_metrics") for each in self._own_loggers):
            raise ConfigError(f"logger: expected True, False, a logger or a list of loggers, got {shown(logger)}")
        if settled.fast_dev_run and logger is not False:
            self._dummies = [DummyLogger() for _ in range(len(self._own_loggers) or 1)]
        self._own_callbacks = _callbacks(callbacks, run, settled, given, keeps=run is not None or self._keeps)
        self.detect_anomaly = detect_anomaly
        self.session = Session(
            settled, self,
            callbacks=[*(run.callbacks() if run else ()), *self._own_callbacks],
            loggers=[*(run.loggers() if run else ()), *self._own_loggers],
            keep_going=run.keeper if run else keep_going,
            checkpoint_dir=run.path / "checkpoints" if run is not None and checkpoint_dir is None else checkpoint_dir,
            limit_predict_batches=predict_limit(limit_predict_batches),
            inference_mode=inference_mode,
        )  # fmt: skip
        self._checkpoint_dir = checkpoint_dir
        self._keep_going = keep_going
        self._ckpt_path: str | Path | None = None
        self._unplaced = {
            each: copy.deepcopy(vars(each)) for each in self._own_callbacks
            if isinstance(each, ModelCheckpoint) and each.dirpath is None
        }  # fmt: skip
        """Those that write into the run's folder, as they were before the first fit."""
        self.session.tell = say if run is None else run.options.tell
        self.progress = self.session.progress
        # Called at each step, so without a detour.
        self.log_value, self.backward = self.session.log_value, self.session.backward

    def __getstate__(self) -> dict[str, Any]:
        """A copy, and what pickle writes, has counters, settings, callbacks and the task; a fit of it is a new run.

        ConfigError for the Trainer of an experiment, since a run has one.
        """
        if self.run is not None and not self._keeps:
            raise ConfigError(f"{self.run.path}: expected one Trainer for the run; make another one in place of a copy")
        session = copy.copy(self.session)
        session.install(self._own_callbacks, self._own_loggers, self._keep_going, self._checkpoint_dir)
        kept = {name: value for name, value in vars(self).items() if name not in ("log_value", "backward")}
        return {**kept, "run": None, "session": session}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.log_value, self.backward = self.session.log_value, self.session.backward

    # -- the four verbs -----------------------------------------------------------------------------------------------

    def fit(
        self,
        model: Task,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
        *,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Train ``model``.

        Args:
            model: the task; when fit returns it has the weights of the last step.
            train_dataloaders: where the training batches come from: Batches, a DataLoader or anything that gives batches in
                order; or a list or dict of them. None for the task's own ``train_dataloader()``.
            val_dataloaders: what to validate on, one source or several; None for the task's own, or no validation.
            datamodule: a DataModule in place of both.
            ckpt_path: "last" resumes the newest run of this kind that was killed or stopped, exactly where it was; so
                does the path of its folder. If a run with these settings has finished, its weights are loaded and
                nothing is trained. The path of any other checkpoint begins a new run from there.
            weights_only: ignored; checkpoints are always read without running code.
            state: from ``Trainer.state``, or of a checkpoint (``training.checkpoint.load``): resume exactly where it
                was taken, to the same bits as an uninterrupted fit.

        Raises:
            ConfigError: for a task or settings that do not fit, before anything has run.
            NonFiniteError: for a loss, a gradient or weights that are not finite; no step is taken with them.
            CheckpointError: for a state of another model, other data or other settings.
            Preempted: a signal came; the program, if it does not catch this, ends with exit code 75.
        """
        with self.session.running("fit"):
            if not self._keeps and self.run is None:
                _check_kept(self.config)
            model = self._chosen(model, "fit")
            data = Data(self.session, "fit", datamodule, train_dataloaders, val_dataloaders)
            resume, state = self._state(model, self._asked(ckpt_path), state)
            if resume and (ended := finished(resume, self.config, model)):
                self.run = ended
                self.session.install(
                    self._own_callbacks, self._own_loggers, None, self._checkpoint_dir or ended.path / "checkpoints"
                )
                return
            with self._placed(), self._kept_in_a_run(model, resume) as found:
                fit(self.session, model, data, found if state is None else state)
                self._note(model, self.session.metrics)

    def validate(
        self,
        model: Task | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[Metrics]:
        """Run validation once.

        Args:
            model, dataloaders, ckpt_path, verbose, datamodule, weights_only: as of ``test``.

        Returns:
            The metrics of each source, as plain numbers by name; [] where there are no batches.

        Raises:
            ConfigError, CheckpointError: as of ``test``.
        """
        return self._evaluated("validate", "validation", model, dataloaders, ckpt_path, verbose, datamodule)

    def test(
        self,
        model: Task | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[Metrics]:
        """Run the test.

        Args:
            model: the task; None for that of the last call, with the best weights.
            dataloaders: what to test on, one source or several; None for the task's own ``test_dataloader()``.
            ckpt_path: weights to load first: a path, or "best" or "last" of what a ModelCheckpoint wrote.
            verbose: whether to print the metrics as a table.
            datamodule: a DataModule in place of ``dataloaders``.
            weights_only: ignored, as in ``fit``.

        Returns:
            The metrics of each source, as plain numbers by name; [] where there are no batches.

        Raises:
            ConfigError: where the task has no test_step, or there is no such checkpoint.
            CheckpointError: for a checkpoint that is damaged.
        """
        return self._evaluated("test", "test", model, dataloaders, ckpt_path, verbose, datamodule)

    def predict(
        self,
        model: Task | None = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        return_predictions: bool | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> Any:
        """Predict.

        Args:
            model, dataloaders, datamodule, ckpt_path, weights_only: as of ``test``.
            return_predictions: False to keep none of them, as where a callback writes them; None and True keep all.

        Returns:
            What ``predict_step`` returns for each batch, in order; of several sources, a list of those lists; None where
            none are kept.

        Raises:
            ConfigError, CheckpointError: as of ``test``.
        """
        session = self.session
        with self._evaluating("predict", model, datamodule, dataloaders) as data:
            own = session.overrides("predict_step") or session.overrides("forward")
            if session.task.predict_step is None or not own:
                name = type(session.task).__name__
                raise ConfigError(f"predict: expected {name} to have a predict_step, or forward, got none")
            self._load_weights(ckpt_path, model)
            session.task.zero_grad()
            with data.sources() as (sources, _):
                limits = session.batches_of[TrainerFn.PREDICTING] = session.batches_to_run("predict", sources)
                self._tell_of_none("predict", "predict", limits)
                outputs = evaluate(session, "predict", sources, limits, keep=return_predictions is not False).outputs
        if return_predictions is False:
            return None
        return outputs[0] if len(outputs) == 1 else outputs

    def replay(self, task: Task, path: str | Path, batch_type: Any = None) -> NonFiniteError | None:
        """Run the batch of a ``nonfinite.ckpt`` again, with the weights that it met there (see training/loop/nonfinite.py).

        Returns the error that it ends in once more; None where it does not, and the step is taken. ``task`` is left with
        those weights and the batch's gradients. ``batch_type`` is the batch's class, if a dataclass or a named tuple.
        """
        session, found = self.session, checkpoint.load(Path(path))
        with session.attached(task, "fit"), torch.enable_grad(), kept_generators():
            configure_optimizers(session)
            restore_weights(session, found)
            session.num_training_batches = found["num_training_batches"]
            session.call("on_fit_start")
            session.accumulating = session.accumulates()  # by what on_fit_start may have set
            task.zero_grad()
            session.seed("batch", self.current_epoch, self.batch_idx)
            batch = session.place(nonfinite.rebuilt(found["batch"], batch_type))
            try:
                take_step(session, batch, self.batch_idx)
            except NonFiniteError as error:
                error.batch, error.ids, error.path = batch, found["ids"], Path(path)
                return error
        return None

    def _evaluated(
        self,
        stage: str,
        kind: str,
        task: Task | None,
        given: Any,
        ckpt_path: str | Path | None,
        verbose: bool,
        datamodule: Any,
    ) -> list[Metrics]:
        session, split = self.session, stage[:3] if stage == "validate" else stage
        with self._evaluating(stage, task, datamodule, given) as data:
            if not session.overrides(f"{kind}_step"):
                raise ConfigError(f"{stage}: expected {type(session.task).__name__} to have a {kind}_step, got none")
            self._load_weights(ckpt_path, task)
            session.task.zero_grad()
            with data.sources() as (sources, _):
                limits = session.batches_of[TrainerFn(stage)] = session.batches_to_run(split, sources)
                self._tell_of_none(stage, split, limits)
                metrics = evaluate(session, kind, sources, limits).metrics
            self._note(session.task, {name: value for each in reversed(metrics) for name, value in each.items()})
        if verbose and any(metrics) and self.session.group.writes:
            print(results_table(metrics, stage))
        return metrics

    @contextmanager
    def _evaluating(self, stage: str, task: Task | None, datamodule: Any, given: Any) -> Iterator[Data]:
        """All that is around an evaluation; yields where its batches come from."""
        with self.session.running(stage), ExitStack() as stack:
            data = Data(self.session, stage, datamodule, given)
            stack.enter_context(self._placed())
            if stage != "predict":
                stack.enter_context(self._adding())
            stack.enter_context(self.session.attached(self._chosen(task, stage), stage, data.module))
            yield data

    def _tell_of_none(self, stage: str, split: str, limits: list[int | float]) -> None:
        if sum(limits) == 0 and self.session.limits[split][1]:
            self.session.tell(f"{stage}: the data have no batches: nothing is run")

    def _chosen(self, task: Task | None, stage: str) -> Task:
        if task is None and not self.session.has_task:
            raise ConfigError(f"{stage}: expected a task, since none was run before; got None")
        if task is not None and not isinstance(task, Task):
            compiled = isinstance(getattr(task, "_orig_mod", None), Task)
            remedy = "; give the task itself, and compile the modules in it" if compiled else ""
            raise ConfigError(f"{stage}: expected a Task, got {type(task).__name__}{remedy}")
        return self.session.task if task is None else task

    def _load_weights(self, ckpt_path: str | Path | None, task: Task | None) -> None:
        """Load the weights that are to be evaluated; without ``task`` and ``ckpt_path`` the best."""
        ckpt_path = self._asked(ckpt_path)
        if ckpt_path is None and task is not None:
            return
        if ckpt_path is None:
            verb = self.session.fn.value
            self.session.tell(f"{verb}: no model and no ckpt_path was given: the best weights of the last fit are loaded")
        found = self._read("best" if ckpt_path is None else ckpt_path)
        if found is None:
            return
        load_weights(self.session, found)
        if self.session.datamodule is not None:
            self.session.datamodule.restore(found)

    # -- the run around a verb ------------------------------------------------------------------------------------------

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """torch's flags, as the settings say; an experiment has set them."""
        with ExitStack() as stack:
            if self.run is None or self._keeps:
                stack.enter_context(determinism(self.config, Unkept(self.session.tell)))
            if self.detect_anomaly:
                stack.enter_context(torch.autograd.set_detect_anomaly(True))
            yield

    @contextmanager
    def _kept_in_a_run(self, task: Task, resume: str) -> Iterator[dict[str, Any] | None]:
        """The experiment's run, or one of its own; yields the state to go on with, if there is one."""
        if not self._keeps:
            yield self.run.begin_fit() if self.run is not None else None
            return
        options = RunOptions(root=self.default_root_dir, resume=resume, argv=tuple(sys.argv), tell=say)
        with own_run(type(task).__name__, self.config, options, Inputs(), "ckpt_path") as run:
            self.run = run
            for params in self._ahead.kept:
                run.run.log_hyperparams(params)
            for callback, before in self._unplaced.items():
                vars(callback).update(copy.deepcopy(before))
            self.session.install(
                [*run.callbacks(), *self._own_callbacks], [*run.loggers(), *self._own_loggers], run.keeper,
                self._checkpoint_dir or run.path / "checkpoints",
            )  # fmt: skip
            yield run.begin_fit()

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """What is validated or tested after a fit is added to its run."""
        if not self._keeps or self.run is None:
            yield
            return
        with adding(self.run) as logger:
            self.session.install(self.session.callbacks, [logger, *self._own_loggers], None, self.session.checkpoint_dir)
            yield

    def _note(self, task: Task, results: Mapping[str, float]) -> None:
        """Results for the run's manifest."""
        if self.run is not None:
            self.run.task = task
            self.run.results |= results

    def _state(
        self, task: Task, ckpt_path: str | Path | None, state: dict[str, Any] | None
    ) -> tuple[str, dict[str, Any] | None]:
        """The folder of the run to go on with, or "", and the state to begin with, or None."""
        if ckpt_path is None:
            return "", state
        if state is not None:
            raise ConfigError("fit: expected ckpt_path or state, got both")
        kind = Path(self.default_root_dir) / type(task).__name__
        if self._keeps and (folder := to_go_on_with(ckpt_path, kind, self.config)):
            self.session.ckpt_path = str(folder)
            return str(folder), None
        if Path(ckpt_path).is_dir():
            raise ConfigError(
                f"ckpt_path: expected a checkpoint, or the folder of a run that can be resumed, got {ckpt_path}"
            )
        if self._keeps and ckpt_path == "last" and not any(each.dirpath for each in self.checkpoint_callbacks):
            say(f"ckpt_path='last': {kind} has no run to resume: a new one begins")
            return "", None
        return "", self._read(ckpt_path)

    def _read(self, ckpt_path: str | Path) -> checkpoint.Checkpoint | None:
        """The checkpoint, as process 0 finds it; None where that name stands for none."""

        def read() -> checkpoint.Loaded | None:
            path = checkpoint_path(ckpt_path, self.session.callbacks)
            return None if path is None else checkpoint.load(path)

        found = cast("checkpoint.Loaded | None", self.session.group.first(read))
        if found is not None:
            self.session.ckpt_path = str(found.path) if ckpt_path in ("best", "last") else ckpt_path
        return found

    @property
    def ckpt_path(self) -> str | Path | None:
        """What the last verb loaded, or went on with. A path that is set here holds for each verb that is given none."""
        return self._ckpt_path or self.session.ckpt_path

    @ckpt_path.setter
    def ckpt_path(self, path: str | Path | None) -> None:
        self._ckpt_path, self.session.ckpt_path = path or None, None

    def _asked(self, given: str | Path | None) -> str | Path | None:
        """What a verb was given as ``ckpt_path``, else the one that was set."""
        if given is not None and self._ckpt_path is not None:
            warnings.warn(f"trainer.ckpt_path={self._ckpt_path!r} is replaced by ckpt_path={str(given)!r}", stacklevel=4)
            self._ckpt_path = None
        return self._ckpt_path if given is None else given

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def save_checkpoint(self, filepath: str | Path, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Write the state, or with ``weights_only`` the weights and counters alone; ``storage_options`` are not offered.

        Raises:
            NonFiniteError: for weights that are not finite; nothing is written.
            DiskError: where the disk does not take it.
            ConfigError: before there is a task, and for ``storage_options``.
        """
        if storage_options is not None:
            raise ConfigError("save_checkpoint: storage_options: expected None, since files go to the disk; leave it out")
        if not self.session.has_task:
            raise ConfigError("save_checkpoint: expected a task, since none was run before: call fit first")
        self.check_weights()
        state = capture_weights(self.session) if weights_only else self.state()
        if self.session.group.writes:
            checkpoint.save(Path(filepath), state)

    @property
    def checkpoint_dir(self) -> str | Path | None:
        """Where a ModelCheckpoint without a folder of its own writes; None where nobody said so."""
        if self.session.checkpoint_dir is not None or not self._has_root:
            return self.session.checkpoint_dir
        return checkpoint_folder(self.session.loggers) or Path(self.default_root_dir) / "checkpoints"

    def check_weights(self) -> None:
        """NonFiniteError that names the weights, or running means of them, that are not finite."""
        nonfinite.check_weights(self.session)

    # -- for callbacks and tasks (see training/loop/view.py) -------------------------------------------------------------

    def where(self) -> str:
        """The place in the run, for messages."""
        return self.progress.where()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write scalars to the loggers, with the epoch, at the current step; or as they are, at ``step``."""
        self.session.log_metrics(metrics, step)

    def learning_rates(
        self, interval: str = "any", *, momentum: bool = False, weight_decay: bool = False
    ) -> dict[str, float]:
        """The learning rates by name; of optimizers with a scheduler, those whose scheduler has that interval."""
        return by_name(self.session, interval, momentum=momentum, weight_decay=weight_decay)

    def note_norm(self, norm: float) -> None:
        """The gradients' norm, found by clipping them."""
        self.session.note_norm(norm)

    current_epoch, epochs_processed = Of[int]("progress"), Of[int]("progress")
    global_step, batch_idx = Of[int]("progress"), Of[int]("progress")
    total_batches, batches_that_stepped = Of[int]("progress"), Of[int]("progress")
    stage = Of[str]("progress")
    should_stop, validated = Of[bool]("progress"), Of[bool]("progress")

    config, device = Of[TrainConfig]("session"), Of[torch.device]("session")
    callbacks = Of[list[Callback]]("session")
    keep_going = Of["Callable[..., None] | None"]("session")
    max_epochs, max_steps = Of[int]("session"), Of[int]("session")
    fast_dev_run, accumulate_grad_batches = Of[int]("session"), Of[int]("session")
    check_val_every_n_epoch = Of["int | None"]("session")

    task = Of[Task]("session")
    optimizers, schedulers = Of[list[CountingOptimizer]]("session"), Of[list[Scheduler]]("session")
    gradient_norm = Of[float]("session")
    fitting, sanity_checking, accumulating = Of[bool]("session"), Of[bool]("session"), Of[bool]("session")
    num_training_batches, num_val_batches = Of[int]("session"), Of["list[int | float]"]("session")
    validates_this_epoch, validates_once_an_epoch = Of[bool]("session"), Of[bool]("session")
    turn = Of[Any]("session")
    resumed_from, shard = Of["Path | None"]("session"), Of["int | None"]("session")
    batch_indices = Of["list[Any] | None"]("session")

    has_loggers, should_log = Of[bool]("session"), Of[bool]("session")
    metrics, progress_bar_metrics = Of[dict[str, float]]("session"), Of[dict[str, float]]("session")
    callback_metrics = Of[dict[str, torch.Tensor]]("session")
    logged_metrics = Of[dict[str, torch.Tensor]]("session")
    progress_bar_fields = Of["dict[str, float | int | str]"]("session")


DEFAULTS = {
    name: each.default for name, each in inspect.signature(Trainer.__init__).parameters.items()
    if each.kind is inspect.Parameter.KEYWORD_ONLY
}  # fmt: skip
KEYWORDS = frozenset(DEFAULTS)
BESIDE = (
    "logger", "callbacks", "limit_predict_batches", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "inference_mode", "detect_anomaly", "keep_going", "checkpoint_dir",
)  # fmt: skip
CONFIGURED = sorted(KEYWORDS - {*BESIDE})
"""Keywords that are settings of a run: in an experiment they stand in its config."""


def _seed(given: int | None, config: Any) -> int | None:
    """The seed of a Trainer: its own, else that of its settings, else that of the program's seed_everything."""
    return given if given is not None or config is not None else flags.last_seed


def _listed(logger: Any) -> list[MetricsLogger]:
    return list(logger) if isinstance(logger, Iterable) else [logger]


def _callbacks(
    given: Any, run: Experiment | None, config: TrainConfig, keywords: Mapping[str, Any], *, keeps: bool
) -> list[Callback]:
    """Those that were given, and those that the keywords ask for."""
    if given and not isinstance(given, Callback | Iterable):
        raise ConfigError(f"callbacks: expected a Callback or a list of them, got {shown(given)}")
    found = [given] if isinstance(given, Callback) else list(given or ())
    if not all(isinstance(each, Callback) for each in found):
        raise ConfigError(
            "callbacks: expected instances of Callback, got "
            + ", ".join(shown(each) for each in found if not isinstance(each, Callback))
        )
    checkpoints = any(isinstance(each, ModelCheckpoint) for each in found)
    wanted = keywords["enable_checkpointing"]
    if wanted is False and checkpoints:
        raise ConfigError("enable_checkpointing: expected True, since there is a ModelCheckpoint, got False")
    if not checkpoints and (wanted or (wanted is None and keeps)):
        found.append(ModelCheckpoint())
    if run is not None and not run.is_own:
        return found  # a command shows its progress itself
    if config.progress and not any(isinstance(each, ProgressBar) for each in found):
        found.append(ProgressBar())
    summary = keywords["enable_model_summary"]
    if (summary or (summary is None and keeps)) and not any(isinstance(each, ModelSummary) for each in found):
        found.append(ModelSummary())
    if config.max_time and run is None and not keeps:
        found.append(Timer(timedelta(seconds=seconds(config.max_time, "max_time") or 0)))
    return found


def _check_kept(config: TrainConfig) -> None:
    """ConfigError for settings of what is written to a run's folder, where there is none."""
    for name in ("checkpoint_every", "keep_checkpoints", "ledger_every"):
        if (value := getattr(config, name)) != getattr(TrainConfig, name):
            raise ConfigError(f"{name}={value!r}: expected a run's folder to write to, got logger=False; give logger=True")
