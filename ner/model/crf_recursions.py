"""The numerics of a linear-chain CRF: forward and backward recursions, the loss and its gradients.

Shapes: N tokens in sentence-major order, P packed rows (see ner.inputs.packing), L labels. The backward recursion is the
forward one on the reversed sentence with the transitions transposed, so both step together over (2, b_t, L).

Two recursions give the same numbers. The quick one multiplies probabilities, scaled now and then (Rabiner 1989,
section V.A): a matrix product a step. Float64 holds them if scores differ by less than a hundred nats or so, which CRF
computes beforehand; otherwise the plain one takes a logsumexp over pairs of labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ner.inputs.packing import Packing
from training.errors import DataError

Array = npt.NDArray[np.floating[Any]]
FORBIDDEN = -1e30  # the logarithm of "never": finite, so that no difference of two is NaN; its exp is exactly 0


def split(packed: Tensor, plan: Packing, dim: int = -2) -> tuple[Tensor, ...]:
    """The slices of b_t rows of a packed tensor (..., P, L)."""
    return torch.split(packed, list(plan.sizes), dim)


def _scaled(scores: Tensor, pairs: Tensor, first: Tensor, plan: Packing, every: int) -> tuple[Tensor, Tensor]:
    """The quick recursion, scaling at each ``every``-th step: as _logarithmic, but the states are no logarithms."""
    shift = scores.amax(-1, keepdim=True)
    emitted = torch.exp(scores - shift)
    states, totals = torch.empty_like(emitted), torch.ones_like(shift)
    most = pairs.amax(), first.amax(1, keepdim=True)
    pairs = (pairs - most[0]).exp()
    before = (first - most[1]).exp().unsqueeze(1)
    steps = zip(split(states, plan), split(totals, plan), split(emitted, plan), strict=True)
    for t, (state, total, emit) in enumerate(steps):
        if t > 0:
            before = torch.bmm(before[:, : emit.shape[1]], pairs)
        before = torch.mul(before, emit, out=state)
        if t % every == 0:
            state.div_(torch.sum(state, -1, keepdim=True, out=total))
    increments = totals.log_().add_(shift)
    increments[:, : plan.sizes[0]].add_(most[1].unsqueeze(1))
    increments[:, plan.sizes[0] :].add_(most[0])
    return states, increments


def _logarithmic(scores: Tensor, pairs: Tensor, first: Tensor, plan: Packing) -> tuple[Tensor, Tensor]:
    """The plain recursion over packed ``scores`` (d, P, L), for d directions with ``pairs`` (d, L, L), ``first`` (d, L).

    Returns the logarithms (d, P, L) of the sums over all beginnings up to a token that end in a label, less the sum
    of the increments so far; and the increments (d, P, 1).
    """
    states, increments = torch.empty_like(scores), torch.empty_like(scores[..., :1])
    before: Tensor | None = None
    for state, increment, emit in zip(split(states, plan), split(increments, plan), split(scores, plan), strict=True):
        if before is None:
            reached = first.unsqueeze(1)
        else:
            reached = torch.logsumexp(before[:, : emit.shape[1], :, None] + pairs.unsqueeze(1), -2)
        torch.add(emit, reached, out=state)
        torch.amax(state, -1, keepdim=True, out=increment)
        before = state.sub_(increment).clamp_min_(FORBIDDEN)
    return states, increments


def recursion(
    scores: Tensor, pairs: Tensor, start: Tensor, end: Tensor, plan: Packing, every: int, directions: int
) -> tuple[Tensor, Tensor]:
    """Both directions (or the forward one) over scores (N, L): states (d, N, L) and the forward increments (N,).

    ``every``: the quick recursion scales at each such step; 0 is the plain one, whose states are logarithms.
    """
    packed = nn.functional.pad(scores, (0, 0, 0, 1))[plan.tokens[:directions]]
    both = torch.stack([pairs, pairs.T])[:directions]
    first = torch.stack([start, end])[:directions]
    if every:
        states, increments = _scaled(packed, both, first, plan, every)
    else:
        states, increments = _logarithmic(packed, both, first, plan)
    unpacked = torch.stack([state[rows] for state, rows in zip(states, plan.rows, strict=False)])
    return unpacked, increments[0, plan.rows[0], 0]


def edges(plan: Packing) -> tuple[Tensor, Tensor]:
    """Which tokens (N,) begin a sentence, and which end one."""
    flags = torch.zeros(2, plan.rows.shape[1] + 1, dtype=torch.bool, device=plan.rows.device)
    flags.scatter_(1, plan.tokens[:, : plan.sizes[0]], True)
    return flags[0, :-1], flags[1, :-1]


def _gold(scores: Tensor, labels: Tensor, pairs: Tensor, start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """What each token (N,) adds to its sentence's score under ``labels``. DataError if they are not allowed."""
    before = labels.roll(1)
    gold = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    moved = torch.where(first, start[labels], pairs[before, labels]) + torch.where(last, end[labels], 0.0)
    if bool((moved <= FORBIDDEN / 2).any()):
        n = int((moved <= FORBIDDEN / 2).int().argmax())
        place = "at a sentence's beginning" if first[n] else f"after label {int(before[n])}"
        place += " and at a sentence's end" if last[n] else ""
        raise DataError(f"labels: label {int(labels[n])} is not allowed {place} (token {n} of the batch, from 0)")
    return gold + moved


