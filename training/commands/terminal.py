"""What the terminal shows: progress bars with rate, time left and metrics; plain lines where there is no terminal.

With ``--quiet`` nothing but errors, with ``--json-log`` a JSON object a line. There are colors only on a terminal where
NO_COLOR (https://no-color.org) is not set.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from training.commands.door import for_styles
from training.job_progress import JobProgress
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.visible import aligned, one_line, visible


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


class LongJob:
    """Progress of work outside of training: ``job("reading", done, total)``; with rate and time left, on a terminal only."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.what = ""
        self.begun = 0.0
        self.terminal = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self.terminal:
            return
        if self.bar is None or what != self.what:
            self.close()
            self.what = what
            self.begun = time.perf_counter()
            self.bar = click.progressbar(
                length=max(1, total), label=one_line(what), file=for_styles(sys.stderr),
                item_show_func=lambda item: item or "",
            )  # fmt: skip
        rate = done / max(1e-9, time.perf_counter() - self.begun)
        self.bar.update(min(done, total) - self.bar.pos, f"{short(rate)}/s")
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.render_finish()
            click.echo(err=True)
            self.bar = None


def short(number: float) -> str:
    """A number of three digits: 950, 12.3k, 4.56M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def colors() -> bool:
    """Whether standard output takes colors."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Styled(str):
    """Text with escape sequences of our own, in which all others are escaped."""


def styled(text: str, color: str | None = None, *, bold: bool = False) -> str:
    """The text in a color, where there are any; ``echo`` writes it."""
    return Styled(click.style(visible(text), fg=color, bold=bold or None)) if colors() else text


def echo(*parts: str) -> None:
    """A line of output, some parts of it styled."""
    on_terminal = sys.stdout.isatty()
    text = "".join(visible(part) if on_terminal and not isinstance(part, Styled) else part for part in parts)
    click.echo(text, file=for_styles(sys.stdout))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, the header first; a cell's text is of one line."""
    return aligned([header, *([one_line(cell) for cell in row] for row in rows)])


def warn(line: str) -> None:
    """A line to standard error, for what does not stop a command."""
    click.echo(one_line(line), err=True)


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
