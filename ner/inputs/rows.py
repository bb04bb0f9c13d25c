"""The sentences of a batch one after another in the rows of a table, for an LSTM that runs whole rows.

Between two sentences of a row, and after the last one, stands a separator. Shapes: N tokens, T steps, M rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ner.model.matmul import FEWEST_ROWS

FULL = 0.9  # of the steps of all rows: an arrangement with so many in use is good enough


@dataclass(frozen=True)
class Rows:
    """Where the tokens of a batch stand in M rows of T steps; place t·M + m is step t of row m.

    Row 0 of the index arrays is for the forward direction, row 1 for the reverse one.
    """

    steps: int
    rows: int
    tokens: Tensor  # (2, T·M) int64: place -> token; N for separators
    places: Tensor  # (2, N) int64: token -> place


def _fill(slots: Sequence[tuple[int, int]], rows: int) -> tuple[int, list[int], list[int]]:
    """Each slot (size, sentence), largest first, to the emptiest row: T, and of each sentence its row and first step."""
    heap = [(0, row) for row in range(rows)]
    row_of, first = [0] * len(slots), [0] * len(slots)
    for size, sentence in slots:
        used, row = heap[0]
        row_of[sentence], first[sentence] = row, used
        heapq.heapreplace(heap, (used + size, row))
    return max(heap)[0] - 1, row_of, first


def _numbers_of_rows(sentences: int, needed: int, longest: int) -> Iterator[int]:
    """Numbers worth trying: a row for each sentence; what leaves room for the longest one, and its half, quarter, …"""
    alone = -(-sentences // 4) * 4
    if needed >= FULL * alone * longest:
        yield alone
        return
    rows = needed // longest
    rows = max(FEWEST_ROWS, rows - rows % 8)
    while rows >= FEWEST_ROWS:
        yield rows
        rows //= 2


def arrange(lengths: Sequence[int]) -> Rows:
    """Rows for sentences of ``lengths``, at least one of them not empty: as few steps of no use as is easily had."""
    slots = sorted(((length + 1, s) for s, length in enumerate(lengths)), key=lambda slot: -slot[0])
    needed = sum(lengths) + len(lengths)
    best: tuple[int, int, list[int], list[int]] | None = None
    for rows in _numbers_of_rows(len(slots), needed, slots[0][0]):
        steps, row_of, first = _fill(slots, rows)
        if best is None or rows * (steps + 1) < best[0] * (best[1] + 1):
            best = rows, steps, row_of, first
        if needed >= FULL * rows * (steps + 1):
            break
    assert best is not None
    rows, steps, row_of, first = best
    length = np.array(lengths, np.int64)
    n = int(length.sum())
    within = np.arange(n) - np.repeat(np.cumsum(length) - length, length)
    begin, row = np.repeat(np.array(first, np.int64), length), np.repeat(np.array(row_of, np.int64), length)
    places = (begin + np.stack([within, np.repeat(length, length) - 1 - within])) * rows + row
    tokens = np.full((2, steps * rows), n, np.int64)
    np.put_along_axis(tokens, places, np.arange(n)[None, :], axis=1)
    return Rows(steps, rows, torch.from_numpy(tokens), torch.from_numpy(places))
