"""Where the tokens of a batch stand when its sentences are worked through step by step, all of them at once.

Sentences are sorted by length, longest first, so that b_t of them are still running at step t and padding costs nothing.
The reverse direction reads each sentence backwards from its own end; so both directions have the same b_t and step
together. Shapes: N tokens, P packed rows, B sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ner.products import FEWEST_ROWS
from training.errors import DataError


@dataclass(frozen=True)
class Packing:
    """Where each token of a batch stands in the packed order, which is step-major: step 0 of all sentences, step 1, ...

    ``sizes[t]`` is b_t, the number of sentences longer than t, or FEWEST_ROWS where there are not so many: the P - N rows
    that are then spare compute something that nobody reads. Row 0 of the index arrays is for the forward direction, row 1
    for the reverse one.
    """

    lengths: tuple[int, ...]  # of the B sentences, as they were given
    sizes: tuple[int, ...]  # T numbers that never increase; their sum is P
    tokens: Tensor  # (2, P) int64: packed row -> token of the sentence-major order; N for spare rows
    rows: Tensor  # (2, N) int64: token -> packed row
    previous: Tensor  # (P - b_0,) int64: packed row -> the row one step before, for all rows from b_0 on

    def to(self, device: torch.device) -> Packing:
        """The same plan with its index arrays on ``device``."""
        index = (self.tokens, self.rows, self.previous)
        return Packing(self.lengths, self.sizes, *(array.to(device) for array in index))


def packing(lengths: Tensor) -> Packing:
    """The plan for sentences of ``lengths`` (B,) tokens; empty ones are allowed. Ties in length keep their order."""
    if lengths.dim() != 1 or lengths.is_floating_point() or bool((lengths < 0).any()):
        raise DataError(f"lengths: expected a vector of non-negative integers, got {lengths.dtype} {tuple(lengths.shape)}")
    given = lengths.cpu().numpy().astype(np.int64)
    order = np.argsort(-given, kind="stable")
    absent = max(0, FEWEST_ROWS - len(given))
    length = np.pad(given[order], (0, absent))
    start = np.pad((np.cumsum(given) - given)[order], (0, absent))
    running = len(length) - np.searchsorted(length[::-1], np.arange(length[0]), side="right")
    sizes = np.maximum(running, FEWEST_ROWS)
    offsets = np.cumsum(sizes) - sizes
    step = np.repeat(np.arange(len(sizes)), sizes)
    rank = np.arange(len(step)) - offsets[step]
    real = rank < running[step]
    n = int(given.sum())
    tokens = np.where(real, [start[rank] + step, start[rank] + length[rank] - 1 - step], n)
    rows = np.empty((2, n + 1), dtype=np.int64)
    np.put_along_axis(rows, tokens, np.arange(len(step))[None, :], axis=1)
    first = int(sizes[0]) if n else 0
    arrays = (tokens, rows[:, :n], offsets[step[first:] - 1] + rank[first:])
    indices = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
    return Packing(tuple(given.tolist()), tuple(sizes.tolist()), *indices)
