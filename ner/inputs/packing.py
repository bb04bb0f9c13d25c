"""Where the tokens of a batch stand when its sentences are worked through step by step, all of them at once.

Sentences are sorted by length, longest first, so that b_t of them are still running at step t and padding costs nothing.
The reverse direction reads each sentence backwards from its own end; so both directions have the same b_t and step
together. Shapes: N tokens, P packed rows, B sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ner.inputs.rows import Rows, arrange
from ner.model.matmul import FEWEST_ROWS
from training.errors import DataError


class Order(NamedTuple):
    """See Packing, which has them all."""

    sizes: tuple[int, ...]
    tokens: Tensor
    rows: Tensor
    previous: Tensor


@dataclass(frozen=True)
class Packing:
    """Where each token of a batch stands in the packed order, which is step-major: step 0 of all sentences, step 1, ...

    ``lengths`` are those of the B sentences, as they were given. The rest is worked out when it is first asked for, and
    kept: not every model needs it. Row 0 of the index arrays is for the forward direction, row 1 for the reverse one.
    """

    lengths: tuple[int, ...]
    device: str = "cpu"  # where the arrays are

    @property
    def sizes(self) -> tuple[int, ...]:
        """T numbers that never increase; their sum is P.

        ``sizes[t]`` is b_t, the number of sentences longer than t, or FEWEST_ROWS where there are not so many: the P - N
        rows that are then spare compute something that nobody reads.
        """
        return self._order.sizes

    @property
    def tokens(self) -> Tensor:
        """(2, P) int64: packed row -> token of the sentence-major order; N for spare rows."""
        return self._order.tokens

    @property
    def rows(self) -> Tensor:
        """(2, N) int64: token -> packed row."""
        return self._order.rows

    @property
    def previous(self) -> Tensor:
        """(P - b_0,) int64: packed row -> the row one step before, for all rows from b_0 on."""
        return self._order.previous

    @cached_property
    def number(self) -> int:
        """N."""
        return sum(self.lengths)

    @cached_property
    def joined(self) -> Rows:
        """The other arrangement, with several sentences in a row, on the CPU."""
        return arrange(self.lengths)

    @cached_property
    def _order(self) -> Order:
        sizes, *arrays = _step_by_step(np.array(self.lengths, np.int64))
        return Order(sizes, *(array.to(self.device) for array in arrays))

    @cached_property
    def _elsewhere(self) -> dict[str, Packing]:
        return {}

    def to(self, device: torch.device) -> Packing:
        """The same plan with its index arrays on ``device``."""
        name = str(device)
        if name == self.device:
            return self
        if name not in self._elsewhere:
            self._elsewhere[name] = Packing(self.lengths, name)
        return self._elsewhere[name]


def packing(lengths: Tensor) -> Packing:
    """The plan for sentences of ``lengths`` (B,) tokens; empty ones are allowed. Ties in length keep their order."""
    if lengths.dim() != 1 or lengths.is_floating_point() or bool((lengths < 0).any()):
        raise DataError(f"lengths: expected a vector of non-negative integers, got {lengths.dtype} {tuple(lengths.shape)}")
    return Packing(tuple(lengths.tolist()))


def _step_by_step(given: npt.NDArray[np.int64]) -> Order:
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
    return Order(tuple(sizes.tolist()), *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
