"""Words as vectors of their spelling: a convolution (Ma & Hovy 2016) or a BiLSTM (Lample et al. 2016) over characters.

Words come as they are packed, one after the other: ids (C,) of all their characters and lengths (U,) of the words. No
word sees another's characters or any padding. A batch's distinct words suffice; the tagger gathers them for its tokens.
Initial values are uniform, from (seed, "init/characters.<name>"): embeddings in ±sqrt(3/dim) as in both papers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ner.inputs.indexer import PAD
from ner.model.bilstm import BiLSTM
from ner.model.matmul import sum_rows
from ner.model.packing import Packing, edges, packing, steps
from training.errors import ConfigError, DataError
from training.randomness import uniform


def _embeddings(n_characters: int, size: int, seed: int) -> nn.Parameter:
    """Character vectors (n_characters, size); that of PAD is zero, and stays so, since it gets no gradient."""
    bound = math.sqrt(3 / size)
    values = uniform((n_characters, size), -bound, bound, seed, "init/characters.embeddings")
    values[PAD] = 0.0
    return nn.Parameter(values)


def _plan(ids: Tensor, lengths: Tensor) -> Packing:
    """The packing of the words; DataError if one has no character or the lengths do not sum to C."""
    shortest, total = (int(lengths.min()), int(lengths.sum())) if len(lengths) else (1, 0)
    if shortest < 1 or tuple(ids.shape) != (total,):
        expected = f"{total} characters in words of at least one"
        raise DataError(f"characters: expected {expected}, got {tuple(ids.shape)} and a word of {shortest}")
    return packing(lengths).to(ids.device)


class _Pool(torch.autograd.Function):
    """tanh(bias + the maximum over a word's rows): packed rows (P, F), bias (F,) → (U, F), words as they were given."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, plan: Packing, order: Tensor) -> Tensor:
        rows = rows.masked_fill((plan.tokens[0] == plan.rows.shape[1]).unsqueeze(1), -math.inf)
        best = rows[: plan.sizes[0]].clone()
        for row in steps(rows, plan)[1:]:
            part = best[: len(row)]
            torch.maximum(part, row, out=part)
        pooled = torch.empty(len(order), len(bias), dtype=rows.dtype, device=rows.device)
        pooled.index_copy_(0, order, torch.tanh(best[: len(order)] + bias))
        ctx.plan = plan
        ctx.save_for_backward(rows, best, pooled, order)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_pooled: Tensor) -> tuple[Tensor | None, ...]:
        rows, best, pooled, order = ctx.saved_tensors
        left = torch.zeros_like(best)  # what has not yet gone to a word's first row that attains the maximum
        left[: len(order)] = (d_pooled * (1 - pooled * pooled))[order]
        d_bias = sum_rows(left)
        d_rows = torch.empty_like(rows)
        for row, d_row in zip(steps(rows, ctx.plan), steps(d_rows, ctx.plan), strict=True):
            part = left[: len(row)]
            torch.mul(part, row == best[: len(row)], out=d_row)
            part.sub_(d_row)
        return d_rows, d_bias, None, None


class CharCNN(nn.Module):
    """``char_hidden`` filters over three neighboring characters, and their maxima over the word, through tanh.

    Beyond the word's ends stand zero vectors. Filters are uniform in ±sqrt(6 / (F + 3 char_dim)) (Glorot & Bengio 2010),
    biases zero; where several places attain a maximum, the first gets the gradient.
    """

    def __init__(self, n_characters: int, char_dim: int, char_hidden: int, *, seed: int) -> None:
        super().__init__()
        self.embeddings = _embeddings(n_characters, char_dim, seed)
        bound = math.sqrt(6 / (char_hidden + 3 * char_dim))
        filters = uniform((char_hidden, 3 * char_dim), -bound, bound, seed, "init/characters.filters")
        self.filters, self.bias = nn.Parameter(filters), nn.Parameter(torch.zeros(char_hidden))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Characters ids (C,) of words with ``lengths`` (U,) → (U, char_hidden)."""
        plan = _plan(ids, lengths)
        if not len(ids):
            return self.bias.new_zeros(0, len(self.bias))
        first, last = edges(plan)
        windows = torch.stack([ids.roll(1).masked_fill(first, PAD), ids, ids.roll(-1).masked_fill(last, PAD)], 1)
        windows = nn.functional.pad(windows, (0, 0, 0, 1), value=PAD)[plan.tokens[0]]
        inputs = nn.functional.embedding(windows, self.embeddings, padding_idx=PAD).flatten(1)
        order = lengths.argsort(descending=True, stable=True)
        rows = (inputs @ self.filters.T).to(self.bias.dtype)  # autocast multiplies in bfloat16; what follows is exact
        result: Tensor = _Pool.apply(rows, self.bias, plan, order)  # type: ignore[no-untyped-call]
        return result


class CharLSTM(nn.Module):
    """The last states of a BiLSTM over the characters: ``char_hidden`` units in all, half of them per direction."""

    def __init__(self, n_characters: int, char_dim: int, char_hidden: int, *, seed: int) -> None:
        super().__init__()
        if char_hidden % 2:
            raise ConfigError(f"char_hidden: expected an even number for a character LSTM, got {char_hidden}")
        self.embeddings = _embeddings(n_characters, char_dim, seed)
        self.lstm = BiLSTM(char_dim, char_hidden // 2, seed=seed, name="characters.lstm")

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Characters ids (C,) of words with ``lengths`` (U,) → (U, char_hidden)."""
        plan = _plan(ids, lengths)
        states = self.lstm(nn.functional.embedding(ids, self.embeddings, padding_idx=PAD), plan)
        last = lengths.cumsum(0) - 1
        half = self.lstm.hidden_size
        forwards, backwards = states[:, :half].index_select(0, last), states[:, half:].index_select(0, last - lengths + 1)
        return torch.cat([forwards, backwards], 1)
