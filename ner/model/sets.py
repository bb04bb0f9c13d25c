"""Sets of readings: for every entity that is found, and for every place where one may be missed, what else may stand there.

The bounds are those of ner/model/conformal.py. A set holds the tagger's own reading and all others that are as likely as
the bound: with the stated probability it has the gold entity. An entity's set has the readings that share a word with it.
Readings that share no word with any entity are put together where they share words with each other; of such a set the
tagger's own reading is that nothing is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ner.corpus.scheme import Span, overlap
from ner.model.candidates import Likely, likely_spans
from ner.model.confidence import Confidence, Found
from ner.model.conformal import Bounds, nothing


class Reading(NamedTuple):
    """What some words may be: an entity, or none."""

    span: Span | None
    probability: float


@dataclass(frozen=True)
class ReadingSet:
    """What the words from ``start`` to ``end`` (excluded) of a sentence may be.

    Args:
        start: the first word of the tagger's own reading, or, where that is nothing, of all readings.
        end: the word behind its last.
        readings: the tagger's own first, then the others, the likeliest first.
    """

    start: int
    end: int
    readings: tuple[Reading, ...]

    @property
    def own(self) -> Span | None:
        """The tagger's own reading."""
        return self.readings[0].span

    def holds(self, span: Span | None) -> bool:
        """Whether a reading is in the set."""
        return any(each.span == span for each in self.readings)

    def moved(self, words: int) -> ReadingSet:
        """The same, so many words later."""
        readings = (r._replace(span=r.span and r.span._replace(start=r.span.start + words, end=r.span.end + words))
                    for r in self.readings)  # fmt: skip
        return ReadingSet(self.start + words, self.end + words, tuple(readings))


def reading_sets(
    confidence: Confidence, found: Found, types: Sequence[str], scheme: str, bounds: Bounds
) -> list[list[ReadingSet]]:
    """The sets of a batch's sentences, each in order of their place.

    Args:
        confidence: how sure the tagger is.
        found: what it finds in the batch.
        types: the types of its labels.
        scheme: that of its labels.
        bounds: how likely a reading must be.
    """
    likely = likely_spans(confidence, found, types, scheme, bounds.entity)
    missed = [list(_places(_apart(row, spans))) for row, spans in zip(likely, found.spans, strict=True)]
    asked = [[*spans, *map(_whole, places)] for spans, places in zip(found.spans, missed, strict=True)]
    sure, none = iter(confidence(found).tolist()), iter(nothing(confidence, found, asked))
    rows = []
    for row, spans, places in zip(likely, found.spans, missed, strict=True):
        own = [_of_entity(span, next(sure), next(none), row, bounds) for span in spans]
        rows.append(sorted([*own, *(_of_place(each, next(none)) for each in places)], key=lambda each: each.start))
    return rows


def _apart(likely: Iterable[Likely], spans: Sequence[Span]) -> Iterator[Likely]:
    """Those that share no word with a span."""
    return (each for each in likely if not any(overlap(each.span, span) for span in spans))


def _places(likely: Iterable[Likely]) -> Iterator[list[Likely]]:
    """Spans in order, those together that share words, directly or by way of others."""
    place, end = list[Likely](), 0
    for each in likely:
        if place and each.span.start >= end:
            yield place
            place = []
        place.append(each)
        end = max(end, each.span.end)
    if place:
        yield place


def _whole(place: Sequence[Likely]) -> Span:
    return Span("", place[0].span.start, max(each.span.end for each in place))


def _of_entity(span: Span, sure: float, none: float, likely: Iterable[Likely], bounds: Bounds) -> ReadingSet:
    others = [Reading(*each) for each in likely if overlap(each.span, span) and each.span != span]
    if none >= bounds.nothing:
        others.append(Reading(None, none))
    return ReadingSet(span.start, span.end, (Reading(span, sure), *_likeliest(others)))


def _of_place(place: Sequence[Likely], none: float) -> ReadingSet:
    _, start, end = _whole(place)
    return ReadingSet(start, end, (Reading(None, none), *_likeliest([Reading(*each) for each in place])))


def _likeliest(readings: Iterable[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda each: -each.probability)
