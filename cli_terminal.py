"""What the terminal shows: progress bars with rate, time left and metrics; plain lines where there is no terminal.

With ``--quiet`` nothing but errors, with ``--json-log`` a JSON object a line. click leaves colours out where the output is
no terminal.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from training.callbacks import Callback
from training.loop import Trainer
from training.task import Task


class ProgressBar(Callback):
    """A bar an epoch with the metrics beside it; a line an epoch where the output is no terminal."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.terminal = sys.stderr.isatty()

    def on_train_epoch_start(self, trainer: Trainer, task: Task) -> None:
        self._open(trainer, done=0)

    def _open(self, trainer: Trainer, done: int) -> None:
        if not self.terminal:
            return
        epochs = trainer.config.max_epochs
        self.bar = click.progressbar(
            length=trainer.num_training_batches,
            label=f"epoch {trainer.current_epoch + 1}/{epochs}" if epochs > 0 else f"epoch {trainer.current_epoch + 1}",
            item_show_func=lambda item: shown(item) if item else "",
            show_pos=True,
            file=sys.stderr,
            update_min_steps=max(1, trainer.num_training_batches // 200),
        )
        self.bar.update(done)

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.bar is None:
            self._open(trainer, done=batch_idx)  # a resumed run begins inside an epoch
        if self.bar is not None:
            self.bar.update(1, trainer.progress_bar_metrics)

    def on_train_epoch_end(self, trainer: Trainer, task: Task) -> None:
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None
            click.echo(err=True)
        else:
            metrics = shown(trainer.callback_metrics | trainer.progress_bar_metrics)
            click.echo(f"epoch {trainer.current_epoch + 1}/{trainer.config.max_epochs}: {metrics}", err=True)

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None
            click.echo(err=True)


def shown(metrics: dict[str, float]) -> str:
    """Metrics in one line; those per type and per step are left out."""
    kept = {k: v for k, v in metrics.items() if "/" not in k and not k.endswith("_step") and f"{k}_epoch" not in metrics}
    return " ".join(f"{name}={value:.4g}" for name, value in kept.items())


class LongJob:
    """Progress of work outside of training: ``job("reading", done, total)``; drawn only on a terminal."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.what = ""
        self.terminal = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self.terminal:
            return
        if self.bar is None or what != self.what:
            self.close()
            self.what = what
            self.bar = click.progressbar(length=max(1, total), label=what, file=sys.stderr)
        self.bar.update(min(done, total) - self.bar.pos)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.render_finish()
            click.echo(err=True)
            self.bar = None


class Voice(NamedTuple):
    """How a command speaks while it works: lines, a callback of the trainer's, and progress outside of training."""

    tell: Callable[[str], None]
    callbacks: tuple[Callback, ...]
    progress: Callable[[str, int, int], None] | None


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


class JsonLog(Callback):
    """The JSON log of the training: an object at each validation's and each epoch's end."""

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if not trainer.sanity_checking:
            self._log("validation", trainer)

    def on_train_epoch_end(self, trainer: Trainer, task: Task) -> None:
        self._log("epoch", trainer)

    def _log(self, kind: str, trainer: Trainer) -> None:
        metrics = {name: value if math.isfinite(value) else str(value) for name, value in trainer.callback_metrics.items()}
        event(kind, epoch=trainer.current_epoch, step=trainer.global_step, metrics=metrics)
