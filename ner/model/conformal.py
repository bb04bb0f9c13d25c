"""Sets of readings with a stated coverage: how likely a reading must be to be in a set, so that 90 % of the gold ones are.

Split conformal prediction (Vovk, Gammerman & Shafer 2005; Angelopoulos & Bates 2021, "A gentle introduction to conformal
prediction", section 1) with one minus the probability as the score. Of n gold readings of a split that was not trained on,
the one that is the k-th likeliest, k = ⌈(n+1)·c⌉, bounds the set: a gold reading of new text from the same source is at
least as likely with probability c or more, whatever the model, and however wrong its probabilities are. That holds where
the n and the new one could be exchanged for each other, and on average over such splits; not for each type by itself.

There are two kinds of readings, each with a bound of its own (label-conditional, as in Vovk 2012): of the gold entities
the exact span and type; and of the entities that the tagger finds where there is none, that there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from ner.corpus.scheme import Span, from_spans, overlap, parse_tag
from ner.model.calibration import Judged
from ner.model.confidence import Confidence, Found
from training.errors import ConfigError
from training.visible import counted

PERCENT = range(50, 100)
"""The coverages that there are bounds for."""
RAREST = 1e-4
"""A reading of a lower probability is in no set: there may be thousands of such for each word."""


@dataclass(frozen=True)
class Bounds:
    """From which probability on a reading is in the set.

    Args:
        percent: the coverage.
        entity: of an entity.
        nothing: of there being none; 0 for always.
    """

    percent: int
    entity: float
    nothing: float


@dataclass(frozen=True)
class Conformal:
    """What sets are made by: bounds for each coverage of PERCENT, 0 where there were too few readings to say.

    Args:
        entities: how many gold entities the bounds are from.
        spurious: how many entities were found where there is none.
        entity: of an entity.
        nothing: of there being none.
    """

    entities: int
    spurious: int
    entity: tuple[float, ...]
    nothing: tuple[float, ...]

    def bounds(self, coverage: float, name: str = "sets") -> Bounds:
        """For a coverage, as 0.9. ConfigError for one that is none, or that the readings cannot show.

        ``name`` is how messages call it.
        """
        percent = percent_of(coverage, name)
        found = Bounds(percent, self.entity[percent - PERCENT.start], self.nothing[percent - PERCENT.start])
        if found.entity >= RAREST:
            return found
        reached = [each for each, bound in zip(PERCENT, self.entity, strict=True) if bound >= RAREST]
        most = f"up to {max(reached) / 100}" if reached else "from 0.5 on, of which none is reached"
        shown = counted(self.entities, "gold entity calibrates", "gold entities calibrate")
        raise ConfigError(
            f"{name}: expected a coverage {most}, got {coverage}: {shown} the sets, and those "
            "that the tagger considers possible support no higher coverage; "
            "calibrate on other or more data with --sets-from FILE"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "entities": self.entities, "spurious": self.spurious, "entity": list(self.entity), "nothing": list(self.nothing)
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Any) -> Conformal:
        """Undo ``to_dict``; ValueError for what it cannot have written."""
        if not isinstance(values, dict) or set(values) != {"entities", "spurious", "entity", "nothing"}:
            raise ValueError("expected entities, spurious, entity and nothing")
        if not all(type(values[name]) is int and values[name] >= 0 for name in ("entities", "spurious")):
            raise ValueError("expected counts")
        for name in ("entity", "nothing"):
            bounds = values[name]
            if not isinstance(bounds, list) or len(bounds) != len(PERCENT):
                raise ValueError(f"expected {len(PERCENT)} bounds")
            if not all(isinstance(each, float) and 0.0 <= each <= 1.0 for each in bounds):
                raise ValueError("expected probabilities")
        return cls(values["entities"], values["spurious"], tuple(values["entity"]), tuple(values["nothing"]))

    def __str__(self) -> str:
        shown = [each for each in (80, 90, 95) if self.entity[each - PERCENT.start] >= RAREST]
        bounds = ", ".join(f"{self.entity[each - PERCENT.start]:.4f} for {each} %" for each in shown)
        return f"sets: bounds from {self.entities:,} gold entities: {bounds or 'too few'}"


def percent_of(coverage: float, name: str) -> int:
    """A coverage in whole percent; ConfigError for one that is not from 0.5 to 0.99 in steps of 0.01."""
    percent = round(100 * coverage) if 0 <= coverage <= 1 else 0
    if percent not in PERCENT or abs(100 * coverage - percent) > 1e-9:
        raise ConfigError(f"{name}: expected a coverage from 0.5 to 0.99 in steps of 0.01, such as 0.9, got {coverage}")
    return percent


def bound(probabilities: Sequence[float], percent: int) -> float:
    """The k-th largest of n, k = ⌈(n+1)·percent/100⌉; 0 where n is too small for it."""
    k = -(-(len(probabilities) + 1) * percent // 100)
    return sorted(probabilities, reverse=True)[k - 1] if k <= len(probabilities) else 0.0


def fit_sets(confidence: Confidence, judged: Sequence[Judged], scheme: str) -> Conformal:
    """The bounds by what was found in batches with gold labels, whose names are in ``scheme``."""
    gold = list(chain.from_iterable(_gold(confidence, each, scheme) for each in judged))
    spurious = list(chain.from_iterable(_spurious(confidence, each) for each in judged))
    sides = (tuple(bound(values, each) for each in PERCENT) for values in (gold, spurious))
    return Conformal(len(gold), len(spurious), *sides)


def _gold(confidence: Confidence, judged: Judged, scheme: str) -> list[float]:
    """How likely the gold entities of a batch are; 0 for types that the tagger does not know."""
    ids = {name: i for i, name in enumerate(confidence.names)}
    types = {parse_tag(name)[1] for name in confidence.names if name != "O"}
    known = [[span for span in spans if span.type in types] for spans in judged.gold]
    tags = [from_spans(spans, len(own), scheme) for spans, own in zip(known, judged.found.tags, strict=True)]
    labels = [ids[tag] for row in tags for tag in row]
    never = sum(map(len, judged.gold)) - sum(map(len, known))
    return [*probabilities(confidence, judged.found, labels, known), *[0.0] * never]


def _spurious(confidence: Confidence, judged: Judged) -> list[float]:
    """How likely it is that there is nothing where a batch's entities were found that no gold entity touches."""
    pairs = zip(judged.found.spans, judged.gold, strict=True)
    alone = [[span for span in spans if not any(overlap(span, each) for each in gold)] for spans, gold in pairs]
    return nothing(confidence, judged.found, alone)


def nothing(confidence: Confidence, found: Found, spans: Sequence[Sequence[Span]]) -> list[float]:
    """The probabilities that all words of spans, given by sentence, are outside of entities."""
    return probabilities(confidence, found, [confidence.names.index("O")] * len(found.scores), spans)


def probabilities(
    confidence: Confidence, found: Found, labels: Sequence[int], spans: Sequence[Sequence[Span]]
) -> list[float]:
    """The probabilities that spans, given by sentence, have these ``labels`` (N) and no entity goes on behind them."""
    places, at = list[tuple[int, int]](), 0
    for tags, row in zip(found.tags, spans, strict=True):
        places += [(at + span.start, at + span.end) for span in row]
        at += len(tags)
    starts, ends = torch.tensor(places, dtype=torch.int64, device=found.scores.device).reshape(-1, 2).T
    read = found._replace(labels=found.labels.new_tensor(labels), starts=starts, ends=ends)
    sure: list[float] = confidence(read).tolist()
    return sure
