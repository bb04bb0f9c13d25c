"""What one or several taggers hold likely, as a distribution over the label sequences of a sentence.

It is the mixture of the taggers' own distributions, in equal parts: with a CRF that over all allowed sequences; with softmax
the product of the tokens' probabilities, under the scheme's mask. What a CRF or a softmax needs to learn from it (the cross
entropy, see CRF.cross_entropy) are two expectations, of which a mixture's are the means: the probability of each label at
each token, and how often each pair of labels is expected in a sentence.

So one tagger learns from several what they know together (Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural
network"; Wang et al. 2020, "Structure-level knowledge distillation for multilingual sequence labeling", whose posterior
distillation has the tokens alone).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ner.corpus.scheme import Transitions
from ner.inputs.batches import Batch
from ner.model.ensemble import LEAST, Ensemble, Model, mask_alone
from ner.model.packing import packing
from ner.model.tagger import Tagger, at_least_float32


class Mixture:
    """The distribution of a tagger, or of several as one.

    Args:
        model: the tagger or taggers, made for prediction.
        allowed: which labels may begin and end a sentence, and which may follow which.

    Source: see the top of this module.
    """

    def __init__(self, model: Model, allowed: Transitions) -> None:
        self.taggers = model.taggers if isinstance(model, Ensemble) else [model]
        weight = model.linear.weight
        self._mask = mask_alone(weight.shape[0], allowed).to(weight.device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The probability of each label at each token (N, L), and how often each of A allowed pairs is expected (B, A).

        Both are float64; the pairs are those of ``CRF.pairs``.
        """
        tokens, moves = (sum(each) for each in zip(*(self._of(one, batch) for one in self.taggers), strict=True))
        return tokens / len(self.taggers), moves / len(self.taggers)

    def _of(self, tagger: Tagger, batch: Batch) -> tuple[Tensor, Tensor]:
        plan = packing(batch.plain_lengths)
        scores = at_least_float32(tagger(batch)[: len(batch.words)])
        if tagger.crf is not None:
            return tagger.crf.expectations(scores, plan)
        return self._mask.expectations(torch.softmax(scores.double(), 1).clamp_min(LEAST).log(), plan)
