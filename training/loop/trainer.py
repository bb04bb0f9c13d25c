"""The Trainer: fit, validate, test and predict, and what callbacks and tasks see of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import torch

from training import checkpoint
from training.config import TrainConfig
from training.data.batches import Batches, Sources, source_list
from training.errors import ConfigError, NonFiniteError
from training.loop import nonfinite
from training.loop.callback import Callback
from training.loop.ckpt_path import checkpoint_path
from training.loop.evaluate import Metrics, evaluate
from training.loop.fit import fit
from training.loop.optimizers import CountingOptimizer, Scheduler
from training.loop.schedulers import by_name
from training.loop.session import MetricsLogger, Session
from training.loop.snapshot import capture, capture_weights, restore_weights
from training.loop.step import configure_optimizers, take_step
from training.loop.tables import results_table
from training.loop.task import Task

V = TypeVar("V")


class _Of(Generic[V]):
    """An attribute that the Trainer shares with its session, or with the session's progress."""

    def __init__(self, holder: str) -> None:
        self.holder = holder

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, trainer: None, owner: type) -> _Of[V]: ...
    @overload
    def __get__(self, trainer: Trainer, owner: type) -> V: ...
    def __get__(self, trainer: Trainer | None, owner: type) -> Any:
        return self if trainer is None else getattr(getattr(trainer, self.holder), self.name)

    def __set__(self, trainer: Trainer, value: V) -> None:
        setattr(getattr(trainer, self.holder), self.name, value)


