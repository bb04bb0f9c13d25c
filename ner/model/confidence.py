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
from ner.inputs.packing import Packing
from ner.model.crf import CRF
from ner.model.crf_recursions import edges
from ner.model.tagger import Tagger


def continuations(labels: Sequence[str]) -> Tensor:
    """(L, L) boolean: whether the second label goes on with the entity of the first, as to_spans reads tags."""

    def goes_on(one: str, two: str) -> bool:
        (a, kind), (b, other) = parse_tag(one), parse_tag(two)
        return ROLES[a] in ("B", "I") and ROLES[b] in ("I", "E") and kind == other

    return torch.from_numpy(pair_table(labels, goes_on))


class Found(NamedTuple):
    """The entities that a model finds in a batch of N tokens, sentence by sentence."""

    scores: Tensor  # (N, L)
    labels: Tensor  # (N,): the best ones
    tags: list[list[str]]  # of each sentence
    spans: list[list[Span]]  # of each sentence
    starts: Tensor  # (S,): the entities' first tokens in the batch
    ends: Tensor  # (S,): the tokens behind their last


@torch.no_grad()
def find_entities(model: Tagger, names: Sequence[str], batch: Batch) -> Found:
    """What ``model`` finds in ``batch``; ``names`` are its labels."""
    scores = model(batch)[: len(batch.words)]
    labels = model.decode(scores, batch)
    tags = [[names[i] for i in part.tolist()] for part in torch.split(labels.cpu(), batch.lengths.tolist())]
    spans = [to_spans(each) for each in tags]
    begins = (batch.lengths.cumsum(0) - batch.lengths).tolist()
    places = [(at + span.start, at + span.end) for at, row in zip(begins, spans, strict=True) for span in row]
    starts, ends = torch.tensor(places, dtype=torch.int64, device=scores.device).reshape(-1, 2).T
    return Found(scores, labels, tags, spans, starts, ends)


class Confidence:
    """How sure ``model`` is of entities, at a temperature; ``names`` are its labels."""

    def __init__(self, model: Tagger, names: Sequence[str], temperature: float = 1.0) -> None:
        self.temperature = temperature
        self.continues = continuations(names).to(model.linear.weight.device)
        self.crf = model.crf if temperature == 1.0 else copy.deepcopy(model.crf)
        if self.crf is not None and temperature != 1.0:
            with torch.no_grad():
                for parameter in self.crf.parameters():
                    parameter.div_(temperature)

    def __call__(self, found: Found, plan: Packing) -> Tensor:
        """The probabilities (S,), float64, of the entities that were found in the batch of ``plan``. NaN scores give NaN."""
        scores = found.scores.double() / self.temperature
        if not len(found.starts):
            return scores.new_zeros(0)
        return _span_confidence(self.crf, scores, plan, found.labels, found.starts, found.ends, self.continues)


@torch.no_grad()
def _span_confidence(
    crf: CRF | None, scores: Tensor, plan: Packing, labels: Tensor, starts: Tensor, ends: Tensor, continues: Tensor
) -> Tensor:
    """(S,): P(tokens starts[s] … ends[s]−1 have ``labels`` (N,) and the entity ends there), from float64 scores (N, L)."""
    if crf is not None:
        return crf.span_confidence(scores, plan, labels, starts, ends, continues)
    logs = torch.log_softmax(scores, 1)
    own = logs.gather(1, labels.unsqueeze(1)).squeeze(1)
    total = logs.new_zeros(len(starts))
    for k in range(int((ends - starts).max())):
        place = starts + k
        total = total + torch.where(place < ends, own[place.clamp(max=len(own) - 1)], 0.0)
    inside = torch.cat([~edges(plan.to(scores.device))[0], continues.new_zeros(1)])[ends]  # not where a sentence begins
    goes_on = (logs.exp()[ends.clamp(max=len(own) - 1)] * continues[labels[ends - 1]]).sum(1).clamp(max=1.0)
    return (total + torch.where(inside, torch.log1p(-goes_on), 0.0)).exp()
