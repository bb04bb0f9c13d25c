"""Which words a position's window holds, and weighted sums over windows.

Shapes: P positions, w the largest reach of a window, W = 2w + 1, d numbers. The W places around a position are the offsets
−w … w, in this order; a position is not in its own window, so that the weight in the middle is 0. What stands beside the P
positions is margin, w rows on each side, that no window reaches. H = B + 2w rows are what the windows of a block of B
positions reach, its halo.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from training.determinism import portable

SLICE = 1 << 11
PIECE = 64
"""Positions whose windows' rows are copied at once: they stay in the cache."""
PORTABLE_BLOCK = 4
"""Positions in a block with ``--portable``, where small blocks are faster."""


def masks(window: int) -> Tensor:
    """Row l·(w + 1) + r: which of the W places a window of l words before and r after holds, 1 or 0; ((w + 1)², W)."""
    offset, reach = torch.arange(-window, window + 1), torch.arange(window + 1)  # shapes: (W,), (w + 1,)
    before, after = offset >= -reach.unsqueeze(1), offset <= reach.unsqueeze(1)  # shape: (w + 1, W)
    inside = before.unsqueeze(1) & after & (offset != 0)  # shape: (w + 1, w + 1, W)
    return inside.flatten(0, 1).float()


def mask_rows(left: Tensor, right: Tensor, window: int) -> Tensor:
    """Which row of ``masks`` holds windows of ``left`` and ``right`` words, int8 (P,) → int64 (P,)."""
    return left.long().mul_(window + 1).add_(right)


def margined(table: Tensor, words: Tensor, window: int) -> Tensor:
    """The rows of ``words`` (P,) between two margins of zero rows, shape (P + 2w, d)."""
    rows = table.new_empty(len(words) + 2 * window, table.shape[1])
    rows[:window].zero_()
    rows[window + len(words) :].zero_()
    torch.index_select(table, 0, words, out=rows[window : window + len(words)])
    return rows


def around(values: Tensor, window: int) -> Tensor:
    """For ``values`` (P + 2w,) of positions and margins, those around each position, (P, W): a view."""
    return values.unfold(0, 2 * window + 1, 1)


def turned(weights: Tensor) -> Tensor:
    """(P, W) → (P, W): from what each position gives to those around it, to what each gets from those around it.

    The entry at offset o of position p is that at offset −o of position p + o.
    """
    window = weights.shape[1] // 2
    return turned_within(pad(weights, (0, 0, window, window))).contiguous()


def turned_within(weights: Tensor) -> Tensor:
    """The same of weights with margins, (P + 2w, W), those of the margins 0: a view (P, W)."""
    width = weights.shape[1]
    # Position p's place j is the offset o = j − w. Its entry stands in row (w + p) + o = p + j of ``weights``, in the column
    # of −o, which is W − 1 − j: from (0, W − 1) on, a row further for each p, a row further and a column back for each j.
    return weights.as_strided((len(weights) + 1 - width, width), (width, width - 1), width - 1)


def halo(rows: Tensor, window: int, block: int) -> Tensor:
    """``rows`` (P + 2w, d) with margins, as n = P/B overlapping blocks: a view (n, H, d)."""
    d = rows.shape[1]
    n = (len(rows) - 2 * window) // block
    return rows.as_strided((n, block + 2 * window, d), (block * d, d, 1))


def band(values: Tensor) -> Tensor:
    """Of ``values`` (n, B, H), one for each position of a block and each row of its ``halo``, those of its window.

    What is around position b of a block are the columns b … b + 2w of its row b: a band along the diagonal, each of whose
    rows begins H + 1 numbers after the one before.

    Returns:
        A view (n, B, W).
    """
    n, block, width = values.shape
    return values.as_strided((n, block, width - block + 1), (block * width, width + 1, 1))


def weighted_sum(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Σ_j weights[p, j] · table[rows[p, j]]: table (R, d), rows and weights (P, m) → (P, d).

    embedding_bag is several times as fast as small matrix products. Its code is made for the CPU, with fused
    multiplications and additions where there are such: not with ``--portable``.
    """
    if not portable.is_set():
        total: Tensor = embedding_bag(rows, table.detach(), mode="sum", per_sample_weights=weights)
        return total
    (positions, m), d = rows.shape, table.shape[1]
    total = table.new_empty(positions, d)
    for at in range(0, positions, PIECE):
        piece = slice(at, at + PIECE)
        taken = table.index_select(0, rows[piece].flatten()).view(-1, m, d)
        torch.bmm(weights[piece].unsqueeze(1), taken, out=total[piece].unsqueeze(1))
    return total


def window_sum(rows: Tensor, around: Tensor, weights: Tensor) -> Tensor:
    """``weighted_sum`` where rows stand in the text's order: Σ_j weights[p, j] · rows[p + j].

    Args:
        rows: (P + 2w, d), contiguous.
        around: the rows around each position, int64 (P, W): p + j.
        weights: (P, W).

    Returns:
        The sums, (P, d).
    """
    if not portable.is_set():
        return weighted_sum(rows, around, weights)
    (positions, width), more = weights.shape, -len(weights) % PORTABLE_BLOCK
    if more:
        rows, weights = pad(rows, (0, 0, 0, more)), pad(weights, (0, 0, 0, more))
    blocks = halo(rows, width // 2, PORTABLE_BLOCK)  # shape: (n, H, d)
    coefficients = weights.new_zeros(len(blocks), PORTABLE_BLOCK, blocks.shape[1])
    band(coefficients).copy_(weights.view(len(blocks), PORTABLE_BLOCK, width))
    return torch.bmm(coefficients, blocks).flatten(0, 1)[:positions]


def bags(table: Tensor, rows: Tensor, begin: Tensor, weights: Tensor) -> Tensor:
    """Sums of as many rows each as there are: the b-th of ``weights[i] · table[rows[i]]``, begin[b] ≤ i < begin[b + 1].

    Args:
        table: (R, c).
        rows: int32 (v,).
        begin: int32 (b + 1,), where each sum begins, and v.
        weights: (v,).

    Returns:
        The sums, (b, c), each added up in the order of i.
    """
    if not portable.is_set():  # see weighted_sum
        total: Tensor = embedding_bag(rows, table.detach(), begin[:-1], mode="sum", per_sample_weights=weights)
        return total
    total = table.new_zeros(len(begin) - 1, table.shape[1])
    bag = torch.repeat_interleave(begin.diff())
    for at in range(0, len(rows), SLICE):  # of all at once the products would take v rows
        piece = slice(at, at + SLICE)
        total.index_add_(0, bag[piece], table.index_select(0, rows[piece]).mul_(weights[piece].unsqueeze(1)))
    return total
