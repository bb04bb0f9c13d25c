"""Streams: left after any batch and taken up again, they go on with the same bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from tests.training.data.toydata import (
    FromStart,
    GoesOn,
    Iterators,
    Lines,
    Own,
    batches,
    drawn,
    loader,
    noisy,
    read,
    same,
)
from training import storable
from training.errors import CheckpointError
from training.generators import get_generators


class Sized(FromStart):
    """Says how many there are."""

    def __len__(self) -> int:
        return self.n


class ReadAnew:
    """An iterable of the user's that begins anew each time, from whatever it keeps."""

    def __init__(self, n: int) -> None:
        self.n, self.read = n, 0

    def __iter__(self) -> Iterator[Any]:
        self.at = 0
        return self

    def __next__(self) -> Any:
        if self.at == self.n:
            raise StopIteration
        self.at += 1
        self.read += 1
        return [self.at, *drawn()]


class WithRandom(Lines):
    """Has a generator of its own."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.own = torch.Generator()

    def __iter__(self) -> Iterator[Tensor]:
        for each in super().__iter__():
            yield each + torch.rand((), generator=self.own, dtype=torch.float64)


class WithRandomState(FromStart, WithRandom):
    """It, and says where it stands."""


def of(kind: Any, size: int | None = 2, **named: Any) -> Callable[[int], Any]:
    return lambda n: loader(kind(n), batch_size=size, **({"collate_fn": noisy} if size else {}), **named)


STREAMS: dict[str, Callable[[int], Any]] = {
    "lines": of(Lines),
    "items": of(Lines, None),
    "two workers": of(Lines, num_workers=2),
    "from start": of(FromStart),
    "goes on": of(GoesOn),
    "iterators": of(Iterators, drop_last=True),
    "sized": of(Sized),
    "own generator": of(WithRandom),
    "own generator, state": of(WithRandomState),
    "own loader": Own,
    "read anew": ReadAnew,
    "generator": lambda n: ([i, *drawn()] for i in range(n)),
    "endless": lambda n: iter(lambda: drawn(), None),
}
KEEP_PLACE = {"from start", "goes on", "iterators", "sized", "own generator, state", "own loader"}


class Left(Exception):
    pass


def run(
    source: Any, epochs: int, limit: int | None, looks: bool, leave: tuple[int, int] | None = None, state: Any = None
) -> tuple[dict[tuple[int, int], Any], Any]:
    """Read epochs as the loop does, and leave after so many batches of one: what was read, and the state then."""
    start = (0, 0)
    if state is not None:
        start = state["epoch"], state["batch"]
        source.load_state_dict(storable.decode(storable.encode(state["data"])))
    found = {}
    for epoch in range(start[0], epochs):
        plan = source.plan(epoch)
        k = start[1] if epoch == start[0] else 0
        while (limit is None or k < limit) and plan.has(k):
            found[epoch, k] = plan[k]
            k += 1
            if looks:
                plan.has(k)
            drawn()
            if leave == (epoch, k):
                kept = copy.deepcopy({"epoch": epoch, "batch": k, "data": source.state_dict()})
                source.close()
                return found, kept
        plan.close()
    source.close()
    return found, None


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(("limit", "looks"), [(None, True), (None, False), (3, True), (3, False)])
def test_left_after_any_batch_it_goes_on_with_the_same_bits(name: str, limit: int | None, looks: bool) -> None:
    if name == "two workers" and (limit, looks) != (3, True):
        pytest.skip("workers take a while to start")
    if name == "endless":
        limit = limit or 4
    make, n, lines = STREAMS[name], 7, list[str]()
    expected, _ = run(batches(make(n), lines), 2, limit, looks)
    for epoch, k in [(0, 1), (1, 2)] if name == "two workers" else expected:
        first, state = run(batches(make(n), lines), 2, limit, looks, (epoch, k + 1))
        drawn()
        given_source = make(n)
        rest, _ = run(batches(given_source, lines), 2, limit, looks, state=state)
        assert same(list({**first, **rest}.items()), list(expected.items())), (epoch, k)
        assert len(first) + len(rest) == len(expected)
        if name in KEEP_PLACE:
            data, size = (given_source, 1) if isinstance(given_source, Own) else (given_source.dataset, 2)
            assert data.read <= size * (len(rest) + 1 + 2 * looks)  # what is left, one batch before it, and those looked at
    if name in KEEP_PLACE:
        assert not lines
    elif name not in ("generator", "endless"):
        assert any("read from the start of the epoch and skipped, because it has no state_dict" in line for line in lines)


@pytest.mark.parametrize("name", [each for each in STREAMS if each not in ("generator", "endless")])
def test_whoever_looks_or_draws_changes_nothing(name: str) -> None:
    looked, _ = run(batches(STREAMS[name](7)), 2, 3, True)
    not_looked, _ = run(batches(STREAMS[name](7)), 2, 3, False)
    assert same(list(looked.items()), list(not_looked.items()))
    first = read(batches(STREAMS[name](7)), 0)
    assert not same(first, read(batches(STREAMS[name](7), seed=4), 0))
    assert not same(first, read(batches(STREAMS[name](7)), 1))


def test_the_global_generators_are_put_back() -> None:
    for name in STREAMS:
        source, generators = batches(STREAMS[name](7), []), get_generators()
        read(source, 0, 0, 3)
        source.state_dict()
        source.close()
        assert same(get_generators(), generators), name


@given(st.integers(0, 9), st.integers(1, 4), st.booleans())
@settings(max_examples=30)
def test_forms_and_numbers_are_those_of_the_loader(n: int, size: int, drop_last: bool) -> None:
    class Plain(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(n))

    for given_loader in (loader(Plain(), batch_size=size, drop_last=drop_last), loader(Plain(), batch_size=None)):
        source, expected = batches(given_loader), list(given_loader)
        assert same(read(source, 0), expected)
        assert same(list(source.plan(1)), expected)
        assert not source.plan(1).has(len(expected))
        with pytest.raises(IndexError):
            source.plan(1)[len(expected)]


def test_a_length_that_is_said_is_not_exceeded_but_may_not_be_reached() -> None:
    class Says(Lines):
        says = 5

        def __len__(self) -> int:
            return self.says

    data = Says(7)
    source = batches(loader(data, batch_size=None))
    assert len(source.plan(0)) == 5
    assert len(read(source, 0)) == 5
    data.says = 9
    assert len(source.plan(1)) == 9
    assert len(read(source, 1)) == 7
    with pytest.raises(IndexError, match="got batch 8"):
        source.plan(1)[8]


def test_back_again_it_is_the_same_epoch() -> None:
    for name in ("lines", "iterators", "read anew"):
        source = batches(STREAMS[name](6))
        expected = read(source, 0)
        assert same(read(source, 0), expected)
        read(source, 1, 0, 2)
        assert same(read(source, 0), expected)


def test_set_epoch_is_called() -> None:
    class Told(Lines):
        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[Any]:
            yield self.epoch

    for workers in (0, 1):
        source = batches(loader(Told(1), batch_size=None, num_workers=workers))
        assert read(source, 3) == [3]
        source.close()


class Shares(Lines):
    """Each worker reads its share."""

    def __iter__(self) -> Iterator[Tensor]:
        info = get_worker_info()
        assert info is not None
        assert info.dataset is self
        for i in range(info.id, self.n, info.num_workers):
            yield torch.tensor([i, *drawn()], dtype=torch.float64)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_begin_each_epoch_with_numbers_of_its_own(persistent: bool) -> None:
    lines: list[str] = []
    source = batches(loader(Shares(6), num_workers=2, persistent_workers=persistent), lines)
    epochs = [torch.cat(read(source, epoch)) for epoch in range(2)]
    assert epochs[0][:, 0].tolist() == list(range(6))
    assert len({x for each in epochs for x in each[:, 1].tolist()}) == 12
    assert same(read(source, 1), list(epochs[1].split(1)))
    source.close()
    fresh = batches(loader(Shares(6), num_workers=2, persistent_workers=persistent), lines)
    assert same(read(fresh, 1, 4), list(epochs[1][4:].split(1)))
    fresh.close()
    assert lines == ["Shares: 4 batches are read from the start of the epoch and skipped, because it has no state_dict and "
                     "load_state_dict"]  # fmt: skip


def test_what_it_cannot_promise_it_says() -> None:
    lines: list[str] = []
    batches(iter([1, 2]), lines)

    class Stateful(type(loader([0]))):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter([0])

    batches(Stateful([0], num_workers=1), lines)
    Stateful.state_dict = Stateful.load_state_dict = lambda self: {}
    batches(Stateful(Lines(1), num_workers=1), lines)
    assert lines == [
        "train: a list_iterator can be read only once: each epoch continues where the last one ended, "
        "and a second fit gets nothing",
        "Stateful reads its data itself: the number of its workers may change the batches",
        "Stateful: after a resume, its workers draw other numbers from the global generators",
    ]


def test_a_state_of_other_generators_is_refused() -> None:
    _, state = run(batches(STREAMS["own generator, state"](7)), 1, None, False, (0, 2))
    with pytest.raises(CheckpointError, match="expected 1 generators of its own, as when the checkpoint"):
        run(batches(STREAMS["from start"](7)), 1, None, False, state=state)


def test_an_error_closes_the_stream() -> None:
    class Fails(Lines):
        closed = False

        def __iter__(self) -> Iterator[Any]:
            try:
                yield 1
                raise OSError("gone")
            finally:
                self.closed = True

    data = Fails(1)
    plan = batches(loader(data, batch_size=None)).plan(0)
    assert plan[0] == 1
    with pytest.raises(OSError, match="gone"):
        plan.has(1)
    assert data.closed
    anew = Fails(1)
    plan = batches(loader(anew, batch_size=None)).plan(0)
    plan[0]
    plan.close()
    assert anew.closed
