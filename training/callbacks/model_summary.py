"""ModelSummary: the table of a model's layers, when a fit begins."""

from __future__ import annotations

from training.bar import write
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.model_summary import ModelSummary as Summary
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument


class ModelSummary(Callback):
    """Writes the model's layers, their types and their numbers of parameters to standard error when a fit begins.

    With an ``example_input_array`` of the task the sizes of what goes in and comes out of them, too.

    Args:
        max_depth: 1 shows the task's own layers, 2 their layers too, -1 all; 0 shows nothing.

    Raises:
        ConfigError: for a depth below -1.

    Example:
        >>> from training import ModelSummary, TrainConfig, Trainer
        >>> trainer = Trainer(TrainConfig(device="cpu"), callbacks=ModelSummary(max_depth=2))

    Source: Lightning 2.6's ``ModelSummary``, without FLOPs.
    """

    def __init__(self, max_depth: int = 1) -> None:
        self.max_depth: int = argument(max_depth, int, "ModelSummary: max_depth")
        if self.max_depth < -1:
            raise ConfigError(f"ModelSummary: max_depth: expected -1 (all), 0 (nothing) or more, got {max_depth}")

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        if self.max_depth:
            write(str(Summary(task, self.max_depth, 8 if trainer.config.precision == "64-true" else 4)))
