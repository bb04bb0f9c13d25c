"""Several taggers of the same labels as one: the mean of what each holds likely.

Each member gives the probability of every label at every token, with a CRF summed over all label sequences. The mean over
the members is decoded under the scheme's mask: the best sequence is the one of the highest product of means among those
that are allowed. Means of probabilities are better calibrated than a member's (Lakshminarayanan et al. 2017, "Simple and
scalable predictive uncertainty estimation using deep ensembles"); a temperature is fitted on top.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ner.corpus.scheme import Transitions
from ner.inputs.batches import Batch
from ner.model.crf import CRF
from ner.model.linear import Linear
from ner.model.packing import packing
from ner.model.tagger import Tagger

LEAST = 1e-12
"""What a label is worth at least: so that the logarithm is finite where no member holds it possible."""


def mask_alone(labels: int, allowed: Transitions) -> CRF:
    """A CRF of so many labels to which all that is allowed is equal."""
    crf = CRF(labels, allowed, seed=0)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.zero_()
    return crf


class EnsembleWords:
    """The members' word tables, which get the vectors of unseen words together."""

    def __init__(self, members: Sequence[Tagger]) -> None:
        self._tables = [member.words for member in members]

    @property
    def extra(self) -> Tensor:
        """What was attached."""
        return self._tables[0].extra

    def attach(self, vectors: Tensor) -> None:
        """As ``WordTable.attach``, in each."""
        for table in self._tables:
            table.attach(vectors)

    def forget_attached(self) -> None:
        """As ``WordTable.forget_attached``, in each."""
        for table in self._tables:
            table.forget_attached()


class Ensemble(nn.Module):
    """Taggers as one, with what predicting asks of a tagger.

    Args:
        members: networks of the same labels, words and characters, with their weights.
        allowed: which labels may begin and end a sentence, and which may follow each other.

    Source: see the top of this module.
    """

    def __init__(self, members: Sequence[Tagger], allowed: Transitions) -> None:
        super().__init__()
        self.taggers = list(members)
        self.members = nn.ModuleList(members)
        self.crf = mask_alone(members[0].linear.weight.shape[0], allowed)
        self.words = EnsembleWords(members)

    @property
    def linear(self) -> Linear:
        """A member's last layer, for its device."""
        return self.taggers[0].linear

    def forward(self, batch: Batch) -> Tensor:
        """Scores (N, L): logarithms of the members' mean probabilities, float32."""
        n = len(batch.words)
        total = torch.zeros(n, self.crf.labels, dtype=torch.float64, device=batch.words.device)
        for tagger in self.taggers:
            # NaN is what a CRF says of a sentence that no sequence of labels fits.
            total += tagger.marginals(tagger(batch)[:n], batch).double().nan_to_num_(1 / self.crf.labels)
        return (total / len(self.taggers)).clamp_min_(LEAST).log_().float()

    def decode(self, scores: Tensor, batch: Batch) -> Tensor:
        """The best allowed labels (N,)."""
        return self.crf.decode(scores, packing(batch.plain_lengths))

    def for_prediction(self) -> Ensemble:
        """As ``Tagger.for_prediction``."""
        for tagger in self.taggers:
            tagger.for_prediction()
        return self.eval()


Model = Tagger | Ensemble
"""What finds entities."""
