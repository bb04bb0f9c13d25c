"""Sums over one fixed binary tree: the same bits however its leaves are dealt out.

The leaves are the K shards of a batch, K a power of two. Floating-point sums depend on their order, so that local sums
followed by an all_reduce give other bits for each number of processes; added level by level, neighbor by neighbor, they give
the same for all. A process that has K/W neighboring shards adds up one subtree by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Tree:
    """Adds up lists of tensors that come one after another, a leaf each; holds as many as the tree is high.

    A tensor that a leaf does not have is None. It counts as zeros where another leaf has it, so that −0.0 becomes 0.0.
    """

    def __init__(self) -> None:
        self._open: list[tuple[int, list[Tensor | None]]] = []
        """Sums that wait for their neighbor, with their height above the leaves; the highest first."""

    def add(self, leaf: Sequence[Tensor | None]) -> None:
        """One more leaf. Its tensors may be changed."""
        height = 0
        # a row that is there several times has one sum of its own, before it meets the neighbor's
        values = [each.coalesce() if each is not None and each.is_sparse else each for each in leaf]
        while self._open and self._open[-1][0] == height:
            values = _sum(self._open.pop()[1], values)
            height += 1
        self._open.append((height, values))

    def total(self) -> list[Tensor | None]:
        """The sum of the leaves, a power of two of them."""
        ((_, values),) = self._open
        return values


def _sum(left: list[Tensor | None], right: list[Tensor | None]) -> list[Tensor | None]:
    """``left`` + ``right``, in place where that is possible."""
    total, first, second = list[Tensor | None](), list[Tensor](), list[Tensor]()
    for a, b in zip(left, right, strict=True):
        value = a if b is None else b if a is None else a + b if a.is_sparse else a
        if value is not None and value.is_sparse:
            value = value.coalesce()
            value._values().add_(0.0)  # of rows that the other does not have
        elif a is None or b is None:
            value = None if value is None else value.add_(0.0)
        else:
            first.append(a)
            second.append(b)
        total.append(value)
    if first:
        torch._foreach_add_(first, second)
    return total
