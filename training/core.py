"""What the loop stands on: hooks, metrics, limits, and the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from training import cadence, checkpoint, optimization
from training.callbacks import Callback
from training.config import TrainConfig
from training.device import choose_device, move
from training.errors import ConfigError
from training.optimization import CountingOptimizer, Scheduler
from training.precision import convert, precision
from training.results import Results
from training.task import Task

if TYPE_CHECKING:
    from training.loop import Batches, Trainer


class MetricsLogger(Protocol):
    """Takes what is logged; a Run is one."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Scalars by name, at a global step."""
        ...


class TrainerCore:
    """The Trainer without its loops."""

    def __init__(
        self,
        config: TrainConfig,
        *,
        callbacks: Sequence[Callback] = (),
        loggers: Sequence[MetricsLogger] = (),
        keep_going: Callable[[Trainer], None] | None = None,
        checkpoint_dir: str | Path | None = None,
    ) -> None:
        self.config = config
        self.callbacks = sorted(callbacks, key=lambda c: c.last)
        self.fast_dev_run = config.fast_dev_run
        self.loggers = [] if self.fast_dev_run else list(loggers)
        self.keep_going = keep_going
        """Called at every batch boundary of a fit; raises to stop there (see training/preempt.py)."""
        self.checkpoint_dir = checkpoint_dir
        """Where a ModelCheckpoint without a folder of its own writes."""
        self.device = choose_device(config.device)
        self.accumulate_grad_batches = config.accumulate_grad_batches
        self.optimizers: list[CountingOptimizer] = []
        self.schedulers: list[Scheduler] = []
        self.fitting = self.sanity_checking = self.should_stop = self.validated = False
        self.current_epoch = self.epochs_processed = self.global_step = 0
        self.batches_that_stepped = self.total_batches = self.eval_batches = 0
        self.batch_idx, self.stage = 0, "start"
        self.num_training_batches = self.num_val_batches = self.validation_interval = 0
        self.gradient_norm = 0.0
        self.hook = ""
        self.train_results, self.eval_results = Results(), Results()
        self.results = self.train_results
        self._in_batch = False
        self._evaluated: dict[str, float] = {}
        self._callback_metrics: dict[str, float] = {}
        self._bar_metrics: dict[str, float] = {}
        self._task: Task | None = None
        self._hooks: dict[str, list[Callable[..., Any]]] = {}

    # -- task and hooks -----------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task:
        """The task that is being run."""
        if self._task is None:
            raise RuntimeError("the Trainer has no task: call fit, validate, test or predict")
        return self._task

    @contextmanager
    def _attached(self, task: Task, stage: str) -> Iterator[None]:
        """Set the task up on the device, with optimizers for a fit; tell the callbacks of an exception; tear down."""
        task._trainer, self._task, self._hooks = self, task, {}  # type: ignore[assignment]
        try:
            self.call("setup", stage)
            self.hook = "configure_model"
            task.configure_model()
            task.to(self.device)
            if self.config.precision == "64-true":
                task.double()
            if stage == "fit":
                self.hook = "configure_optimizers"
                optimizers, self.schedulers = optimization.configure(task.configure_optimizers())
                if not optimizers and task.automatic_optimization:
                    raise ConfigError("configure_optimizers: expected an optimizer, got none")
                self.optimizers = [CountingOptimizer(each, self) for each in optimizers]  # type: ignore[arg-type]
            yield
            self.call("teardown", stage)
        except BaseException as error:
            for callback in self.callbacks:
                callback.on_exception(self, task, error)  # type: ignore[arg-type]
            raise

    def call(self, hook: str, *arguments: Any) -> Any:
        """Run a hook: the callbacks' first, then the task's, whose result is returned.

        At on_train_epoch_end the callbacks that monitor come after the task, to see what it logged there.
        """
        if hook not in self._hooks:
            self._hooks[hook] = self._chain(hook)
        before, self.hook = self.hook, hook
        result = None
        for function in self._hooks[hook]:
            result = function(*arguments)
        self.hook = before
        return result

    def _chain(self, hook: str) -> list[Callable[..., Any]]:
        """The functions of a hook in order; callbacks that do not override it are left out, for speed."""
        late = hook == "on_train_epoch_end"
        bound = [
            (callback.monitors and late, getattr(callback, hook))
            for callback in self.callbacks
            if getattr(type(callback), hook, None) is not getattr(Callback, hook, None)
        ]
        functions: list[Callable[..., Any]] = [_with(self, self.task, f) for after, f in bound if not after]
        functions.append(getattr(self.task, hook, _nothing))
        functions += [_with(self, self.task, f) for after, f in bound if after]
        return functions

    def step(self, name: str, batch: Any, batch_idx: int) -> Any:
        """Run the task's ``name`` (training_step, …) in the configured precision."""
        before, self.hook = self.hook, name
        if self.config.precision == "32-true":
            result = getattr(self.task, name)(batch, batch_idx)
        else:
            with precision(self.config.precision, self.device):
                result = getattr(self.task, name)(batch, batch_idx)
        self.hook = before
        return result

    def backward(self, loss: torch.Tensor) -> None:
        """Backward with its hooks."""
        self.call("on_before_backward", loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self.call("on_after_backward")

    def _place(self, batch: Any) -> Any:
        batch = move(batch, self.device)
        return convert(batch) if self.config.precision == "64-true" else batch

    def where(self) -> str:
        """The place in the run, for messages."""
        return f"epoch {self.current_epoch}, batch {self.batch_idx}, step {self.global_step}"

    # -- limits -------------------------------------------------------------------------------------------------------

    def _check_limits(self, train: Batches, val: Batches | None) -> None:
        """Numbers of batches, and the interval between validations."""
        config, quick = self.config, self.fast_dev_run
        overfit = config.overfit_batches or None
        n_train, n_val = len(train.plan(0)), len(val.plan(0)) if val is not None else 0
        self.num_training_batches = cadence.limit_batches(
            quick or overfit or config.limit_train_batches, n_train, "limit_train_batches"
        )
        self.num_val_batches = cadence.limit_batches(
            quick or overfit or config.limit_val_batches, n_val, "limit_val_batches"
        )
        if self.num_training_batches and self.num_val_batches:
            self.validation_interval = cadence.validation_interval(
                1.0 if quick else config.val_check_interval, self.num_training_batches, config.check_val_every_n_epoch
            )
        if self.num_training_batches == 0 and config.max_epochs:
            raise ConfigError("fit: there are no training batches; give data, or a higher limit_train_batches")

    @property
    def validates_once_an_epoch(self) -> bool:
        """Whether validation runs just at each epoch's end, by default settings."""
        return self.config.val_check_interval == 1.0 and self.config.check_val_every_n_epoch == 1

    @property
    def validates_this_epoch(self) -> bool:
        """Whether there is a validation to run in the current epoch."""
        every = self.config.check_val_every_n_epoch
        return self.num_val_batches > 0 and (every is None or (self.current_epoch + 1) % every == 0)

    @property
    def accumulating(self) -> bool:
        """Whether the current batch only adds to the gradients, without an optimizer step."""
        ready = self.batch_idx + 1
        return ready % self.accumulate_grad_batches != 0 and ready != self.num_training_batches

    def _validation_due(self) -> bool:
        if not self.num_val_batches:
            return False
        stopping = self.should_stop and self._can_stop_early()
        every = self.config.check_val_every_n_epoch
        return cadence.validation_due(
            self.batch_idx, self.total_batches, self.current_epoch, self.validation_interval, every, stopping
        )

    def _can_stop_early(self) -> bool:
        return self.epochs_processed >= self.config.min_epochs and self.global_step >= self.config.min_steps

    def _steps_reached(self) -> bool:
        return self.config.max_steps != -1 and self.global_step >= self.config.max_steps

    def _done(self) -> bool:
        """Whether fit ends here; never inside an epoch that was begun."""
        if self.stage != "start":
            return False
        max_epochs = 1 if self.fast_dev_run else self.config.max_epochs
        return (
            self._steps_reached()
            or (max_epochs != -1 and self.epochs_processed >= max_epochs)
            or (self.should_stop and self._can_stop_early())
        )

    def _boundary(self) -> None:
        """A batch boundary: the one place where a fit may be left."""
        if self.keep_going is not None:
            self.keep_going(self)  # type: ignore[arg-type]

    # -- metrics ------------------------------------------------------------------------------------------------------

    @property
    def should_log(self) -> bool:
        """Whether this step's metrics are written: every log_every_n_steps, and when a stop is due."""
        every = self.config.log_every_n_steps
        return every > 0 and ((self.batches_that_stepped + 1) % every == 0 or self.should_stop)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write scalars to the loggers, with the epoch, at the current step."""
        if not metrics or self.sanity_checking:
            return
        plain = {name: float(value) for name, value in metrics.items()}
        if step is None:
            plain.setdefault("epoch", self.current_epoch)
        for logger in self.loggers:
            logger.log_metrics(plain, self.batches_that_stepped if step is None else step)

    def learning_rates(self, interval: str = "any") -> dict[str, float]:
        """The learning rates by name; only where a scheduler of that interval exists, unless "any"."""
        if interval != "any" and self.schedulers and not any(s.interval == interval for s in self.schedulers):
            return {}
        return optimization.learning_rates(each.optimizer for each in self.optimizers)

    @property
    def callback_metrics(self) -> dict[str, float]:
        """The newest value of every logged name, the plain and the forked ones."""
        found = self.results.collect(self._in_batch)["callback"]
        self._callback_metrics.update({name: float(value) for name, value in found.items()})
        return self._callback_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The newest value of what was logged with prog_bar=True."""
        return self._bar_metrics

    def _collect(self) -> None:
        found = self.results.collect(self._in_batch)
        self._callback_metrics.update({name: float(value) for name, value in found["callback"].items()})
        self._bar_metrics.update({name: float(value) for name, value in found["pbar"].items()})

    # -- state --------------------------------------------------------------------------------------------------------

    counters: ClassVar[list[str]] = (
        "current_epoch epochs_processed global_step batches_that_stepped total_batches eval_batches batch_idx stage "
        "should_stop gradient_norm validated"
    ).split()

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here: weights, optimizers, schedulers, counters, metrics, callbacks."""
        window_open = self.batch_idx % self.accumulate_grad_batches != 0 and self.stage == "batch"
        checkpoint: dict[str, Any] = {
            "weights": dict(self.task.state_dict()),
            "optimizers": [each.optimizer.state_dict() for each in self.optimizers],
            "schedulers": [each.scheduler.state_dict() for each in self.schedulers],
            "progress": {name: getattr(self, name) for name in self.counters},
            "callbacks": {callback.state_key(): callback.state_dict() for callback in self.callbacks},
            "metrics": dict(self._callback_metrics),
            "bar_metrics": dict(self._bar_metrics),
            "results": self.train_results.state(),
            "gradients": {n: p.grad for n, p in self.task.named_parameters() if p.grad is not None and window_open},
        }
        for callback in self.callbacks:
            callback.on_save_checkpoint(self, self.task, checkpoint)  # type: ignore[arg-type]
        self.task.on_save_checkpoint(checkpoint)
        return checkpoint

    def save_checkpoint(self, path: str | Path, weights_only: bool = False) -> None:
        """Write the state, or with ``weights_only`` the weights and counters alone."""
        if weights_only:
            kept = {"weights_only": True, "weights": dict(self.task.state_dict())}
            kept["progress"] = {name: getattr(self, name) for name in self.counters}
            self.task.on_save_checkpoint(kept)
        else:
            kept = self.state()
        checkpoint.save(Path(path), kept)

    def load_state(self, checkpoint: dict[str, Any]) -> None:
        """Back to where ``state`` was taken."""
        self.task.load_state_dict(checkpoint["weights"])
        for each, optimizer_state in zip(self.optimizers, checkpoint["optimizers"], strict=True):
            each.optimizer.load_state_dict(optimizer_state)
        for scheduler, scheduler_state in zip(self.schedulers, checkpoint["schedulers"], strict=True):
            scheduler.scheduler.load_state_dict(scheduler_state)
        for name in self.counters:
            setattr(self, name, checkpoint["progress"][name])
        for callback in self.callbacks:
            if callback.state_key() in checkpoint["callbacks"]:
                callback.load_state_dict(checkpoint["callbacks"][callback.state_key()])
        self._callback_metrics = dict(checkpoint["metrics"])
        self._bar_metrics = dict(checkpoint["bar_metrics"])
        self.train_results.load_state(checkpoint["results"])
        parameters = dict(self.task.named_parameters())
        for name, gradient in checkpoint["gradients"].items():
            parameters[name].grad = gradient.to(parameters[name].device)
        for callback in self.callbacks:
            callback.on_load_checkpoint(self, self.task, checkpoint)  # type: ignore[arg-type]
        self.task.on_load_checkpoint(checkpoint)


def _with(trainer: Any, task: Task, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(trainer, task, *arguments)


def _nothing(*arguments: Any) -> None:
    """The hook of a task that has none."""
