"""How sure a tagger is of an entity: the probability of the whole span, exactly as it was tagged.

With a CRF, it is P(y_a = l_a, …, y_b−1 = l_b−1, and no label at b that would go on with the entity | sentence), summed
over all label sequences of the sentence by forward-backward (Culotta & McCallum 2004, "Confidence estimation for
information extraction", with constrained sums written as a product of conditional probabilities along the chain). With
softmax, whose labels are independent given the sentence, the same probability is the product of the tokens' own.

Networks are surer than they are right, so all scores, the CRF's transitions too, may be divided by a temperature (Guo et
al. 2017, "On calibration of modern neural networks"; ner/model/calibration.py fits it). No tag changes by that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner.corpus.scheme import ROLES, Span, pair_table, parse_tag, to_spans
from ner.inputs.batches import Batch
from ner.model.crf import in_a_sentence, sum_over_spans
from ner.model.ensemble import Model
from ner.model.packing import Packing, packing


def continuations(labels: Sequence[str]) -> Tensor:
    """(L, L) boolean: whether the second label goes on with the entity of the first, as to_spans reads tags."""

    def goes_on(one: str, two: str) -> bool:
        (a, kind), (b, other) = parse_tag(one), parse_tag(two)
        return ROLES[a] in ("B", "I") and ROLES[b] in ("I", "E") and kind == other

    return torch.from_numpy(pair_table(labels, goes_on))


class Found(NamedTuple):
    """The entities that a model finds in a batch of N tokens, sentence by sentence."""

    plan: Packing
    scores: Tensor  # (N, L)
    labels: Tensor  # (N,): the best ones
    tags: list[list[str]]  # of each sentence
    spans: list[list[Span]]  # of each sentence
    starts: Tensor  # (S,): the entities' first tokens in the batch
    ends: Tensor  # (S,): the tokens behind their last


@torch.no_grad()
def find_entities(model: Model, names: Sequence[str], batch: Batch) -> Found:
    """What ``model`` finds in ``batch``; ``names`` are its labels."""
    scores = model(batch)[: len(batch.words)]
    labels = model.decode(scores, batch)
    tags = [[names[i] for i in part.tolist()] for part in torch.split(labels.cpu(), batch.lengths.tolist())]
    spans = [to_spans(each) for each in tags]
    begins = (batch.lengths.cumsum(0) - batch.lengths).tolist()
    places = [(at + span.start, at + span.end) for at, row in zip(begins, spans, strict=True) for span in row]
    starts, ends = torch.tensor(places, dtype=torch.int64, device=scores.device).reshape(-1, 2).T
    return Found(packing(batch.plain_lengths), scores, labels, tags, spans, starts, ends)


class Chain(NamedTuple):
    """What a model holds likely of N tokens with L labels, label after label; float64."""

    log_marginals: Tensor  # (N, L): log P(y_n = l)
    pairs: Tensor  # (L, L)
    behind: Tensor  # (N, L): P(y_n = j | y_n−1 = i) is proportional to exp(pairs[i, j] + behind[n, j])
    goes_on: Tensor  # (N+1,) boolean: whether the token is of the same sentence as the one before it; not so for N
    continues: Tensor  # (L, L) boolean: whether the second label goes on with the entity of the first

    def onward(self, labels: Tensor, tokens: Tensor) -> Tensor:
        """log P(y_n = j | y_n−1 = labels[k]) (K, L) for n = tokens[k]."""
        return torch.log_softmax(self.pairs[labels] + self.behind[tokens], 1)

    def log_ends(self, labels: Tensor, tokens: Tensor) -> Tensor:
        """log P(no label at tokens[k] goes on with the entity of labels[k], the one before) (K,); 0 at sentences' ends."""
        inner = self.goes_on[tokens]
        given = self.onward(labels, tokens.clamp(max=len(self.behind) - 1))
        longer = (given.exp() * self.continues[labels]).sum(1).clamp(max=1.0)
        return torch.where(inner, torch.log1p(-longer), 0.0)


class Confidence:
    """How sure ``model`` is of entities, at a temperature; ``names`` are its labels."""

    def __init__(self, model: Model, names: Sequence[str], temperature: float = 1.0) -> None:
        self.names, self.temperature = names, temperature
        self.continues = continuations(names).to(model.linear.weight.device)
        self.crf = model.crf if temperature == 1.0 else copy.deepcopy(model.crf)
        if self.crf is not None and temperature != 1.0:
            with torch.no_grad():
                for parameter in self.crf.parameters():
                    parameter.div_(temperature)

    def __call__(self, found: Found) -> Tensor:
        """The probabilities (S,), float64, of the entities that were found in a batch. NaN scores give NaN."""
        scores = found.scores.double() / self.temperature
        if not len(found.starts):
            return scores.new_zeros(0)
        if self.crf is None:
            return _independent(found, scores, self.continues)
        return self.crf.span_confidence(scores, found.plan, found.labels, found.starts, found.ends, self.continues)

    @torch.no_grad()
    def chain(self, found: Found) -> Chain:
        """The probabilities of labels in a batch, one after the other."""
        scores = found.scores.double() / self.temperature
        tokens = torch.arange(len(scores) + 1, device=scores.device)
        inner = in_a_sentence(found.plan.to(scores.device), tokens)
        if self.crf is None:
            log_p = torch.log_softmax(scores, 1)
            return Chain(log_p, log_p.new_zeros(len(self.names), len(self.names)), log_p, inner, self.continues)
        return Chain(*self.crf.conditionals(scores, found.plan), inner, self.continues)


@torch.no_grad()
def _independent(found: Found, scores: Tensor, continues: Tensor) -> Tensor:
    """The probabilities (S,) under a softmax, from float64 scores (N, L): Π_a≤t<b P(y_t = l_t) · P(y_b does not go on)."""
    log_p = torch.log_softmax(scores, 1)  # shape: (N, L)
    own = log_p.gather(1, found.labels.unsqueeze(1)).squeeze(1)  # shape: (N,), log P(y_t = l_t)
    total = sum_over_spans(own, found.starts, found.ends)
    behind = found.ends.clamp(max=len(own) - 1)  # of the token b behind each entity; a place that is there, at the end
    goes_on = (log_p.exp()[behind] * continues[found.labels[found.ends - 1]]).sum(1).clamp(max=1.0)
    return (total + torch.where(in_a_sentence(found.plan.to(scores.device), found.ends), torch.log1p(-goes_on), 0.0)).exp()
