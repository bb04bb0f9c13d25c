"""What can only be read from front to back: IterableDatasets, and whatever else gives batches one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

from torch.utils.data import DataLoader

from training.data.plans import length_said_by
from training.data.reading import Reader, end_workers
from training.data.samplers import set_epoch
from training.data.workers import Stream


def has_state(thing: object) -> bool:
    """Whether it can say where its reading stands, and go on from there."""
    return all(callable(getattr(thing, name, None)) for name in ("state_dict", "load_state_dict"))


class Source(ABC):
    """Something to read batches from.

    Args:
        given: what the user gave.
    """

    once = False
    """Whether it can be read only once, all epochs in a row."""

    def __init__(self, given: Any) -> None:
        self.given = given

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self.given).__name__

    @property
    def length(self) -> int | None:
        """How many batches it says that an epoch has."""
        return length_said_by(self.given)

    @property
    def keeps_place(self) -> bool:
        """Whether it can say where its reading stands."""
        return has_state(self.given)

    @abstractmethod
    def open(self, epoch: int, again: int) -> Iterator[Any]:
        """Begin to read an epoch; after ``load_state``, go on in it."""

    def state(self) -> Any:
        """Where the reading stands."""
        return self.given.state_dict()

    def load_state(self, state: Any) -> None:
        """What is opened next goes on there."""
        self.given.load_state_dict(state)

    @abstractmethod
    def stop(self) -> None:
        """End the reading of an epoch."""

    def close(self) -> None:
        """End the reading, and all workers."""
        self.stop()


class Iterated(Source):
    """Any iterable of batches, a DataLoader with an ``__iter__`` of its own among them."""

    _iterator: Any = None

    def open(self, epoch: int, again: int) -> Iterator[Any]:
        set_epoch(self.given, epoch)
        set_epoch(getattr(self.given, "dataset", None), epoch)
        self._iterator = iter(self.given)
        found: Iterator[Any] = self._iterator
        return found

    def stop(self) -> None:
        iterator, self._iterator = self._iterator, None
        if isinstance(iterator, GeneratorType):
            iterator.close()
        if not getattr(self.given, "persistent_workers", False):
            end_workers(iterator)

    def close(self) -> None:
        self.stop()
        if isinstance(self.given, DataLoader):
            end_workers(self.given._iterator)
            self.given._iterator = None


class Streamed(Source):
    """A DataLoader over an IterableDataset.

    Read in this process, it stands where its data set, or the iterator of that, says. Where workers stand nobody says.
    """

    def __init__(self, given: DataLoader[Any], seed: int, purpose: str) -> None:
        super().__init__(given)
        self._stream = Stream(given.dataset, seed, purpose, given.num_workers)
        own = {"batch_size": given.batch_size, "drop_last": given.drop_last, "collate_fn": given.collate_fn}
        self._reader = Reader(given, self._stream, seed, purpose, **own)
        self._loaded: Any = None
        self._iterator: Any = None

    @property
    def name(self) -> str:
        return type(self.given.dataset).__name__

    @property
    def keeps_place(self) -> bool:
        return not self._reader.workers and (has_state(self.given.dataset) or has_state(self._stream.iterator))

    def open(self, epoch: int, again: int) -> Iterator[Any]:
        state, self._loaded = self._loaded, None
        set_epoch(self.given.dataset, epoch)
        self._stream.set_epoch(epoch, again)
        if state is not None and state["dataset"] is not None:
            self.given.dataset.load_state_dict(state["dataset"])
        self._iterator = self._reader.open(epoch, again)
        if state is not None and state["iterator"] is not None:
            self._stream.iterator.load_state_dict(state["iterator"])  # type: ignore[union-attr]
        if state is not None:
            self._iterator._dataset_fetcher.ended = state["ended"]
        found: Iterator[Any] = self._iterator
        return found

    def state(self) -> Any:
        dataset, iterator = self.given.dataset, self._stream.iterator
        return {
            "dataset": dataset.state_dict() if has_state(dataset) and dataset is not iterator else None,
            "iterator": iterator.state_dict() if has_state(iterator) else None,  # type: ignore[union-attr]
            # That the last batch was cut short at the end is known to torch alone.
            "ended": self._iterator is not None and self._iterator._dataset_fetcher.ended,
        }

    def load_state(self, state: Any) -> None:
        self._loaded = state

    def stop(self) -> None:
        self._iterator = None
        self._reader.stop()
        if self._stream.iterator is not self.given.dataset:
            self._stream.iterator = None

    def close(self) -> None:
        self.stop()
        self._reader.close()


class Once(Source):
    """An iterator: it is read once, and a new epoch goes on where the one before ended."""

    once = True
    keeps_place = True

    def __init__(self, given: Iterator[Any]) -> None:
        super().__init__(given)
        self._read = self._to_drop = 0
        self._back: list[Any] = []

    @property
    def length(self) -> int | None:
        return None

    def open(self, epoch: int, again: int) -> Iterator[Any]:
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while self._to_drop > self._read:
            self._read += 1
            next(self.given)
        batch = self._back.pop() if self._back else next(self.given)
        self._read += 1
        return batch

    def put_back(self, batch: Any) -> None:
        """It was read ahead, and is to be read again."""
        self._back.append(batch)
        self._read -= 1

    def state(self) -> Any:
        return self._read

    def load_state(self, state: Any) -> None:
        self._to_drop = int(state)

    def stop(self) -> None:
        """It stays where it is."""
