"""Negative sampling (Mikolov et al. 2013b, eq. 4) on blocks of neighbouring words, with the gradients written out.

For a hidden vector h, the output vector u of a word to predict and noise words n₁ … n_k from the noise distribution P, the
paper maximizes log σ(h·u) + Σ log σ(−h·n_m). Here the k draws of every prediction are replaced by a weighted sum of the
same expectation, k·E[log σ(−h·n)], over words that the step has read anyway: M neighbouring words take as their noise the
M words that lie at equal distances all over the batch, one from each stretch of P/M words. They come with the subsampled
text's probability Q, so word w gets the weight P(w)/Q(w), and all together k/M. That is importance sampling; it needs no
rows beyond those of the batch, and turns dot products into small matrix products.

Shapes: P positions = n blocks of B; H = B + 2·window, a block with the window's reach on both sides (its halo); M noise
words for each word, a multiple of B; d numbers. P is a multiple of M. B is a matter of speed alone.
All functions return gradients of the loss (to be minimized), summed over positions, for every position's row.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOSS_WORDS = 256
"""The loss is reported from so many words of a batch: the step does not need it, and logarithms are dear."""


def halo(rows: Tensor, window: int, block: int) -> Tensor:
    """``rows`` (P + 2·window, d), of which the first and last ``window`` are margin, as overlapping blocks (n, H, d)."""
    d = rows.shape[1]
    n = (rows.shape[0] - 2 * window) // block
    return rows.as_strided((n, block + 2 * window, d), (block * d, d, 1), rows.storage_offset())


def with_margin(table: Tensor, words: Tensor, window: int) -> Tensor:
    """The rows of ``words`` between two margins of ``window`` zero rows, shape (P + 2·window, d)."""
    rows = table.new_empty(len(words) + 2 * window, table.shape[1])
    rows[:window] = 0.0
    rows[window + len(words) :] = 0.0
    torch.index_select(table, 0, words, out=rows[window : window + len(words)])
    return rows


def fold(blocks: Tensor, window: int, block: int) -> Tensor:
    """What ``halo`` spread is added up again: (n, H, d) → (P, d); the margins are dropped."""
    n, width, d = blocks.shape
    pieces = -(-width // block)
    rows = blocks.new_empty((n + pieces - 1) * block, d)
    rows[n * block :] = 0.0
    rows[: n * block].view(n, block, d).copy_(blocks[:, :block])
    for piece in range(1, pieces):
        at = piece * block
        part = blocks[:, at : at + block]
        rows[at : at + n * block].view(n, block, d)[:, : part.shape[1]].add_(part)
    return rows[window : window + n * block]


def windows(window: int) -> Tensor:
    """Row l·(window + 1) + r: which offsets −window … window a window of l words before and r after holds; 1 or 0.

    float32 ((window + 1)², 2·window + 1). A position is not in its own window.
    """
    offset, reach = torch.arange(-window, window + 1), torch.arange(window + 1)
    before, after = offset >= -reach.unsqueeze(1), offset <= reach.unsqueeze(1)
    inside = before.unsqueeze(1) & after & (offset != 0)
    return inside.view(-1, 2 * window + 1).float()


def band(left: Tensor, right: Tensor, table: Tensor, block: int) -> Tensor:
    """Which of its block's halo a position's window holds: 1 or 0, (n, B, H), from the table that ``windows`` makes."""
    width = table.shape[1]
    halo_width = block + width - 1
    inside = table.new_zeros(len(left) // block, block, halo_width)
    rows = table.index_select(0, left.long().mul_((width + 1) // 2).add_(right))
    # Along the diagonal, since position b of a block has its own place at b + window of the halo.
    diagonal = inside.as_strided((len(inside), block, width), (block * halo_width, halo_width + 1, 1))
    diagonal.copy_(rows.view(-1, block, width))
    return inside


def noise_view(rows: Tensor, noise: int) -> Tensor:
    """Each M words' noise: the b-th of the m = P/M has the rows b, b + m, b + 2m, …; (P, …) → (m, M, …), not copied."""
    return rows.view(noise, -1, *rows.shape[1:]).transpose(0, 1)


