"""Batches that another thread makes ahead: the same in any order, and each error at the turn of its batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.batches import Batches
from word2vec.model.beside import worker
from word2vec.text.ahead import Ahead


@contextmanager
def ahead(source: Batches, prepare: Callable[[Any], Any]) -> Iterator[Ahead]:
    with worker("batches", threads=1) as executor:
        yield Ahead(source, prepare, executor)


class Squares:
    """Batch k of epoch e is (e, k²); number ``bad`` can't be made."""

    def __init__(self, length: int, bad: int = -1) -> None:
        self.length, self.bad = length, bad
        self.made = list[int]()
        self.closed = 0

    def plan(self, epoch: int) -> Sequence[Any]:
        source = self

        class Plan(Sequence[Any]):
            def __len__(self) -> int:
                return source.length

            def __getitem__(self, index: Any) -> Any:
                source.made.append(index)
                if index == source.bad:
                    raise ValueError(f"batch {index}")
                return epoch, index**2

            def close(self) -> None:
                source.closed += 1

        return Plan()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=12))))
def test_batches_are_those_of_the_source_in_any_order(case: tuple[int, list[int]]) -> None:
    length, asked = case
    with ahead(Squares(length), lambda batch: (*batch, "prepared")) as source:
        plan = source.plan(3)
        assert len(plan) == length
        assert [plan[k] for k in asked] == [(3, k**2, "prepared") for k in asked]
        assert plan[1:3] == [(3, k**2, "prepared") for k in range(length)][1:3]


def test_in_order_each_is_made_once_by_the_other_thread() -> None:
    squares, names = Squares(5), set[str]()
    with ahead(squares, lambda batch: names.add(threading.current_thread().name)) as source:
        plan = source.plan(0)
        for k in range(5):
            plan[k]
    assert squares.made == [0, 1, 2, 3, 4]
    assert names == {"batches_0"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_is_raised_when_its_batch_is_asked_for() -> None:
    with ahead(Squares(4, bad=2), lambda batch: batch) as source:
        plan = source.plan(0)
        assert [plan[0], plan[1]] == [(0, 0), (0, 1)]
        with pytest.raises(ValueError, match="batch 2"):
            plan[2]
        assert plan[3] == (0, 9)


def test_a_plan_that_is_closed_closes_the_sources() -> None:
    squares = Squares(9)
    with ahead(squares, lambda batch: batch) as source:
        plan: Any = source.plan(0)
        plan[0]
        plan.close()
        assert squares.closed == 1
        assert plan[1] == (0, 1)
