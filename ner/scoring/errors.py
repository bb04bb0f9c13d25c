"""What kind each error of a prediction is.

Entities are read strictly (ner/scoring/metrics.py): ill-formed tags are none. An entity that stands in the gold tags or in
the prediction alone is wrong; wrong ones are joined to pairs where they overlap, and each pair or single one is one error:

- ``type``: the right words, another type;
- ``boundary``: the right type, other words, at least one of them shared;
- ``both``: another type and other words, at least one of them shared;
- ``missed``: a gold entity that is in no pair;
- ``spurious``: a predicted entity that is in no pair.

An entity is in one pair at most. Pairs are taken in this order: of one type before of two, more shared words before
fewer, left before right. (Entities with the same words overlap no other, so that ``type`` never competes.) It follows that
type + boundary + both + missed = gold − right, and type + boundary + both + spurious = predicted − right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ner.corpus.scheme import Span
from ner.scoring.metrics import SpanCounter

KINDS = ("boundary", "type", "both", "missed", "spurious")
MEANING = {
    "boundary": "right type, other words",
    "type": "right words, other type",
    "both": "other type and other words, overlapping",
    "missed": "in the gold tags, nothing predicted there",
    "spurious": "predicted, nothing in the gold tags there",
}


@dataclass(frozen=True)
class Mistake:
    """One error: its kind and the entities, of which a missed or a spurious one has one."""

    kind: str
    gold: Span | None
    predicted: Span | None

    @property
    def start(self) -> int:
        """The first word that it touches."""
        return min(span.start for span in (self.gold, self.predicted) if span is not None)


@dataclass(frozen=True)
class Judged:
    """One sentence's entities: those that are right, and the errors, each in order of the words."""

    right: tuple[Span, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def gold(self) -> list[Span]:
        """All gold entities, in order."""
        return sorted([*self.right, *(m.gold for m in self.mistakes if m.gold)], key=lambda span: span.start)

    @property
    def predicted(self) -> list[Span]:
        """All predicted entities, in order."""
        return sorted([*self.right, *(m.predicted for m in self.mistakes if m.predicted)], key=lambda span: span.start)


def judge(gold: Sequence[Span], predicted: Sequence[Span]) -> Judged:
    """The errors of a sentence; each side's entities must not overlap one another."""
    right = set(gold) & set(predicted)
    missed, spurious = (sorted({*side} - right, key=lambda span: span.start) for side in (gold, predicted))
    pairs = list(_overlapping(missed, spurious))
    pairs.sort(key=lambda pair: (pair[0].type != pair[1].type, -_shared(*pair), pair[0].start, pair[1].start))
    found: list[Mistake] = []
    paired: tuple[set[Span], set[Span]] = set(), set()
    for g, p in pairs:
        if g not in paired[0] and p not in paired[1]:
            paired[0].add(g)
            paired[1].add(p)
            same_words, same_type = g[1:] == p[1:], g.type == p.type
            found.append(Mistake("type" if same_words else "boundary" if same_type else "both", g, p))
    found += [Mistake("missed", g, None) for g in missed if g not in paired[0]]
    found += [Mistake("spurious", None, p) for p in spurious if p not in paired[1]]
    return Judged(tuple(sorted(right, key=lambda s: s.start)), tuple(sorted(found, key=lambda m: (m.start, m.kind))))


def _overlapping(first: Sequence[Span], second: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs with a word in common, of entities in order: as many at most as there are entities."""
    begin = 0
    for one in first:
        while begin < len(second) and second[begin].end <= one.start:
            begin += 1
        at = begin
        while at < len(second) and second[at].start < one.end:
            yield one, second[at]
            at += 1


def _shared(one: Span, other: Span) -> int:
    """How many words two entities share."""
    return max(0, min(one.end, other.end) - max(one.start, other.start))


def strict_spans(sentences: Sequence[Sequence[str]], scheme: str) -> list[list[Span]]:
    """The well-formed entities of each sentence's tags. DataError for a tag that the scheme does not have."""
    labels = sorted({"O", *(tag for tags in sentences for tag in tags)})
    number = {label: i for i, label in enumerate(labels)}
    counter = SpanCounter(labels, scheme)
    lengths = np.array([len(tags) for tags in sentences], dtype=np.int64)
    ids = np.array([number[tag] for tags in sentences for tag in tags], dtype=np.int64)
    found = counter.spans(ids, lengths)
    first = np.cumsum(lengths + 1) - (lengths + 1)  # each sentence is followed by one more place
    owner = np.searchsorted(first, found.start, side="right") - 1
    spans: list[list[Span]] = [[] for _ in sentences]
    for which, start, end, kind in zip(owner, found.start, found.end, found.type, strict=True):
        spans[which].append(Span(counter.types[kind], int(start - first[which]), int(end - first[which])))
    return spans
