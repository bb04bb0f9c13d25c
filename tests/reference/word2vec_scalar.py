"""The objectives of word2vec, written as loops over pairs of words: slow and obvious. float64 throughout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def pairs(left: Sequence[int], right: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(i, j): position i has position j in its window."""
    for i in range(len(left)):
        for j in range(i - left[i], i + right[i] + 1):
            if j != i:
                yield i, j


def log_sigmoid(x: Tensor) -> Tensor:
    return -torch.log1p(torch.exp(-x))


def others_of(i: int, positions: int, noise: int) -> list[int]:
    """The positions of the other words of position i's group, its noise."""
    groups = positions // noise
    return [j for j in range(positions) if j % groups == i % groups and j != i]


def hidden(v: Tensor, words: Sequence[int], left: Sequence[int], right: Sequence[int], i: int) -> Tensor | None:
    """CBOW's mean of the input vectors in the window of i."""
    context = [words[j] for a, j in pairs(left, right) if a == i]
    return sum((v[w] for w in context), torch.zeros(v.shape[1])) / len(context) if context else None


def negative_term(h: Tensor, u: Tensor, target: int, noise: list[tuple[int, float]], negative: int) -> Tensor:
    """−log σ(h·u) − k · mean of ω · log σ(−h·n): Mikolov et al. 2013b, eq. 4, its k draws replaced by their expectation."""
    loss = -log_sigmoid(h @ u[target])
    for word, weight in noise:
        loss = loss - negative / len(noise) * weight * log_sigmoid(-(h @ u[word]))
    return loss


def softmax_term(h: Tensor, u: Tensor, target: int) -> Tensor:
    """−log (exp(u_w·h) / Σ_v exp(u_v·h)): 2013b, eq. 2."""
    return -torch.log(torch.exp(h @ u[target]) / torch.exp(u @ h).sum())


def hierarchical_term(h: Tensor, u: Tensor, way: list[tuple[int, int]]) -> Tensor:
    """−Σ log σ(±h·u_n) over the (node, code) on the way to the word: 2013b, eq. 3."""
    return -sum((log_sigmoid(h @ u[node] if code == 0 else -(h @ u[node])) for node, code in way), torch.zeros(()))


def huffman_ways(counts: Sequence[int]) -> list[list[tuple[int, int]]]:
    """For each word the (inner node, code) from the root on, by joining the two lightest again and again.

    Ties: an inner node before a word, an older inner node before a newer, a rarer-ranked (later) word before an earlier.
    """
    size = len(counts)
    heap: list[tuple[int, int, int, int]] = [(c, 1, -w, w) for w, c in enumerate(counts)]  # weight, kind, age, node
    ways: dict[int, list[tuple[int, int]]] = {w: [] for w in range(size)}
    below: dict[int, list[int]] = {w: [w] for w in range(size)}
    for new in range(size - 1):
        total = 0
        below[size + new] = []
        for code in (0, 1):
            lightest = min(heap)
            heap.remove(lightest)
            total += lightest[0]
            for word in below[lightest[3]]:
                ways[word].insert(0, (new, code))
            below[size + new] += below[lightest[3]]
        heap.append((total, 0, new, size + new))
    return [ways[w] for w in range(size)]
