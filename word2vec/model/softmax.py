"""The full softmax over the vocabulary (Mikolov et al. 2013b, eq. 2), with the gradients written out.

With a vector h, and output vectors u (the paper's v'), a word w is predicted with

    p(w | h) = exp(u_w·h) / Σ_v exp(u_v·h)                               (2)

so that of L = −log p(w | h) the derivative by the score u_v·h is g_v = p(v | h) − [v = w], and

    ∂L/∂h = Σ_v g_v u_v,    ∂L/∂u_v = g_v h.

The cost of a step grows with the vocabulary: this is for small ones.
Shapes: P positions, w the largest reach of a window, V words, d numbers. Gradients are of the loss summed over positions.
What has d columns comes and goes as the chunks of this process (see columns.py), (…, c) each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from word2vec.model.columns import Chunks, Columns, Squares
from word2vec.model.negative import total

LOGITS = 1 << 22
"""How many scores are in memory at a time."""


def skipgram(
    x: Chunks, table: Chunks, words: Tensor, left: Tensor, right: Tensor, window: int, squares: Squares, columns: Columns
) -> tuple[Chunks, Chunks, Tensor, list[Tensor]]:
    """Each word predicts the words in its window: −Σ log p(w_j | x_i) over i and the j in i's window.

    ``x`` (P, d): input rows; ``table`` (V, d): output vectors; ``words`` (P,); ``left`` and ``right`` (P,): windows;
    ``squares``: as of ``predict``, which says what is returned.
    """
    offset = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)]).to(words.device)  # shape: (2w,)
    inside = (offset >= -left.unsqueeze(1)) & (offset <= right.unsqueeze(1))  # shape: (P, 2w)
    at = (torch.arange(len(words), device=words.device).unsqueeze(1) + offset).clamp_(0, len(words) - 1)
    return predict(x, table, words[at], inside.to(x[0].dtype), squares, columns)


def predict(
    h: Chunks, table: Chunks, targets: Tensor, counted: Tensor, squares: Squares, columns: Columns
) -> tuple[Chunks, Chunks, Tensor, list[Tensor]]:
    """Each hidden vector predicts its targets.

    Args:
        h: (P, d).
        table: output vectors, (V, d).
        targets: word ids, (P, m).
        counted: 1, or 0 for what is no target, (P, m).
        squares: what is to be added up over all chunks, beside the scores.
        columns: adds it up.

    Returns:
        The gradients for ``h`` (P, d) and ``table`` (V, d), the mean loss of a prediction, and the sums of ``squares``.
    """
    dh, dtable = [torch.zeros_like(chunk) for chunk in h], [torch.zeros_like(chunk) for chunk in table]
    loss, sums = h[0].new_zeros(()), list[Tensor]()
    rows = max(1, LOGITS // len(table[0]))
    for at in range(0, len(targets), rows):  # so many positions at a time: R of them
        h_part = [chunk[at : at + rows] for chunk in h]
        target, one = targets[at : at + rows], counted[at : at + rows]
        predictions = one.sum(1, keepdim=True)  # shape: (R, 1)
        first = at == 0  # with whose scores the squares go
        scores, *told = columns.add(
            (h_c @ table_c.T, *(squares_c if first else ()))
            for h_c, table_c, squares_c in zip(h_part, table, squares, strict=True)
        )
        sums += told
        log_p = torch.log_softmax(scores, 1)  # shape: (R, V)
        loss -= total(log_p.gather(1, target) * one)
        g = log_p.exp_().mul_(predictions).scatter_add_(1, target, -one)  # shape: (R, V), summed over a position's targets
        for dh_c, dtable_c, h_c, table_c in zip(dh, dtable, h_part, table, strict=True):
            torch.mm(g, table_c, out=dh_c[at : at + rows])
            dtable_c.addmm_(g.T, h_c)
    return dh, dtable, loss / counted.sum().clamp(min=1.0), sums
