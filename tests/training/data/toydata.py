"""Data sets, samplers and streams as users write them: they draw from everything, count, and keep state."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, default_collate

from training.data.batches import Batches
from training.data.loaders import as_batches


def drawn() -> list[float]:
    """A number from each global generator."""
    return [float(torch.rand(())), float(np.random.rand()), random.random()]


class Numbers(Dataset[Tensor]):
    """Item i is i, with numbers drawn as ``draws`` says: "all", "some" (a few of the items), "own", "late", "none"."""

    def __init__(self, n: int, draws: str = "all") -> None:
        self.n, self.draws = n, draws
        self.loaded: list[int] = []
        self.own = (random.Random(1), np.random.default_rng(1), torch.Generator()) if draws == "own" else ()
        self.late: Any = None

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Tensor:
        self.loaded.append(i)
        noise: list[float] = []
        if self.draws == "all" or (self.draws == "some" and i % 7 == 5):
            noise = [*drawn(), float(np.random.randn())]
        elif self.own:
            first, second, third = self.own
            noise = [first.random(), second.random(), float(torch.rand((), generator=third))]
        elif self.draws == "late":
            if self.late is None:
                self.late = np.random.default_rng(torch.initial_seed() % 2**32)
            noise = [self.late.random()]
        return torch.tensor([i, *noise, *[0.0] * (4 - len(noise))], dtype=torch.float64)


class AtOnce(Numbers):
    """Loads a batch's items at once."""

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        shift = sum(drawn())
        return [self[i] + shift for i in indices]


def noisy(items: list[Tensor]) -> Tensor:
    """A collate_fn that draws."""
    return torch.stack(items) + sum(drawn())


def plain(items: list[Tensor]) -> Tensor:
    """One that does not."""
    return torch.stack(items)


class Drawing(Sampler[int]):
    """Draws from everything, and counts the epochs that it gave."""

    def __init__(self, n: int) -> None:
        self.n, self.epochs = n, 0
        self.own = random.Random(5)

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.n).tolist()
        random.shuffle(order)
        order = [order[i] for i in np.random.permutation(self.n)]
        shift = self.epochs + self.own.randrange(self.n)
        yield from [(i + shift) % self.n for i in order]
        self.epochs += 1


class Bucketed(Sampler[list[int]]):
    """A batch sampler whose batches differ in size and number from epoch to epoch; it fills one list again and again."""

    def __init__(self, n: int) -> None:
        self.n, self.epochs = n, 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[list[int]]:
        self.epochs += 1
        batch: list[int] = []
        left = random.sample(range(self.n), self.n)
        while left:
            batch[:] = left[: 1 + (self.epochs + len(left)) % 3]
            del left[: len(batch)]
            yield batch


class Endless(Sampler[int]):
    """Has no length, and no end."""

    def __init__(self, n: int) -> None:
        self.n, self.own = n, np.random.default_rng(3)

    def __iter__(self) -> Iterator[int]:
        while True:
            yield int(torch.randint(self.n, ())) ^ int(self.own.integers(2))


class Lines(IterableDataset[Tensor]):
    """A stream that draws."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.read = 0

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(self.n):
            self.read += 1
            yield torch.tensor([i, *drawn()], dtype=torch.float64)


class FromStart(Lines):
    """Says where it stands, and goes on there the next time it is iterated; after that from its beginning."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.start = self.at = 0

    def __iter__(self) -> Iterator[Tensor]:
        start, self.start = self.start, 0
        for i in range(start, self.n):
            self.at = i + 1
            self.read += 1
            yield torch.tensor([i, *drawn()], dtype=torch.float64)
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start = self.at = state["at"]


class GoesOn(FromStart):
    """Goes on where it was left, in a new epoch, too."""

    def __iter__(self) -> Iterator[Tensor]:
        while self.at < self.n:
            self.at += 1
            self.read += 1
            yield torch.tensor([self.at, *drawn()], dtype=torch.float64)
        self.at = 0


class Iterators(Lines):
    """Whose iterators say where they stand, and have a generator and a list that they change."""

    class Reading(Iterator[Tensor]):
        def __init__(self, lines: Lines) -> None:
            self.lines, self.at, self.seen = lines, 0, list[int]()

        def __next__(self) -> Tensor:
            if self.at == self.lines.n:
                raise StopIteration
            self.at += 1
            self.lines.read += 1
            self.seen.append(self.at)
            return torch.tensor([self.at, sum(self.seen), *drawn()], dtype=torch.float64)

        def state_dict(self) -> dict[str, Any]:
            return {"at": self.at, "seen": self.seen}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.at, self.seen = state["at"], list(state["seen"])

    def __iter__(self) -> Iterator[Tensor]:
        return self.Reading(self)


class Own:
    """A loader of the user's own with a state, in torchdata's way: what is loaded holds for one iteration."""

    def __init__(self, n: int) -> None:
        self.n, self.at, self.next = n, 0, 0
        self.read = 0

    def __iter__(self) -> Iterator[Tensor]:
        start, self.next = self.next, 0
        for i in range(start, self.n):
            self.at = i + 1
            self.read += 1
            yield torch.tensor([i, *drawn()], dtype=torch.float64)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = self.at = state["at"]


def loader(dataset: Any, **named: Any) -> DataLoader[Any]:
    """A DataLoader, without the warning that there are more workers than processors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return DataLoader(dataset, **named)


def batches(source: Any, lines: list[str] | None = None, seed: int = 3, **named: Any) -> Any:
    """``as_batches``; where it may not tell of anything, ``lines`` is None."""

    def tell(line: str) -> None:
        assert lines is not None, line
        lines.append(line)

    return as_batches(source, seed=seed, purpose="train", tell=tell, **named)


def read(source: Batches, epoch: int, start: int = 0, end: int | None = None) -> list[Any]:
    """An epoch's batches from ``start`` on, one after another, as the loop reads them."""
    plan: Any = source.plan(epoch)
    found, k = [], start
    while (end is None or k < end) and plan.has(k):
        found.append(plan[k])
        k += 1
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two are equal to the last bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and same(list(one.values()), list(other.values()))
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


COLLATES: list[Callable[[Any], Any]] = [default_collate, plain, noisy]