class Trainer:
    """Runs a Task: fit, validate, test, predict. Hooks, their order and the counters are Lightning 2.6's.

    Args:
        config: the settings (see TrainConfig): epochs, validation, limits, precision, device, clipping, logging.
        callbacks: what happens beside training, one or several; those with ``last`` run after all others.
        loggers: each is given what is logged, by ``log_metrics(metrics, step)``.
        keep_going: called with the Trainer at every batch boundary of a fit, the one place where it may be left: by an
            exception. ``Trainer.state()`` taken there goes on exactly there.
        checkpoint_dir: where a ModelCheckpoint without a folder of its own writes, and the batch that a loss or a gradient
            was not finite on.

    Raises:
        ConfigError: for a device that is not there, and for callbacks that would keep their state under one name.

    Example:
        >>> import torch
        >>> from training import FixedBatches, Task, TrainConfig, Trainer
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
        >>> task, trainer = Line(), Trainer(TrainConfig(max_epochs=50, device="cpu"))
        >>> trainer.fit(task, FixedBatches([(x, 3 * x)]))
        >>> round(task.slope.item(), 4), trainer.global_step
        (3.0, 50)

    Source: Lightning 2.6's ``Trainer``; where this one differs, docs/lightning.md says so.
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
        self.session = Session(
            config, self, callbacks=callbacks, loggers=loggers, keep_going=keep_going, checkpoint_dir=checkpoint_dir
        )
        self.progress = self.session.progress
        # Called at each step, so without a detour.
        self.log_value, self.backward = self.session.log_value, self.session.backward

    # -- the four verbs -----------------------------------------------------------------------------------------------

    def fit(self, task: Task, train: Batches, val: Sources | None = None, *, state: dict[str, Any] | None = None) -> None:
        """Train ``task``.

        Args:
            task: the task; when fit returns it has the weights of the last step.
            train: where the training batches come from.
            val: what to validate on, one source or several; None for no validation.
            state: from ``Trainer.state``, or of a checkpoint (``training.checkpoint.load``): go on exactly where that was
                taken, to the same bits as a fit that was never left.

        Raises:
            ConfigError: for a task or settings that do not fit, before anything has run.
            NonFiniteError: for a loss, a gradient or weights that are not finite; no step is taken with them.
            CheckpointError: for a ``state`` of another model, other data or other settings.
        """
        fit(self.session, task, train, source_list(val) if val is not None else [], state)

    def validate(
        self, task: Task | None, val: Sources, *, ckpt_path: str | Path | None = None, verbose: bool = True
    ) -> list[Metrics]:
        """Run validation once; returns the metrics of each source, as plain numbers. Arguments as of ``test``."""
        return self._run("validate", "validation", task, val, ckpt_path, verbose)

    def test(
        self, task: Task | None, source: Sources, *, ckpt_path: str | Path | None = None, verbose: bool = True
    ) -> list[Metrics]:
        """Run the test.

        Args:
            task: the task; None for that of the last call, with the best weights.
            source: what to test on, one source or several.
            ckpt_path: weights to load first: a path, or "best" or "last" of what a ModelCheckpoint wrote.
            verbose: whether to print the metrics as a table.

        Returns:
            The metrics of each source, as plain numbers by name; [] where there are no batches.

        Raises:
            ConfigError: where the task has no test_step, or there is no such checkpoint.
            CheckpointError: for a checkpoint that is damaged.
        """
        return self._run("test", "test", task, source, ckpt_path, verbose)

    def predict(self, task: Task | None, source: Sources, *, ckpt_path: str | Path | None = None) -> list[Any]:
        """What ``predict_step`` returns for each batch, in order; of several sources, a list of those lists.

        ``task`` and ``ckpt_path`` are as of ``test``.
        """
        session, sources = self.session, source_list(source)
        with session.attached(self._chosen(task, "predict"), "predict"):
            own = session.overrides("predict_step") or session.overrides("forward")
            if session.task.predict_step is None or not own:
                name = type(session.task).__name__
                raise ConfigError(f"predict: expected {name} to have a predict_step, or forward, got none")
            self._load_weights(ckpt_path, task)
            session.task.zero_grad()
            lengths = [len(each.plan(self.current_epoch)) for each in sources]
            limits = [min(n, session.fast_dev_run or n) for n in lengths]
            outputs = evaluate(session, "predict", sources, limits).outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def replay(self, task: Task, path: str | Path, batch_type: Any = None) -> NonFiniteError | None:
        """Run the batch of a ``nonfinite.ckpt`` again, with the weights that it met there (see training/loop/nonfinite.py).

        Returns the error that it ends in once more; None where it does not, and the step is taken. ``task`` is left with
        those weights and the batch's gradients. ``batch_type`` is the batch's class, if a dataclass or a named tuple.
        """
        session, found = self.session, checkpoint.load(Path(path))
        with session.attached(task, "fit"), torch.enable_grad():
            configure_optimizers(session)
            restore_weights(session, found)
            session.num_training_batches = found["num_training_batches"]
            session.accumulating = session.accumulates()
            session.call("on_fit_start")
            task.zero_grad()
            batch = session.place(nonfinite.rebuilt(found["batch"], batch_type))
            try:
                take_step(session, batch, self.batch_idx)
            except NonFiniteError as error:
                error.batch, error.ids, error.path = batch, found["ids"], Path(path)
                return error
        return None

    def _run(
        self, stage: str, kind: str, task: Task | None, source: Sources, ckpt_path: str | Path | None, verbose: bool
    ) -> list[Metrics]:
        session, sources, split = self.session, source_list(source), stage[:3] if stage == "validate" else stage
        with session.attached(self._chosen(task, stage), stage):
            if not session.overrides(f"{kind}_step"):
                raise ConfigError(f"{stage}: expected {type(session.task).__name__} to have a {kind}_step, got none")
            self._load_weights(ckpt_path, task)
            session.task.zero_grad()
            metrics = evaluate(session, kind, sources, session.batches_to_run(split, sources)).metrics
        if verbose and metrics:
            print(results_table(metrics, stage))
        return metrics

    def _chosen(self, task: Task | None, stage: str) -> Task:
        if task is None and not self.session.has_task:
            raise ConfigError(f"{stage}: expected a task, since none was run before; got None")
        return task or self.session.task

    def _load_weights(self, ckpt_path: str | Path | None, task: Task | None) -> None:
        """Load the weights that are to be evaluated; without ``task`` and ``ckpt_path`` the best."""
        if ckpt_path is None and task is not None:
            return
        path = checkpoint_path("best" if ckpt_path is None else ckpt_path, self.session.callbacks)
        if path is None:
            return
        found = checkpoint.load(path)
        self.session.call_own("on_load_checkpoint", found)
        self.session.task.load_state_dict(found["weights"], strict=self.session.task.strict_loading)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here: weights, optimizers, schedulers, counters, metrics, callbacks."""
        return capture(self.session)

    def save_checkpoint(self, path: str | Path, weights_only: bool = False) -> None:
        """Write the state, or with ``weights_only`` the weights and counters alone.

        Raises:
            NonFiniteError: for weights that are not finite; nothing is written.
            DiskError: where the disk does not take it.
        """
        self.check_weights()
        checkpoint.save(Path(path), capture_weights(self.session) if weights_only else self.state())

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

    current_epoch, epochs_processed = _Of[int]("progress"), _Of[int]("progress")
    global_step, batch_idx = _Of[int]("progress"), _Of[int]("progress")
    total_batches, batches_that_stepped = _Of[int]("progress"), _Of[int]("progress")
    stage = _Of[str]("progress")
    should_stop, validated = _Of[bool]("progress"), _Of[bool]("progress")

    config, device = _Of[TrainConfig]("session"), _Of[torch.device]("session")
    callbacks, loggers = _Of[list[Callback]]("session"), _Of[list[MetricsLogger]]("session")
    keep_going = _Of["Callable[..., None] | None"]("session")
    checkpoint_dir = _Of["str | Path | None"]("session")
    max_epochs, max_steps = _Of[int]("session"), _Of[int]("session")
    fast_dev_run, accumulate_grad_batches = _Of[int]("session"), _Of[int]("session")
    check_val_every_n_epoch = _Of["int | None"]("session")

    task = _Of[Task]("session")
    optimizers, schedulers = _Of[list[CountingOptimizer]]("session"), _Of[list[Scheduler]]("session")
    gradient_norm = _Of[float]("session")
    fitting, sanity_checking, accumulating = _Of[bool]("session"), _Of[bool]("session"), _Of[bool]("session")
    num_training_batches, num_val_batches = _Of[int]("session"), _Of[int]("session")
    validates_this_epoch, validates_once_an_epoch = _Of[bool]("session"), _Of[bool]("session")
    resumed_from = _Of["Path | None"]("session")

    has_loggers, should_log = _Of[bool]("session"), _Of[bool]("session")
    metrics, progress_bar_metrics = _Of[dict[str, float]]("session"), _Of[dict[str, float]]("session")
    callback_metrics = _Of[dict[str, torch.Tensor]]("session")
    logged_metrics = _Of[dict[str, torch.Tensor]]("session")
    progress_bar_fields = _Of["dict[str, float | int | str]"]("session")
