"""The Huffman tree beside a slow one; its top, and what hangs below it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import word2vec_scalar as slow
from word2vec.model.huffman import HuffmanTree, repeated, runs

MANY_COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=30).map(lambda counts: sorted(counts, reverse=True))


def ways_of(tree: HuffmanTree) -> list[list[tuple[int, int]]]:
    """For each word the (inner node, code) from the root on."""
    way = [(node, 1 - first) for node, first in zip(tree.nodes.tolist(), tree.first.tolist(), strict=True)]
    return [way[begin:end] for begin, end in itertools.pairwise(tree.begin.tolist())]


@settings(deadline=None, max_examples=50)
@given(MANY_COUNTS)
def test_the_tree_is_the_slow_one_and_its_leaves_share_one(counts: list[int]) -> None:
    ways = slow.huffman_ways(counts)
    assert ways_of(HuffmanTree(np.array(counts))) == ways
    assert sum(2.0 ** -len(way) for way in ways) == 1.0  # every way ends at a word


def test_the_probabilities_of_all_words_sum_to_one() -> None:
    tree = HuffmanTree(np.array([90, 40, 30, 30, 20, 9, 9, 5, 4, 4, 1]))
    scores = torch.randn(10, generator=torch.Generator().manual_seed(1)).tolist()
    p = [math.prod(1 / (1 + math.exp(scores[n] * (2 * code - 1))) for n, code in way) for way in ways_of(tree)]
    assert sum(p) == pytest.approx(1.0)


@settings(deadline=None, max_examples=50)
@given(MANY_COUNTS, st.integers(1, 40), st.integers(0, 2**31))
def test_a_way_is_that_to_an_exit_of_the_top_and_the_rest(counts: list[int], top: int, seed: int) -> None:
    visits = np.random.default_rng(seed).uniform(1e-9, 1.0, len(counts))
    tree, ways = HuffmanTree(np.array(counts), visits, top), slow.huffman_ways(counts)
    passed = [sum(v for v, way in zip(visits, ways, strict=True) if n in dict(way)) for n in range(len(counts) - 1)]
    chosen = tree.top.tolist()
    assert len(chosen) == min(top, len(passed))
    assert min(passed[n] for n in chosen) >= max((p for n, p in enumerate(passed) if n not in chosen), default=0.0) - 1e-12
    for word, way in enumerate(ways):
        passes, first = tree.turns[tree.exit[word]].view(2, -1).tolist()
        above = dict(way[: len(way) - int(tree.below[word])])
        assert passes == [float(n in above) for n in chosen]
        assert first == [float(above.get(n) == 0) for n in chosen]


@settings(deadline=None, max_examples=50)
@given(MANY_COUNTS)
def test_words_below_a_node_are_neighbors_among_the_leaves(counts: list[int]) -> None:
    tree, ways = HuffmanTree(np.array(counts)), slow.huffman_ways(counts)
    leaves = sorted(range(len(counts)), key=lambda word: [code for _, code in ways[word]])
    assert [leaves.index(word) for word in range(len(counts))] == tree.rank.tolist()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=9), st.sampled_from([torch.int32, torch.int64]))
def test_runs(pairs: list[tuple[int, int]], dtype: torch.dtype) -> None:
    begin, lengths = (torch.tensor([pair[i] for pair in pairs], dtype=dtype) for i in (0, 1))
    assert runs(begin, lengths).tolist() == [at for b, n in pairs for at in range(b, b + n)]
    assert repeated(lengths).tolist() == [i for i, (_, n) in enumerate(pairs) for _ in range(n)]


def test_the_ways_of_words_stand_one_after_another() -> None:
    tree, ways = HuffmanTree(np.array([9, 4, 2, 1])), slow.huffman_ways([9, 4, 2, 1])
    assert tree.ways(torch.tensor([2, 0, 2])).tolist() == [node for word in (2, 0, 2) for node, _ in ways[word]]
