"""LearningRateMonitor: logs learning rates. As Lightning 2.6's."""

from __future__ import annotations

import warnings
from typing import Any

from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView


class LearningRateMonitor(Callback):
    """Logs the learning rate of each optimizer, as ``lr-Adam`` (``lr-Adam/pg1``, … where it has parameter groups).

    All that it logs can be monitored. ``lrs`` has the rates logged since the fit began, in lists by name.

    Args:
        logging_interval: "step", "epoch", or None for the interval of each scheduler.
        log_momentum: log ``lr-Adam-momentum``, too.
        log_weight_decay: log ``lr-Adam-weight_decay``, too.

    Raises:
        ConfigError: for another interval; in the fit, for a Trainer without loggers.

    Example:
        >>> from training import LearningRateMonitor, TrainConfig, Trainer
        >>> class Printed:
        ...     def log_metrics(self, metrics, step):
        ...         print(step, metrics)
        >>> trainer = Trainer(TrainConfig(device="cpu"), callbacks=LearningRateMonitor("step"), logger=Printed())

    Source: Lightning 2.6's ``LearningRateMonitor``.
    """

    def __init__(
        self, logging_interval: str | None = None, log_momentum: bool = False, log_weight_decay: bool = False
    ) -> None:
        if logging_interval not in (None, "step", "epoch"):
            raise ConfigError(f"LearningRateMonitor: expected step, epoch or None, got {logging_interval!r}")
        self.logging_interval = logging_interval
        self.log_momentum, self.log_weight_decay = log_momentum, log_weight_decay
        self.lrs: dict[str, list[float]] = {}
        self.last_momentum_values: dict[str, float | None] = {}
        self.last_weight_decay_values: dict[str, float | None] = {}

    def on_train_start(self, trainer: TrainerView, task: Task) -> None:
        if not trainer.has_loggers:
            raise ConfigError("LearningRateMonitor: expected a Trainer with loggers, got none to write to")
        if self.log_momentum and not all({"momentum", "betas"} & set(each.defaults) for each in trainer.optimizers):
            warnings.warn(
                "LearningRateMonitor: an optimizer has no momentum: 0 is logged for it", RuntimeWarning, stacklevel=2
            )
        names = list(trainer.learning_rates())
        self.lrs = {name: [] for name in names}
        self.last_momentum_values = {f"{name}-momentum": None for name in names}
        self.last_weight_decay_values = {f"{name}-weight_decay": None for name in names}

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        if self.logging_interval != "epoch" and trainer.should_log:
            self._log(trainer, "step" if self.logging_interval is None else "any")

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        if self.logging_interval != "step":
            self._log(trainer, "epoch" if self.logging_interval is None else "any")

    def _log(self, trainer: TrainerView, interval: str) -> None:
        values = trainer.learning_rates(interval, momentum=self.log_momentum, weight_decay=self.log_weight_decay)
        for name in trainer.learning_rates(interval):
            if name.endswith("/pg1") and (alone := name.removesuffix("/pg1")) in self.lrs:
                self.lrs = {name if each == alone else each: rates for each, rates in self.lrs.items()}
            self.lrs.setdefault(name, []).append(values[name])
            if self.log_momentum:
                self.last_momentum_values[f"{name}-momentum"] = values[f"{name}-momentum"]
            if self.log_weight_decay:
                self.last_weight_decay_values[f"{name}-weight_decay"] = values[f"{name}-weight_decay"]
        trainer.metrics.update(values)
        for logger in trainer.loggers if values else ():
            logger.log_metrics(dict(values), trainer.batches_that_stepped)
