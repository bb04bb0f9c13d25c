"""Whether a difference in F1 is more than chance: over seeds, and over the sentences of a test set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from training.errors import DataError
from training.randomness import words32

Counts = npt.NDArray[np.int64]
MOST_SPLITS = 200_000  # up to so many ways of dealing the values out, all of them are tried; else as many random ones
CHUNK = 500


def permutation_test(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of the difference of two means under exchangeable labels (Fisher 1935; Pitman 1937).

    Exact where there are few values, so that it cannot be less than 2 / C(n+m, n): 0.008 for five against five.
    """
    if not first or not second:
        raise DataError(f"expected values on both sides, got {len(first)} and {len(second)}")
    values = np.array([*first, *second])
    n, total = len(first), float(np.sum(values))
    observed = abs(float(np.mean(first)) - float(np.mean(second)))
    extreme = tried = 0
    for chosen in _splits(len(values), n):
        part = float(np.sum(values[list(chosen)]))
        difference = abs(part / n - (total - part) / (len(values) - n))
        extreme += difference >= observed - 1e-12  # the same values added up in another order are the same
        tried += 1
    return extreme / tried


def _splits(size: int, n: int) -> Iterator[tuple[int, ...]]:
    if math.comb(size, n) <= MOST_SPLITS:
        yield from combinations(range(size), n)
        return
    yield tuple(range(n))  # as it was observed
    for i in range(MOST_SPLITS - 1):
        yield tuple(np.argsort(words32(size, 0, "significance/split", i), kind="stable")[:n].tolist())


def randomization_test(first: Counts, second: Counts, rounds: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value of the difference in F1 of two taggers on the same S sentences (Noreen 1989; Yeh 2000).

    ``first``, ``second`` (S, 3): each sentence's true positives, predicted and gold entities. In each round every
    sentence's two results change places with probability ½; the p-value is the share of rounds whose difference is at
    least the observed one, which counts as a round too. DataError if the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 3:
        raise DataError(f"expected two tables of (sentences, 3) counts, got {first.shape} and {second.shape}")
    observed = abs(float(_f1(first.sum(0)[None])[0] - _f1(second.sum(0)[None])[0]))
    change, size = (second - first).astype(np.float64), len(first)
    extreme = 1
    for at in range(0, rounds, CHUNK):
        many = min(CHUNK, rounds - at)
        bits = words32(many * size, seed, "significance/swap", at) >> np.uint32(31)
        moved = bits.reshape(many, size).astype(np.float64) @ change  # whole numbers: exact in any order
        difference = _f1(first.sum(0) + moved) - _f1(second.sum(0) - moved)
        extreme += int((np.abs(difference) >= observed - 1e-12).sum())
    return extreme / (rounds + 1)


def _f1(counts: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """F1 of rows (n, 3) of true positives, predicted and gold."""
    both = counts[:, 1] + counts[:, 2]
    f1: npt.NDArray[np.float64] = np.divide(2.0 * counts[:, 0], both, out=np.zeros(len(counts)), where=both > 0)
    return f1
