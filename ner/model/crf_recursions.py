"""The numerics of a linear-chain CRF: forward and backward recursions, the losses and their gradients, Viterbi.

For a sentence of T tokens with scores s_t(j) of label j, transitions A(i, j), start and end (all of them logarithms), and
with the numbers of Rabiner 1989, whose a_ij, b_j and π are their exponentials:

    α_1(j) = start(j) + s_1(j)                                           (19)
    α_t(j) = s_t(j) + log Σ_i exp(α_t−1(i) + A(i, j))                    (20)
    log Z  = log Σ_j exp(α_T(j) + end(j))                                (21)
    β_T(i) = end(i) + s_T(i)                                             (24)
    β_t(i) = s_t(i) + log Σ_j exp(A(i, j) + β_t+1(j))                    (25)
    P(y_t = j | s) = exp(α_t(j) + β_t(j) − s_t(j) − log Z)               (27)
    P(y_t−1 = i, y_t = j | s) = exp(α_t−1(i) + A(i, j) + β_t(j) − log Z) (37)

β has the token's own score in it, other than Rabiner's: so it is α of the reversed sentence, with end for start and the
transitions transposed, and both directions step together. The gradients of −log P(y | s) are these probabilities less what
y itself has: by s_t(j), (27) − [y_t = j]; by A(i, j), the sum over t of (37) − [y_t−1 = i, y_t = j].

Two recursions give the same numbers. The quick one multiplies probabilities, scaled now and then (Rabiner's section V.A): a
matrix product a step. Float64 holds them if scores differ by less than a hundred nats or so, which CRF computes
beforehand; otherwise the plain one takes a logsumexp over pairs of labels. In either, what was scaled away up to a token is
the sum of the ``increments`` so far (−log c_t in Rabiner's equation 103).

Shapes: N tokens in sentence-major order, P packed rows, of which step t has b_t (see ner.model.packing), L labels, D
directions: 1, forward, or 2, forward and backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ner.model.matmul import sum_rows
from ner.model.packing import Packing, edges, steps
from training.errors import DataError

Array = npt.NDArray[np.floating[Any]]
FORBIDDEN = -1e30  # the logarithm of "never": finite, so that no difference of two is NaN; its exp is exactly 0


# -- forward and backward ---------------------------------------------------------------------------------------------


def _scaled(scores: Tensor, pairs: Tensor, first: Tensor, plan: Packing, every: int) -> tuple[Tensor, Tensor]:
    """The quick recursion, scaling at each ``every``-th step: as _logarithmic, but the states are no logarithms."""
    highest = scores.amax(-1, keepdim=True)  # shape: (D, P, 1)
    emitted = torch.exp(scores - highest)  # shape: (D, P, L), b_j(O_t)
    states, totals = torch.empty_like(emitted), torch.ones_like(highest)
    highest_pair, highest_first = pairs.amax(), first.amax(1, keepdim=True)  # shapes: (), (D, 1)
    pairs = (pairs - highest_pair).exp()  # shape: (D, L, L), a_ij
    before = (first - highest_first).exp().unsqueeze(1)  # shape: (D, 1, L), π_j
    each = zip(steps(states, plan), steps(totals, plan), steps(emitted, plan), strict=True)
    for t, (state, total, emit) in enumerate(each):  # shapes: (D, b_t, L), (D, b_t, 1), (D, b_t, L)
        if t > 0:
            before = torch.bmm(before[:, : emit.shape[1]], pairs)  # (20): Σ_i α_t−1(i) a_ij
        before = torch.mul(before, emit, out=state)
        if t % every == 0:
            state.div_(torch.sum(state, -1, keepdim=True, out=total))
    increments = totals.log_().add_(highest)
    increments[:, : plan.sizes[0]].add_(highest_first.unsqueeze(1))
    increments[:, plan.sizes[0] :].add_(highest_pair)
    return states, increments


def _logarithmic(scores: Tensor, pairs: Tensor, first: Tensor, plan: Packing) -> tuple[Tensor, Tensor]:
    """The plain recursion over packed ``scores`` (D, P, L), with ``pairs`` (D, L, L) and ``first`` (D, L).

    Returns the states (D, P, L), which are α and β less the sum of the increments so far, and the increments (D, P, 1).
    """
    states, increments = torch.empty_like(scores), torch.empty_like(scores[..., :1])
    before: Tensor | None = None
    for state, increment, emit in zip(steps(states, plan), steps(increments, plan), steps(scores, plan), strict=True):
        if before is None:
            reached = first.unsqueeze(1)  # shape: (D, 1, L)
        else:
            ways = before[:, : emit.shape[1], :, None] + pairs.unsqueeze(1)  # shape: (D, b_t, L, L)
            reached = torch.logsumexp(ways, -2)  # shape: (D, b_t, L)
        torch.add(emit, reached, out=state)
        torch.amax(state, -1, keepdim=True, out=increment)
        before = state.sub_(increment).clamp_min_(FORBIDDEN)
    return states, increments


def recursion(
    scores: Tensor, pairs: Tensor, start: Tensor, end: Tensor, plan: Packing, every: int, directions: int
) -> tuple[Tensor, Tensor]:
    """Both directions (or the forward one) over scores (N, L): states (D, N, L) and the forward increments (N,).

    ``every``: the quick recursion scales at each such step; 0 is the plain one, whose states are logarithms.
    """
    packed = nn.functional.pad(scores, (0, 0, 0, 1))[plan.tokens[:directions]]  # shape: (D, P, L); spare rows are zeros
    both = torch.stack([pairs, pairs.T])[:directions]  # shape: (D, L, L)
    first = torch.stack([start, end])[:directions]  # shape: (D, L)
    if every:
        states, increments = _scaled(packed, both, first, plan, every)
    else:
        states, increments = _logarithmic(packed, both, first, plan)
    unpacked = torch.stack([state[rows] for state, rows in zip(states, plan.rows, strict=False)])  # shape: (D, N, L)
    return unpacked, increments[0, plan.rows[0], 0]


# -- probabilities of labels and of pairs of them ---------------------------------------------------------------------


def posterior(scores: Tensor, alpha: Tensor, beta: Tensor, every: int) -> Tensor:
    """Equation 27, (N, L), from the states (N, L) of both directions; what they lack to log Z is the same for all labels."""
    if not every:
        return torch.softmax(alpha + beta - scores, 1)
    own = torch.exp(scores.amax(1, keepdim=True) - scores)  # both states have the token's own score in them
    weights = own.mul_(beta).mul_(alpha)  # alpha last: the product may be small
    return weights.div_(weights.sum(1, keepdim=True))


def pair_counts(alpha: Tensor, beta: Tensor, pairs: Tensor, weights: Tensor, every: int) -> Tensor:
    """Equation 37 summed, (L, L): Σ_n weights[n] P(y_n−1 = i, y_n = j), from alpha[n−1] and beta[n], (N−1, L) each."""
    if not every:
        joint = (alpha.unsqueeze(2) + pairs + beta.unsqueeze(1)).flatten(1).softmax(1)  # shape: (N−1, L·L)
        return sum_rows(torch.where(weights != 0, joint * weights, 0.0)).view_as(pairs)
    pairs = (pairs - pairs.amax()).exp()
    norm = ((alpha @ pairs) * beta).sum(1, keepdim=True)  # shape: (N−1, 1)
    return pairs * (alpha.T @ (beta * torch.where(weights != 0, weights / norm, 0.0)))


# -- the loss ---------------------------------------------------------------------------------------------------------


def _gold(scores: Tensor, labels: Tensor, pairs: Tensor, start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """What each token (N,) adds to its sentence's score under ``labels``. DataError if they are not allowed."""
    before = labels.roll(1)
    emitted = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    moved = torch.where(first, start[labels], pairs[before, labels]) + torch.where(last, end[labels], 0.0)
    if bool((moved <= FORBIDDEN / 2).any()):
        n = int((moved <= FORBIDDEN / 2).int().argmax())
        place = "at a sentence's beginning" if first[n] else f"after label {int(before[n])}"
        place += " and at a sentence's end" if last[n] else ""
        raise DataError(
            f"labels: label {int(labels[n])} is not allowed {place} (token {n} of the batch, from 0), or training diverged "
            "and scores fell that low: then lower the learning rate"
        )
    return emitted + moved


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
        """log Z − score(y) for each sentence: what its tokens add to either, and at its last token equation 21."""
        n, size = scores.shape[0], plan.sizes[0]
        first, last = edges(plan)
        gold = _gold(scores, labels, pairs, start, end, first, last)  # shape: (N,)
        states, increments = recursion(scores, pairs, start, end, plan, every, directions)
        each = nn.functional.pad(increments - gold, (0, 1))  # shape: (N+1,): a place more for spare rows
        final = plan.tokens[1, :size]  # shape: (b_0,): the last tokens; N for spare rows
        at_end = states[0, final.clamp(max=n - 1)]  # shape: (b_0, L), α_T
        each.index_add_(0, final, torch.logsumexp((at_end.log() if every else at_end) + end, 1))
        sentence = first.cumsum(0) - 1  # shape: (N,)
        ctx.plan, ctx.every = plan, every
        ctx.save_for_backward(scores, pairs, labels, states, first, sentence)
        return torch.zeros_like(each[:size]).index_add_(0, sentence, each[:n])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        """Probabilities less what the gold labels have, for each token and each pair, times its sentence's ``d_loss``."""
        plan: Packing = ctx.plan
        scores, pairs, labels, states, first, sentence = ctx.saved_tensors
        alpha, beta = states
        weights = d_loss[sentence].unsqueeze(1)  # shape: (N, 1)
        gold = (labels.unsqueeze(1) == torch.arange(len(pairs), device=labels.device)).to(alpha)  # shape: (N, L), 0 and 1
        d_scores = posterior(scores, alpha, beta, ctx.every).sub_(gold).mul_(weights)
        at_edges = nn.functional.pad(d_scores, (0, 0, 0, 1))[plan.tokens[:, : plan.sizes[0]]]  # shape: (2, b_0, L)
        inner = weights.masked_fill(first.unsqueeze(1), 0.0)[1:]  # shape: (N−1, 1): no pair across two sentences
        expected = pair_counts(alpha[:-1], beta[1:], pairs, inner, ctx.every)
        d_pairs = expected.sub_(gold[:-1].T @ (gold[1:] * inner))
        return d_scores, d_pairs, sum_rows(at_edges[0]), sum_rows(at_edges[1]), None, None, None, None


