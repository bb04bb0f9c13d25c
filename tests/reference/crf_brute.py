"""A linear-chain CRF by enumeration of every label sequence: slow, and obviously right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

NEVER = -1e29  # a total below it has used something that is not allowed


class Chain(NamedTuple):
    """Scores (T, L) of one sentence; start (L,), pairs (L, L) and end (L,), −inf where not allowed."""

    scores: Sequence[Sequence[float]]
    start: Sequence[float]
    pairs: Sequence[Sequence[float]]
    end: Sequence[float]


def score(chain: Chain, labels: Sequence[int]) -> float:
    """The score of one label sequence; −inf if it is not allowed."""
    total = chain.start[labels[0]] + chain.end[labels[-1]]
    total += sum(row[label] for row, label in zip(chain.scores, labels, strict=True))
    return total + sum(chain.pairs[i][j] for i, j in pairwise(labels))


def every(chain: Chain) -> list[tuple[int, ...]]:
    """All allowed label sequences."""
    all_labels = product(range(len(chain.start)), repeat=len(chain.scores))
    return [labels for labels in all_labels if score(chain, labels) > NEVER]


def log_partition(chain: Chain) -> float:
    """The logarithm of the sum of exp(score) over all allowed sequences."""
    scores = [score(chain, labels) for labels in every(chain)]
    most = max(scores)
    return most + math.log(math.fsum(math.exp(s - most) for s in scores))


def best(chain: Chain) -> tuple[int, ...]:
    """The allowed sequence with the highest score; among equals the one with the lowest last label, then the one before."""
    return min(every(chain), key=lambda labels: (-score(chain, labels), labels[::-1]))


def probability(chain: Chain, allowed: Sequence[set[int]]) -> float:
    """The probability that each token's label is in its set."""
    log_z = log_partition(chain)
    fitting = (s for s in every(chain) if all(label in those for label, those in zip(s, allowed, strict=True)))
    return math.fsum(math.exp(score(chain, s) - log_z) for s in fitting)


def marginals(chain: Chain) -> list[list[float]]:
    """The probability of each label at each token, (T, L)."""
    log_z = log_partition(chain)
    table = [[0.0] * len(chain.start) for _ in chain.scores]
    for labels in every(chain):
        for row, label in zip(table, labels, strict=True):
            row[label] += math.exp(score(chain, labels) - log_z)
    return table


def distribution(chain: Chain) -> dict[tuple[int, ...], float]:
    """The probability of each allowed sequence."""
    log_z = log_partition(chain)
    return {labels: math.exp(score(chain, labels) - log_z) for labels in every(chain)}


def cross_entropy(chain: Chain, weights: Mapping[tuple[int, ...], float]) -> float:
    """−Σ weight(y) log P(y) over label sequences and their probabilities under another distribution."""
    log_z = log_partition(chain)
    return math.fsum(weight * (log_z - score(chain, labels)) for labels, weight in weights.items() if weight)


def pair_counts(weights: Mapping[tuple[int, ...], float]) -> dict[tuple[int, int], float]:
    """How often each pair of neighboring labels is expected under a distribution over label sequences."""
    counts: dict[tuple[int, int], float] = {}
    for labels, weight in weights.items():
        for pair in pairwise(labels):
            counts[pair] = counts.get(pair, 0.0) + weight
    return counts
