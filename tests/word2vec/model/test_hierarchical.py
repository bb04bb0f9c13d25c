"""The hierarchical softmax's own kernels beside loops; its gradients stand beside a scalar twin in test_word2vec.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.determinism import portable
from word2vec.model import hierarchical, windows
from word2vec.model.hierarchical import parts_of, products, scores, slices, summed_products
from word2vec.model.windows import bags


def ragged(generator: np.random.Generator, bags: int, most: int, rows: int) -> tuple[Tensor, Tensor]:
    """Where each of so many bags begins, and the rows that are in them, in any order and some twice."""
    begin = torch.from_numpy(np.append(0, generator.integers(0, most + 1, bags).cumsum())).int()
    return begin, torch.from_numpy(generator.integers(0, rows, int(begin[-1]))).int()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(0, 9), st.integers(1, 30))
def test_scores_are_those_of_the_pairs_that_are_asked_for(seed: int, positions: int, most: int, nodes: int) -> None:
    """In parts, wherever they are cut, and with the bits of the whole."""
    generator = np.random.default_rng(seed)
    begin, column = ragged(generator, positions, most, nodes)
    h, u = (torch.from_numpy(generator.normal(size=(n, 5))) for n in (positions, nodes))
    position = torch.repeat_interleave(begin.diff())
    found = []
    for pieces in (1, 2, 4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hierarchical, "PIECES", pieces)
            parts = parts_of(h, nodes, begin, column)
        assert len(parts) <= pieces
        found.append(torch.cat([scores(h, u, part) for part in parts]))
    torch.testing.assert_close(found[0], (h[position] * u[column]).sum(1))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6))
def test_slices_have_about_as_many_visits_each(lengths: list[int], pieces: int) -> None:
    begin = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierarchical, "PIECES", pieces)
        found = slices(begin)
    assert 1 <= len(found) <= pieces
    assert [i for each in found for i in range(len(lengths))[each]] == list(range(len(lengths)))
    sizes = [sum(lengths[each]) for each in found]
    assert max(sizes) <= sum(lengths) / pieces + max(lengths, default=0)


@pytest.mark.parametrize("portably", [False, True])
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(0, 9), st.integers(1, 30))
def test_bags_are_weighted_sums(portably: bool, seed: int, count: int, most: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    begin, at = ragged(generator, count, most, rows)
    table, weights = (torch.from_numpy(generator.normal(size=size)) for size in ((rows, 5), len(at)))
    expected = torch.zeros(count, 5, dtype=torch.float64)
    expected.index_add_(0, torch.repeat_interleave(begin.diff()), table[at] * weights.unsqueeze(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portable, "is_set", lambda: portably)
        patch.setattr(windows, "SLICE", 4)
        torch.testing.assert_close(bags(table, at, begin, weights), expected)


@pytest.mark.parametrize("rows", [1, 63, 64, 130])
def test_products_in_blocks_are_whole_ones(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    a, b, c = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((rows, 3), (3, 5), (rows, 5)))
    torch.testing.assert_close(products(a, b), a @ b)
    torch.testing.assert_close(summed_products(a, c), a.t() @ c)
