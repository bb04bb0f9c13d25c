"""Fitting the temperature that makes confidences true (ner/model/confidence.py), on a split that was not trained on.

What is fitted is the log loss of the entities that the model finds: of a confidence c it is −log c for a right one (type
and both ends) and −log(1 − c) for a wrong one. The likelihood of all gold tags, which Guo et al. 2017 fit, is mostly that of
words outside of entities: where the two disagreed, that made the confidences of entities worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner.corpus.scheme import Span, to_spans
from ner.inputs.batches import Batch
from ner.model.confidence import Confidence, Found, find_entities
from ner.model.ensemble import Model

STEP = 0.1
LEAST, MOST = 0.5, 3.0
FEWEST = 100  # entities, below which a temperature would be fitted to chance
SUREST = 1e-6  # a confidence counts as at least so far from 0 and 1: one entity shall not decide


class Fitted(NamedTuple):
    """The temperature, and the log loss at 1 and at it, of so many entities."""

    temperature: float
    entities: int
    before: float
    after: float

    def __str__(self) -> str:
        if self.entities < FEWEST:
            return f"temperature 1, not fitted: {self.entities} entities were found, and fitting takes at least {FEWEST}"
        losses = f"log loss {self.before:.4f} → {self.after:.4f}"
        return f"temperature {self.temperature}, fitted on {self.entities:,} entities ({losses})"


class Judged(NamedTuple):
    """What was found in a batch, and the gold entities of each sentence."""

    found: Found
    gold: Sequence[Sequence[Span]]

    @property
    def right(self) -> Tensor:
        """Which of the entities that were found are right, (S,)."""
        pairs = zip(self.gold, self.found.spans, strict=True)
        return torch.tensor([span in gold for gold, spans in pairs for span in spans], dtype=torch.bool)


def judge(model: Model, names: Sequence[str], batch: Batch) -> Judged:
    """The entities that ``model`` finds in a batch with gold labels, whose names are ``names``."""
    parts = torch.split(batch.labels.cpu(), batch.lengths.tolist())
    return Judged(find_entities(model, names, batch), [to_spans([names[i] for i in part.tolist()]) for part in parts])


def log_loss(model: Model, names: Sequence[str], judged: Sequence[Judged], temperature: float) -> float:
    """The mean log loss of the entities' confidences at a temperature."""
    confidence = Confidence(model, names, temperature)
    sure = torch.cat([confidence(each.found).cpu() for each in judged]).clamp(SUREST, 1.0 - SUREST)
    right = torch.cat([each.right for each in judged])
    return float(-torch.where(right, sure, 1.0 - sure).log().mean())


def fit_temperature(model: Model, names: Sequence[str], batches: Iterable[Batch]) -> Fitted:
    """The temperature, in steps of 0.1 from 1 on, up or down as long as the log loss falls. 1 where neither way helps.

    ``batches`` have gold labels. Where fewer than FEWEST entities are found it is 1, too.
    """
    return fit_to_judged(model, names, [judge(model, names, batch) for batch in batches])


def fit_to_judged(model: Model, names: Sequence[str], judged: Sequence[Judged]) -> Fitted:
    """As ``fit_temperature``, where it is known what was found, and what of it is right."""
    entities = sum(len(each.right) for each in judged)
    if entities < FEWEST:
        return Fitted(1.0, entities, 0.0, 0.0)
    before = best = log_loss(model, names, judged, 1.0)
    temperature = 1.0
    for step in (STEP, -STEP):
        while temperature == 1.0 or (temperature - 1.0) * step > 0:
            following = round(temperature + step, 1)
            loss = log_loss(model, names, judged, following) if LEAST <= following <= MOST else best
            if not loss < best:
                break
            temperature, best = following, loss
    return Fitted(temperature, entities, before, best)
