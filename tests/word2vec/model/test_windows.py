"""Windows beside loops over positions and offsets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.determinism import portable
from word2vec.model import windows


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.data())
def test_which_places_a_window_holds(window: int, data: st.DataObject) -> None:
    reach = st.lists(st.integers(0, window), min_size=9, max_size=9)
    left, right = (torch.tensor(data.draw(reach), dtype=torch.int8) for _ in range(2))
    inside = windows.masks(window).index_select(0, windows.mask_rows(left, right, window))
    for p in range(9):
        for place, offset in enumerate(range(-window, window + 1)):
            assert inside[p, place] == float(offset != 0 and -int(left[p]) <= offset <= int(right[p]))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 2**31))
def test_around_and_turned(window: int, positions: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 100, (positions + 2 * window,), generator=generator)
    weights = torch.rand(positions, 2 * window + 1, generator=generator)
    around, turned = windows.around(values, window), windows.turned(weights)
    for p in range(positions):
        for place, offset in enumerate(range(-window, window + 1)):
            other = p + offset
            assert around[p, place] == values[window + other]
            expected = float(weights[other, window - offset]) if 0 <= other < positions else 0.0
            assert float(turned[p, place]) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 33), st.integers(0, 2**31))
def test_the_two_ways_to_a_weighted_sum_agree(window: int, positions: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(20, d, generator=generator)
    rows = torch.randint(0, 20, (positions, 2 * window + 1), generator=generator)
    weights = torch.rand(positions, 2 * window + 1, generator=generator)
    fast = windows.weighted_sum(table, rows, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portable, "is_set", lambda: True)
        slow = windows.weighted_sum(table, rows, weights)
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(slow, (table[rows] * weights.unsqueeze(2)).sum(1), rtol=1e-6, atol=2e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 33), st.integers(0, 2**31))
def test_sums_over_windows_are_weighted_sums_of_the_rows_around(window: int, positions: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(positions + 2 * window, d, generator=generator)
    weights = torch.rand(positions, 2 * window + 1, generator=generator)
    around = windows.around(torch.arange(len(rows)), window).contiguous()
    for portably in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(portable, "is_set", lambda: portably)  # noqa: B023
            found = windows.window_sum(rows, around, weights)
        torch.testing.assert_close(found, (rows[around] * weights.unsqueeze(2)).sum(1), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("d", [1, 7, 100, 300])
def test_a_weighted_sum_has_the_same_bits_for_any_number_of_threads(d: int) -> None:
    generator = torch.Generator().manual_seed(d)
    table = torch.randn(3000, d, generator=generator)
    rows, weights = torch.randint(0, 3000, (5000, 11), generator=generator), torch.rand(5000, 11, generator=generator)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(windows.weighted_sum(table, rows, weights))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found)
