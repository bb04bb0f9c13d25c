"""How a command speaks while it trains: with a bar, or as a JSON log."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click

from training.bar import Pace
from training.callbacks.progress_bar import ProgressBar
from training.callbacks.validation_line import ValidationLine
from training.commands.door import for_styles
from training.commands.terminal import LongJob
from training.job_progress import JobProgress
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView


def progress_bar() -> ProgressBar:
    """The bar of a training on the terminal, each epoch's left there."""
    bar = ProgressBar(leave=True)
    bar.stream = for_styles(sys.stderr)
    return bar


class JsonLog(Callback):
    """The JSON log of the training: an object at each validation's end, and at each epoch's, with the training's rate."""

    def __init__(self) -> None:
        self.pace = Pace()

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        self.pace = Pace()

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        self.pace.begin()

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.pace.end(task.units(batch))

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if not trainer.sanity_checking:
            self._log("validation", trainer)

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        self._log("epoch", trainer, {f"{task.unit}_per_second": round(self.pace.rate, 1)})

    def _log(self, kind: str, trainer: TrainerView, more: Mapping[str, float] | None = None) -> None:
        metrics = {name: value if math.isfinite(value) else str(value) for name, value in trainer.metrics.items()}
        event(kind, epoch=trainer.current_epoch, step=trainer.global_step, metrics=metrics, **(more or {}))


class Voice(NamedTuple):
    """How a command speaks while it works: lines, a callback of the trainer's, and progress outside of training."""

    tell: Callable[[str], None]
    callbacks: tuple[Callback, ...]
    progress: JobProgress | None


def voice(how: str, progress: bool) -> Voice:
    """``how``: "plain", "quiet" or "json"; ``progress``: whether plain ones draw bars; else they say a line a validation."""
    if how == "quiet":
        return Voice(lambda line: None, (), None)
    if how == "json":
        return Voice(lambda line: event("message", text=line), (JsonLog(),), _json_progress)
    return Voice(click.echo, (progress_bar() if progress else ValidationLine(),), LongJob() if progress else None)


def event(kind: str, **values: Any) -> None:
    """A line of the JSON log."""
    click.echo(json.dumps({"event": kind, **values}))


def _json_progress(what: str, done: int, total: int) -> None:
    if done >= total:
        event("done", what=what, total=total)
