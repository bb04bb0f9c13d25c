"""Where the tokens of a batch stand when its sentences are worked through step by step, all of them at once.

Sentences are sorted by length, longest first, so that b_t of them are still running at step t and padding costs nothing.
The reverse direction reads each sentence backwards from its own end; so both directions have the same b_t and step
together. Shapes: N tokens, P packed rows, B sentences, T steps; b_t sentences have more than t tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ner.model.matmul import FEWEST_ROWS
from training.errors import DataError

KEPT = 8  # packings of the last batches: a batch's scores, loss and labels are asked for one after the other


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
    def _order(self) -> Order:
        sizes, *arrays = _step_by_step(np.array(self.lengths, np.int64))
        return Order(sizes, *(array.to(self.device) for array in arrays))

    @cached_property
    def _elsewhere(self) -> dict[str, Packing]:
        return {}

    def to(self, device: torch.device) -> Packing:
        """The same packing with its index arrays on ``device``."""
        name = str(device)
        if name == self.device:
            return self
        if name not in self._elsewhere:
            self._elsewhere[name] = Packing(self.lengths, name)
        return self._elsewhere[name]


def packing(lengths: Tensor | Sequence[int]) -> Packing:
    """The packing of sentences of ``lengths`` (B,) tokens; empty ones are allowed. Ties in length keep their order.

    It is a function of the lengths alone, and those of the last few batches are kept.
    """
    if not isinstance(lengths, Tensor):
        return _packing(tuple(lengths))
    if lengths.dim() != 1 or lengths.is_floating_point() or bool((lengths < 0).any()):
        raise DataError(f"lengths: expected a vector of non-negative integers, got {lengths.dtype} {tuple(lengths.shape)}")
    return _packing(tuple(lengths.tolist()))


@lru_cache(maxsize=KEPT)
def _packing(lengths: tuple[int, ...]) -> Packing:
    return Packing(lengths)


def steps(packed: Tensor, plan: Packing, dim: int = -2) -> tuple[Tensor, ...]:
    """The slices of b_t rows of a packed tensor (..., P, L), a step each."""
    return torch.split(packed, list(plan.sizes), dim)


def edges(plan: Packing) -> tuple[Tensor, Tensor]:
    """Which tokens (N,) begin a sentence, and which end one."""
    flags = torch.zeros(2, plan.rows.shape[1] + 1, dtype=torch.bool, device=plan.rows.device)  # shape: (2, N+1)
    flags.scatter_(1, plan.tokens[:, : plan.sizes[0]], True)  # step 0 of the reverse direction holds the last tokens
    return flags[0, :-1], flags[1, :-1]


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
