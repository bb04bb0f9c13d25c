"""Callbacks: what happens beside training. Names, defaults and conditions are Lightning 2.6's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from training.errors import ConfigError
from training.loop.hooks import overridden

if TYPE_CHECKING:
    from training.loop.task import Task
    from training.loop.trainer import Trainer


class Callback:
    """Subclass, and override the hooks of interest: each gets the trainer and the task, then the hook's own arguments.

    A hook runs just before the task's hook of the same name (see Task for when), except on_train_epoch_end, where
    callbacks that monitor run after it. Arguments: (batch, batch_idx) at on_train_batch_start, (outputs, batch,
    batch_idx) at on_train_batch_end; the same with dataloader_idx for validation, test and predict.
    """

    monitors = False
    """Whether the callback reads logged metrics: then it comes after the task at on_train_epoch_end."""

    last = False
    """Whether the callback runs after all others (checkpoints do, so that they hold the others' state)."""

    log: Callable[..., None]
    """``Task.log`` of the task that is being run; it can be used in the same hooks as there."""

    log_dict: Callable[..., None]
    """``Task.log_dict`` of it."""

    def state_key(self) -> str:
        """Under which name its state stands in a checkpoint."""
        return type(self).__qualname__

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back from a checkpoint."""

    def setup(self, trainer: Trainer, task: Task, stage: str) -> None: ...
    def teardown(self, trainer: Trainer, task: Task, stage: str) -> None: ...
    def on_fit_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_fit_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_sanity_check_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_sanity_check_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_train_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_train_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_train_epoch_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_train_epoch_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_train_batch_start(self, trainer: Trainer, task: Task, batch: Any, batch_idx: int) -> None: ...
    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None: ...
    def on_before_backward(self, trainer: Trainer, task: Task, loss: Any) -> None: ...
    def on_after_backward(self, trainer: Trainer, task: Task) -> None: ...
    def on_before_optimizer_step(self, trainer: Trainer, task: Task, optimizer: Any) -> None: ...
    def on_before_zero_grad(self, trainer: Trainer, task: Task, optimizer: Any) -> None: ...
    def on_validation_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_validation_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_validation_epoch_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_validation_epoch_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_validation_batch_start(
        self, trainer: Trainer, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_validation_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_test_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_test_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_test_epoch_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_test_epoch_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_test_batch_start(
        self, trainer: Trainer, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_test_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_predict_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_predict_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_predict_epoch_start(self, trainer: Trainer, task: Task) -> None: ...
    def on_predict_epoch_end(self, trainer: Trainer, task: Task) -> None: ...
    def on_predict_batch_start(
        self, trainer: Trainer, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_predict_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_save_checkpoint(self, trainer: Trainer, task: Task, checkpoint: dict[str, Any]) -> None: ...
    def on_load_checkpoint(self, trainer: Trainer, task: Task, checkpoint: dict[str, Any]) -> None: ...
    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None: ...


class EarlyStopping(Callback):
    """Stop when a metric stops improving. ``patience`` counts checks, not epochs. All comparisons are strict.

    Checked after each validation, or where validation runs just once an epoch, at the epoch's end.
    """

    monitors = True

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
    ) -> None:
        if mode not in ("min", "max"):
            raise ConfigError(f"EarlyStopping: mode: expected min or max, got {mode!r}")
        self.monitor, self.patience, self.mode, self.strict = monitor, patience, mode, strict
        self.check_finite = check_finite
        self.stopping_threshold, self.divergence_threshold = stopping_threshold, divergence_threshold
        self.min_delta = min_delta if mode == "max" else -min_delta
        self.better: Callable[[float, float], bool] = float.__gt__ if mode == "max" else float.__lt__
        self.check_on_train_epoch_end = check_on_train_epoch_end
        self.wait_count = 0
        self.stopped_epoch = 0
        self.best_score = -math.inf if mode == "max" else math.inf
        self.reason = ""

    def state_key(self) -> str:
        return f"EarlyStopping({self.monitor}, {self.mode})"

    def state_dict(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("wait_count", "stopped_epoch", "best_score", "patience", "reason")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def setup(self, trainer: Trainer, task: Task, stage: str) -> None:
        if self.check_on_train_epoch_end is None:
            self.check_on_train_epoch_end = trainer.validates_once_an_epoch

    def on_train_epoch_end(self, trainer: Trainer, task: Task) -> None:
        if self.check_on_train_epoch_end:
            self._check(trainer)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if not self.check_on_train_epoch_end and trainer.fitting and not trainer.sanity_checking:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:
            return
        metrics = trainer.metrics
        if self.monitor not in metrics:
            if self.strict:
                raise ConfigError(
                    f"EarlyStopping: expected the metric {self.monitor!r} to be logged, got {', '.join(metrics) or 'none'}"
                )
            return
        stop, self.reason = self.judge(metrics[self.monitor])
        if stop:
            trainer.should_stop, self.stopped_epoch = True, trainer.current_epoch

    def judge(self, current: float) -> tuple[bool, str]:
        """Whether to stop, and why: non-finite, then a threshold, then divergence, then improvement."""
        if self.check_finite and not math.isfinite(current):
            return True, f"{self.monitor} = {current} is not finite"
        if self.stopping_threshold is not None and self.better(current, self.stopping_threshold):
            return True, f"{self.monitor} = {current} is past the stopping threshold {self.stopping_threshold}"
        if self.divergence_threshold is not None and self.better(-current, -self.divergence_threshold):
            return True, f"{self.monitor} = {current} is past the divergence threshold {self.divergence_threshold}"
        if self.better(current - self.min_delta, self.best_score):
            self.best_score, self.wait_count = current, 0
            return False, ""
        self.wait_count += 1
        if self.wait_count >= self.patience:
            return True, f"{self.monitor} did not improve in {self.wait_count} checks; best {self.best_score:.4f}"
        return False, ""


class LearningRateMonitor(Callback):
    """Logs the learning rate of each optimizer, as ``lr-Adam`` (``lr-Adam/pg1``, … where it has parameter groups).

    ``logging_interval`` is "step", "epoch", or None for the interval of each scheduler. ``log_momentum`` and
    ``log_weight_decay`` add ``lr-Adam-momentum`` and ``lr-Adam-weight_decay``. All of them can be monitored.
    """

    def __init__(
        self, logging_interval: str | None = None, log_momentum: bool = False, log_weight_decay: bool = False
    ) -> None:
        if logging_interval not in (None, "step", "epoch"):
            raise ConfigError(f"LearningRateMonitor: expected step, epoch or None, got {logging_interval!r}")
        self.logging_interval = logging_interval
        self.log_momentum, self.log_weight_decay = log_momentum, log_weight_decay

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if not trainer.has_loggers:
            raise ConfigError("LearningRateMonitor: expected a Trainer with loggers, got none to write to")

    def on_train_batch_start(self, trainer: Trainer, task: Task, batch: Any, batch_idx: int) -> None:
        if self.logging_interval != "epoch" and trainer.should_log:
            self._log(trainer, "step" if self.logging_interval is None else "any")

    def on_train_epoch_start(self, trainer: Trainer, task: Task) -> None:
        if self.logging_interval != "step":
            self._log(trainer, "epoch" if self.logging_interval is None else "any")

    def _log(self, trainer: Trainer, interval: str) -> None:
        values = trainer.learning_rates(interval, momentum=self.log_momentum, weight_decay=self.log_weight_decay)
        trainer.metrics.update(values)
        trainer.log_metrics(values, trainer.batches_that_stepped)


def key_of(callback: Callback) -> str:
    """Its ``state_key``, which may be a property, as in Lightning."""
    key = callback.state_key
    return key() if callable(key) else str(key)


def check_keys(callbacks: Sequence[Callback]) -> None:
    """ConfigError where two callbacks would keep their state under one key."""
    keys = [key_of(c) for c in callbacks if overridden(c, "state_dict", Callback)]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"callbacks: two have the same state_key ({', '.join(twice)}), so that one's state would be lost")