class ChainCrossEntropy(torch.autograd.Function):
    """The cross entropy of a distribution over label sequences with the chain's, summed over the sentences, a scalar.

    Σ log Z − E[score(y)], where the expectation needs no more of the distribution than what stands in ``tokens`` (N, L), the
    probability of each label at each token, and ``moves`` (L, L), how often each pair of labels is expected in all sentences
    together. Scores (N, L), transitions, start and end as in ChainLoss; all float64.
    """

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        pairs: Tensor,
        start: Tensor,
        end: Tensor,
        tokens: Tensor,
        moves: Tensor,
        plan: Packing,
        every: int,
        directions: int,
    ) -> Tensor:
        """What each token adds to log Z less what it adds to the expected score, then what transitions add to that."""
        begins, ends = edges(plan)
        states, increments = recursion(scores, pairs, start, end, plan, every, directions)
        at_end = states[0, ends]  # shape: (B, L), α_T
        last = torch.logsumexp((at_end.log() if every else at_end) + end, 1)  # with the increments, equation 21
        expected = (tokens * scores).sum(1)
        ctx.plan, ctx.every = plan, every
        ctx.save_for_backward(scores, pairs, tokens, moves, states, begins, ends)
        by_edges = (tokens[begins] * start).sum() + (tokens[ends] * end).sum()
        return (increments - expected).sum() + last.sum() - by_edges - (moves * pairs).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        """The chain's probabilities less the distribution's, for each token and each pair, times ``d_loss``."""
        scores, pairs, tokens, moves, (alpha, beta), begins, ends = ctx.saved_tensors
        d_scores = posterior(scores, alpha, beta, ctx.every).sub_(tokens).mul_(d_loss)
        inner = (~begins[1:]).to(scores).unsqueeze(1)  # shape: (N−1, 1): no pair across two sentences
        d_pairs = pair_counts(alpha[:-1], beta[1:], pairs, inner, ctx.every).sub_(moves).mul_(d_loss)
        d_edges = (sum_rows(d_scores[edge]) for edge in (begins, ends))
        return d_scores, d_pairs, *d_edges, None, None, None, None, None


