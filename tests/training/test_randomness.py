"""Randomness as a function: golden values, independence of purposes, and the maps from bits to numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import randomness, values
from training.errors import ConfigError


def test_golden_words() -> None:
    """The raw stream is NumPy's promise (NEP 19), the key ours: these values may never change."""
    assert [hex(int(w)) for w in randomness.words(3, 0, "order", 1, 2)] == GOLDEN
    assert randomness.permutation(8, 7, "order", 0).tolist() == GOLDEN_ORDER


GOLDEN = ["0xbfcabea8d632ce7f", "0x103f317c8dea1bc3", "0x255334a7a481ec33"]
GOLDEN_ORDER = [3, 1, 6, 4, 2, 5, 0, 7]


@given(st.integers(0, 2**32 - 1), st.text(min_size=1, max_size=8), st.lists(st.integers(0, 9), max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_stream_is_a_function_of_seed_purpose_and_counters(seed: int, purpose: str, counters: list[int]) -> None:
    first = randomness.words(5, seed, purpose, *counters)
    np.random.default_rng().random(3)  # whatever else is drawn
    assert (first == randomness.words(5, seed, purpose, *counters)).all()
    assert (first[:3] == randomness.words(3, seed, purpose, *counters)).all()
    assert (first != randomness.words(5, seed, purpose, *counters, 0)).any()
    assert (first != randomness.words(5, (seed + 1) % 2**32, purpose, *counters)).any()
    assert (first != randomness.words(5, seed, purpose + "x", *counters)).any()


@given(st.integers(0, 300), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_permutation_is_one(n: int, seed: int) -> None:
    assert sorted(randomness.permutation(n, seed, "order")) == list(range(n))


def test_uniform_lies_in_its_range_and_is_even() -> None:
    values = randomness.uniform((400, 300), -0.25, 0.5, 3, "init")
    assert values.shape == (400, 300)
    assert values.dtype == torch.float32
    assert float(values.min()) >= -0.25
    assert float(values.max()) < 0.5
    histogram = torch.histc(values, 10, -0.25, 0.5)
    assert float((histogram - 12000).abs().max()) < 600  # about six standard deviations


@given(st.integers(1, 2**31), st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_below_keeps_its_bound(bound: int, seed: int) -> None:
    values = randomness.below(bound, 20, seed, "window")
    assert values.min() >= 0
    assert values.max() < bound
    assert (values == randomness.below(np.full(20, bound), 20, seed, "window")).all()


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_keep_mask_has_the_right_share_and_scale(drop: float) -> None:
    mask = randomness.keep_mask((1000, 100), drop, 1, "dropout", 0)
    assert abs(float((mask == 0).double().mean()) - drop) < 0.01
    assert abs(float(mask.double().mean()) - 1.0) < 0.03
    assert len(mask.unique()) == (1 if drop == 0.0 else 2)


@pytest.mark.parametrize("drop", [-0.1, 1.0, 2.0])
def test_keep_mask_refuses_what_is_no_probability(drop: float) -> None:
    with pytest.raises(ConfigError, match=r"probability in \[0, 1\)"):
        randomness.keep_mask((2,), drop, 0, "dropout")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="4294967295"):
        values.check_seed(seed)


def test_words_are_the_stream_whatever_was_drawn_before_and_in_any_thread() -> None:
    expected = [randomness.stream(3, "x", i).random_raw(7 + i) for i in range(20)]
    randomness.words(5, 0, "other")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: randomness.words(7 + i, 3, "x", i), range(20)))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
