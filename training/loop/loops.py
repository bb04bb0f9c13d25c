"""Lightning's loops, as far as programs read them: how many batches there are, and how many of them are done.

They hold nothing: what they say is read off the session. ``fit_loop.max_epochs`` and ``epoch_loop.max_steps`` can be set.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from training.loop.fit import limit_reached
from training.loop.progress import IN_BATCH
from training.loop.session import Session
from training.loop.states import TrainerFn


class Counts(NamedTuple):
    """How many epochs, or batches, have come how far."""

    ready: int
    """Begun; their hooks at the start may be running."""
    started: int
    """Their hooks at the start have run."""
    processed: int
    """All but their hooks at the end have run."""
    completed: int
    """Their hooks at the end have run."""


class LoopProgress(NamedTuple):
    """The counts of an epoch, or of a pass over the data, and those of all together."""

    total: Counts
    current: Counts


class BatchProgress(NamedTuple):
    """Likewise, of batches."""

    total: Counts
    current: Counts
    is_last_batch: bool


class TrainingEpochLoop:
    """Lightning's ``trainer.fit_loop.epoch_loop``: the training batches, and in ``val_loop`` the validation's.

    ``max_steps`` may be set between two fits, for a second one with more steps.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.val_loop = EvaluationLoop(session, TrainerFn.FITTING)

    @property
    def batch_progress(self) -> BatchProgress:
        """How many training batches, in the epoch and over all, have come how far."""
        session, progress = self._session, self._session.progress
        ready = session.batches_ready
        begun = ready > progress.batch_idx and progress.stage in ("batch", *IN_BATCH)
        started = ready - (session.hook == "on_train_batch_start")
        processed = ready - (begun and progress.stage == "batch")
        completed = ready - (begun and (progress.stage == "batch" or session.hook == "on_train_batch_end"))
        current = Counts(ready, started, processed, completed)
        before = progress.total_batches + begun - ready
        n = session.num_training_batches
        last = session.is_last_batch if begun else ready > 0 and (ready == n or math.isinf(n))
        return BatchProgress(Counts(*(before + each for each in current)), current, last)

    @property
    def batch_idx(self) -> int:
        """Of the epoch's batch that was begun last; -1 before the first."""
        return self.batch_progress.current.ready - 1

    @property
    def total_batch_idx(self) -> int:
        """Likewise, counted over all epochs."""
        return self.batch_progress.total.ready - 1

    @property
    def global_step(self) -> int:
        """Optimizer steps taken."""
        return self._session.progress.global_step

    @property
    def max_steps(self) -> int:
        """Optimizer steps after which a fit ends; -1 for no limit."""
        return self._session.max_steps

    @max_steps.setter
    def max_steps(self, steps: int) -> None:
        self._session.max_steps, self._session.step_limit = steps, math.inf if steps == -1 else steps

    @property
    def min_steps(self) -> int | None:
        """Optimizer steps before which a fit does not stop early; None for none."""
        return self._session.config.min_steps or None


class FitLoop:
    """Lightning's ``trainer.fit_loop``: ``max_epochs`` may be set between two fits, for a second one with more epochs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.epoch_loop = TrainingEpochLoop(session)

    @property
    def epoch_progress(self) -> LoopProgress:
        """How many epochs have come how far."""
        session, progress = self._session, self._session.progress
        begins = session.hook == "on_train_epoch_start"
        ready = progress.current_epoch + (begins or progress.stage != "start")
        counts = Counts(ready, ready - begins, progress.epochs_processed, progress.current_epoch)
        return LoopProgress(counts, counts)

    @property
    def max_epochs(self) -> int:
        """Epochs after which a fit ends; -1 for no limit."""
        return self._session.max_epochs

    @max_epochs.setter
    def max_epochs(self, epochs: int) -> None:
        self._session.max_epochs = epochs

    @property
    def min_epochs(self) -> int:
        """Epochs before which a fit does not stop early."""
        return self._session.config.min_epochs

    @property
    def max_steps(self) -> int:
        """Optimizer steps after which a fit ends; -1 for no limit."""
        return self.epoch_loop.max_steps

    @property
    def min_steps(self) -> int | None:
        """Optimizer steps before which a fit does not stop early; None for none."""
        return self.epoch_loop.min_steps

    @property
    def max_batches(self) -> int | float:
        """Training batches an epoch; infinite where that is not known."""
        return self._session.num_training_batches

    @property
    def done(self) -> bool:
        """Whether a limit is reached, or a stop that was asked for may happen."""
        return limit_reached(self._session)

    @property
    def skip(self) -> bool:
        """Whether a fit would train nothing."""
        return self.done or self._session.limits["train"][1] == 0

    @property
    def batch_idx(self) -> int:
        """Of the epoch's batch that was begun last; -1 before the first."""
        return self.epoch_loop.batch_idx

    @property
    def total_batch_idx(self) -> int:
        """Likewise, counted over all epochs."""
        return self.epoch_loop.total_batch_idx


class EvaluationLoop:
    """Lightning's ``validate_loop``, ``test_loop``, ``predict_loop``, and ``fit_loop.epoch_loop.val_loop``."""

    def __init__(self, session: Session, fn: TrainerFn) -> None:
        self._session, self._fn = session, fn

    @property
    def max_batches(self) -> list[int | float]:
        """How many batches of each source a pass runs; in the sanity check those of that."""
        found = self._session.batches_of[self._fn]
        if not self._session.sanity_checking or self._fn is not TrainerFn.FITTING:
            return list(found)
        return self._session.num_sanity_val_batches

    @property
    def num_dataloaders(self) -> int:
        """The sources of the last pass."""
        return len(self._session.batches_of[self._fn])

    @property
    def current_batch_indices(self) -> list[Any]:
        """Which items of a DataLoader's data set are in the batch that is run; empty where that is not known."""
        return self._session.batch_indices or []

    @property
    def skip(self) -> bool:
        """Whether there is no batch to run."""
        return sum(self.max_batches) == 0

    @property
    def batch_progress(self) -> BatchProgress:
        """How many batches of the pass, and of all passes, have come how far; of a fit's, those of the current epoch."""
        session = self._session
        ready, total = session.evaluated[self._fn]
        hook = session.hook.removeprefix("on_") if session.state.fn is self._fn and session.evaluating else ""
        begins, steps, ends = (hook == f"{session.evaluating}_{part}" for part in ("batch_start", "step", "batch_end"))
        current = Counts(ready, ready - begins, ready - (begins or steps), ready - (begins or steps or ends))
        last = ready > 0 and ready >= sum(session.batches_of[self._fn])
        return BatchProgress(Counts(*(total - ready + each for each in current)), current, last)
