"""What a tagger that goes on from another one has learned, and what it has forgotten: F1 before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ner.corpus.conll import Sentence
from ner.corpus.scheme import labels_of, to_spans
from ner.scoring.metrics import SpanCounter, SpanCounts, scores
from ner.scoring.report import Table
from ner.tagging.tagger import TrainedTagger


@dataclass(frozen=True)
class Forgetting:
    """Entities counted before and after, by the name of the test data: "old test" and "new test"."""

    before: Mapping[str, SpanCounts]
    after: Mapping[str, SpanCounts]

    def metrics(self) -> dict[str, float]:
        """Micro F1 for the manifest: ``old_test_f1_before``, ``old_test_f1_after``, and of the new test data."""
        sides = {"before": self.before, "after": self.after}
        return {
            f"{name.replace(' ', '_')}_f1_{when}": counts.f1()
            for when, side in sides.items()
            for name, counts in side.items()
        }

    def table(self) -> Table:
        """F1 of all types together and of each, before and after."""
        rows = []
        for name in self.before:
            sides = self.before[name], self.after[name]
            rows.append(_row(name, [side.f1() for side in sides]))
            types = sorted(self.after[name].by_type)
            rows += [_row(f"  {kind}", [scores(*side.of(kind)).f1 for side in sides]) for kind in types]
        return Table("F1 before and after", ("", "before", "after", "change"), rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: of each test data F1, and true positives, predicted and gold entities by type."""
        return {
            name: {
                when: {"f1": side[name].f1(), "entities": side[name].to_dict()}
                for when, side in (("before", self.before), ("after", self.after))
            }
            for name in self.before
        }


def _row(name: str, values: Sequence[float]) -> tuple[str, ...]:
    return (name, *(f"{value:.4f}" for value in values), f"{values[1] - values[0]:+.4f}")


def forgetting(old: TrainedTagger, new: TrainedTagger, tests: Mapping[str, Sequence[Sentence]]) -> Forgetting:
    """Tag each of the test data with the tagger that was trained further, and with what came of it."""
    before, after = ({name: entity_counts(each, tests[name]) for name in tests} for each in (old, new))
    return Forgetting(before, after)


def entity_counts(tagger: TrainedTagger, sentences: Sequence[Sentence]) -> SpanCounts:
    """The entities that the tagger finds in sentences beside their own, of the types that these have.

    Of another type the data may mark nothing at all: that one is found there is no error.
    """
    predicted = tagger.tag([s.words for s in sentences], [s.document for s in sentences])
    types = dict.fromkeys([*tagger.indexer.types, *(span.type for s in sentences for span in to_spans(s.tags))])
    labels = labels_of(types, tagger.indexer.scheme)
    number = {label: i for i, label in enumerate(labels)}
    gold, found = (
        np.array([number[tag] for tags in side for tag in tags], np.int64)
        for side in ((s.tags for s in sentences), predicted)
    )
    counts = SpanCounter(labels, tagger.indexer.scheme).count(gold, found, np.array([len(s.words) for s in sentences]))
    return SpanCounts({kind: each for kind, each in counts.by_type.items() if each.gold})
