"""Plans of sources that are read from front to back.

Their code runs with global generators of its own, which begin from (seed, purpose, epoch) and stand still in between. To go
on at batch k, a source with state_dict and load_state_dict (the protocol of torchdata's StatefulDataLoader) is put where it
was; any other is read again from the epoch's beginning, and its batches before k are dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from training.data.own_generators import get_own, own_generators, put_own, set_own
from training.data.plans import Plan
from training.data.sources import Once, Source
from training.errors import CheckpointError
from training.generators import Carried, Keys
from training.visible import counted

Snapshot = dict[str, Any]
"""Where a source and its generators stand."""
State = dict[str, Any]
"""The epoch; how many batches were taken, and whether that was all; the snapshots from before and after the last of them."""


class IterableBatches:
    """The batches of a source that is read from front to back.

    Args:
        source: the source.
        seed: the run's.
        purpose: what it is for, a key of its random numbers.
        tell: gets a line where batches are read only to be dropped.
    """

    reads_again = True
    """Whether its ``plan`` takes ``again``."""

    def __init__(self, source: Source, seed: int, purpose: str, tell: Callable[[str], None]) -> None:
        self._reading = _Reading(source, seed, f"{purpose}/stream", tell)
        self._plan: IterablePlan | None = None
        self._left: State = {}
        """The state that the epoch before was left in."""

    def plan(self, epoch: int, again: int = 0) -> IterablePlan:
        """The epoch's batches; ``again`` says how often it was read before."""
        if self._plan is None or self._plan.epoch != (epoch, again):
            if self._plan is not None and self._plan.begun:
                self._plan.close()
                self._left = self._plan.state_dict()
                if self._plan.gave_back:  # it read one batch too many
                    self._reading.loaded = self._left
            self._plan = IterablePlan(self._reading, epoch, again)
        return self._plan

    def state_dict(self) -> State:
        """Where the reading stands, after the batch that was handed out last; {} where none was."""
        if self._reading.loaded is not None:
            return self._reading.loaded
        return self._plan.state_dict() if self._plan is not None and self._plan.begun else self._left

    def load_state_dict(self, state: State) -> None:
        """Go on where the reading stood, once a batch is asked for."""
        if self._plan is not None:
            self._plan.close()
        self._plan, self._left, self._reading.loaded = None, {}, state or None

    def close(self) -> None:
        """End the reading, and all workers."""
        if self._plan is not None:
            self._plan.close()
        self._reading.source.close()


class _Reading:
    """A source, and the generators that it is read with."""

    def __init__(self, source: Source, seed: int, purpose: str, tell: Callable[[str], None]) -> None:
        self.source, self.tell = source, tell
        self._keys = Keys(seed, purpose)
        self.loaded: State | None = None
        """A state to go on from with the next reading."""
        self.reader: object = None
        """What it reads for: of a plan not the plan, as the two would keep each other, and the workers, from ending."""
        self._iterator: Iterator[Any] | None = None
        self._carried: Carried | None = None
        self._own: list[Any] = []

    def open(self, reader: object, epoch: tuple[int, int], at: Snapshot | None = None) -> None:
        """Begin to read an epoch, or go on in it where a snapshot was taken."""
        self.stop()
        self.reader = reader
        if at is not None:
            self.source.load_state(at["source"])
        if self._carried is None or not self.source.once:
            key = self._keys(*((0, 0) if self.source.once else epoch), 0)
            self._own, self._carried = own_generators(self.source.given), Carried(key)
            set_own(self._own, key.bits)
        with self._carried:
            self._iterator = self.source.open(*epoch)
        if at is not None and at["generators"] is not None:  # only now, since opening may have drawn from them
            if len(self._own) != len(at["own"]):
                raise CheckpointError(
                    f"{self.source.name}: expected {len(at['own'])} generators of its own, as when the checkpoint was "
                    f"written, got {len(self._own)}; make it as it was then"
                )
            self._carried.state = at["generators"]
            put_own(self._own, at["own"])

    def read(self) -> Any:
        """The next batch; StopIteration where there is none."""
        assert self._iterator is not None
        assert self._carried is not None
        with self._carried:
            return next(self._iterator)

    def snapshot(self) -> Snapshot | None:
        """Where it stands now; None where the source does not say."""
        if not self.source.keeps_place:
            return None
        state = copy.deepcopy(self.source.state())  # it may hold what is being read with
        if self.source.once or self._carried is None:  # an iterator is read again from its beginning
            return {"source": state, "generators": None, "own": None}
        return {"source": state, "generators": self._carried.state, "own": get_own(self._own)}

    def stop(self) -> None:
        """End the reading of an epoch."""
        self._iterator = self.reader = None
        self.source.stop()

    def leave(self, state: State) -> None:
        """Bring the source to where an epoch left it: what it does after its last batch, it does then."""
        if state["before"] is None:
            return
        self.open(None, tuple(state["epoch"]), state["before"])
        with suppress(StopIteration):
            self.read()
            if state["ended"]:
                self.read()
        self.stop()


