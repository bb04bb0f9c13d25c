"""Training as a log shows it: a line after each validation."""

from __future__ import annotations

import time

from training.bar import clock, say
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.progress_bar import shown
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView


class ValidationLine(Callback):
    """A line on standard error after each validation: the place, loss and score, the best so far, the time left.

    An epoch without a validation has its line at its end. The score is the one that the first ``ModelCheckpoint`` monitors.
    """

    def __init__(self) -> None:
        self._begun, self._first = 0.0, 0.0
        self._validated = -1
        """The last epoch that had a validation."""

    def state_dict(self) -> dict[str, float]:
        """Nothing: how fast it goes is this process's own."""
        return {}

    def on_train_start(self, trainer: TrainerView, task: Task) -> None:
        self._begun, self._first = time.monotonic(), _done(trainer)

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if trainer.fitting and not trainer.sanity_checking:
            self._validated = trainer.current_epoch
            self._tell(trainer)

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self._validated != trainer.current_epoch:
            self._tell(trainer)

    def _tell(self, trainer: TrainerView) -> None:
        of = f"/{trainer.config.max_epochs}" if trainer.config.max_epochs > 0 else ""
        parts = [shown(_main(trainer)), _best(trainer), self._time_left(trainer)]
        told = "; ".join(each for each in parts if each)
        say(f"epoch {trainer.current_epoch + 1}{of}, step {trainer.global_step}: {told}")

    def _time_left(self, trainer: TrainerView) -> str:
        """Until the last epoch's end; an early stop may come before that."""
        done, passed = _done(trainer) - self._first, time.monotonic() - self._begun
        epochs = trainer.config.max_epochs
        if done <= 0 or passed < 1 or epochs <= 0:
            return ""
        left = max(0.0, passed / done * (epochs - _done(trainer)))
        return f"time left {clock(left)}" if left >= 1 else ""


def _done(trainer: TrainerView) -> float:
    """Epochs, with the share of the current one."""
    return trainer.total_batches / trainer.num_training_batches


def _main(trainer: TrainerView) -> dict[str, float]:
    """The losses, and the score that is monitored."""
    monitor = getattr(_checkpoint(trainer), "monitor", None)
    return {name: value for name, value in trainer.metrics.items() if "loss" in name or name == monitor}


def _best(trainer: TrainerView) -> str:
    """The best score so far of the metric that the first ModelCheckpoint monitors; "" where there is none."""
    checkpoint = _checkpoint(trainer)
    if checkpoint is None or not checkpoint.monitor:
        return ""
    scores = [
        float(each) for each in (checkpoint.best_model_score, trainer.metrics.get(checkpoint.monitor)) if each is not None
    ]
    return f"best {checkpoint.monitor} {(max if checkpoint.mode == 'max' else min)(scores):.4g}" if scores else ""


def _checkpoint(trainer: TrainerView) -> ModelCheckpoint | None:
    return next((each for each in trainer.callbacks if isinstance(each, ModelCheckpoint)), None)
