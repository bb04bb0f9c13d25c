"""What a Trainer is doing, under Lightning's names: which of the four verbs, whether it has ended, and on which batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class TrainerStatus(str, Enum):
    """Whether a verb runs, or how the last one ended."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"

    @property
    def stopped(self) -> bool:
        """Whether a verb was run, and is over."""
        return self in (TrainerStatus.FINISHED, TrainerStatus.INTERRUPTED)


class TrainerFn(str, Enum):
    """The verb that runs, or ran last."""

    FITTING = "fit"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class RunningStage(str, Enum):
    """What batches are for: a fit trains, validates, and checks the validation before."""

    TRAINING = "train"
    SANITY_CHECKING = "sanity_check"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"

    @property
    def evaluating(self) -> bool:
        """Whether it is a validation, the sanity check's too, or a test."""
        return self in (RunningStage.VALIDATING, RunningStage.TESTING, RunningStage.SANITY_CHECKING)

    @property
    def dataloader_prefix(self) -> str:
        """Of ``train_dataloader``, ``limit_val_batches``, …"""
        return "val" if self in (RunningStage.VALIDATING, RunningStage.SANITY_CHECKING) else self.value


@dataclass(frozen=True)
class TrainerState:
    """What the Trainer is doing at the moment when it is asked. Its parts are equal to their plain names, ``"fit"``.

    Called, it gives all that is needed to go on from there: ``trainer.state()`` is what a checkpoint holds.

    Source: Lightning 2.6's ``TrainerState``.
    """

    status: TrainerStatus = TrainerStatus.INITIALIZING
    fn: TrainerFn | None = None
    """None before the first verb."""
    stage: RunningStage | None = None
    """None where no verb runs."""
    capture: Callable[[], dict[str, Any]] = field(default=dict, repr=False, compare=False)

    def __call__(self) -> dict[str, Any]:
        """Weights, optimizers, schedulers, counters, metrics, callbacks."""
        return self.capture()

    @property
    def finished(self) -> bool:
        """Whether the last verb ended well."""
        return self.status is TrainerStatus.FINISHED

    @property
    def stopped(self) -> bool:
        """Whether the last verb is over, well or by an exception."""
        return self.status.stopped
