"""Training as a terminal shows it: a bar with rate, time left and metrics."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from training.bar import Bar, Pace, end_line, say, write
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.hooks import overridden
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument


class ProgressBar(Callback):
    """A progress bar per epoch on standard error: rate, time left and the values logged with ``prog_bar=True``.

    If standard error is not a terminal, a plain line per epoch is printed. A validation in the epoch shows its progress in
    the same line; validate, test and predict have a bar of their own, on a terminal only. The bar changes no bit of the
    training.

    Args:
        refresh_rate: the number of batches between two updates; 0 shows nothing. It is drawn at most ten times a second.
        process_position: 0, since there is one bar in one line.
        leave: whether each epoch's bar stays; otherwise the next one replaces it.

    Raises:
        ConfigError: for a rate below 0, and for another ``process_position``.

    Example:
        >>> from training import ProgressBar, TrainConfig, Trainer
        >>> class Short(ProgressBar):
        ...     def get_metrics(self, trainer, task):
        ...         return {"loss": trainer.progress_bar_metrics["loss"]}
        >>> trainer = Trainer(TrainConfig(device="cpu"), callbacks=[Short(refresh_rate=20)])

    Source: Lightning 2.6's ``TQDMProgressBar``, without tqdm.
    """

    stream: Any = None
    """Where it is drawn; None is standard error."""

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:
        self.refresh_rate: int = argument(refresh_rate, int, "ProgressBar: refresh_rate", least=0)
        self.process_position: int = argument(process_position, int, "ProgressBar: process_position")
        if process_position != 0:
            raise ConfigError(f"ProgressBar: process_position: expected 0, as there is one bar, got {process_position}")
        self.leave = leave
        self.bar: Bar | None = None
        self.pace = Pace()
        self._enabled, self._validated = True, 0
        self._trainer: TrainerView | None = None

    # -- for subclasses, under Lightning's names --------------------------------------------------------------------------

    @property
    def trainer(self) -> TrainerView:
        """The Trainer that runs; TypeError before one does."""
        if self._trainer is None:
            raise TypeError(f"{type(self).__name__} is not attached to a Trainer: use this inside of a hook")
        return self._trainer

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled and self.refresh_rate > 0

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is shown."""
        return not self.is_enabled

    @property
    def total_train_batches(self) -> int | float:
        """Training batches an epoch."""
        return self.trainer.num_training_batches

    @property
    def total_val_batches(self) -> int | float:
        """Batches of the validation of the current epoch; 0 where it has none."""
        return sum(self.trainer.num_val_batches) if self.trainer.validates_this_epoch else 0

    def disable(self) -> None:
        """Show nothing from now on."""
        self._enabled = False

    def enable(self) -> None:
        """Show it again."""
        self._enabled = True

    def print(self, *values: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
        """``print``, which does not spoil the bar."""
        write(sep.join(map(str, values)), end, file or sys.stdout)

    def get_metrics(self, trainer: TrainerView, task: Task) -> dict[str, Any]:
        """What the bar shows: numbers or texts by name."""
        return dict(trainer.progress_bar_fields)

    def state_dict(self) -> dict[str, Any]:
        """None: nothing of a bar goes on in a resume, whatever attributes a subclass has."""
        return {}

    # -- fit --------------------------------------------------------------------------------------------------------------

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        self._trainer = trainer

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        self.pace = Pace()
        self._open(trainer, done=0)

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        self.pace.begin()

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.pace.end(task.units(batch))
        done = batch_idx + 1
        if self.bar is None:
            self._open(trainer, done=batch_idx)  # a resumed run begins inside an epoch
        if self.bar is not None and self._looks(done, self.bar):
            self.bar.update(done, self._text(trainer, task))

    def on_validation_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.fitting:
            self._count("validate")
        elif self.bar is not None and not trainer.sanity_checking:
            self._validated += 1
            of = "" if math.isinf(n := sum(trainer.num_val_batches)) else f"/{n}"
            self.bar.update(self.bar.done, f"validation {self._validated}{of}")

    def on_validation_start(self, trainer: TrainerView, task: Task) -> None:
        self._validated = 0

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self.bar is not None:
            self._close(self.leave, self._text(trainer, task))
        elif self.is_enabled:
            of = f"/{trainer.config.max_epochs}" if trainer.config.max_epochs > 0 else ""
            metrics = shown(trainer.metrics | trainer.progress_bar_metrics)
            say(f"epoch {trainer.current_epoch + 1}{of}: {self._rate(task)} {metrics}")

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        end_line()

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        self._close(leave=True)
        end_line()

    # -- validate, test, predict --------------------------------------------------------------------------------------------

    def on_test_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("test")

    def on_predict_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("predict")

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if not trainer.fitting:
            self._close(leave=True)

    def on_test_end(self, trainer: TrainerView, task: Task) -> None:
        self._close(leave=True)

    def on_predict_end(self, trainer: TrainerView, task: Task) -> None:
        self._close(leave=True)

    def _count(self, label: str) -> None:
        """Another batch of a pass, whose length the bar does not know."""
        if self.bar is None and self._draws():
            self.bar = Bar(label, None, stream=self.stream)
        if self.bar is not None:
            self.bar.update(self.bar.done + 1, "batches")

    # -- the bar ------------------------------------------------------------------------------------------------------------

    def _draws(self) -> bool:
        return self.is_enabled and (self.stream or sys.stderr).isatty()

    def _open(self, trainer: TrainerView, done: int) -> None:
        if not self._draws():
            return
        epochs, batches = trainer.config.max_epochs, trainer.num_training_batches
        label = f"epoch {trainer.current_epoch + 1}/{epochs}" if epochs > 0 else f"epoch {trainer.current_epoch + 1}"
        total = batches if isinstance(batches, int) else None  # infinity is of no known length
        self.bar = Bar(label, total, stream=self.stream, done=done)

    def _looks(self, done: int, bar: Bar) -> bool:
        """Whether the metrics are to be looked at: that costs something."""
        return (done % self.refresh_rate == 0 or done == bar.total) and bar.is_due(done)

    def _close(self, leave: bool, text: str | None = None) -> None:
        if self.bar is not None:
            self.bar.close(leave, text)
            self.bar = None

    def _text(self, trainer: TrainerView, task: Task) -> str:
        return f"{self._rate(task)} {shown(self.get_metrics(trainer, task), running=True)}"

    def _rate(self, task: Task) -> str:
        unit = task.unit if overridden(task, "units", Task) else "batches"
        return f"{self.pace.rate:,.0f} {unit}/s" if self.pace.rate >= 10 else f"{self.pace.rate:.2g} {unit}/s"


TQDMProgressBar = ProgressBar
"""The name under which Lightning's programs ask for a bar; there is no tqdm in this one either."""


def shown(metrics: Mapping[str, Any], running: bool = False) -> str:
    """Metrics in one line, losses and F1 first, without those per type; ``running``: the step's values, else the epoch's."""
    other = "_epoch" if running else "_step"
    kept = {k: v for k, v in metrics.items() if "/" not in k and not k.endswith(other) and f"{k}_epoch" not in metrics}
    kept = {name.removesuffix("_step"): value for name, value in kept.items()}
    first = sorted(kept, key=lambda name: not any(part in name for part in ("loss", "f1")))
    return " ".join(f"{name}={kept[name] if isinstance(kept[name], str) else f'{kept[name]:.4g}'}" for name in first)
