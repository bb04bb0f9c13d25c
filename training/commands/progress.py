"""Training as the terminal shows it: a bar with rate, time left and metrics, or a JSON log."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click

from training.commands.door import for_styles
from training.commands.terminal import LongJob
from training.job_progress import JobProgress
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView


class Pace:
    """How fast the training of an epoch goes, validation left out."""

    def __init__(self) -> None:
        self.units, self.seconds, self.begun = 0, 0.0, time.perf_counter()

    def begin(self) -> None:
        """A batch begins."""
        self.begun = time.perf_counter()

    def end(self, units: int) -> None:
        """It has ended, and was so much work."""
        self.seconds += time.perf_counter() - self.begun
        self.units += units

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds if self.seconds else 0.0


class ProgressBar(Callback):
    """A bar an epoch with rate, time left and metrics; a line an epoch where the output is no terminal."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.terminal = sys.stderr.isatty()
        self.pace = Pace()

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        self.pace = Pace()
        self._open(trainer, done=0)

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        self.pace.begin()

    def _open(self, trainer: TrainerView, done: int) -> None:
        if not self.terminal:
            return
        epochs = trainer.config.max_epochs
        self.bar = click.progressbar(
            length=trainer.num_training_batches,
            label=f"epoch {trainer.current_epoch + 1}/{epochs}" if epochs > 0 else f"epoch {trainer.current_epoch + 1}",
            item_show_func=lambda item: item or "",
            show_pos=True,
            file=for_styles(sys.stderr),
            update_min_steps=max(1, trainer.num_training_batches // 200),
        )
        self.bar.update(done)

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.pace.end(task.units(batch))
        if self.bar is None:
            self._open(trainer, done=batch_idx)  # a resumed run begins inside an epoch
        if self.bar is not None:
            self.bar.update(1, f"{self._rate(task)} {shown(trainer.progress_bar_metrics, running=True)}")

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None
            click.echo(err=True)
        else:
            metrics = shown(trainer.metrics | trainer.progress_bar_metrics)
            of = f"/{trainer.config.max_epochs}" if trainer.config.max_epochs > 0 else ""
            click.echo(f"epoch {trainer.current_epoch + 1}{of}: {self._rate(task)} {metrics}", err=True)

    def _rate(self, task: Task) -> str:
        return f"{self.pace.rate:,.0f} {task.unit}/s"

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None
            click.echo(err=True)


def shown(metrics: dict[str, float], running: bool = False) -> str:
    """Metrics in one line, losses and F1 first, without those per type; ``running``: the step's values, else the epoch's."""
    other = "_epoch" if running else "_step"
    kept = {k: v for k, v in metrics.items() if "/" not in k and not k.endswith(other) and f"{k}_epoch" not in metrics}
    kept = {name.removesuffix("_step"): value for name, value in kept.items()}
    first = sorted(kept, key=lambda name: not any(part in name for part in ("loss", "f1")))
    return " ".join(f"{name}={kept[name]:.4g}" for name in first)


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
    """``how``: "plain", "quiet" or "json"; ``progress``: whether plain ones draw bars."""
    if how == "quiet":
        return Voice(lambda line: None, (), None)
    if how == "json":
        return Voice(lambda line: event("message", text=line), (JsonLog(),), _json_progress)
    return Voice(click.echo, (ProgressBar(),) if progress else (), LongJob() if progress else None)


def event(kind: str, **values: Any) -> None:
    """A line of the JSON log."""
    click.echo(json.dumps({"event": kind, **values}))


def _json_progress(what: str, done: int, total: int) -> None:
    if done >= total:
        event("done", what=what, total=total)
