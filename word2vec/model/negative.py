"""Negative sampling (Mikolov et al. 2013b, eq. 4) on blocks of neighboring words, with the gradients written out.

For a hidden vector h, the output vector u of a word to predict and noise words n₁ … n_k from the noise distribution P, the
paper maximizes log σ(h·u) + Σ log σ(−h·n_m). Here the k draws of every prediction are replaced by a weighted sum of the
same expectation, k·E[log σ(−h·n)], over words that the step has read anyway, which lie at equal distances all over the
batch, one in each stretch of P/M words. They come with the subsampled text's probability Q, so word w gets the weight
P(w)/Q(w), and all of a prediction's noise together k. That is importance sampling; it needs no rows beyond those of the
batch, and turns dot products into small matrix products. Each word of such a group has the M − 1 others as its noise: so a
word is pushed away from M − 1 unlike words, and with CBOW one product holds predictions and noise.

Shapes: P positions = n blocks of B; H = B + 2·window, a block with the window's reach on both sides (its halo); M words in
a group, a multiple of B; d numbers. P is a multiple of M. B is a matter of speed alone. What is around a
position, and the margins beside the positions, are those of word2vec/model/windows.py.
All functions return gradients of the loss (to be minimized), summed over positions, for every position's row. What a row
is to be scaled by is multiplied into its coefficients, which are few, and not into d numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from word2vec.model.windows import around, turned, weighted_sum

LOSS_WORDS = 256
"""The loss is reported from so many words of a batch: the step does not need it, and logarithms are dear."""
SMALL = 8
"""Up to so many rows, sums over them take less time one by one than as a small matrix product."""


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


def grouped(rows: Tensor, noise: int) -> Tensor:
    """Groups of M words far apart: the b-th of m = P/M has the rows b, b + m, b + 2m, …; (P, …) → (m, M, …), not copied."""
    return rows.view(noise, -1, *rows.shape[1:]).transpose(0, 1)


def arranged(values: Tensor, noise: int) -> Tensor:
    """(P, …) → (P, …): in the order of ``grouped``, one group after another. A copy, but for M = 1."""
    return grouped(values, noise).flatten(0, 1)


def skipgram(
    x: Tensor, u: Tensor, places: Tensor, inside: Tensor, weight: Tensor, scale: tuple[Tensor, Tensor],
    *, negative: int, noise: int, block: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Each word predicts the words in its window; the other words of its group of M (``grouped``) are its noise.

    ``x`` and ``u`` (P + 2·window, d): input and output rows of the words, with margins. ``places`` (P, W): the rows
    around each position, as int64. ``inside`` (P, W): 1 for those that its window holds, else 0. ``weight`` (P,):
    P(w)/Q(w) of each position's word as noise, 0 for padding. ``scale``, (P,) each: what the gradients of the positions'
    input and output rows are to be multiplied by. ``noise`` is M, ``block`` B. Returns the gradients, so scaled, for the
    input rows and the output rows, each (P, d), and the mean loss of a prediction.
    """
    p, window = len(places), places.shape[1] // 2
    own_x, own_u = x[window : window + p], u[window : window + p]
    many, others, apart = grouped(own_x, noise), grouped(own_u, noise), grouped(weight, noise).unsqueeze(1)
    share = grouped(inside.sum(1) * (negative / (noise - 1)), noise).unsqueeze(2)
    scale_x, scale_u = scale

    hit = scores(own_x, u, window, block).sigmoid_()
    miss = torch.bmm(many, others.transpose(1, 2)).sigmoid_()  # of each position (row) for each word of its group (column)
    miss.diagonal(dim1=1, dim2=2).zero_()
    loss = _loss(hit, inside, miss, share, apart)
    hit.sub_(1.0).mul_(inside)
    miss.mul_(share).mul_(apart)

    dx = weighted_sum(u, places, hit * scale_x.unsqueeze(1))
    grouped(dx, noise).add_(torch.bmm(miss * grouped(scale_x, noise).unsqueeze(2), others))
    du = weighted_sum(x, places, turned(hit).mul_(scale_u.unsqueeze(1)))
    miss.mul_(grouped(scale_u, noise).unsqueeze(1))
    grouped(du, noise).add_(torch.bmm(miss.transpose(1, 2), many))
    return dx, du, loss


