"""Entities of types that the training data, or a trained tagger, does not have: found, named, read as O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ner.corpus.conll import Sentence
from ner.corpus.scheme import from_spans, to_spans
from training.visible import counted, listed


@dataclass(frozen=True)
class UnknownTypes:
    """How many entities there are of each type that is not known, the most frequent first, and where the first one is."""

    counts: dict[str, int]
    first: dict[str, str]

    @property
    def place(self) -> str:
        """ "file:line" of the first entity of all."""
        return next(iter(self.first.values()))

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        return listed(
            [
                f"{kind or '(no name)'} ({counted(n, 'entity', 'entities')}, first {self.first[kind]})"
                for kind, n in self.counts.items()
            ],
            5,
        )


NONE = UnknownTypes({}, {})


def unknown_types(sentences: Iterable[Sentence], known: Collection[str]) -> UnknownTypes:
    """Those of the sentences, whose tags may be of any scheme, that are not among the ``known`` ones."""
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for sentence in sentences:
        for span in to_spans(sentence.tags):
            if span.type not in known:
                counts[span.type] = counts.get(span.type, 0) + 1
                first.setdefault(span.type, sentence.where(span.start))
    return UnknownTypes(dict(sorted(counts.items(), key=lambda each: -each[1])), first)


def without_unknown_types(sentences: Sequence[Sentence], known: Collection[str], scheme: str) -> list[Sentence]:
    """The sentences, tagged in ``scheme``, with O for the words of entities whose types are not ``known``."""
    return [_without(sentence, known, scheme) for sentence in sentences]


def _without(sentence: Sentence, known: Collection[str], scheme: str) -> Sentence:
    spans = to_spans(sentence.tags)
    kept = [span for span in spans if span.type in known]
    return sentence if kept == spans else replace(sentence, tags=tuple(from_spans(kept, len(sentence.tags), scheme)))
