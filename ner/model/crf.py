"""A linear-chain conditional random field over packed sentences.

Lafferty, McCallum & Pereira 2001; on top of a BiLSTM as in Lample et al. 2016, equation 1. The score of labels y is
start[y_1] + Σ_t scores[t, y_t] + Σ_t transitions[y_t, y_t+1] + end[y_T]; a label sequence that the scheme forbids is no
sequence at all: it is in neither the partition function nor the decoded result, and its transitions get no gradient.

Shapes: N tokens in sentence-major order, B sentences, L labels. The numerics are in ner.model.crf_recursions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ner.corpus.scheme import Transitions
from ner.inputs.packing import Packing
from ner.model.crf_recursions import FORBIDDEN, ChainLoss, best_sequences, edges, posterior, recursion
from training.errors import ConfigError, DataError
from training.randomness import uniform

MANY = 500  # labels; what the CRF does at each word grows with their square
WIDEST = 600.0  # nats between a likely and an unlikely label that the quick recursion may meet; e^-708 is float64's least


def _mixing(pairs: Tensor) -> float:
    """The number of steps after which any label can have followed any other, or a few more; infinite if there is none."""
    if len(pairs) > MANY and bool(pairs[0, 0]):  # by way of label 0: products would take minutes
        return _longest_way(pairs[0], pairs) + _longest_way(pairs[:, 0], pairs.T)
    reached = pairs.double()
    for steps in range(1, len(pairs) ** 2 + 1):
        if bool((reached > 0).all()):
            return steps
        reached = (reached @ pairs.double()).clamp(max=1)
    return math.inf


def _longest_way(first: Tensor, pairs: Tensor) -> float:
    """How many steps it takes from label 0, which leads to ``first`` (L,), until every label is reached."""
    steps, reached = 1, first
    while not bool(reached.all()):
        more = reached | pairs[reached].any(0)
        if bool((more == reached).all()):
            return math.inf
        steps, reached = steps + 1, more
    return steps


class CRF(nn.Module):
    """The scores of label sequences and what follows from them: loss, best labels, marginals, confidence.

    Parameters have pytorch-crf's names: ``transitions`` (L, L) from row to column, ``start_transitions`` and
    ``end_transitions`` (L,); initial values uniform in ±0.1 from (seed, "init/crf.<name>"), as there. ``allowed`` says which
    may be used; None allows all. Scores are (N, L) for the tokens of ``plan``, float32 or float64; an empty sentence is
    left out. ConfigError if the shapes of ``allowed`` are wrong or no sentence could begin or end. A sentence for which no
    sequence is allowed (with O among the labels there is none) is decoded with the fewest violations; its marginals are NaN.
    """

    transitions: nn.Parameter
    start_transitions: nn.Parameter
    end_transitions: nn.Parameter

    def __init__(self, labels: int, allowed: Transitions | None = None, *, seed: int) -> None:
        super().__init__()
        self.labels = labels
        shapes = {"start": (labels,), "pairs": (labels, labels), "end": (labels,)}
        for kind, shape in shapes.items():
            mask = np.ones(shape, np.bool_) if allowed is None else getattr(allowed, kind)
            if mask.shape != shape or not mask.any():
                got = f"shape {mask.shape}" if mask.shape != shape else "none allowed"
                raise ConfigError(f"allowed {kind}: expected a boolean array {shape} with something allowed, got {got}")
            self.register_buffer(f"_{kind}", torch.tensor(mask, dtype=torch.bool), persistent=False)
            name = "transitions" if kind == "pairs" else f"{kind}_transitions"
            self.register_parameter(name, nn.Parameter(uniform(shape, -0.1, 0.1, seed, f"init/crf.{name}")))
        self._steps_to_mix = _mixing(self.get_buffer("_pairs"))

    def _masked(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions, start and end with FORBIDDEN where they are not allowed."""
        parameters = {"_pairs": self.transitions, "_start": self.start_transitions, "_end": self.end_transitions}
        pairs, start, end = (torch.where(self.get_buffer(m), p.to(dtype), FORBIDDEN) for m, p in parameters.items())
        return pairs, start, end

    def _check(self, scores: Tensor, plan: Packing, labels: Tensor | None = None) -> Packing:
        """The plan on the scores' device; DataError if the shapes do not fit."""
        wanted = (plan.rows.shape[1], self.labels)
        if tuple(scores.shape) != wanted:
            raise DataError(f"scores: expected shape {wanted}, got {tuple(scores.shape)}")
        if labels is not None and (tuple(labels.shape) != wanted[:1] or labels.dtype != torch.int64):
            raise DataError(f"labels: expected int64 of shape {wanted[:1]}, got {labels.dtype} {tuple(labels.shape)}")
        if labels is not None and bool(((labels < 0) | (labels >= self.labels)).any()):
            raise DataError(f"labels: expected 0 to {self.labels - 1}, got {int(labels.min())} to {int(labels.max())}")
        return plan.to(scores.device)

    @torch.no_grad()
    def _every(self, scores: Tensor) -> int:
        """How many steps the quick recursion may go without scaling, 4 or 1; 0: float64 cannot hold what it needs.

        At a token an unlikely label is behind the likeliest by no more than what a detour of _steps_to_mix steps costs: as
        many times the widest differences of scores and of transitions, and log L for the number of ways. As much can be
        lost in a step without scaling, in either direction. Only two values, so that batches rarely round differently.
        """
        if not math.isfinite(self._steps_to_mix):
            return 0
        moves = torch.cat([parameter.flatten() for parameter in self.parameters()])
        wide = float((scores.amax(1) - scores.amin(1)).amax() + 2 * moves.abs().amax()) + math.log(self.labels)
        return next((every for every in (4, 1) if wide * (self._steps_to_mix + 1 + 2 * every) < WIDEST), 0)

    def _losses(self, scores: Tensor, labels: Tensor, plan: Packing) -> Tensor:
        """The negative log-likelihoods in float64: of the sentences that have tokens, in order, and possibly some zeros."""
        directions = 2 if torch.is_grad_enabled() else 1
        args = (scores.double(), *self._masked(torch.float64), labels, plan, self._every(scores), directions)
        result: Tensor = ChainLoss.apply(*args)  # type: ignore[no-untyped-call]
        return result

    def loss(self, scores: Tensor, labels: Tensor, plan: Packing) -> Tensor:
        """The sum over sentences of −log P(labels | scores), a scalar. DataError if ``labels`` (N,) are not allowed."""
        plan = self._check(scores, plan, labels)
        if not len(scores):
            return scores.sum()
        return self._losses(scores, labels, plan).sum().to(scores.dtype)

    def log_likelihood(self, scores: Tensor, labels: Tensor, plan: Packing) -> Tensor:
        """log P(labels | scores) of each sentence that has tokens, in their order (B,). DataError as in loss."""
        plan = self._check(scores, plan, labels)
        if not len(scores):
            return scores.new_zeros(0)
        sentences = int((plan.tokens[0, : plan.sizes[0]] < len(scores)).sum())
        return -self._losses(scores, labels, plan)[:sentences].to(scores.dtype)

    @torch.no_grad()
    def decode(self, scores: Tensor, plan: Packing) -> Tensor:
        """The labels (N,) int64 of each sentence's best allowed sequence, found on the CPU.

        Among equals the one with the lowest last label, then the lowest label before it, and so on.
        """
        self._check(scores, plan)
        if not len(scores):
            return torch.zeros(0, dtype=torch.int64, device=scores.device)
        cpu = torch.device("cpu")
        pairs, start, end = (part.to(cpu).numpy() for part in self._masked(scores.dtype))
        level = (scores - scores.amax(1, keepdim=True)).to(cpu).numpy()
        return torch.from_numpy(best_sequences(level, pairs, start, end, plan.to(cpu))).to(scores.device)

    @torch.no_grad()
    def marginals(self, scores: Tensor, plan: Packing) -> Tensor:
        """P(token n has label l | scores), (N, L)."""
        return self._posterior(scores, self._check(scores, plan))[0].to(scores.dtype)

    def _posterior(self, scores: Tensor, plan: Packing) -> tuple[Tensor, Tensor]:
        """The marginals (N, L) and the logarithms of the backward states (N, L), in float64."""
        if not len(scores):
            return scores.double(), scores.double()
        scores, every = scores.double(), self._every(scores)
        (a, b), _ = recursion(scores, *self._masked(torch.float64), plan, every, 2)
        return posterior(scores, a, b, every), b.log().clamp_min_(FORBIDDEN) if every else b

    @torch.no_grad()
    def span_confidence(
        self, scores: Tensor, plan: Packing, labels: Tensor, starts: Tensor, ends: Tensor, continues: Tensor | None = None
    ) -> Tensor:
        """The probability (S,) that tokens starts[s] … ends[s]−1 have exactly ``labels`` (N,), and the span ends there.

        ``continues`` (L, L) boolean: the second label goes on with the entity of the first (IOB2: I-X after B-X or I-X);
        needed where a scheme does not mark the end. A product of conditional probabilities along the chain.
        """
        plan = self._check(scores, plan, labels)
        if not len(starts):
            return scores.new_zeros(0)
        marginals, after = self._posterior(scores, plan)
        own = labels.unsqueeze(1)
        log_marginal = marginals.gather(1, own).squeeze(1).log()
        onward = torch.log_softmax(self._masked(torch.float64)[0][labels.roll(1)] + after, 1)  # given token n−1's label
        given = onward.gather(1, own).squeeze(1)
        total = log_marginal[starts]
        for k in range(1, int((ends - starts).max())):
            place = starts + k
            total = total + torch.where(place < ends, given[place.clamp(max=len(labels) - 1)], 0.0)
        if continues is not None:
            inside = torch.cat([~edges(plan)[0], continues.new_zeros(1)])[ends]
            goes_on = (onward.exp() * continues[labels.roll(1)]).sum(1)
            total = total + torch.where(inside, torch.log1p(-goes_on[ends.clamp(max=len(labels) - 1)]), 0.0)
        return total.exp().to(scores.dtype)
