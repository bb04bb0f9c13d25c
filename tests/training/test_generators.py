"""The global generators: kept and put back to the last bit, whatever they were in the middle of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
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
    Key,
    Keys,
    get_generators,
    kept_generators,
    put_generators,
    set_generators,
    touched,
)
from training.mersenne_twister import BYTES, WORDS, NumPyGenerator, PythonGenerator
from training.randomness import words32

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


def by_functions(patch: pytest.MonkeyPatch) -> None:
    """The generators as where nobody knows how they lie in memory."""
    patch.setattr(generators, "NUMPY", NumPyGenerator(in_memory=False))
    patch.setattr(generators, "PYTHON", PythonGenerator(in_memory=False))


@pytest.mark.parametrize("quick", [True, False])
@given(st.integers(0, 2**32 - 1), SOME, SOME, SOME)
@settings(max_examples=60)
def test_put_back_they_go_on_as_they_would_have(quick: bool, seed: int, before: Any, between: Any, after: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            by_functions(patch)
        set_generators(Keys(seed, "a")(0))
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
        assert touched(get_generators()) == {"numpy"}  # that it was not cannot be told


@given(st.integers(0, 2**64 - 1), SOME)
@settings(max_examples=60)
def test_whether_anything_was_drawn(key: int, draws: Any) -> None:
    with kept_generators():
        set_generators(Keys(key, "a")())
        before = get_generators()
        numbers(draws)
        assert touched(before) == {
            ["torch", "numpy", "python"][(DRAWS.index(each) > 1) + (DRAWS.index(each) > 5)] for each in draws
        }


@given(st.lists(st.tuples(SOME, SOME), max_size=4), st.integers(0, 9))
@settings(max_examples=30)
def test_carried_ones_stand_still_outside(turns: Any, place: int) -> None:
    key = Keys(0, "a")(place)
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


def values(key: Key) -> tuple[Any, ...]:
    return key.bits, *key.words.pairs[key.row]


def test_keys_are_functions_of_their_place() -> None:
    one, other = Keys(1, "a"), Keys(1, "a")
    asked = [(0, 0), (15, 0), (16, 0), (0, 15), (0, 16), (0, 5000), (3, 1), (0, 16), (0, 0, 0), (0,), (), (0, 0)]
    found = [values(one(*each)) for each in asked]
    assert found == [values(other(*each)) for each in reversed(asked)][::-1]
    assert len({*found}) == 10
    more = [*found, values(Keys(2, "a")(0, 0)), values(Keys(1, "b")(0, 0))]
    for column in zip(*more, strict=True):
        assert len({*column}) == 12
    assert not {each[1] for each in more} & {each[2] for each in more}  # NumPy's and Python's are not alike


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**40), max_size=3), SOME, SOME)
@settings(max_examples=60)
def test_in_memory_and_by_functions_they_are_the_same(seed: int, counters: Any, before: Any, after: Any) -> None:
    key = Keys(seed, "a")(*counters)
    found = []
    for quick in (True, False):
        with kept_generators(), pytest.MonkeyPatch.context() as patch:
            if not quick:
                by_functions(patch)
            numbers(before)
            set_generators(key)
            begun = get_generators()
            drawn = numbers(after)
            found.append((begun, drawn, get_generators(), numbers(DRAWS), touched(begun)))
    assert same(found[0], found[1])


@given(st.lists(st.sampled_from(DRAWS[2:]), max_size=6), st.lists(st.sampled_from(DRAWS[2:]), max_size=6))
@settings(max_examples=60)
def test_what_one_way_gets_the_other_puts(before: Any, after: Any) -> None:
    ways: list[tuple[Any, Any]] = [(NumPyGenerator(way), PythonGenerator(way)) for way in (True, False)]
    for getters, putters in permutations(ways):
        with kept_generators():
            numbers(before)
            states = [each.get() for each in getters]
            expected = numbers([*after, *DRAWS[2:]])
            for each, state in zip(putters, states, strict=True):
                each.put(state)
            assert numbers([*after, *DRAWS[2:]]) == expected


@pytest.mark.parametrize("way", [True, False])
def test_words_begin_them_as_by_their_own_functions(way: bool) -> None:
    words = words32(WORDS, 0, "a").astype(np.uint32)
    own, other = np.random.RandomState(), random.Random()
    own.set_state(("MT19937", words, WORDS, 0, 0.0))
    other.setstate((3, (*words.tolist(), WORDS), None))
    with kept_generators():
        numbers([*DRAWS, *DRAWS[3:4]])
        for each in (NumPyGenerator(way), PythonGenerator(way)):
            each.begin(each.image(words.tobytes()))
        assert np.random.normal(size=5).tolist() == own.normal(size=5).tolist()
        assert [random.gauss(0, 1) for _ in range(3)] == [other.gauss(0, 1) for _ in range(3)]


def test_here_they_lie_in_memory() -> None:
    assert NumPyGenerator()._lies_in_memory()
    assert PythonGenerator()._lies_in_memory
    assert len(NumPyGenerator().get()[0]) == len(PythonGenerator().get()[0]) == BYTES


def test_another_kind_behind_numpys_functions_is_set_too() -> None:
    generator, words = NumPyGenerator(), words32(2 * WORDS, 0, "a").tobytes()
    generator.get()
    found = []
    for bits in (np.random.PCG64(3), np.random.PCG64(4), np.random.MT19937(5)):  # type: Any
        with numpys(bits):
            generator.begin(generator.image(words[:BYTES]))
            found.append([np.random.rand(), np.random.randn()])
    assert found[0] == found[1] != found[2]
    generator.begin(generator.image(words[:BYTES]))
    assert [np.random.rand(), np.random.randn()] == found[2]
