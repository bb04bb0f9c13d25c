"""The global generators: kept and put back to the last bit, whatever they were in the middle of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.toydata import same
from training import generators, storable
from training.generators import (
    Carried,
    Keys,
    get_generators,
    kept_generators,
    mark,
    put_generators,
    set_generators,
    touched,
)

DRAWS: list[Callable[[], Any]] = [
    lambda: float(torch.rand(())),
    lambda: float(torch.randn(3)[0]),
    lambda: float(np.random.rand()),
    lambda: float(np.random.randn()),  # makes two, and keeps the second
    lambda: np.random.randn(3).tolist(),
    lambda: int(np.random.randint(9)),
    random.random,
    lambda: random.gauss(0, 1),  # so does this
    lambda: random.randrange(10**30),
]
SOME = st.lists(st.sampled_from(DRAWS), max_size=6)


@contextmanager
def numpys(bits: Any) -> Iterator[None]:
    """Another generator behind np.random."""
    before = np.random.get_bit_generator()  # type: ignore[attr-defined]
    np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        np.random.set_bit_generator(before)  # type: ignore[attr-defined]


def numbers(draws: list[Callable[[], Any]]) -> list[Any]:
    return [draw() for draw in draws]


@pytest.mark.parametrize("quick", [True, False])
@given(st.integers(0, 2**32 - 1), SOME, SOME, SOME)
@settings(max_examples=60)
def test_put_back_they_go_on_as_they_would_have(quick: bool, seed: int, before: Any, between: Any, after: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            patch.setattr(generators, "_lies_as_expected", lambda: False)
        set_generators(seed << 20)
        numbers(before)
        state = get_generators()
        expected = numbers([*after, *DRAWS])
        put_generators(state)
        with kept_generators():
            numbers(between)
        assert numbers([*after, *DRAWS]) == expected
        numbers(between)
        put_generators(storable.decode(storable.encode(state)))
        assert numbers([*after, *DRAWS]) == expected


def test_another_generator_behind_numpys_functions() -> None:
    with numpys(np.random.PCG64(3)):
        with kept_generators():
            expected = [np.random.rand(), np.random.randn()]
        assert [np.random.rand(), np.random.randn()] == expected
        assert touched(mark()) == {"numpy"}  # that it was not cannot be told


@given(st.integers(0, 2**64 - 1), SOME)
@settings(max_examples=60)
def test_whether_anything_was_drawn(key: int, draws: Any) -> None:
    with kept_generators():
        set_generators(key)
        marked = mark()
        numbers(draws)
        assert touched(marked) == {
            ["torch", "numpy", "python"][(DRAWS.index(each) > 1) + (DRAWS.index(each) > 5)] for each in draws
        }


@given(st.lists(st.tuples(SOME, SOME), max_size=4), st.integers(0, 9))
@settings(max_examples=30)
def test_carried_ones_stand_still_outside(turns: Any, key: int) -> None:
    with kept_generators():
        set_generators(key)
        expected = numbers([draw for inside, _ in turns for draw in inside])
    carried, found = Carried(key), []
    outer = get_generators()
    for inside, outside in turns:
        with carried:
            found += numbers(inside)
        assert same(get_generators(), outer)
        with kept_generators():
            numbers(outside)
    assert found == expected


def test_keys_are_functions_of_their_place() -> None:
    one, other = Keys(1, "a"), Keys(1, "a")
    asked = [(0, 0), (1023, 0), (1024, 0), (5000, 2), (3, 1), (1024, 0), (0, 0, 0), (0,)]
    assert [one(*each) for each in asked] == [other(*each) for each in reversed(asked)][::-1]
    assert len({one(*each) for each in asked}) == 7
    assert Keys(2, "a")(0, 0) != one(0, 0) != Keys(1, "b")(0, 0)
