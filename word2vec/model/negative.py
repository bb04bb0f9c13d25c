"""Negative sampling (Mikolov et al. 2013b, eq. 4) on blocks of neighboring words, with the gradients written out.

With a vector h, the output vector u of the word to predict (the paper's v') and k noise words n from the distribution P, the
loss of a prediction is

    L = −log σ(u·h) − Σ_i=1..k E_n∼P[log σ(−u_n·h)]                      (4)

so that its derivative by a score u·h, called g, is σ(u·h) − 1 for the word to predict and σ(u_n·h) for a noise word, and

    ∂L/∂h = Σ g u,    ∂L/∂u = g h.

The paper estimates the expectations by k draws a prediction. Here k·E[log σ(−u_n·h)] (the form of Levy & Goldberg 2014,
section 2) is estimated from words that the step has read anyway, which lie at equal distances all over the batch, one in
each stretch of P/M words. They come with the subsampled text's probability Q, so that word n gets the weight
ω(n) = P(n)/Q(n), and each of M − 1 of them stands for k/(M − 1) draws. That is importance sampling; it needs no rows beyond
those of the batch, and turns dot products into small matrix products. Each word of such a group of M has the M − 1 others
as its noise: so a word is pushed away from M − 1 unlike words, and with CBOW one product holds predictions and noise.

Shapes: P positions = n blocks of B = m groups of M; w the largest reach of a window, W = 2w + 1; H = B + 2w, a block with
the window's reach on both sides (its halo); d numbers. P is a multiple of M, and M of B. B is a matter of speed alone. What
is around a position, and the margins beside the positions, are those of word2vec/model/windows.py.
All functions return gradients of the loss (to be minimized), summed over positions, for every position's row. What a row
is to be scaled by is multiplied into its g, which are few, and not into d numbers. What has d columns comes and goes as the
chunks of this process (see columns.py), (…, c) each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import gcd

import torch
from torch import Tensor
from torch.nn.functional import pad

from training.determinism import portable
from word2vec.model.beside import both
from word2vec.model.columns import Chunks, Columns, Squares
from word2vec.model.windows import PORTABLE_BLOCK, around, band, halo, turned, weighted_sum, window_sum

LOSS_WORDS = 256
"""The loss is reported from so many words of a batch: the step does not need it, and logarithms are dear."""
SMALL = 8
"""Up to so many rows, sums over them take less time one by one than as a small matrix product."""


# -- skip-gram --------------------------------------------------------------------------------------------------------


def skipgram(
    x: Chunks, u: Chunks, places: Tensor, inside: Tensor, omega: Tensor, squares: Squares,
    scale: Callable[..., tuple[Tensor, Tensor]],
    *, columns: Columns, negative: int, group: int, block: int,
) -> tuple[Chunks, Chunks, Tensor]:  # fmt: skip
    """Each word predicts the words in its window; the other words of its group of M (``grouped``) are its noise.

    A position's h is its own input row, and each of its predictions has k noise words: with c predictions, a word of the
    group stands for c·k/(M − 1) draws.

    Args:
        x: the words' input rows between margins, (P + 2w, d).
        u: their output rows between margins, (P + 2w, d).
        places: the rows around each position, int64 (P, W).
        inside: 1 for those that its window holds, else 0, (P, W).
        omega: P(n)/Q(n) of each position's word as noise, 0 for padding, (P,).
        squares: what ``scale`` needs the sums of over all chunks.
        scale: makes of these sums what the gradients of the positions' input rows and output rows are to be multiplied by,
            (P,) each.
        columns: adds up scores over the chunks.
        negative: k.
        group: M.
        block: B.

    Returns:
        The gradients, so scaled, for the input rows and the output rows, (P, d) each, and the mean loss of a prediction.
    """
    p, window = len(places), places.shape[1] // 2
    own_x = [chunk[window : window + p] for chunk in x]  # shape: (P, c)
    group_x = [grouped(chunk, group) for chunk in own_x]  # shape: (m, M, c)
    group_u = [grouped(chunk[window : window + p], group) for chunk in u]
    omega = arranged(omega, group).view(-1, 1, group)  # a copy: products with a row in its order take a sixth of the time
    draws = grouped(inside.sum(1) * (negative / (group - 1)), group).unsqueeze(2)  # shape: (m, M, 1), c·k/(M − 1)

    # σ(u·h) of each position (row) for the words around it, and for those of its group (columns).
    around_own, of_groups = both(
        lambda: [scores(x_c, u_c, window, block) for x_c, u_c in zip(own_x, u, strict=True)],
        lambda: [torch.bmm(x_c, u_c.transpose(1, 2)) for x_c, u_c in zip(group_x, group_u, strict=True)],
    )
    context, noise, *sums = columns.add(
        (context_c, noise_c, *squares_c)
        for context_c, noise_c, squares_c in zip(around_own, of_groups, squares, strict=True)
    )
    scale_x, scale_u = scale(*sums)
    context.sigmoid_()  # shape: (P, W)
    noise.sigmoid_()  # shape: (m, M, M)
    noise.diagonal(dim1=1, dim2=2).zero_()  # a word is not its own noise
    loss = _skipgram_loss(context, inside, noise, draws, omega)

    # In their places, g.
    context.sub_(1.0).mul_(inside)
    noise.mul_(draws).mul_(omega)

    # ∂L/∂h = Σ g u over a row, ∂L/∂u = Σ g h over a column.
    def of_inputs() -> Chunks:
        pull = context * scale_x.unsqueeze(1)
        dx = [window_sum(chunk, places, pull) for chunk in u]
        _add_grouped(dx, noise * grouped(scale_x, group).unsqueeze(2), group_u)
        return dx

    def of_outputs() -> Chunks:
        pull = turned(context).mul_(scale_u.unsqueeze(1))
        du = [window_sum(chunk, places, pull) for chunk in x]
        _add_grouped(du, (noise * arranged(scale_u, group).view(-1, 1, group)).transpose(1, 2), group_x)
        return du

    dx, du = both(of_inputs, of_outputs)
    return dx, du, loss


def _add_grouped(totals: Chunks, weights: Tensor, rows: Chunks) -> None:
    """Σ_j weights[g, i, j] · rows[g, j], added to ``totals`` (P, c): ``weights`` (m, M, M), ``rows`` (m, M, c)."""
    for total_c, rows_c in zip(totals, rows, strict=True):
        grouped(total_c, weights.shape[1]).add_(torch.bmm(weights, rows_c))


def _skipgram_loss(context: Tensor, inside: Tensor, noise: Tensor, draws: Tensor, omega: Tensor) -> Tensor:
    """Equation 4, per prediction, of the first groups' words: from σ(u·h) of the words to predict and of the noise.

    ``context`` and ``inside`` are (P, W), ``noise`` (m, M, M) with zeros on the diagonal, ``draws`` (m, M, 1), ``omega``
    (m, 1, M). Its twin for CBOW, whose words and noise stand in one tensor, is ``_cbow_loss``.
    """
    group = noise.shape[1]
    context, inside = grouped(context, group), grouped(inside, group)  # shape: (m, M, W)
    first = _sampled(inside, group)  # so many groups, and just these words' predictions
    context, inside = context[:first], inside[:first]
    pull = total(context.clamp(min=torch.finfo(context.dtype).tiny).log_().mul_(inside))
    none = (1.0 - noise[:first]).clamp_(min=torch.finfo(noise.dtype).eps / 2)  # σ(−u_n·h)
    push = total(none.log_().mul_(draws[:first] * omega[:first]))
    return (pull + push).neg_() / inside.sum().clamp_(min=1.0)


def scores(x: Tensor, u: Tensor, window: int, block: int) -> Tensor:
    """u_q·x_p for all q around p: ``x`` (P, d), ``u`` (P + 2w, d) with margins → (P, W)."""
    if portable.is_set():  # products take longer there, so those that nobody needs cost more
        block = gcd(block, PORTABLE_BLOCK)
    product = torch.bmm(x.view(-1, block, x.shape[1]), halo(u, window, block).transpose(1, 2))  # shape: (n, B, H)
    return band(product).reshape(-1, 2 * window + 1)


# -- CBOW -------------------------------------------------------------------------------------------------------------


def cbow(
    h: Chunks, u: Chunks, counted: Tensor, omega: Tensor, squares: Squares, scale: Callable[..., Tensor],
    *, columns: Columns, negative: int,
) -> tuple[Chunks, Chunks, Tensor]:  # fmt: skip
    """Each position's hidden vector predicts its word; the other words of its group of M are its noise.

    So one product has all scores of a group: on the diagonal those of the words to predict, beside it those of the noise.

    Args:
        h: hidden vectors, in groups (``grouped``), (m, M, d).
        u: output rows of the positions' words, (m, M, d).
        counted: 1, or 0 for a position without a context, (m, M): its h is 0 and predicts nothing, and what is returned as
            its gradient has no meaning.
        omega: P(n)/Q(n) of each position's word as noise, (m, M).
        squares: what ``scale`` needs the sums of over all chunks.
        scale: makes of these sums what the gradients of the output rows, and of those alone, are to be multiplied by, (P,),
            in the order of ``arranged``.
        columns: adds up scores over the chunks.
        negative: k.

    Returns:
        The gradients for ``h`` and, scaled, for ``u``, (m, M, d) each, and the mean loss of a prediction.
    """
    g, *sums = columns.add(
        (torch.bmm(h_c, u_c.transpose(1, 2)), *squares_c) for h_c, u_c, squares_c in zip(h, u, squares, strict=True)
    )
    g.sigmoid_()  # shape: (m, M, M), σ(u·h) of each position (row) for each word (column)
    # The small operations stand together here, since each stretch of them lets the other threads fall asleep.
    draws = (omega * (negative / (g.shape[1] - 1))).unsqueeze(1)  # shape: (m, 1, M), ω·k/(M − 1)
    loss = _cbow_loss(g, counted, draws)
    own = g.diagonal(dim1=1, dim2=2)  # shape: (m, M), a view
    own_g, scale_u = own - 1.0, scale(*sums).view(omega.shape).unsqueeze(1)  # shapes: (m, M), (m, 1, M)
    g.mul_(draws)
    own.copy_(own_g)
    dh = [combined(g, chunk) for chunk in u]
    g.mul_(scale_u)
    du = [combined(g.transpose(1, 2), chunk) for chunk in h]
    return dh, du, loss


def _cbow_loss(score: Tensor, counted: Tensor, draws: Tensor) -> Tensor:
    """``_skipgram_loss`` where ``score`` (m, M, M) is σ(u·h) of a group's words, those to predict on the diagonal.

    The same sum in another form: the diagonal's σ and the others' 1 − σ are put into one tensor first, so that one clamp,
    one logarithm, one product and one sum do for both. Of so few numbers an operation costs its start, not its length, and
    CBOW's step is short. Skip-gram has words and noise in tensors of their own, which it would have to put together first.
    ``counted`` is (m, M), ``draws`` (m, 1, M).
    """
    first = _sampled(counted, score.shape[1])
    score, counted = score[:first], counted[:first]
    right, draws = 1.0 - score, counted.unsqueeze(2) * draws[:first]  # shape: (first, M, M)
    right.diagonal(dim1=1, dim2=2).copy_(score.diagonal(dim1=1, dim2=2))
    draws.diagonal(dim1=1, dim2=2).copy_(counted)
    right.clamp_(min=torch.finfo(score.dtype).eps / 2).log_().mul_(draws)
    return total(right).neg_() / counted.sum().clamp_(min=1.0)


def combined(weights: Tensor, rows: Tensor) -> Tensor:
    """Σ_j weights[g, i, j] · rows[g, j]: ``weights`` (m, M, M), ``rows`` (m, M, d) → (m, M, d)."""
    m, group, d = rows.shape
    if group > SMALL or portable.is_set():
        return torch.bmm(weights, rows)
    found = weighted_sum(rows.flatten(0, 1), _members(m, group, rows.device), weights.reshape(-1, group))
    return found.view(m, group, d)


@lru_cache(maxsize=4)
def _members(m: int, group: int, device: torch.device) -> Tensor:
    """For each row of m groups, one after another, the rows of its group: int32 (P, M)."""
    rows = torch.arange(m * group, dtype=torch.int32, device=device)
    return rows.view(m, 1, group).expand(m, group, group).reshape(-1, group)


# -- groups -----------------------------------------------------------------------------------------------------------


def grouped(rows: Tensor, group: int) -> Tensor:
    """Groups of M words far apart: the b-th of m = P/M has the rows b, b + m, b + 2m, …; (P, …) → (m, M, …), not copied."""
    return rows.view(group, -1, *rows.shape[1:]).transpose(0, 1)


def arranged(values: Tensor, group: int) -> Tensor:
    """(P, …) → (P, …): in the order of ``grouped``, one group after another. A copy, but for M = 1."""
    return grouped(values, group).flatten(0, 1)


@lru_cache(maxsize=4)
def neighbors(positions: int, group: int, window: int, device: torch.device) -> Tensor:
    """In the order of ``arranged``, the rows of the positions around each position: int32 (P, W). In margins any row."""
    place = torch.arange(positions, dtype=torch.int32, device=device).view(-1, group).t().reshape(-1)  # of each position
    return arranged(around(pad(place, (window, window)), window), group)


# -- the loss ---------------------------------------------------------------------------------------------------------


def _sampled(counted: Tensor, group: int) -> int:
    """How many of the groups the loss is taken from: all, where the first ones predict nothing. ``counted`` (m, M, …)."""
    first = -(-LOSS_WORDS // group)
    return first if bool(counted[:first].any()) else len(counted)


def total(values: Tensor) -> Tensor:
    """The sum of all ``values``, row by row: the same bits for any number of threads (up to 32,767 rows)."""
    return values.flatten(1).sum(1).sum()
