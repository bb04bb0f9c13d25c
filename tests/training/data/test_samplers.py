"""The order of an epoch: a function of (seed, purpose, epoch), whatever a sampler keeps for itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import RandomSampler, Sampler
from torch.utils.data.distributed import DistributedSampler

from tests.training.data.toydata import Bucketed, Drawing, Endless, Numbers, batches, loader, read, same
from training.data import samplers

EPOCHS = list(itertools.product(range(4), repeat=2))


class Counting(Sampler[int]):
    """Says how often it was iterated, and to the end."""

    def __init__(self, n: int = 3) -> None:
        self.n = n
        self.begun = self.ended = 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        self.begun += 1
        yield from (100 * self.begun + 10 * self.ended + i for i in range(self.n))
        self.ended += 1


class Indices:
    """Gives the index itself."""

    def __getitem__(self, i: int) -> int:
        return i

    def __len__(self) -> int:
        return 1000


def order(sampler: Any, *epochs: int, lines: list[str] | None = None) -> list[list[int]]:
    source = batches(loader(Indices(), batch_size=None, sampler=sampler), lines)
    return [read(source, epoch) for epoch in epochs]


@pytest.mark.parametrize(("first", "second"), EPOCHS)
def test_a_sampler_that_counts_gives_each_epoch_its_own_in_any_order_of_epochs(first: int, second: int) -> None:
    expected = [[100 * (epoch + 1) + 10 * epoch + i for i in range(3)] for epoch in range(4)]
    assert order(Counting(), first, second) == [expected[first], expected[second]]


@pytest.mark.parametrize("kind", [Counting, lambda: Drawing(5), lambda: Bucketed(5)])
def test_a_second_fit_with_a_sampler_is_the_first_again(kind: Any) -> None:
    sampler = kind()
    assert same(order(sampler, 0, 1), order(sampler, 0, 1))


def test_it_is_iterated_to_its_end_and_not_further_than_its_length() -> None:
    class Longer(Counting):
        def __len__(self) -> int:
            return 2

    class Shorter(Counting):
        def __len__(self) -> int:
            return 5

    assert order(Longer(), 0) == [[100, 101]]  # as in Lightning, which asks no loader for more than that
    shorter = batches(loader(Indices(), batch_size=None, sampler=Shorter()))
    assert len(shorter.plan(0)) == 3


def test_set_epoch_is_called() -> None:
    spread = DistributedSampler(Numbers(9), num_replicas=2, rank=0)  # type: ignore[var-annotated]
    assert order(spread, 0) != order(spread, 3)
    assert order(spread, 3) == order(spread, 3)
    spread.set_epoch(3)
    assert order(spread, 3)[0] == list(spread)

    class Told(Counting):
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            yield self.epoch

    told = Told()
    source = batches(loader(Indices(), batch_size=2, sampler=told))  # below a batch sampler, too
    for epoch in (2, 0):
        told.set_epoch(7)  # what a user's hook does
        assert [each.tolist() for each in read(source, epoch)] == [[epoch]]


def test_its_end_may_be_unknown() -> None:
    lines: list[str] = []
    source = batches(loader(Indices(), batch_size=3, sampler=Endless(9)), lines)
    plan = source.plan(1)
    with pytest.raises(TypeError, match="the number of batches is not known"):
        len(plan)
    expected = read(source, 1, 0, 6)
    assert plan.has(10**3)
    assert not same(expected, read(source, 0, 0, 6))
    for k in range(6):
        again = batches(loader(Indices(), batch_size=3, sampler=Endless(9)), lines)
        assert same(read(again, 1, k, 6), expected[k:])
    assert set(lines) == {
        "the batch sampler BatchSampler has no length: each epoch begins with it as it was given, whatever it keeps"
    }


def test_a_finite_one_without_a_length_ends() -> None:
    class Some(Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            yield from torch.randperm(5).tolist()

    lines: list[str] = []
    for workers in (0, 1):
        source = batches(loader(Indices(), batch_size=2, sampler=Some(), num_workers=workers), lines)
        assert [len(each) for each in read(source, 0)] == [2, 2, 1]
        assert not source.plan(0).has(3)
        assert [len(each) for each in read(source, 0, 2)] == [1]
        source.close()


def test_very_long_orders_are_drawn_when_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    source = batches(loader(Numbers(7), sampler=RandomSampler(Numbers(7), True, 10**12, generator), batch_size=10**3))
    assert len(source.plan(2)) == 10**9
    expected = read(source, 2, 0, 3)
    assert same(read(source, 2, 2, 3), expected[2:])
    assert generator.get_state().equal(before)
    monkeypatch.setattr(samplers, "MOST_AT_ONCE", 2)
    for kind in (Counting, lambda: list(range(3)), lambda: Drawing(3)):
        assert same(*([read(batches(loader(Numbers(3), sampler=kind())), 0, k)[-1] for k in (0, 2)]))


def test_one_that_cannot_be_copied_is_said() -> None:
    class Held(Counting):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("cannot")

    lines: list[str] = []
    assert order(Held(), 0, 1, 3, lines=lines) == [[100, 101, 102], [210, 211, 212], [430, 431, 432]]
    assert order(Held(), 2, lines=lines) == [[320, 321, 322]]  # a resume in a new process is exact all the same
    assert all(line.startswith("the sampler Held cannot be copied: if it keeps anything") for line in lines)
    assert len(lines) == 2
    lines.clear()
    assert order((i for i in range(3)), 0, 1, lines=lines) == [[0, 1, 2], []]
    assert lines == ["the sampler generator can be read only once: a second epoch or a second fit gets nothing from it"]


def test_a_copy_shares_the_data() -> None:
    class Held(Numbers):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("copied")

    class With(Counting):
        def __init__(self, data: Any) -> None:
            super().__init__()
            self.data, self.model, self.rows = data, torch.nn.Linear(1, 1), data.rows

        def __iter__(self) -> Iterator[int]:
            assert self.data is data
            assert self.rows is data.rows
            assert self.model is sampler.model
            return iter([0])

    data: Any = Held(3)
    data.rows = Held(2)
    sampler = With(data)
    assert len(read(batches(loader(data, sampler=sampler)), 0)) == 1


def test_what_a_user_changes_during_the_training_counts_and_is_said() -> None:
    sampler, lines = Counting(), list[str]()
    source = batches(loader(Indices(), batch_size=None, sampler=sampler), lines)
    assert read(source, 0) == [100, 101, 102]
    sampler.n = 2
    assert read(source, 1) == [100, 101]
    assert read(source, 2) == [210, 211]
    assert lines == [
        "the sampler Counting was changed since the training began: a resume needs it changed in the same way before"
    ]

    class Weighted(Counting):
        weights = torch.ones(3)

        def __iter__(self) -> Iterator[int]:
            return iter(self.weights.int().tolist())

    weighted = Weighted()
    weighted.weights = torch.ones(3)
    source = batches(loader(Indices(), batch_size=None, sampler=weighted), lines)
    assert read(source, 0) == [1, 1, 1]
    weighted.weights[0] = 5  # written into
    assert read(source, 1) == [5, 1, 1]