class IterablePlan(Plan):
    """An epoch's batches of a source that is read from front to back."""

    def __init__(self, reading: _Reading, epoch: int, again: int) -> None:
        self.epoch = (epoch, again)
        self.length = reading.source.length
        self._reading, self._me = reading, object()
        self.begun = False
        """Whether a batch was asked for."""
        self.gave_back = False
        """Whether a batch was read that nobody took."""
        self._next = 0
        """The batch that is handed out next."""
        self._ahead: list[Any] = []
        """It, where it was read already."""
        self._before: Snapshot | None = None
        self._after: Snapshot | None = None
        """Where the source stood before and after the last batch that was handed out; None where it still stands there."""
        loaded = reading.loaded
        self._end = loaded["taken"] if loaded and self._is_of(loaded) and loaded["ended"] else None
        """How many batches there are, once that is known."""

    def state_dict(self) -> State:
        """Where the reading stands after the last batch that was handed out."""
        after = self._after
        if after is None and self._reading.reader is self._me:
            after = self._reading.snapshot()
        ended = self._end is not None and self._end == self._next
        return {"epoch": self.epoch, "taken": self._next, "ended": ended, "before": self._before, "after": after}

    def _has(self, k: int) -> bool:
        if self._end is not None and k >= self._end:
            return False
        try:
            self._go_to(k)
            self._read_ahead()
        except StopIteration:
            return False
        return True

    def _take(self, k: int) -> Any:
        if self._end is not None and k >= self._end:
            raise StopIteration
        self._go_to(k)
        self._read_ahead()
        batch = self._hand_out()
        if self._next == self.length:
            self.close()
        return batch

    def _go_to(self, k: int) -> None:
        """Stand before batch k."""
        self.begun = True
        if self._reading.reader is not self._me or k < self._next:
            self._open(k)
        while self._next < k:
            self._read_ahead()
            self._hand_out()

    def _read_ahead(self) -> None:
        if self._ahead:
            return
        after = self._reading.snapshot()
        try:
            self._ahead.append(self._reading.read())
        except StopIteration:
            self._end = self._next
            raise
        finally:
            self._after = after

    def _hand_out(self) -> Any:
        self._before, self._after = self._after, None
        self._next += 1
        return self._ahead.pop()

    def _open(self, k: int) -> None:
        """Begin to read, where that can be at batch k or before it."""
        state, self._reading.loaded = self._reading.loaded, None
        if state is None and k == self._next and self._after is not None:  # it was closed here
            state = self.state_dict()
        at, self._next, self._before, self._after, self._end = None, 0, None, None, None
        self._ahead.clear()
        if state is not None and self._is_of(state) and state["taken"] <= k and state["after"] is not None:
            at, self._next, self._before = state["after"], state["taken"], state["before"]
        elif state is not None and tuple(state["epoch"]) < self.epoch:
            self._reading.leave(state)
        if self._next < k:
            self._tell_of_dropping(k - self._next)
        self._reading.open(self._me, self.epoch, at)

    def _is_of(self, state: State) -> bool:
        return tuple(state["epoch"]) == self.epoch

    def _tell_of_dropping(self, count: int) -> None:
        source = self._reading.source
        why = "" if source.keeps_place else ", because it has no state_dict and load_state_dict"
        batches = f"{counted(count, 'batch', 'batches')} {'is' if count == 1 else 'are'}"
        self._reading.tell(f"{source.name}: {batches} read from the start of the epoch and skipped{why}")

    def _fail(self) -> None:
        self._reading.stop()
        self._reading.source.close()

    def close(self) -> None:
        if self._reading.reader is not self._me:
            return
        if self._after is None:
            self._after = self._reading.snapshot()
        if self._ahead and isinstance(self._reading.source, Once):
            self._reading.source.put_back(self._ahead.pop())
        elif self._ahead:
            self._ahead.clear()
            self.gave_back = True
        self._reading.stop()
