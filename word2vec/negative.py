"""Negative sampling (Mikolov et al. 2013b, eq. 4) on blocks of neighbouring words, with the gradients written out.

For a hidden vector h, the output vector u of a word to predict and noise words n₁ … n_k from the noise distribution P, the
paper maximizes log σ(h·u) + Σ log σ(−h·n_m). Here the k draws of every prediction are replaced by a weighted sum of the
same expectation, k·E[log σ(−h·n)], over words that the step has read anyway: M neighbouring words take as their noise the
M words that lie at equal distances all over the batch, one from each stretch of P/M words. They come with the subsampled
text's probability Q, so word w gets the weight P(w)/Q(w), and all together k/M. That is importance sampling; it needs no
rows beyond those of the batch, and turns dot products into small matrix products.

Shapes: P positions = n blocks of B; H = B + 2·window, a block with the window's reach on both sides (its halo); M noise
words for each word, a multiple of B; d numbers. P is a multiple of M. B is a matter of speed alone. What is around a
position, and the margins beside the positions, are those of word2vec/windows.py.
All functions return gradients of the loss (to be minimized), summed over positions, for every position's row. What a row
is to be scaled by is multiplied into its coefficients, which are few, and not into d numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from word2vec.windows import empty, turned, weighted_sum

LOSS_WORDS = 256
"""The loss is reported from so many words of a batch: the step does not need it, and logarithms are dear."""


def halo(rows: Tensor, window: int, block: int) -> Tensor:
    """``rows`` (P + 2·window, d), of which the first and last ``window`` are margin, as overlapping blocks (n, H, d)."""
    d = rows.shape[1]
    n = (rows.shape[0] - 2 * window) // block
    return rows.as_strided((n, block + 2 * window, d), (block * d, d, 1), rows.storage_offset())


def scores(x: Tensor, u: Tensor, window: int, block: int) -> Tensor:
    """x_p · u_q for all q around p: ``x`` (P, d), ``u`` (P + 2·window, d) with margins → (P, W)."""
    d, width = x.shape[1], block + 2 * window
    product = torch.bmm(x.view(-1, block, d), halo(u, window, block).transpose(1, 2))
    # Along the diagonal, since position b of a block has its own place at b + window of the halo.
    shape = (len(product), block, 2 * window + 1)
    return product.as_strided(shape, (block * width, width + 1, 1)).reshape(-1, 2 * window + 1)


def noise_view(rows: Tensor, noise: int) -> Tensor:
    """Each M words' noise: the b-th of the m = P/M has the rows b, b + m, b + 2m, …; (P, …) → (m, M, …), not copied."""
    return rows.view(noise, -1, *rows.shape[1:]).transpose(0, 1)


def skipgram(
    x: Tensor, u: Tensor, places: Tensor, inside: Tensor, weight: Tensor, scale: tuple[Tensor, Tensor],
    *, negative: int, noise: int, block: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Each word predicts the words in its window.

    ``x`` and ``u`` (P + 2·window, d): input and output rows of the words, with margins. ``places`` (P, W): the rows
    around each position, as int64. ``inside`` (P, W): 1 for those that its window holds, else 0. ``weight`` (P,):
    P(w)/Q(w) of each position's word as noise, 0 for padding. ``scale``, (P,) each: what the gradients of the positions'
    input and output rows are to be multiplied by. ``noise`` is M, ``block`` B. Returns the gradients, so scaled, for the
    input rows and the output rows, each (P, d), and the mean loss of a prediction.
    """
    p, window = len(places), places.shape[1] // 2
    own_x, own_u = x[window : window + p], u[window : window + p]
    many, others, apart = own_x.view(p // noise, noise, -1), noise_view(own_u, noise), noise_view(weight, noise).unsqueeze(1)
    share = (inside.sum(1) * (negative / noise)).view(-1, noise, 1)
    scale_x, scale_u = scale

    hit = scores(own_x, u, window, block).sigmoid_()
    miss = torch.bmm(many, others.transpose(1, 2)).sigmoid_()
    loss = _loss(hit, inside, miss, share, apart)
    hit.sub_(1.0).mul_(inside)
    miss.mul_(share).mul_(apart)

    dx = weighted_sum(u, places, hit * scale_x.unsqueeze(1))
    dx.view(many.shape).baddbmm_(miss * scale_x.view(-1, noise, 1), others)
    du = weighted_sum(x, places, turned(hit).mul_(scale_u.unsqueeze(1)))
    miss.mul_(noise_view(scale_u, noise).unsqueeze(1))
    noise_view(du, noise).add_(torch.bmm(miss.transpose(1, 2), many))
    return dx, du, loss


def cbow(
    h: Tensor, u: Tensor, counted: Tensor, weight: Tensor, scale: Tensor, *, negative: int, noise: int, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each position's hidden vector predicts its word.

    ``h`` (P, d): hidden vectors. ``u`` (P, d): output rows of the positions' words. ``counted`` (P,): 1, or 0 for a
    position without a context, which predicts nothing. ``weight`` and ``noise`` as in ``skipgram``; ``scale`` (P,) is for
    the output rows alone. Returns the gradients for ``h``, between margins (P + 2·window, d), and, scaled, for ``u`` (P, d),
    and the mean loss of a prediction. The gradient for ``u`` takes the place of ``h``, and others have a common place, too:
    the step's time goes to memory, and what was just there is still in a cache.
    """
    p, d = h.shape
    many, others, apart = h.view(-1, noise, d), noise_view(u, noise), noise_view(weight, noise).unsqueeze(1)
    share = (counted * (negative / noise)).view(-1, noise, 1)

    between = empty(h, p, window)
    dh = between[window : window + p]
    hit = torch.mul(h, u, out=dh).sum(1).sigmoid_()
    miss = torch.bmm(many, others.transpose(1, 2)).sigmoid_()
    loss = _loss(hit.unsqueeze(1), counted.unsqueeze(1), miss, share, apart)
    pull = hit.sub_(1.0).mul_(counted)
    miss.mul_(share).mul_(apart)

    torch.mul(pull.unsqueeze(1), u, out=dh).view(many.shape).baddbmm_(miss, others)
    miss.mul_(noise_view(scale, noise).unsqueeze(1))
    pushed = torch.bmm(miss.transpose(1, 2), many)
    du = h.mul_(pull.mul_(scale).unsqueeze(1))
    noise_view(du, noise).add_(pushed)
    return between, du, loss


def _loss(hit: Tensor, inside: Tensor, miss: Tensor, share: Tensor, apart: Tensor) -> Tensor:
    """−log σ(h·u) and the weighted −log σ(−h·n), per prediction, over the first words; ``hit``, ``miss``: σ(score).

    ``hit`` and ``inside`` are (P, …), the others (m, M, …).
    """
    first = -(-LOSS_WORDS // miss.shape[1])  # so many groups of M words, and just these words' predictions
    hit, inside = hit[: first * miss.shape[1]], inside[: first * miss.shape[1]]
    miss, share, apart = miss[:first], share[:first], apart[:first]
    pull = total(hit.clamp(min=torch.finfo(hit.dtype).tiny).log_().mul_(inside))
    push = total((1.0 - miss).clamp_(min=torch.finfo(hit.dtype).eps / 2).log_().mul_(share * apart))
    return (pull + push).neg_() / inside.sum().clamp_(min=1.0)


def total(values: Tensor) -> Tensor:
    """The sum of all ``values``, row by row: the same bits for any number of threads (up to 32,767 rows)."""
    return values.flatten(1).sum(1).sum()
