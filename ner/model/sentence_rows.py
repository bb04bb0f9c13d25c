"""The sentences of a batch one after another in the rows of a table, for an LSTM that runs whole rows.

Between two sentences of a row, and after the last one, stands a separator. Shapes: N tokens, T steps, M rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ner.model.matmul import FEWEST_ROWS

FULL = 0.9  # of the steps of all rows: an arrangement with so many in use is good enough
TILE = 12  # rows
KEPT = 4  # arrangements of the last batches


@dataclass(frozen=True)
class Rows:
    """Where the tokens of a batch stand in M rows of T steps; place t·M + m is step t of row m.

    Row 0 of the index arrays is for the forward direction, row 1 for the reverse one.
    """

    steps: int
    rows: int
    tokens: Tensor  # (2, T·M) int64: place -> token; N for separators
    places: Tensor  # (2, N) int64: token -> place


class Slot(NamedTuple):
    """The room that a sentence and the separator behind it take."""

    size: int
    sentence: int


class Filling(NamedTuple):
    """M rows of T steps, and of each sentence the row that it stands in and its first step there."""

    rows: int
    steps: int
    row_of: list[int]
    first: list[int]

    @property
    def area(self) -> int:
        """The steps of all rows, with a separator at the end of the longest."""
        return self.rows * (self.steps + 1)


def _fill(slots: Sequence[Slot], rows: int) -> Filling:
    """Each slot, largest first, to the emptiest row."""
    heap = [(0, row) for row in range(rows)]
    row_of, first = [0] * len(slots), [0] * len(slots)
    for size, sentence in slots:
        used, row = heap[0]
        row_of[sentence], first[sentence] = row, used
        heapq.heapreplace(heap, (used + size, row))
    return Filling(rows, max(heap)[0] - 1, row_of, first)


def _fitting(rows: int, in_tiles: bool) -> int:
    """``rows``, or the next number that ``arrange`` allows with ``in_tiles``."""
    if not in_tiles:
        return rows
    rows = -(-rows // 4) * 4
    return rows + 4 if rows % TILE == 8 else rows


def _numbers_of_rows(sentences: int, needed: int, longest: int, in_tiles: bool) -> Iterator[int]:
    """Numbers worth trying: a row for each sentence; what leaves room for the longest one, and its half, quarter, …"""
    alone = _fitting(-(-sentences // 4) * 4, in_tiles)
    if needed >= FULL * alone * longest:
        yield alone
        return
    rows = needed // longest
    rows = max(FEWEST_ROWS, rows - rows % 8)
    while rows >= FEWEST_ROWS:
        yield _fitting(rows, in_tiles)
        rows //= 2


def _best_filling(lengths: Sequence[int], in_tiles: bool) -> Filling:
    slots = sorted((Slot(length + 1, sentence) for sentence, length in enumerate(lengths)), key=lambda slot: -slot.size)
    needed = sum(lengths) + len(lengths)
    best: Filling | None = None
    for rows in _numbers_of_rows(len(slots), needed, slots[0].size, in_tiles):
        filling = _fill(slots, rows)
        if best is None or filling.area < best.area:
            best = filling
        if needed >= FULL * filling.rows * (filling.steps + 1):
            break
    assert best is not None
    return best


@lru_cache(maxsize=KEPT)
def arrange(lengths: tuple[int, ...], in_tiles: bool = False) -> Rows:
    """Rows for sentences of ``lengths``, at least one of them not empty: as few steps of no use as is easily had.

    With ``in_tiles``, rows and places are such numbers as oneDNN's products for AVX2 compute without rows left over that
    they round in another way: M is a multiple of TILE, or 4 more, and T·M is a multiple of TILE.
    """
    rows, steps, row_of, first = _best_filling(lengths, in_tiles)
    if in_tiles and rows % TILE:
        steps += -steps % 3
    length = np.array(lengths, np.int64)  # shape: (B,)
    n = int(length.sum())
    # Of each token (N,): its place within its sentence, and its sentence's first step and row.
    within = np.arange(n) - np.repeat(np.cumsum(length) - length, length)
    begin, row = np.repeat(np.array(first, np.int64), length), np.repeat(np.array(row_of, np.int64), length)
    backwards = np.repeat(length, length) - 1 - within
    places = (begin + np.stack([within, backwards])) * rows + row  # shape: (2, N)
    tokens = np.full((2, steps * rows), n, np.int64)  # shape: (2, T·M)
    np.put_along_axis(tokens, places, np.arange(n)[None, :], axis=1)
    return Rows(steps, rows, torch.from_numpy(tokens), torch.from_numpy(places))