# -- the best labels --------------------------------------------------------------------------------------------------


def best_sequences(scores: Array, pairs: Array, start: Array, end: Array, plan: Packing) -> npt.NDArray[np.int64]:
    """Viterbi 1967: labels (N,) of the best sequence for each sentence of scores (N, L); see CRF.decode.

    In NumPy, since a step is so small that torch's time per operation would be most of it. The equations are Rabiner's.
    """
    tokens = plan.tokens[0].numpy()
    delta = np.concatenate([scores, np.zeros_like(scores[:1])])[tokens]  # shape: (P, L); δ_t(j) once step t is done
    stops = np.cumsum(plan.sizes)
    parts = [slice(stop - b, stop) for stop, b in zip(stops.tolist(), plan.sizes, strict=True)]
    _forward(delta, parts, pairs, start)
    # Back from each sentence's last token (34, 35), where ψ (33b) is worked out anew along the one path that is taken.
    chosen = np.argmax(delta + end, 1)  # shape: (P,); right for last tokens
    runs_on = np.ones(len(scores) + 1, np.bool_)
    runs_on[plan.tokens[1, : plan.sizes[0]].numpy()] = False  # but not from a sentence's last token
    runs_on = runs_on[tokens]  # shape: (P,)
    incoming = np.ascontiguousarray(pairs.T)  # shape: (L to, L from)
    for b, part, after in zip(plan.sizes[:0:-1], parts[-2::-1], parts[:0:-1], strict=True):
        here = slice(part.start, part.start + b)  # the sentences that may run on
        traced = incoming[chosen[after]]  # shape: (b, L)
        traced += delta[here]
        np.copyto(chosen[here], traced.argmax(1), where=runs_on[here])
    labels: npt.NDArray[np.int64] = chosen[plan.rows[0].numpy()]
    return labels


def _forward(delta: Array, parts: list[slice], pairs: Array, start: Array) -> None:
    """Equations 32a and 33a in place: δ_1(j) = start(j) + s_1(j), δ_t(j) = s_t(j) + max_i (δ_t−1(i) + A(i, j))."""
    size = len(start)
    delta[parts[0]] += start
    state = np.ascontiguousarray(delta[parts[0]].T)  # shape: (L, b_t): sentences last, so that rows of memory are long
    memory, moves = np.empty(size * size * len(delta[parts[0]]), delta.dtype), pairs[:, :, None]
    for part in parts[1:]:
        b = part.stop - part.start
        work = memory[: size * size * b].reshape(size, size, b)  # shape: (L from, L to, b_t)
        np.add(state[:, None, :b], moves, out=work)
        state = np.maximum.reduce(work, 0)
        state += delta[part].T
        delta[part] = state.T
