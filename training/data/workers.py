"""What runs where data are loaded: in worker processes, or in this one.

Each item is loaded with the generators set from (seed, purpose, epoch, place of the item in the epoch's order), each batch
is collated with them set from (seed, purpose, epoch, batch). So it is the same whoever loads it, after whatever else.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, get_worker_info
from torch.utils.data import _utils as torch_data

from training.data.own_generators import get_own, own_generators, put_own, set_own
from training.determinism import flags
from training.generators import SETTERS, Key, Keys, State, get_generators, put_generators, set_generators, touched

_ONLY_INDEXED = (TensorDataset, list, tuple, range, torch.Tensor)
_DRAW_NOTHING = (torch_data.collate.default_collate, torch_data.collate.default_convert)


class Request(NamedTuple):
    """A batch to load."""

    epoch: int
    again: int
    """How often the loader was read in the epoch before."""
    batch: int
    place: int
    """Where the batch's first item stands in the epoch's order."""
    indices: Any
    """What the sampler gave for the batch; of a loader without batches, one index."""


class Items(Dataset[Any]):
    """A loader's data set and its collate_fn: gives the batch for a request.

    To set a generator for each item takes longer than many a data set needs to look it up. So those that a first batch did
    not draw from are not set; should a later one, it is loaded again with them set, and from then on they are.

    Args:
        dataset: the user's.
        collate_fn: the user's.
        batched: whether a request is for a batch, or with batch_size=None for one item.
        seed: the run's.
        purpose: what the loader is for, a key of its random numbers.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool, seed: int, purpose: str) -> None:
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        self.seed, self.purpose = seed, purpose
        self._at_once = batched and _loads_at_once(dataset)
        self._item_keys, self._batch_keys = Keys(seed, f"{purpose}/item"), Keys(seed, f"{purpose}/collate")
        self._may_draw = not (_only_indexed(dataset) and collate_fn in _DRAW_NOTHING)
        self._setters = tuple(SETTERS) if self._may_draw else ()
        """Those of the global generators that are set for each item."""
        self._own: list[Any] | None = None
        """Generators that the data set and the collate_fn have for themselves; these always are."""
        self._watching = False
        self._before: State | None = None
        """While watching: the generators, as they were set last."""
        self._drawn: set[str] = set()

    def __getitem__(self, request: Request) -> Any:
        if not self._may_draw:
            return self._loaded(request)
        first = self._own is None
        if self._own is None:  # now, since a worker_init_fn may have made some
            self._own = own_generators(self.dataset, self.collate_fn)
        try:
            with _undisturbed(self._own) as before:
                return self._first(request) if first else self._next(request, before)
        except StopIteration as error:  # which would end the epoch, and nobody would know
            raise RuntimeError(f"{type(self.dataset).__name__}: StopIteration for {request.indices}") from error

    def _first(self, request: Request) -> Any:
        """The first batch in this process, from which is learned what is drawn from."""
        self._watching = True
        try:
            batch = self._loaded(request)
            self._watch()
        finally:
            self._watching, self._before = False, None
        own = own_generators(self.dataset, self.collate_fn)
        if len(own) > len(self._own or ()):  # one was made for the first item
            self._own = own
            batch = self._loaded(request)
        self._setters = tuple(name for name in SETTERS if name in self._drawn)
        return batch

    def _next(self, request: Request, before: State) -> Any:
        """Another batch, which probably draws from what the first did."""
        batch = self._loaded(request)
        more = touched(before).difference(self._setters)
        if not more:
            return batch
        self._setters = (*self._setters, *more)
        return self._loaded(request)

    def _loaded(self, request: Request) -> Any:
        data = self._items(request) if self.batched else self._item(request, request.place, request.indices)
        self._set(self._batch_keys(request.epoch, request.again, request.batch))
        return self.collate_fn(data)

    def _items(self, request: Request) -> Any:
        if not self._at_once:
            return [self._item(request, request.place + i, index) for i, index in enumerate(request.indices)]
        self._set(self._item_keys(request.epoch, request.again, request.place))
        return self.dataset.__getitems__(request.indices)

    def _item(self, request: Request, place: int, index: Any) -> Any:
        if self._setters or self._own:
            self._set(self._item_keys(request.epoch, request.again, place))
        return self.dataset[index]

    def _set(self, key: Key) -> None:
        if self._watching:
            self._watch()
        for name in self._setters:
            SETTERS[name](key)
        if self._own:
            set_own(self._own, key.bits)
        if self._watching:
            self._before = get_generators()

    def _watch(self) -> None:
        """Note what was drawn from since the generators were set last."""
        if self._before is not None:
            self._drawn |= touched(self._before)