def skipgram(
    x: Tensor, u: Tensor, mask: Tensor, size: Tensor, weight: Tensor, *, negative: int, noise: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each word predicts the words in its window.

    ``x`` (P, d): input rows. ``u`` (P + 2·window, d): output rows of the same words, with margins. ``mask`` (n, B, H): the
    windows, from ``band``. ``size`` (P,): how many words each holds. ``weight`` (P,): P(w)/Q(w) of each position's word as
    noise, 0 for padding. ``noise`` is M. Returns the gradients for the input rows and the output rows, each (P, d), and the
    mean loss of a prediction.
    """
    p, d = x.shape
    block, window = mask.shape[1], (len(u) - p) // 2
    blocks, wide = x.view(-1, block, d), halo(u, window, block)
    own = u[window : window + p]
    many, others, apart = x.view(-1, noise, d), noise_view(own, noise), noise_view(weight, noise).unsqueeze(1)
    share = (size * (negative / noise)).view(-1, noise, 1)

    hit = torch.bmm(blocks, wide.transpose(1, 2)).sigmoid_()
    miss = torch.bmm(many, others.transpose(1, 2)).sigmoid_()
    loss = _loss(hit, mask, miss, share, apart)
    hit.sub_(1.0).mul_(mask)
    miss.mul_(share).mul_(apart)

    dx = torch.bmm(hit, wide).view(-1, noise, d).baddbmm_(miss, others)
    du = fold(torch.bmm(hit.transpose(1, 2), blocks), window, block)
    noise_view(du, noise).add_(torch.bmm(miss.transpose(1, 2), many))
    return dx.view(p, d), du, loss


def cbow(
    h: Tensor, u: Tensor, counted: Tensor, weight: Tensor, *, negative: int, noise: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each position's hidden vector predicts its word.

    ``h`` (P, d): hidden vectors. ``u`` (P, d): output rows of the positions' words. ``counted`` (P,): 1, or 0 for a
    position without a context, which predicts nothing. ``weight`` and ``noise`` as in ``skipgram``. Returns the gradients
    for ``h`` and ``u``, each (P, d), and the mean loss of a prediction.
    """
    p, d = h.shape
    many, others, apart = h.view(-1, noise, d), noise_view(u, noise), noise_view(weight, noise).unsqueeze(1)
    share = (counted * (negative / noise)).view(-1, noise, 1)

    hit = torch.linalg.vecdot(h, u).sigmoid_()
    miss = torch.bmm(many, others.transpose(1, 2)).sigmoid_()
    loss = _loss(hit.view(-1, noise, 1), counted.view(-1, noise, 1), miss, share, apart)
    pull = hit.sub_(1.0).mul_(counted).unsqueeze(1)
    miss.mul_(share).mul_(apart)

    dh = (pull * u).view(-1, noise, d).baddbmm_(miss, others)
    du = pull * h
    noise_view(du, noise).add_(torch.bmm(miss.transpose(1, 2), many))
    return dh.view(p, d), du, loss


def _loss(hit: Tensor, mask: Tensor, miss: Tensor, share: Tensor, apart: Tensor) -> Tensor:
    """−log σ(h·u) and the weighted −log σ(−h·n), per prediction, over the first words; ``hit``, ``miss``: σ(score)."""
    first = -(-LOSS_WORDS // miss.shape[1])  # so many groups of M words, and the blocks of just these words
    blocks = first * miss.shape[1] // hit.shape[1]
    hit, mask, miss, share, apart = hit[:blocks], mask[:blocks], miss[:first], share[:first], apart[:first]
    pull = total(hit.clamp(min=torch.finfo(hit.dtype).tiny).log_().mul_(mask))
    push = total((1.0 - miss).clamp_(min=torch.finfo(hit.dtype).eps / 2).log_().mul_(share).mul_(apart))
    return (pull + push).neg_() / mask.sum().clamp_(min=1.0)


def total(values: Tensor) -> Tensor:
    """The sum of all ``values``, row by row: the same bits for any number of threads (up to 32,767 rows)."""
    return values.flatten(1).sum(1).sum()
