"""How sure a tagger is of an entity: the probability of the whole span, exactly as it was tagged.

With a CRF, it is P(y_a = l_a, …, y_b−1 = l_b−1, and no label at b that would go on with the entity | sentence), summed
over all label sequences of the sentence by forward-backward (Culotta & McCallum 2004, "Confidence estimation for
information extraction", with constrained sums written as a product of conditional probabilities along the chain). With
softmax, whose labels are independent given the sentence, the same probability is the product of the tokens' own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ner.chain import edges
from ner.model import Tagger
from ner.packing import Packing
from ner.scheme import ROLES, parse_tag


def continuations(labels: Sequence[str]) -> Tensor:
    """(L, L) boolean: whether the second label goes on with the entity of the first, as to_spans reads tags."""
    parts = [parse_tag(label) for label in labels]
    roles = [(ROLES[letter], kind) for letter, kind in parts]
    rows = [[a[0] in ("B", "I") and b[0] in ("I", "E") and a[1] == b[1] for b in roles] for a in roles]
    return torch.tensor(rows, dtype=torch.bool).reshape(len(labels), len(labels))


@torch.no_grad()
def span_confidence(
    model: Tagger, scores: Tensor, plan: Packing, labels: Tensor, starts: Tensor, ends: Tensor, continues: Tensor
) -> Tensor:
    """The probabilities (S,), float64, that tokens starts[s] … ends[s]−1 have ``labels`` (N,) and the entity ends there.

    ``scores`` (N, L) are the model's; ``continues`` is ``continuations`` of its labels. NaN scores give NaN.
    """
    if model.crf is not None:
        return model.crf.span_confidence(scores.double(), plan, labels, starts, ends, continues)
    logs = torch.log_softmax(scores.double(), 1)
    own = logs.gather(1, labels.unsqueeze(1)).squeeze(1)
    total = logs.new_zeros(len(starts))
    for k in range(int((ends - starts).max()) if len(starts) else 0):
        place = starts + k
        total = total + torch.where(place < ends, own[place.clamp(max=len(own) - 1)], 0.0)
    inside = torch.cat([~edges(plan.to(scores.device))[0], continues.new_zeros(1)])[ends]  # not where a sentence begins
    goes_on = (logs.exp()[ends.clamp(max=len(own) - 1)] * continues[labels[ends - 1]]).sum(1).clamp(max=1.0)
    return (total + torch.where(inside, torch.log1p(-goes_on), 0.0)).exp()
