"""Several sources read side by side, or one after another: Lightning's CombinedLoader."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

from training.data.batches import Batches, close, has, length
from training.data.plans import Plan
from training.errors import ConfigError

State = dict[str, Any]
_COLLECTIONS = (list, tuple, dict, OrderedDict, defaultdict, deque)


class CombinedLoader:
    """Several loaders as one, whose batches are made of one batch of each.

    Args:
        iterables: the loaders, in lists, tuples and dicts; the batches are made in the same form.
        mode: "min_size" ends with the shortest; "max_size_cycle" with the longest, and reads the shorter ones over and over;
            "max_size" with the longest, and gives None for those that have ended; "sequential" gives the batches of one
            loader after those of another, as they are.

    Raises:
        ConfigError: for another mode.

    Example:
        >>> from training import CombinedLoader
        >>> both = CombinedLoader({"a": [1, 2, 3], "b": [10]}, "max_size_cycle")
        >>> both.flattened
        [[1, 2, 3], [10]]

    Source: Lightning 2.6's ``CombinedLoader``.
    """

    def __init__(self, iterables: Any, mode: str = "min_size") -> None:
        if mode not in MODES:
            raise ConfigError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        self.iterables, self.mode = iterables, mode
        self.flattened = _leaves(iterables)
        """The loaders, in order."""
        self.limits: list[float] | None = None
        """The most batches to take of each loader, where it is to be limited."""


def _is_loader(tree: Any) -> bool:
    """Whether it is no collection of loaders. A list of numbers or of strings is a loader, as in Lightning."""
    if type(tree) not in _COLLECTIONS and not hasattr(tree, "_fields"):
        return True
    return all(isinstance(each, (int, float, str)) for each in _children(tree))


def _children(tree: Any) -> list[Any]:
    return list(tree.values() if isinstance(tree, dict) else tree)


def _leaves(tree: Any) -> list[Any]:
    """The loaders, in order."""
    return [tree] if _is_loader(tree) else [leaf for child in _children(tree) for leaf in _leaves(child)]


def _filled(tree: Any, values: Iterator[Any]) -> Any:
    """The same form, with the values in place of the loaders."""
    if _is_loader(tree):
        return next(values)
    children = [_filled(child, values) for child in _children(tree)]
    if isinstance(tree, defaultdict):
        return defaultdict(tree.default_factory, zip(tree, children, strict=True))
    if isinstance(tree, dict):
        return type(tree)(zip(tree, children, strict=True))
    if isinstance(tree, deque):
        return deque(children, tree.maxlen)
    return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)


class CombinedBatches:
    """The batches of several sources, combined.

    Args:
        parts: the sources, in the order of ``loader.flattened``.
        loader: says how they are combined.
    """

    def __init__(self, parts: Sequence[Batches], loader: CombinedLoader) -> None:
        self.parts, self.loader = list(parts), loader
        self._plan: CombinedPlan | None = None
        self._loaded: State = {}

    def plan(self, epoch: int) -> CombinedPlan:
        """The epoch's batches."""
        if self._plan is None or self._plan.epoch != epoch:
            if self._plan is not None:
                self._plan.close()
            kind: Any = MODES[self.loader.mode]
            self._plan = kind(self.parts, self.loader, epoch)
            if self._loaded:
                self._plan.load(self._loaded)
        return self._plan

    def state_dict(self) -> State:
        """Where the reading of each source stands, after the batch that was handed out last."""
        own = self._plan.state() if self._plan is not None else self._loaded.get("plan", {})
        return {"plan": own, "parts": [each.state_dict() if hasattr(each, "state_dict") else {} for each in self.parts]}

    def load_state_dict(self, state: State) -> None:
        """Go on where the reading stood."""
        self.close()
        self._plan, self._loaded = None, state
        for part, each in zip(self.parts, state.get("parts", []), strict=False):
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(each)

    def close(self) -> None:
        """End the reading, and all workers."""
        for part in self.parts:
            close(part)


class _Passes:
    """A source's batches in an epoch, pass after pass."""

    def __init__(self, source: Batches, epoch: int) -> None:
        self._source, self._epoch = source, epoch
        self.start(0, 0)

    def start(self, again: int, begin: int) -> None:
        """Begin pass ``again``, whose batch 0 is batch ``begin`` of the combined ones."""
        self.again, self.begin, self._seen = again, begin, -1
        if getattr(self._source, "reads_again", False):
            self.plan = self._source.plan(self._epoch, again)  # type: ignore[call-arg]
        else:  # a user's, which has one plan for the epoch
            self.plan = self._source.plan(self._epoch)

    def end(self, k: int, limit: float = math.inf) -> int | None:
        """Where in the combined batches the pass ends, if that is at batch k or before it; else None."""
        at = k - self.begin
        if at >= limit:
            return self.begin + int(limit)
        if getattr(self.plan, "known", True):
            return self.begin + len(self.plan) if at >= len(self.plan) else None
        for i in range(min(self._seen + 1, at), at + 1):
            if not has(self.plan, i):
                return self.begin + i
            self._seen = i
        return None

    def take(self, k: int) -> Any:
        """The source's batch for the combined batch k."""
        return self.plan[k - self.begin]