def sum_rows(rows: Tensor) -> Tensor:
    """The sum (L,) of rows (N, L), as a product: sum() adds in an order that depends on the number of threads."""
    return (rows.new_ones(4, len(rows)) @ rows)[0]


def posterior(scores: Tensor, a: Tensor, b: Tensor, every: int) -> Tensor:
    """P(token n has label l), (N, L), from the states of both directions; each has the token's own scores in it."""
    if not every:
        return torch.softmax(a + b - scores, 1)
    rest = torch.exp(scores.amax(1, keepdim=True) - scores).mul_(b).mul_(a)  # a last: the product may be small
    return rest.div_(rest.sum(1, keepdim=True))


def _pair_counts(a: Tensor, b: Tensor, pairs: Tensor, weights: Tensor, every: int) -> Tensor:
    """Σ_n weights[n] P(label of token n−1, label of token n), (L, L), from the states of both (N−1, L)."""
    if not every:
        joint = (a.unsqueeze(2) + pairs + b.unsqueeze(1)).flatten(1).softmax(1)
        return sum_rows(torch.where(weights != 0, joint * weights, 0.0)).view_as(pairs)
    pairs = (pairs - pairs.amax()).exp()
    norm = ((a @ pairs) * b).sum(1, keepdim=True)
    return pairs * (a.T @ (b * torch.where(weights != 0, weights / norm, 0.0)))


class ChainLoss(torch.autograd.Function):
    """Scores (N, L), transitions (L, L), start and end (L,) in float64 → the negative log-likelihoods (b_0,).

    Sentences that have tokens are in their order; slots that are left over are 0. ``directions`` 2 where there will be a
    backward pass, else 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        pairs: Tensor,
        start: Tensor,
        end: Tensor,
        labels: Tensor,
        plan: Packing,
        every: int,
        directions: int,
    ) -> Tensor:
        n, size = scores.shape[0], plan.sizes[0]
        first, last = edges(plan)
        gold = _gold(scores, labels, pairs, start, end, first, last)
        states, increments = recursion(scores, pairs, start, end, plan, every, directions)
        each = nn.functional.pad(increments - gold, (0, 1))
        final = plan.tokens[1, :size]  # the last tokens; N for spare rows
        at_end = states[0, final.clamp(max=n - 1)]
        each.index_add_(0, final, torch.logsumexp((at_end.log() if every else at_end) + end, 1))
        sentence = first.cumsum(0) - 1
        ctx.plan, ctx.every = plan, every
        ctx.save_for_backward(scores, pairs, labels, states, first, sentence)
        return torch.zeros_like(each[:size]).index_add_(0, sentence, each[:n])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        plan: Packing = ctx.plan
        scores, pairs, labels, states, first, sentence = ctx.saved_tensors
        a, b = states
        weights = d_loss[sentence].unsqueeze(1)
        gold = (labels.unsqueeze(1) == torch.arange(len(pairs), device=labels.device)).to(a)
        d_scores = posterior(scores, a, b, ctx.every).sub_(gold).mul_(weights)
        ends = nn.functional.pad(d_scores, (0, 0, 0, 1))[plan.tokens[:, : plan.sizes[0]]]
        inner = weights.masked_fill(first.unsqueeze(1), 0.0)[1:]
        d_pairs = _pair_counts(a[:-1], b[1:], pairs, inner, ctx.every).sub_(gold[:-1].T @ (gold[1:] * inner))
        return d_scores, d_pairs, sum_rows(ends[0]), sum_rows(ends[1]), None, None, None, None


def best_sequences(scores: Array, pairs: Array, start: Array, end: Array, plan: Packing) -> npt.NDArray[np.int64]:
    """Viterbi 1967: labels (N,) of the best sequence for each sentence of scores (N, L); see CRF.decode.

    In NumPy, since a step is so small that torch's time per operation would be most of it.
    """
    tokens, size = plan.tokens[0].numpy(), scores.shape[1]
    best = np.concatenate([scores, np.zeros_like(scores[:1])])[tokens]  # of a beginning that ends in each label, (P, L)
    stops = np.cumsum(plan.sizes)
    parts = [slice(stop - b, stop) for stop, b in zip(stops.tolist(), plan.sizes, strict=True)]
    best[parts[0]] += start
    state = np.ascontiguousarray(best[parts[0]].T)
    memory, choices = np.empty(size * size * plan.sizes[0], scores.dtype), pairs[:, :, None]
    for b, part in zip(plan.sizes[1:], parts[1:], strict=True):
        work = memory[: size * size * b].reshape(size, size, b)
        np.add(state[:, None, :b], choices, out=work)
        state = np.maximum.reduce(work, 0)
        state += best[part].T
        best[part] = state.T
    chosen = np.argmax(best + end, 1)
    runs_on = np.ones(len(scores) + 1, np.bool_)
    runs_on[plan.tokens[1, : plan.sizes[0]].numpy()] = False  # but not from a sentence's last token
    runs_on = runs_on[tokens]
    incoming = np.ascontiguousarray(pairs.T)
    for b, part, after in zip(plan.sizes[:0:-1], parts[-2::-1], parts[:0:-1], strict=True):
        here = slice(part.start, part.start + b)
        traced = incoming[chosen[after]]
        traced += best[here]
        np.copyto(chosen[here], traced.argmax(1), where=runs_on[here])
    labels: npt.NDArray[np.int64] = chosen[plan.rows[0].numpy()]
    return labels
