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
from ner.model.crf_recursions import (
    FORBIDDEN,
    ChainCrossEntropy,
    ChainLoss,
    best_sequences,
    pair_counts,
    posterior,
    recursion,
)
from ner.model.packing import Packing, edges
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
    ``end_transitions`` (L,); initial values uniform in ±0.1 from (seed, "init/crf.<name>"), as there.

    In all methods ``scores`` are (N, L), float32 or float64, for the N tokens of the sentences, one sentence after the
    other, and ``plan`` is what ``ner.model.packing.packing`` makes of the sentences' lengths; an empty sentence is left out.
    A sentence for which no sequence is allowed (with O among the labels there is none) is decoded with the fewest
    violations; its marginals are NaN.

    Args:
        labels: the number of labels, L.
        allowed: which labels may begin and end a sentence (L,) and which may follow which (L, L), booleans; None allows
            all. See ner.corpus.scheme.allowed_transitions.
        seed: the seed of the initial values.

    Raises:
        ConfigError: the shapes of ``allowed`` are wrong, or no sentence could begin or end.

    Source: Lafferty, McCallum & Pereira 2001; Lample et al. 2016, section 2.2; Rabiner 1989 for the recursions.

    Example:
        >>> from ner import CRF
        >>> import torch
        >>> from ner.model.packing import packing
        >>> crf = CRF(3, seed=0)
        >>> plan = packing([2, 1])  # a sentence of two tokens, and one of one
        >>> scores = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
        >>> crf.decode(scores, plan).tolist()
        [0, 1, 2]
        >>> bool(torch.allclose(crf.marginals(scores, plan).sum(1), torch.ones(3)))
        True
        >>> gold = torch.tensor([0, 1, 2])
        >>> bool(torch.allclose(crf.loss(scores, gold, plan), -crf.log_likelihood(scores, gold, plan).sum()))
        True
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
        """The sum over sentences of −log P(labels | scores), in nats.

        Args:
            scores: (N, L).
            labels: (N,), int64.
            plan: the packing of the sentences.

        Returns:
            A scalar of the scores' type.

        Raises:
            DataError: shapes that do not fit, or labels that are not allowed.
        """
        plan = self._check(scores, plan, labels)
        if not len(scores):
            return scores.sum()
        return self._losses(scores, labels, plan).sum().to(scores.dtype)

    def log_likelihood(self, scores: Tensor, labels: Tensor, plan: Packing) -> Tensor:
        """log P(labels | scores), in nats, of each sentence that has tokens, in their order (B,); otherwise as ``loss``."""
        plan = self._check(scores, plan, labels)
        if not len(scores):
            return scores.new_zeros(0)
        sentences = int((plan.tokens[0, : plan.sizes[0]] < len(scores)).sum())
        return -self._losses(scores, labels, plan)[:sentences].to(scores.dtype)

    def cross_entropy(self, scores: Tensor, tokens: Tensor, moves: Tensor, plan: Packing) -> Tensor:
        """The sum over sentences of E[−log P(labels | scores)] under another distribution over label sequences, in nats.

        Args:
            scores: (N, L).
            tokens: (N, L), the probability of each label at each token under the other distribution.
            moves: (A,), how often each pair of ``pairs`` is expected under it in all sentences together.
            plan: the packing of the sentences.

        Returns:
            A scalar of the scores' type. It equals ``loss`` if the other distribution allows only one sequence.

        Raises:
            DataError: shapes that do not fit.
        """
        plan = self._check(scores, plan)
        if not len(scores):
            return scores.sum()
        counts = scores.new_zeros(self.labels, self.labels, dtype=torch.float64)
        counts[self.get_buffer("_pairs")] = moves.double()
        directions = 2 if torch.is_grad_enabled() else 1
        args = (
            scores.double(),
            *self._masked(torch.float64),
            tokens.double(),
            counts,
            plan,
            self._every(scores),
            directions,
        )
        result: Tensor = ChainCrossEntropy.apply(*args)  # type: ignore[no-untyped-call]
        return result.to(scores.dtype)

    @property
    def pairs(self) -> Tensor:
        """(A, 2) int64: the pairs of labels that may follow one another, in order."""
        return self.get_buffer("_pairs").nonzero()

    @torch.no_grad()
    def expectations(self, scores: Tensor, plan: Packing) -> tuple[Tensor, Tensor]:
        """What ``cross_entropy`` needs from a distribution, for this one: tokens (N, L), moves of each sentence (B, A)."""
        plan = self._check(scores, plan)
        marginals = scores.double()
        moves = marginals.new_zeros(len(plan.lengths), self.labels, self.labels)
        if len(scores):
            every, parameters = self._every(scores), self._masked(torch.float64)
            (alpha, beta), _ = recursion(scores.double(), *parameters, plan, every, 2)
            marginals = posterior(scores.double(), alpha, beta, every)
            ends = np.cumsum(plan.lengths).tolist()
            for i, (length, end) in enumerate(zip(plan.lengths, ends, strict=True)):
                if length > 1:
                    before, after = alpha[end - length : end - 1], beta[end - length + 1 : end]
                    moves[i] = pair_counts(before, after, parameters[0], before.new_ones(length - 1, 1), every)
        return marginals, moves[:, self.get_buffer("_pairs")]

    @torch.no_grad()
    def decode(self, scores: Tensor, plan: Packing) -> Tensor:
        """Each sentence's best allowed sequence (Viterbi 1967), found on the CPU.

        Among equals the one with the lowest last label, then the lowest label before it, and so on.

        Args:
            scores: (N, L).
            plan: the packing of the sentences.

        Returns:
            The labels (N,), int64, on the scores' device.

        Raises:
            DataError: shapes that do not fit.
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
        """The marginals (N, L), and β (N, L) but for a number that is the same for all labels of a token; in float64."""
        if not len(scores):
            return scores.double(), scores.double()
        scores, every = scores.double(), self._every(scores)
        (alpha, beta), _ = recursion(scores, *self._masked(torch.float64), plan, every, 2)
        return posterior(scores, alpha, beta, every), beta.log().clamp_min_(FORBIDDEN) if every else beta

    @torch.no_grad()
    def conditionals(self, scores: Tensor, plan: Packing) -> tuple[Tensor, Tensor, Tensor]:
        """The chain as probabilities of one label after the other, in float64.

        Returns:
            log P(y_n = l) (N, L); and ``pairs`` (L, L) and ``behind`` (N, L), of which P(y_n = j | y_n−1 = i) is the softmax
            over j of pairs[i, j] + behind[n, j].
        """
        marginals, beta = self._posterior(scores, self._check(scores, plan))
        return marginals.log(), self._masked(torch.float64)[0], beta

    @torch.no_grad()
    def span_confidence(
        self, scores: Tensor, plan: Packing, labels: Tensor, starts: Tensor, ends: Tensor, continues: Tensor | None = None
    ) -> Tensor:
        """The probability (S,) that tokens starts[s] … ends[s]−1 have exactly ``labels`` (N,), and the span ends there.

        A product of conditional probabilities along the chain.

        Args:
            scores: (N, L).
            plan: the packing of the sentences.
            labels: (N,), int64.
            starts: (S,), int64, each span's first token.
            ends: (S,), int64, one past its last.
            continues: (L, L), boolean: the second label continues the entity of the first (IOB2: I-X after B-X or I-X);
                needed if the scheme does not mark the end.

        Raises:
            DataError: shapes that do not fit.
        """
        plan = self._check(scores, plan, labels)
        if not len(starts):
            return scores.new_zeros(0)
        marginals, beta = self._posterior(scores, plan)
        own = labels.unsqueeze(1)
        log_marginal = marginals.gather(1, own).squeeze(1).log()  # shape: (N,), log P(y_n = l_n)
        pairs, _, _ = self._masked(torch.float64)
        onward = torch.log_softmax(pairs[labels.roll(1)] + beta, 1)  # shape: (N, L), log P(y_n = j | y_n−1 = l_n−1)
        given = onward.gather(1, own).squeeze(1)  # shape: (N,), log P(y_n = l_n | y_n−1 = l_n−1)
        total = sum_over_spans(given, starts, ends, log_marginal[starts])
        if continues is not None:
            goes_on = (onward.exp() * continues[labels.roll(1)]).sum(1)  # shape: (N,), P(y_b goes on | y_b−1 = l_b−1)
            behind = ends.clamp(max=len(labels) - 1)
            total = total + torch.where(in_a_sentence(plan, ends), torch.log1p(-goes_on[behind]), 0.0)
        return total.exp().to(scores.dtype)


def sum_over_spans(values: Tensor, starts: Tensor, ends: Tensor, first: Tensor | None = None) -> Tensor:
    """Σ values[t] over starts[s] ≤ t < ends[s], (S,), of values (N,), left to right.

    ``first`` (S,), if given, stands in place of values[starts].
    """
    total = values.new_zeros(len(starts)) if first is None else first
    for k in range(0 if first is None else 1, int((ends - starts).max())):
        place = starts + k
        total = total + torch.where(place < ends, values[place.clamp(max=len(values) - 1)], 0.0)
    return total


def in_a_sentence(plan: Packing, tokens: Tensor) -> Tensor:
    """Whether a token (S,) goes on with the sentence of the one before it; not so for N, behind the last."""
    begins, _ = edges(plan)
    return torch.cat([~begins, begins.new_zeros(1)])[tokens]