def cbow(
    h: Tensor, u: Tensor, counted: Tensor, weight: Tensor, scale: Callable[[], Tensor], *, negative: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each position's hidden vector predicts its word; the other words of its group of M are its noise.

    ``h`` (m, M, d): hidden vectors, in groups (``grouped``). ``u`` (m, M, d): output rows of the positions' words.
    ``counted`` (m, M): 1, or 0 for a position without a context: its h is 0 and predicts nothing, and what is returned as
    its gradient has no meaning. ``weight`` (m, M): P(w)/Q(w) as in ``skipgram``. ``scale`` makes (P,), in the order of
    ``arranged``, and is for the output rows alone. Returns the gradients for ``h`` and, scaled, for ``u``, each (m, M, d),
    and the mean loss of a prediction.
    """
    coefficient = torch.bmm(h, u.transpose(1, 2)).sigmoid_()  # of each position (row) for each word of its group (column)
    # The small operations stand together here, since each stretch of them lets the other threads fall asleep.
    amount = (weight * (negative / (h.shape[1] - 1))).unsqueeze(1)
    loss = _grouped_loss(coefficient, counted, amount)
    own = coefficient.diagonal(dim1=1, dim2=2)
    pull, moved = own - 1.0, scale().view(weight.shape).unsqueeze(1)
    coefficient.mul_(amount)
    own.copy_(pull)
    dh = combined(coefficient, u)
    du = combined(coefficient.mul_(moved).transpose(1, 2), h)
    return dh, du, loss


def combined(weights: Tensor, rows: Tensor) -> Tensor:
    """Σ_j weights[g, i, j] · rows[g, j]: ``weights`` (m, M, M), ``rows`` (m, M, d) → (m, M, d)."""
    m, size, d = rows.shape
    if size > SMALL:
        return torch.bmm(weights, rows)
    found = weighted_sum(rows.flatten(0, 1), _members(m, size, rows.device), weights.reshape(-1, size))
    return found.view(m, size, d)


@lru_cache(maxsize=4)
def _members(m: int, size: int, device: torch.device) -> Tensor:
    """For each row of m groups of ``size``, the rows of its group: int32 (m · size, size)."""
    return torch.arange(m * size, dtype=torch.int32, device=device).view(m, 1, size).expand(m, size, size).reshape(-1, size)


@lru_cache(maxsize=4)
def neighbors(positions: int, noise: int, window: int, device: torch.device) -> Tensor:
    """In the order of ``arranged``, the rows of the positions around each position: int32 (P, W). In margins any row."""
    place = torch.arange(positions, dtype=torch.int32, device=device).view(-1, noise).t().reshape(-1)  # of each position
    return arranged(around(pad(place, (window, window)), window), noise)


def _loss(hit: Tensor, inside: Tensor, miss: Tensor, share: Tensor, apart: Tensor) -> Tensor:
    """−log σ(h·u) and the weighted −log σ(−h·n), per prediction, over the first groups; ``hit``, ``miss``: σ(score).

    ``hit`` and ``inside`` are (P, W), the others (m, M, …), ``miss`` with zeros on the diagonal.
    """
    noise = miss.shape[1]
    hit, inside = grouped(hit, noise), grouped(inside, noise)
    first = _sampled(inside, noise)  # so many groups of M words, and just these words' predictions
    hit, inside = hit[:first], inside[:first]
    pull = total(hit.clamp(min=torch.finfo(hit.dtype).tiny).log_().mul_(inside))
    push = total((1.0 - miss[:first]).clamp_(min=torch.finfo(hit.dtype).eps / 2).log_().mul_(share[:first] * apart[:first]))
    return (pull + push).neg_() / inside.sum().clamp_(min=1.0)


def _sampled(counted: Tensor, noise: int) -> int:
    """How many of the groups the loss is taken from: all, where the first ones predict nothing. ``counted`` (m, M, …)."""
    first = -(-LOSS_WORDS // noise)
    return first if bool(counted[:first].any()) else len(counted)


def _grouped_loss(score: Tensor, counted: Tensor, amount: Tensor) -> Tensor:
    """The same where ``score`` (m, M, M) is σ(h·u) of all words of a group, the predicted ones on the diagonal.

    ``counted`` is (m, M), ``amount`` (m, 1, M).
    """
    first = _sampled(counted, score.shape[1])
    score, counted = score[:first], counted[:first]
    right, amount = 1.0 - score, counted.unsqueeze(2) * amount[:first]
    right.diagonal(dim1=1, dim2=2).copy_(score.diagonal(dim1=1, dim2=2))
    amount.diagonal(dim1=1, dim2=2).copy_(counted)
    right.clamp_(min=torch.finfo(score.dtype).eps / 2).log_().mul_(amount)
    return total(right).neg_() / counted.sum().clamp_(min=1.0)


def total(values: Tensor) -> Tensor:
    """The sum of all ``values``, row by row: the same bits for any number of threads (up to 32,767 rows)."""
    return values.flatten(1).sum(1).sum()
