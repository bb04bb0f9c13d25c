"""BasePredictionWriter: predictions go where a subclass writes them. As Lightning 2.6's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from training.bar import is_first
from training.data.tensors import map_tensors
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView

INTERVALS = ("batch", "epoch", "batch_and_epoch")


class BasePredictionWriter(Callback):
    """Base class; implement ``write_on_batch_end`` or ``write_on_epoch_end``.

    Args:
        write_interval: when to write: "batch" after each batch, "epoch" after all of them, "batch_and_epoch" both.

    Raises:
        ConfigError: for another interval.

    Example:
        >>> from training import BasePredictionWriter
        >>> class Printed(BasePredictionWriter):
        ...     def write_on_batch_end(self, trainer, task, prediction, batch_indices, batch, batch_idx, dataloader_idx):
        ...         print(batch_idx, prediction)
        >>> writer = Printed("batch")

    The batch indices are the places of a batch's items in the data set, as a DataLoader's sampler gave them, or what
    ``Task.batch_ids`` returns for the batch; None if there is neither.

    Source: Lightning 2.6's ``BasePredictionWriter``.
    """

    def __init__(self, write_interval: str = "batch") -> None:
        if write_interval not in INTERVALS:
            raise ConfigError(
                f"{type(self).__name__}: write_interval: expected {', '.join(INTERVALS)}, got {write_interval!r}"
            )
        self.interval = write_interval
        self._predictions: dict[int, list[Any]] = {}
        self._ids: dict[int, list[Any]] = {}

    def write_on_batch_end(
        self,
        trainer: TrainerView,
        task: Task,
        prediction: Any,
        batch_indices: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write what predict_step returned for one batch."""
        raise NotImplementedError(f"{type(self).__name__} has no write_on_batch_end")

    def write_on_epoch_end(
        self, trainer: TrainerView, task: Task, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write what it returned for all batches, in order; with several sources a list of each one's.

        ``batch_indices`` are a list for each source.
        """
        raise NotImplementedError(f"{type(self).__name__} has no write_on_epoch_end")

    def on_predict_start(self, trainer: TrainerView, task: Task) -> None:
        self._predictions, self._ids = {}, {}

    def on_predict_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        ids = task.batch_ids(batch)
        ids = trainer.batch_indices if ids is None else ids
        if self.interval != "batch":
            kept = outputs if trainer.device.type == "cpu" else map_tensors(outputs, torch.Tensor.cpu)
            self._predictions.setdefault(dataloader_idx, []).append(kept)
            self._ids.setdefault(dataloader_idx, []).append(ids)
        if self.interval != "epoch" and is_first():
            self.write_on_batch_end(trainer, task, outputs, ids, batch, batch_idx, dataloader_idx)

    def on_predict_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self.interval == "batch":
            return
        predictions, ids = list(self._predictions.values()), list(self._ids.values())
        self._predictions, self._ids = {}, {}
        if not is_first():  # what is written, one process writes
            return
        self.write_on_epoch_end(trainer, task, predictions[0] if len(predictions) == 1 else predictions, ids)
