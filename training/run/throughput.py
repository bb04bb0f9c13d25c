"""How fast training goes: for the timings file."""

from __future__ import annotations

import time
from typing import Any

from training.bar import Pace
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.run import tensorboard
from training.run.folder import Run


class Throughput(Callback):
    """Writes ``<unit>_per_second`` of training alone (validation left out) and of seconds an epoch to the timings."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if stage == "fit":
            tensorboard.load()

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        self.epoch_started = time.perf_counter()
        self.pace = Pace()

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        self.pace.begin()

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.pace.end(task.units(batch))
        if trainer.should_log and not trainer.accumulating:
            self.run.log_timings({f"{task.unit}_per_second": self.pace.rate}, trainer.batches_that_stepped)
            self.pace = Pace()

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if hasattr(self, "epoch_started"):  # not there where a run was resumed inside the epoch
            seconds = time.perf_counter() - self.epoch_started
            self.run.log_timings({"epoch_seconds": seconds}, trainer.batches_that_stepped)

    def on_load_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None:
        self.pace = Pace()
