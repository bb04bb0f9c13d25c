"""A DataLoader over a data set that is indexed: its plan is a list of requests, each for a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from training.data.plans import Plan
from training.data.reading import Feed, Reader, one_thread
from training.data.samplers import Order, Orders
from training.data.workers import Items, Request, as_it_is


class MapBatches:
    """The batches of a DataLoader over a data set that is indexed.

    Args:
        loader: the DataLoader; it is not changed.
        seed: the run's.
        purpose: what the loader is for, a key of its random numbers.
        tell: gets a line for each promise that this loader does not let us keep.
        fixed_order: whether to take the data in their own order.
        keep_last: whether to keep a last batch that is not full.
    """

    reads_again = True
    """Whether its ``plan`` takes ``again``."""

    def __init__(
        self,
        loader: DataLoader[Any],
        seed: int,
        purpose: str,
        tell: Callable[[str], None],
        fixed_order: bool = False,
        keep_last: bool = False,
    ) -> None:
        self._orders = Orders(loader, seed, purpose, tell, fixed_order, keep_last)
        self._batched = loader._auto_collation
        self._reading = _Reading(loader, Items(loader.dataset, loader.collate_fn, self._batched, seed, purpose))
        self._plan: MapPlan | None = None
        if loader.num_workers and not loader.in_order:
            tell("in_order=False: the batches still come in order, because each must be known in advance")

    def plan(self, epoch: int, again: int = 0) -> MapPlan:
        """The epoch's batches; ``again`` says how often it was read before."""
        if self._plan is None or self._plan.epoch != (epoch, again):
            self.stop()
            self._plan = MapPlan(self._reading, self._orders.order(epoch, again), epoch, again, self._batched)
        return self._plan

    def state_dict(self) -> dict[str, Any]:
        """Nothing: an epoch's plan hangs on the epoch alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is to be done."""

    def stop(self) -> None:
        """End the reading of an epoch; workers that persist stay."""
        self._reading.stop()

    def close(self) -> None:
        """End the reading, and all workers."""
        self._plan = None
        self._reading.close()


class _Reading:
    """Loads requests one after another, for whichever plan has it."""

    def __init__(self, loader: DataLoader[Any], items: Items) -> None:
        self._feed, self._items = Feed(), items
        own = {"batch_size": None, "sampler": self._feed, "collate_fn": as_it_is}
        self._reader = Reader(loader, items, items.seed, items.purpose, **own)
        self._iterator: Any = None
        self.reader: object = None
        """What it loads for: of a plan not the plan, as the two would keep each other, and the workers, from ending."""

    def open(self, reader: object, epoch: tuple[int, int], requests: Iterator[Request]) -> None:
        """Begin to load requests."""
        self.stop()
        self._feed.requests, self.reader = requests, reader
        self._iterator = self._reader.open(*epoch)

    def load(self) -> Any:
        """The next request's batch; StopIteration where there is none."""
        if self._reader.workers:
            return next(self._iterator)
        with one_thread():
            return next(self._iterator)

    def stop(self) -> None:
        self.reader = self._iterator = None
        self._reader.stop()

    def close(self) -> None:
        self.reader = self._iterator = None
        self._reader.close()


class MapPlan(Plan):
    """An epoch's batches of a DataLoader over a data set that is indexed."""

    batch_indices: list[Any] | None = None
    """Which items of the data set are in the batch that was taken last."""

    def __init__(self, reading: _Reading, order: Order, epoch: int, again: int, batched: bool) -> None:
        self.epoch = (epoch, again)
        self.length, self.known = order.length, order.known
        self._reading, self._order, self._batched = reading, order, batched
        self._requests = _Requests(iter(()), 0)
        self._next = 0
        self._me = object()

    def _has(self, k: int) -> bool:
        if self.known:
            return True
        self._go_to(k)
        return self._requests.reach(k)

    def _take(self, k: int) -> Any:
        self._go_to(k)
        batch = self._reading.load()
        self._next, indices = k + 1, self._requests.handed.popleft().indices
        self.batch_indices = list(indices) if self._batched else [indices]
        if self._next == self.length:
            self._reading.stop()
        return batch

    def _go_to(self, k: int) -> None:
        if self._reading.reader is not self._me or k != self._next:
            self._requests = _Requests(_requests(self._order, self.epoch, self._batched, k), k)
            self._reading.open(self._me, self.epoch, self._requests)
            self._next = k

    def _fail(self) -> None:
        self._reading.close()

    def close(self) -> None:
        if self._reading.reader is self._me:
            self._reading.stop()


def _requests(order: Order, epoch: tuple[int, int], batched: bool, start: int) -> Iterator[Request]:
    """An epoch's requests from batch ``start`` on."""
    place = 0
    for k, indices in enumerate(order):
        if k >= start:
            yield Request(*epoch, k, place, indices)
        place += len(indices) if batched else 1


class _Requests(Iterator[Request]):
    """Requests that can be looked at before they are handed on."""

    def __init__(self, requests: Iterator[Request], k: int) -> None:
        self._requests, self._ahead, self._drawn = requests, deque[Request](), k
        self.handed = deque[Request]()
        """Those that were handed on and whose batch was not taken yet."""

    def __next__(self) -> Request:
        self.handed.append(self._ahead.popleft() if self._ahead else self._draw())
        return self.handed[-1]

    def _draw(self) -> Request:
        request = next(self._requests)
        self._drawn += 1
        return request

    def reach(self, k: int) -> bool:
        """Whether there is a request for batch k."""
        while self._drawn <= k:
            try:
                self._ahead.append(self._draw())
            except StopIteration:
                return False
        return True
