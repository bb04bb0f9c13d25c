"""GradientAccumulationScheduler: more or fewer batches a step from some epoch on. As Lightning 2.6's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.hooks import overridden
from training.loop.task import Task
from training.loop.view import TrainerView


class GradientAccumulationScheduler(Callback):
    """Changes the number of batches per optimizer step, at the start of epochs.

    Args:
        scheduling: epoch (from 0) → number of batches, which holds until the next epoch named; before the first one it is 1.

    Raises:
        ConfigError: for an empty dict, epochs below 0 and numbers below 1; in the fit, before anything has run, for manual
            optimization and for a Trainer with ``accumulate_grad_batches`` of its own.

    Example:
        >>> from training import GradientAccumulationScheduler
        >>> scheduler = GradientAccumulationScheduler({0: 8, 4: 4, 8: 1})
        >>> [scheduler.get_accumulate_grad_batches(epoch) for epoch in (0, 3, 4, 9)]
        [8, 8, 4, 1]

    Source: Lightning 2.6's ``GradientAccumulationScheduler``.
    """

    def __init__(self, scheduling: Mapping[int, int]) -> None:
        where = "GradientAccumulationScheduler: scheduling"
        if not scheduling:
            raise ConfigError(f"{where}: expected numbers of batches by epoch, such as {{0: 8, 4: 4}}, got none")
        if any(not isinstance(epoch, int) or epoch < 0 for epoch in scheduling):
            raise ConfigError(f"{where}: expected epochs of 0 or more, got {list(scheduling)}")
        if any(not isinstance(number, int) or number < 1 for number in scheduling.values()):
            raise ConfigError(f"{where}: expected numbers of batches of 1 or more, got {list(scheduling.values())}")
        self.scheduling = {**({} if 0 in scheduling else {0: 1}), **scheduling}
        self.epochs = sorted(self.scheduling)

    def going_to_accumulate_grad_batches(self) -> bool:
        """Whether there is an epoch with more than one batch a step."""
        return any(number > 1 for number in self.scheduling.values())

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """How many batches make a step in ``epoch``."""
        return self.scheduling[max(each for each in self.epochs if each <= epoch)]

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if stage != "fit":
            return
        if not task.automatic_optimization:
            raise ConfigError(
                "GradientAccumulationScheduler: not possible with automatic_optimization = False; accumulate in "
                "training_step"
            )
        if trainer.config.accumulate_grad_batches != 1:
            raise ConfigError(
                "GradientAccumulationScheduler: expected a Trainer without accumulate_grad_batches, got "
                f"{trainer.config.accumulate_grad_batches}; leave out one of them"
            )
        own = [name for name in ("optimizer_step", "optimizer_zero_grad") if overridden(task, name, Task)]
        if own and self.going_to_accumulate_grad_batches():
            warnings.warn(f"GradientAccumulationScheduler: {own[0]} is called once a step, not once a batch", stacklevel=2)
        self._set(trainer)

    def on_load_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None:
        self._set(trainer)  # the epoch may be left in its middle

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        self._set(trainer)

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        self._set(trainer)

    def _set(self, trainer: TrainerView) -> None:
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)
