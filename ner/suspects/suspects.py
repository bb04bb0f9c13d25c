"""Labels that look wrong: what taggers read otherwise that did not see them, the surest of another reading first.

A suspect is an error of such a tagger (ner/scoring/errors.py): the label in the file is one reading of its words, what the
tagger finds there the other. How sure the tagger is of either is a probability by its marginals (ner/model/confidence.py):
of exactly that span with that type; or, where a reading has nothing there, that all of the words are outside of entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span, to_spans
from ner.scoring.errors import Mistake, judge
from ner.suspects.folds import CrossValidation
from ner.tagging.tagger import LONGEST_SENTENCE, TrainedTagger
from training.job_progress import JobProgress

Range = tuple[int, int]


@dataclass(frozen=True)
class Suspect:
    """A label in doubt: ``mistake`` has it as gold, and the tagger's reading as predicted; either may be nothing."""

    number: int
    """The sentence's, from 0."""
    sentence: Sentence
    mistake: Mistake
    other: float
    """How sure the tagger is of its reading, from 0 to 1."""
    label: float
    """How sure it is of the file's."""

    @property
    def touched(self) -> range:
        """The words that either reading is about."""
        spans = [span for span in (self.mistake.gold, self.mistake.predicted) if span]
        return range(min(span.start for span in spans), max(span.end for span in spans))

    @property
    def where(self) -> str:
        """file:line of its first word."""
        return self.sentence.where(self.touched.start)

    def to_dict(self, rank: int) -> dict[str, Any]:
        """Plain values for JSON."""
        words = self.sentence.words
        sides = {
            name: None if span is None else {**span._asdict(), "text": " ".join(words[span.start : span.end])}
            for name, span in (("label", self.mistake.gold), ("other", self.mistake.predicted))
        }
        return {
            "rank": rank, "line": self.sentence.line_of(self.touched.start), "kind": self.mistake.kind,
            "other_probability": round(self.other, 4), "label_probability": round(self.label, 4), **sides,
            "sentence": self.number, "words": list(words),
        }  # fmt: skip


def suspects(done: CrossValidation, progress: JobProgress | None = None) -> list[Suspect]:
    """All suspects of a cross-validation whose runs have finished: the surest of another reading first, then in order."""
    found: list[Suspect] = []
    for fold, numbers in enumerate(done.held):
        if progress is not None:
            progress("reading what was held out", fold, len(done.held))
        tagger = TrainedTagger.load(done.run(fold))
        kept = [i for i in numbers if len(done.labeled.sentences[i].words) <= LONGEST_SENTENCE]
        found += read(tagger, [(i, done.labeled.sentences[i]) for i in kept], done.unknown[fold])
    if progress is not None:
        progress("reading what was held out", len(done.held), len(done.held))
    return sorted(found, key=lambda each: (-each.other, each.label, each.number, each.touched.start))


def read(tagger: TrainedTagger, sentences: Sequence[tuple[int, Sentence]], unknown: Iterable[str] = ()) -> list[Suspect]:
    """The suspects among numbered sentences, in order; labels of types that are ``unknown`` are not judged."""
    words, documents = [s.words for _, s in sentences], [s.document for _, s in sentences]
    tagged = tagger.predict(words, documents)
    never, judged = set(unknown), []
    for (_, sentence), each in zip(sentences, tagged, strict=True):
        mistakes = judge(to_spans(sentence.tags), each.spans).mistakes
        judged.append([m for m in mistakes if m.gold is None or m.gold.type not in never])
    golds = [[m.gold for m in row if m.gold] for row in judged]
    # A reading of nothing: all words outside, of the span that the other reading has there.
    bare = [[s for m in row if m.gold is None or m.predicted is None for s in (m.gold, m.predicted) if s] for row in judged]
    own = tagger.probabilities(words, documents, [_known(s.tags, tagger) for _, s in sentences], _ranges(golds))
    outside = tagger.probabilities(words, documents, [["O"] * len(row) for row in words], _ranges(bare))
    found = []
    for row, (number, sentence), each, labels, nothing in zip(judged, sentences, tagged, own, outside, strict=True):
        sure = dict(zip(each.spans, each.confidences, strict=True))
        of_label, of_nothing = iter(labels), iter(nothing)
        for m in row:
            label = next(of_label) if m.gold else next(of_nothing)
            other = sure[m.predicted] if m.predicted else next(of_nothing)
            found.append(Suspect(number, sentence, m, other, label))
    return found


def _known(tags: Sequence[str], tagger: TrainedTagger) -> list[str]:
    labels = set(tagger.indexer.labels)
    return [tag if tag in labels else "O" for tag in tags]


def _ranges(spans: Sequence[Sequence[Span]]) -> list[list[Range]]:
    return [[(span.start, span.end) for span in row] for row in spans]