@contextmanager
def _undisturbed(own: list[Any]) -> Iterator[State]:
    """Put generators back afterwards; outside of workers a data set's own, too, for others may have them."""
    state = get_generators()
    own_states = get_own(own) if own and get_worker_info() is None else None
    try:
        yield state
    finally:
        put_generators(state)
        if own_states is not None:
            put_own(own, own_states)


class Stream(IterableDataset[Any]):
    """An IterableDataset of the user's.

    In a worker, its iteration begins with the generators set from (seed, purpose, epoch, the worker's number). In this
    process its reader sets them.
    """

    def __init__(self, dataset: Any, seed: int, purpose: str, workers: int) -> None:
        self.dataset, self._keys = dataset, Keys(seed, f"{purpose}/stream")
        self.iterator: Iterator[Any] | None = None
        """What the data set gave to read it by."""
        # In memory that is shared with the workers: those that persist read of a new epoch here.
        self._epoch = torch.zeros(2, dtype=torch.int64).share_memory_() if workers else torch.zeros(2, dtype=torch.int64)

    def set_epoch(self, epoch: int, again: int) -> None:
        """Which epoch is read next."""
        self._epoch[0], self._epoch[1] = epoch, again

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is not None:
            key = self._keys(*self._epoch.tolist(), 1 + worker.id)
            set_generators(key)
            set_own(own_generators(self.dataset), key.bits)
        self.iterator = iter(self.dataset)
        return self.iterator


class Start:
    """A worker's beginning: the worker_init_fn that a loader gets, around the user's.

    Signals are the main process's affair: one that stops a run, sent to all of its processes, lets it end its batch first.
    ``get_worker_info().dataset`` is the user's data set. What a spawned worker does not inherit is set as it was here.
    """

    def __init__(self, worker_init_fn: Callable[[int], Any] | None) -> None:
        self.worker_init_fn = worker_init_fn
        self.in_force = flags.in_force()
        self.dtype, self.flags = torch.get_default_dtype(), _flags()
        self.fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]

    def __call__(self, worker: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        torch.set_default_dtype(self.dtype)
        if self.flags != _flags():  # setting them takes a second
            torch.use_deterministic_algorithms(self.flags[0], warn_only=self.flags[1])
        torch.utils.deterministic.fill_uninitialized_memory = self.fill  # type: ignore[attr-defined]
        flags.put_in_force(self.in_force)
        info: Any = get_worker_info()
        torch_data.worker._worker_info = dataclasses.replace(info, dataset=info.dataset.dataset)
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker)


def _flags() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def as_it_is(batch: Any) -> Any:
    """The batch, which is collated already."""
    return batch


def _only_indexed(dataset: Any) -> bool:
    """Whether an item is only looked up, by code that draws nothing."""
    if type(dataset) is Subset:
        return _only_indexed(dataset.dataset)
    if type(dataset) is ConcatDataset:
        return all(map(_only_indexed, dataset.datasets))
    return type(dataset) in _ONLY_INDEXED


def _loads_at_once(dataset: Any) -> bool:
    """Whether the data set loads a batch's items at once; a Subset does so only where what it is of does."""
    if type(dataset) is Subset:
        return _loads_at_once(dataset.dataset)
    return bool(getattr(dataset, "__getitems__", None))
