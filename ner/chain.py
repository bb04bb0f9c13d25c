"""The numerics of a linear-chain CRF: forward and backward recursions, the loss and its gradients.

Shapes: N tokens in sentence-major order, P packed rows (see ner.lstm.Packing), L labels. The backward recursion is the
forward one on the reversed sentence with the transitions transposed, so both step together over (2, b_t, L).

Two recursions give the same numbers. The quick one multiplies probabilities scaled to sum to 1 at each token (Rabiner
1989, section V.A) in float64: a matrix product a step. Float64 holds them if scores differ by less than some hundred nats,
which CRF computes beforehand; otherwise the plain one takes a logsumexp over pairs of labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ner.lstm import Packing
from training.errors import DataError

FORBIDDEN = -1e30  # the logarithm of "never": finite, so that no difference of two is NaN; its exp is exactly 0


def split(packed: Tensor, plan: Packing, dim: int = -2) -> tuple[Tensor, ...]:
    """The slices of b_t rows of a packed tensor (..., P, L)."""
    return torch.split(packed, list(plan.sizes), dim)


def _scaled(scores: Tensor, pairs: Tensor, first: Tensor, plan: Packing) -> tuple[Tensor, Tensor]:
    """The quick recursion; arguments and result as in _logarithmic."""
    shift = scores.amax(-1, keepdim=True)
    emitted = torch.exp(scores - shift)
    states, totals = torch.empty_like(emitted), torch.empty_like(shift)
    most = pairs.amax(), first.amax(1, keepdim=True)
    pairs, first = (pairs - most[0]).exp(), (first - most[1]).exp()
    memory = torch.empty_like(emitted[:, : plan.sizes[0]]).flatten()
    before: Tensor | None = None
    for state, total, emit in zip(split(states, plan), split(totals, plan), split(emitted, plan), strict=True):
        if before is None:
            torch.mul(emit, first.unsqueeze(1), out=state)
        else:
            into = memory[: emit.numel()].view(emit.shape)
            torch.mul(torch.bmm(before[:, : emit.shape[1]], pairs, out=into), emit, out=state)
        torch.sum(state, -1, keepdim=True, out=total)
        before = state.div_(total)
    increments = totals.log_().add_(shift)
    increments[:, : plan.sizes[0]].add_(most[1].unsqueeze(1))
    increments[:, plan.sizes[0] :].add_(most[0])
    return states.log_().clamp_min_(FORBIDDEN), increments


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
    scores: Tensor, pairs: Tensor, start: Tensor, end: Tensor, plan: Packing, quick: bool, directions: int
) -> tuple[Tensor, Tensor]:
    """Both directions (or the forward one) over scores (N, L): states (d, N, L) and the forward increments (N,)."""
    packed = nn.functional.pad(scores, (0, 0, 0, 1))[plan.tokens[:directions]]
    both = torch.stack([pairs, pairs.T])[:directions]
    first = torch.stack([start, end])[:directions]
    states, increments = (_scaled if quick else _logarithmic)(packed, both, first, plan)
    unpacked = torch.stack([state[rows] for state, rows in zip(states, plan.rows, strict=False)])
    return unpacked, increments[0, plan.rows[0], 0]


def edges(plan: Packing) -> tuple[Tensor, Tensor]:
    """Which tokens (N,) begin a sentence, and which end one."""
    flags = torch.zeros(2, plan.rows.shape[1] + 1, dtype=torch.bool, device=plan.rows.device)
    flags.scatter_(1, plan.tokens[:, : plan.sizes[0]], True)
    return flags[0, :-1], flags[1, :-1]


def _gold(scores: Tensor, labels: Tensor, pairs: Tensor, start: Tensor, end: Tensor, plan: Packing) -> Tensor:
    """What each token (N,) adds to its sentence's score under ``labels``. DataError if they are not allowed."""
    first, last = edges(plan)
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


def _pair_counts(a: Tensor, b: Tensor, pairs: Tensor, weights: Tensor, quick: bool) -> Tensor:
    """Σ_n weights[n] P(label of token n−1, label of token n), (L, L), from the states of both (N−1, L)."""
    used = (weights != 0).unsqueeze(1)
    if not quick:
        joint = (a.unsqueeze(2) + pairs + b.unsqueeze(1)).flatten(1).softmax(1)
        return sum_rows(torch.where(used, joint * weights.unsqueeze(1), 0.0)).view_as(pairs)
    a, b, pairs = a.exp(), b.exp(), (pairs - pairs.amax()).exp()
    norm = ((a @ pairs) * b).sum(1, keepdim=True)
    return pairs * (a.T @ torch.where(used, b * weights.unsqueeze(1) / norm, 0.0))


class ChainLoss(torch.autograd.Function):
    """Scores (N, L), transitions (L, L), start and end (L,) in float64 → the negative log-likelihoods (b_0,).

    Sentences are in the order of the packing; spare ones get 0.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, pairs: Tensor, start: Tensor, end: Tensor, labels: Tensor, plan: Packing, quick: bool
    ) -> Tensor:
        n, size = scores.shape[0], plan.sizes[0]
        gold = _gold(scores, labels, pairs, start, end, plan)
        directions = 2 if any(ctx.needs_input_grad) else 1
        states, increments = recursion(scores, pairs, start, end, plan, quick, directions)
        each = nn.functional.pad(increments - gold, (0, 1))[plan.tokens[0]]
        last = plan.tokens[1, :size]
        final = torch.logsumexp(states[0, last.clamp(max=n - 1)] + end, 1)
        loss = torch.where(last < n, final, 0.0)
        for part in split(each, plan, 0):
            loss[: len(part)].add_(part)
        ctx.plan, ctx.quick = plan, quick
        ctx.save_for_backward(scores, pairs, labels, states)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        plan: Packing = ctx.plan
        scores, pairs, labels, states = ctx.saved_tensors
        weights = torch.cat([d_loss[:size] for size in plan.sizes])[plan.rows[0]]
        a, b = states
        weighted_gold = nn.functional.one_hot(labels, pairs.shape[0]) * weights.unsqueeze(1)
        d_scores = torch.softmax(a + b - scores, 1) * weights.unsqueeze(1) - weighted_gold
        ends = nn.functional.pad(d_scores, (0, 0, 0, 1))[plan.tokens[:, : plan.sizes[0]]]
        inner = torch.where(edges(plan)[0], 0.0, weights)[1:]
        before = nn.functional.one_hot(labels[:-1], pairs.shape[0]).to(inner) * inner.unsqueeze(1)
        expected = _pair_counts(a[:-1], b[1:], pairs, inner, ctx.quick)
        gold = before.T @ nn.functional.one_hot(labels[1:], pairs.shape[0]).to(inner)
        return d_scores, expected - gold, sum_rows(ends[0]), sum_rows(ends[1]), None, None, None