class CombinedPlan(Plan):
    """An epoch's batches of several sources, combined."""

    batch_indices: list[Any] | None = None
    """Of each source, which items are in the batch that was taken last, and None where that is not known."""

    def __init__(self, parts: Sequence[Batches], loader: CombinedLoader, epoch: int) -> None:
        self.epoch = epoch
        self._passes = [_Passes(part, epoch) for part in parts]
        self._form = loader.iterables
        self._limits = loader.limits or [math.inf] * len(parts)
        most = self._combined([length(each.plan) for each in self._passes])
        self.length = None if most == math.inf else int(most)

    @abstractmethod
    def _combined(self, lengths: list[float]) -> float:
        """How many batches there are, given how many each source has."""

    def state(self) -> State:
        """Where the sources' passes begin."""
        return {"epoch": self.epoch, "passes": [[each.again, each.begin] for each in self._passes]}

    def load(self, state: State) -> None:
        """Back to ``state``, if it is of this epoch."""
        if state["plan"].get("epoch") == self.epoch:
            for passes, (again, begin) in zip(self._passes, state["plan"]["passes"], strict=True):
                passes.start(again, begin)

    def _take(self, k: int) -> Any:
        if not self.has(k):
            raise StopIteration
        return _filled(self._form, iter(self._taken(k)))

    def _taken(self, k: int) -> list[Any]:
        """The batches of the sources, None for those that have ended."""
        read = [self._is_read(each, k) for each in self._passes]
        batches = [each.take(k) if is_read else None for each, is_read in zip(self._passes, read, strict=True)]
        self._note(read)
        return batches

    def _is_read(self, passes: _Passes, k: int) -> bool:
        """Whether a batch of this source is in batch k."""
        return True

    def _note(self, read: Sequence[bool]) -> None:
        """Which items are in the batch, of the sources that were read for it."""
        pairs = zip(self._passes, read, strict=True)
        found = [getattr(each.plan, "batch_indices", None) if is_read else None for each, is_read in pairs]
        self.batch_indices = None if all(each is None for each in found) else found

    def _fail(self) -> None:
        for each in self._passes:
            if isinstance(each.plan, Plan):
                each.plan._fail()

    def close(self) -> None:
        for each in self._passes:
            close(each.plan)


class _MinSize(CombinedPlan):
    def _combined(self, lengths: list[float]) -> float:
        return min([*lengths, *self._limits], default=0)

    def _has(self, k: int) -> bool:
        return all(has(each.plan, k) for each in self._passes)


class _MaxSize(CombinedPlan):
    def _combined(self, lengths: list[float]) -> float:
        return max(map(min, lengths, self._limits), default=0)

    def _has(self, k: int) -> bool:
        return any(has(each.plan, k) for each in self._passes)

    def _is_read(self, passes: _Passes, k: int) -> bool:
        return has(passes.plan, k)


class _MaxSizeCycle(_MaxSize):
    def _has(self, k: int) -> bool:
        ended = [each.again > 0 and k >= each.begin for each in self._passes]
        for i, each in enumerate(self._passes):
            if k < each.begin:  # back again
                each.start(0, 0)
            while (end := each.end(k)) is not None:
                ended[i] = True
                if all(ended) or end == each.begin:  # of one without batches nothing comes
                    return False
                each.start(each.again + 1, end)
        return bool(ended)

    def _is_read(self, passes: _Passes, k: int) -> bool:
        return True


class _Sequential(CombinedPlan):
    _at = 0
    """Which loader is read."""
    _end = 0
    """How many batches there are, once the last loader has ended."""

    def _combined(self, lengths: list[float]) -> float:
        return sum(map(min, lengths, self._limits))

    def _has(self, k: int) -> bool:
        if k < (self._passes[self._at].begin if self._at < len(self._passes) else self._end):  # back again
            self._at = 0
        while self._at < len(self._passes):
            end = self._passes[self._at].end(k, self._limits[self._at])
            if end is None:
                return True
            self._at, self._end = self._at + 1, end
            if self._at < len(self._passes):
                self._passes[self._at].start(0, end)
        return False

    def _take(self, k: int) -> Any:
        if not self.has(k):
            raise StopIteration
        batch = self._passes[self._at].take(k)
        self._note([i == self._at for i in range(len(self._passes))])
        return batch

    def state(self) -> State:
        return {**super().state(), "at": self._at, "end": self._end}

    def load(self, state: State) -> None:
        super().load(state)
        if state["plan"].get("epoch") == self.epoch:
            self._at, self._end = state["plan"]["at"], state["plan"]["end"]


MODES = {"min_size": _MinSize, "max_size_cycle": _MaxSizeCycle, "max_size": _MaxSize, "sequential": _Sequential}
"""The plans of CombinedLoader's modes."""
