"""Timer: how long a fit and its validations take, and an end to the fit when its time is over. As Lightning 2.6's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

from training.bar import say
from training.errors import ConfigError
from training.intervals import as_timedelta
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView

STAGES = ("train", "sanity_check", "validate", "test", "predict")


class Timer(Callback):
    """Measures the time of training, validation and test, and ends the fit when ``duration`` is over.

    Where it ends depends on the clock, so two fits may end in different bits. It ends like early stopping: the current
    epoch is over, and a resumed fit begins with the next one. To stop a fit so that it can be
    resumed to the same bits, use the setting ``max_time`` instead.

    In a resumed fit the time used before counts. A fit that a Timer ended can be resumed with a longer duration.

    Args:
        duration: the time for training, as "DD:HH:MM:SS", a timedelta, or a dict of its arguments, such as
            ``{"minutes": 30}``; None only measures.
        interval: "step" looks after each batch, "epoch" after each epoch.
        verbose: whether to print a line to standard error when the time is over.

    Raises:
        ConfigError: for an invalid duration or interval.

    Example:
        >>> from training import Timer
        >>> timer = Timer("00:12:00:00")
        >>> timer.time_elapsed("train"), timer.time_remaining()
        (0, 43200.0)

    Source: Lightning 2.6's ``Timer``.
    """

    def __init__(
        self,
        duration: str | timedelta | Mapping[str, int] | None = None,
        interval: str = "step",
        verbose: bool = True,
    ) -> None:
        if interval not in ("step", "epoch"):
            raise ConfigError(f"Timer: interval: expected step or epoch, got {interval!r}")
        self.duration = None if duration is None else _seconds(duration)
        self.interval, self.verbose = interval, verbose
        self._start: dict[str, float | None] = dict.fromkeys(STAGES)
        self._end: dict[str, float | None] = dict.fromkeys(STAGES)
        self._before: float = 0
        """Seconds of training before the state that the fit goes on from."""
        self._stopped = False
        """Whether it was this timer that asked for the end."""

    # -- times, all in seconds ----------------------------------------------------------------------------------------------

    def start_time(self, stage: str = "train") -> float | None:
        """When the stage last began, on a clock of its own; None where it has not. ``stage``: train, validate, test."""
        return self._start[_known(stage)]

    def end_time(self, stage: str = "train") -> float | None:
        """When it last ended; None where it has not."""
        return self._end[_known(stage)]

    def time_elapsed(self, stage: str = "train") -> float:
        """How long it took, or has taken until now; of training with the time before a resume."""
        start, end = self.start_time(stage), self.end_time(stage)
        before = self._before if stage == "train" else 0
        if start is None:
            return before
        return (monotonic() if end is None else end) - start + before

    def time_remaining(self, stage: str = "train") -> float | None:
        """What is left of the duration; None without one."""
        return None if self.duration is None else self.duration - self.time_elapsed(stage)

    # -- hooks --------------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        if self.duration is None:
            return
        if self._stopped and not self._is_over(trainer):
            trainer.should_stop = self._stopped = False  # there is more time now than when it ended the fit
        if self.interval == "step" or trainer.stage == "start":  # else it has its look at the epoch's end
            self._check(trainer)

    def on_train_start(self, trainer: TrainerView, task: Task) -> None:
        self._begin("train")

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.interval == "step":
            self._check(trainer)

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self.interval == "epoch":
            self._check(trainer)

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        self._end["train"] = monotonic()

    def on_validation_start(self, trainer: TrainerView, task: Task) -> None:
        self._begin("validate")

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        self._end["validate"] = monotonic()

    def on_test_start(self, trainer: TrainerView, task: Task) -> None:
        self._begin("test")

    def on_test_end(self, trainer: TrainerView, task: Task) -> None:
        self._end["test"] = monotonic()

    def _begin(self, stage: str) -> None:
        self._start[stage], self._end[stage] = monotonic(), None

    def _check(self, trainer: TrainerView) -> None:
        if not self._is_over(trainer):
            return
        if not trainer.should_stop:
            trainer.should_stop = self._stopped = True
        if self.verbose:
            say(f"Timer: {timedelta(seconds=int(self.time_elapsed()))} have passed; the fit will stop")

    def _is_over(self, trainer: TrainerView) -> bool:
        """Whether the time is, by the clock of process 0."""
        duration = self.duration
        return duration is not None and trainer.first(lambda: self.time_elapsed() >= duration)

    # -- state --------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"time_elapsed": {stage: self.time_elapsed(stage) for stage in STAGES}, "stopped": self._stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before, self._stopped = state["time_elapsed"]["train"], state["stopped"]


def _known(stage: str) -> str:
    if stage not in STAGES:
        raise ConfigError(f"Timer: expected one of {', '.join(STAGES)}, got {stage!r}")
    return stage


def _seconds(duration: str | timedelta | Mapping[str, int]) -> float:
    if isinstance(duration, str):
        found = re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", duration.strip())
        if not found:
            raise ConfigError(f"Timer: duration: expected DD:HH:MM:SS, such as 00:12:00:00, got {duration!r}")
        days, hours, minutes, seconds = map(int, found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    return as_timedelta(duration, "Timer: duration").total_seconds()
