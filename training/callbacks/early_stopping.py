"""EarlyStopping: ends a fit when a metric stops improving. As Lightning 2.6's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor

from training.bar import say
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument


class EarlyStoppingReason(Enum):
    """Why an EarlyStopping ended the fit."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Stop when a metric stops improving.

    Args:
        monitor: the logged metric to look at.
        min_delta: the smallest change that counts as an improvement.
        patience: how many checks in a row without improvement end the fit; checks, not epochs.
        verbose: print a line to standard error when the metric has improved, when the fit will stop, and when the
            metric was not logged although that is not an error.
        mode: "min" or "max": which is better, less or more. All comparisons are strict.
        strict: whether a metric that was not logged is an error; otherwise the check is skipped.
        check_finite: stop at once when the metric is NaN or infinite.
        stopping_threshold: stop at once when the metric is better than this.
        divergence_threshold: stop at once when the metric is worse than this.
        check_on_train_epoch_end: True checks at each epoch's end, False after each validation; None means True if
            validation runs just once per epoch with default settings.
        log_rank_zero_only: accepted and ignored.

    Raises:
        ConfigError: for another mode, or arguments that are not numbers; in the fit, for a metric that was not logged, if
            ``strict``.

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

    After the fit ``stopped_epoch``, ``stopping_reason``, ``stopping_reason_message`` and ``best_score`` tell how it ended.

    Source: Lightning 2.6's ``EarlyStopping``. The idea: Prechelt 1998, "Early stopping – but when?".
    """

    monitors = True
    mode_dict: ClassVar[dict[str, Callable[..., Tensor]]] = {"min": torch.lt, "max": torch.gt}
    order_dict: ClassVar[dict[str, str]] = {"min": "<", "max": ">"}

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        if mode not in self.mode_dict:
            raise ConfigError(f"EarlyStopping: mode: expected min or max, got {mode!r}")
        self.monitor, self.mode, self.strict, self.check_finite = monitor, mode, strict, check_finite
        self.patience: int = argument(patience, int, "EarlyStopping: patience", least=0)
        delta = argument(min_delta, float, "EarlyStopping: min_delta")
        self.min_delta: float = delta if mode == "max" else -delta
        self.stopping_threshold: float | None = _threshold(stopping_threshold, "stopping_threshold")
        self.divergence_threshold: float | None = _threshold(divergence_threshold, "divergence_threshold")
        self.verbose = verbose
        self.check_on_train_epoch_end = check_on_train_epoch_end
        self.log_rank_zero_only = log_rank_zero_only
        self.wait_count = 0
        self.stopped_epoch = 0
        self.best_score = _number(-math.inf if mode == "max" else math.inf)
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        self.stopping_reason_message: str | None = None

    @property
    def monitor_op(self) -> Callable[..., Tensor]:
        """``torch.lt`` or ``torch.gt``: whether the first number is better than the second."""
        return self.mode_dict[self.mode]

    # -- state ------------------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def state_dict(self) -> dict[str, Any]:
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "best_score": self.best_score,
            "patience": self.patience,
            "stopping_reason": self.stopping_reason.value,
            "stopping_reason_message": self.stopping_reason_message,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stopping_reason = EarlyStoppingReason(state["stopping_reason"])
        self.stopping_reason_message = state["stopping_reason_message"]
        self.best_score = _number(state["best_score"])
        self.wait_count, self.stopped_epoch = int(state["wait_count"]), int(state["stopped_epoch"])
        self.patience = int(state["patience"])

    # -- checks -----------------------------------------------------------------------------------------------------------

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
            message = f"EarlyStopping: expected the metric {self.monitor!r} to be logged, got {', '.join(metrics) or 'none'}"
            if self.strict:
                raise ConfigError(message)
            if self.verbose:
                warnings.warn(f"{message}; this check is skipped", RuntimeWarning, stacklevel=2)
            return
        stop, reason = self.evaluate_stopping_criteria(metrics[self.monitor])
        if stop:
            trainer.should_stop, self.stopped_epoch = True, trainer.current_epoch
            self.stopping_reason_message = reason
        if reason and self.verbose:
            say(f"EarlyStopping: {reason}{'; the fit will stop' if stop else ''}")

    def evaluate_stopping_criteria(self, current: float | Tensor) -> tuple[bool, str]:
        """Whether to stop, and why: non-finite, then a threshold, then divergence, then improvement.

        With an improvement, the text says how large it is; without one, and with no reason to stop, it is "".
        """
        value, stopping, divergence = _number(current), self.stopping_threshold, self.divergence_threshold
        said = f"{self.monitor} = {value.item()}"
        if self.check_finite and not value.isfinite():
            self.stopping_reason = EarlyStoppingReason.NON_FINITE_METRIC
            return True, f"{said} is not finite"
        if stopping is not None and self.monitor_op(value, stopping):
            self.stopping_reason = EarlyStoppingReason.STOPPING_THRESHOLD
            return True, f"{said} is past the stopping threshold {stopping}"
        if divergence is not None and self.monitor_op(-value, -divergence):
            self.stopping_reason = EarlyStoppingReason.DIVERGENCE_THRESHOLD
            return True, f"{said} is past the divergence threshold {divergence}"
        if self.monitor_op(value - self.min_delta, self.best_score):
            gained = f", by {abs(self.best_score - value):.4f}" if self.best_score.isfinite() else ""
            self.best_score, self.wait_count = value, 0
            return False, f"{self.monitor} improved to {value:.4f}{gained}"
        self.wait_count += 1
        if self.wait_count >= self.patience:
            self.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED
            return True, f"{self.monitor} did not improve in {self.wait_count} checks; best {self.best_score:.4f}"
        return False, ""


def _threshold(value: float | None, name: str) -> Any:
    return argument(value, float | None, f"EarlyStopping: {name}", infinite=True)


def _number(value: float | Tensor) -> Tensor:
    """As metrics are, float64 without dimensions."""
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu().reshape(())
