"""The full softmax over the vocabulary (Mikolov et al. 2013b, eq. 2), with the gradients written out.

p(w | h) = exp(u_w · h) / Σ_v exp(u_v · h): the cost of a step grows with the vocabulary, so this is for small ones.
Shapes: P positions, V words, d numbers. Gradients are of the loss, summed over positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from word2vec.model.negative import total

LOGITS = 1 << 22
"""How many scores are in memory at a time."""


def skipgram(
    x: Tensor, table: Tensor, words: Tensor, left: Tensor, right: Tensor, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Each word predicts the words in its window: −Σ log p(w_j | x_i) over i and the j in i's window.

    ``x`` (P, d): input rows; ``table`` (V, d): output vectors; ``words`` (P,); ``left`` and ``right`` (P,): windows.
    Returns the gradients for ``x`` (P, d) and ``table`` (V, d), and the mean loss of a prediction.
    """
    offset = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)]).to(words.device)
    inside = (offset >= -left.unsqueeze(1)) & (offset <= right.unsqueeze(1))
    at = (torch.arange(len(words), device=words.device).unsqueeze(1) + offset).clamp_(0, len(words) - 1)
    return predict(x, table, words[at], inside.to(x.dtype))


def predict(h: Tensor, table: Tensor, targets: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each hidden vector predicts its targets: ``h`` (P, d), ``targets`` (P, m) word ids, ``counted`` (P, m) 1 or 0.

    Returns the gradients for ``h`` (P, d) and ``table`` (V, d), and the mean loss of a prediction.
    """
    dh, dtable = torch.zeros_like(h), torch.zeros_like(table)
    loss = h.new_zeros(())
    rows = max(1, LOGITS // len(table))
    for at in range(0, len(h), rows):
        part, target, one = h[at : at + rows], targets[at : at + rows], counted[at : at + rows]
        many = one.sum(1, keepdim=True)
        log_p = torch.log_softmax(part @ table.T, 1)
        loss -= total(log_p.gather(1, target) * one)
        g = log_p.exp_().mul_(many).scatter_add_(1, target, -one)
        torch.mm(g, table, out=dh[at : at + rows])
        dtable.addmm_(g.T, part)
    return dh, dtable, loss / counted.sum().clamp(min=1.0)
