"""EarlyStopping: ends a fit when a metric stops improving. As Lightning 2.6's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument


class EarlyStopping(Callback):
    """Stop when a metric stops improving.

    Args:
        monitor: the logged metric to look at.
        min_delta: by how much it must be better to count as improved.
        patience: how many checks in a row without improvement end the fit; checks, not epochs.
        mode: "min" or "max": which is better, less or more. All comparisons are strict.
        strict: whether a metric that was not logged is an error; else that check is left out.
        check_finite: stop at once when the metric is NaN or infinite.
        stopping_threshold: stop at once when the metric is better than this.
        divergence_threshold: stop at once when the metric is worse than this.
        check_on_train_epoch_end: True checks at each epoch's end, False after each validation; None is True where
            validation runs just once an epoch, by default settings.

    Raises:
        ConfigError: for another mode or no numbers; in the fit, for a metric that was not logged, if ``strict``.

    Example:
        >>> from training import EarlyStopping
        >>> stopping = EarlyStopping("val_loss", patience=2)
        >>> for val_loss in (1.0, 0.5, 0.75, 0.5):
        ...     stop, reason = stopping.evaluate_stopping_criteria(val_loss)
        ...     print(stop, stopping.wait_count)
        False 0
        False 0
        False 1
        True 2
        >>> reason
        'val_loss did not improve in 2 checks; best 0.5000'

    Source: Lightning 2.6's ``EarlyStopping``. The idea: Prechelt 1998, "Early stopping – but when?".
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
        self.monitor, self.mode, self.strict, self.check_finite = monitor, mode, strict, check_finite
        self.patience: int = argument(patience, int, "EarlyStopping: patience", least=0)
        delta = argument(min_delta, float, "EarlyStopping: min_delta")
        self.min_delta: float = delta if mode == "max" else -delta
        self.stopping_threshold: float | None = _threshold(stopping_threshold, "stopping_threshold")
        self.divergence_threshold: float | None = _threshold(divergence_threshold, "divergence_threshold")
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

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if self.check_on_train_epoch_end is None:
            self.check_on_train_epoch_end = trainer.validates_once_an_epoch

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self.check_on_train_epoch_end:
            self._check(trainer)

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if not self.check_on_train_epoch_end and trainer.fitting and not trainer.sanity_checking:
            self._check(trainer)

    def _check(self, trainer: TrainerView) -> None:
        if trainer.fast_dev_run:
            return
        metrics = trainer.metrics
        if self.monitor not in metrics:
            if self.strict:
                raise ConfigError(
                    f"EarlyStopping: expected the metric {self.monitor!r} to be logged, got {', '.join(metrics) or 'none'}"
                )
            return
        stop, self.reason = self.evaluate_stopping_criteria(metrics[self.monitor])
        if stop:
            trainer.should_stop, self.stopped_epoch = True, trainer.current_epoch

    def evaluate_stopping_criteria(self, current: float) -> tuple[bool, str]:
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


def _threshold(value: float | None, name: str) -> Any:
    return argument(value, float | None, f"EarlyStopping: {name}", infinite=True)
