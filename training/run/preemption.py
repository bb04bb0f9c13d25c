"""Leaving a run and going on with it: checkpoints at batch boundaries, signals, time limits, and the way back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from training.checkpoint import Checkpoint, ResumeStore
from training.errors import CheckpointError, DataError, Preempted
from training.files import fault_point, remove_partial
from training.intervals import interval, seconds
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.run.folder import LEDGER, Run
from training.run.ledger_file import first_break
from training.visible import one_line


class Position(Callback):
    """Puts into each state how far the run's growing files were when it was taken: inside a validation, before it began.

    And which run it is of: what that began with, as a digest.
    ``loaded`` is called once a resumed run's state is loaded.
    """

    def __init__(self, run: Run, loaded: Callable[[], None]) -> None:
        self.run, self.loaded = run, loaded

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        self.loaded()

    def on_save_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None:
        checkpoint["run"] = self.run.position()
        checkpoint["begun"] = self.run.manifest.get("begun", "")


class Keeper:
    """The trainer's ``keep_going``: writes checkpoints when they are due, and stops the run, resumable, when asked to.

    Stops are asked for by SIGTERM, SIGINT, the time limit or ``stop``; they happen at the next batch boundary, in training
    and in validation. A second SIGINT interrupts at once, and the last checkpoint on disk is what remains.
    """

    def __init__(self, run: Run, store: ResumeStore, *, every: str, max_time: str) -> None:
        self.run, self.store = run, store
        self.every_steps, self.every_seconds = interval(every, "checkpoint_every")
        self.limit = seconds(max_time, "max_time")
        self.received_sigterm = False
        self.asked = self.reason = ""
        """Why to stop: as this process was asked, and as all of them know."""
        self.due = False
        """Whether the time for a checkpoint has come, by the clock of process 0."""
        self.alone = True
        """Whether this is the only process."""
        self.writes = True
        """Whether it is this process that writes checkpoints."""
        self.trained = False
        """Whether a batch was trained on since the start: until then the time limit waits, for a validation to end."""
        self.started = self.last_time = time.monotonic()
        self.last_step = 0

    def stop(self, reason: str) -> None:
        """Ask for a stop."""
        self.asked = self.asked or reason

    def word(self) -> tuple[str, bool]:
        """What the other processes should know: why to stop, and whether a checkpoint is due by this one's clock."""
        now = time.monotonic()
        if self.limit is not None and self.trained and now - self.started >= self.limit:
            self.stop(f"the time limit of {self.limit:g} s is reached")
        return self.asked, self.every_seconds is not None and now - self.last_time >= self.every_seconds

    def hear(self, words: Sequence[tuple[str, bool]]) -> None:
        """The words of all processes, by rank: from the next boundary on they act as one."""
        self.reason = self.reason or next((reason for reason, _ in words if reason), "")
        self.due = words[0][1]

    def __call__(self, trainer: TrainerView) -> None:
        if trainer.stage == "end":
            return  # between an epoch's last batch and its metrics nothing is left or saved: the next boundary is near
        self.trained = self.trained or trainer.stage != "validate"
        if self.alone:
            self.reason, self.due = self.word()
        if self.reason:
            self.save(trainer)
            stopped = Preempted(f"stopped at {trainer.where()}: {self.reason}")
            stopped.silent = not self.writes
            raise stopped
        if trainer.stage == "validate":
            return
        every = self.every_steps
        due = every is not None and trainer.global_step // every > self.last_step // every  # at multiples of it
        if due or self.due:
            self.save(trainer)

    def save(self, trainer: TrainerView) -> None:
        """Write a checkpoint of this moment. NonFiniteError where its weights are not finite: the one before stays."""
        trainer.check_weights()
        state = trainer.state()  # in all processes: a task may have a part of its weights in each
        if self.writes:
            fault_point("checkpoint:begin")
            self.run.sync()
            self.store.save(state)
            fault_point("checkpoint:end")
        self.last_step, self.last_time, self.due = trainer.global_step, time.monotonic(), False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask for a stop while the body runs (in the main thread; elsewhere nothing is changed)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self.asked and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received_sigterm = self.received_sigterm or number == signal.SIGTERM
            self.stop(f"{signal.Signals(number).name} received")

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class StopAt(Callback):
    """Leaves the run once ``step`` optimizer steps are taken."""

    def __init__(self, step: int) -> None:
        self.step, self.done = step, False

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self.step and isinstance(trainer.keep_going, Keeper):
            self.done = True
            trainer.keep_going.stop("the last step that was asked for")


def go_back(run: Run, store: ResumeStore, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest good checkpoint, the run's growing files cut back to it; None (and empty files) where there is none."""
    found = store.latest(tell)
    remove_partial(run.path)
    store.tidy()
    if found is None:
        store.forget_others()
        run.cut_back({}, 0)
        tell(one_line(f"{run.path} has no checkpoint to resume from yet: it starts from the beginning"))
        return None
    path, checkpoint = found
    if checkpoint.get("begun", "") != run.manifest.get("begun", ""):
        raise CheckpointError(
            f"{path}: expected a checkpoint of this run, got one of a run that began with other settings, inputs, code or "
            "versions; move it away, and put this run's own back"
        )
    try:
        progress = checkpoint["progress"]
        sizes = {str(name): int(size) for name, size in checkpoint["run"].items()}
        next_step = max(0, int(progress["batches_that_stepped"]) - 1)
        int(progress["global_step"])
        place = f"epoch {progress['current_epoch']}, batch {progress['batch_idx']}"
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"{path}: expected a run's counters and its files' sizes, got none ({error!r})") from None
    run.cut_back(sizes, next_step)
    if (broken := first_break(run.path / LEDGER)) is not None:
        raise DataError(f"{run.path / LEDGER}:{broken}: the ledger's chain is broken here: the file was changed; restore it")
    tell(one_line(f"resuming from {path} ({place})"))
    return checkpoint
