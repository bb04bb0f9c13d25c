"""Precision, recall and F1 of entities; the only door to seqeval (Nakayama 2018).

Two readings of tags, which differ where a prediction breaks its scheme:

- strict: an entity counts only if it is well formed in the scheme; ill-formed tags are no entity. Used in training
  (``SpanCounter``, fast, on label ids) and in the report (seqeval's own, mode "strict"); the two agree on every input.
- conlleval: ill-formed tags are read as ner/corpus/scheme.py's ``to_spans`` reads them (seqeval's default mode).

BILOU and BMES letters are read as IOBES. A type without a name is called ``_``, as seqeval does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from seqeval import scheme as seqeval_scheme

from ner.corpus.scheme import ROLES, SCHEMES, make_tag, parse_tag
from training.errors import DataError

_CLASSES = {
    "IOB1": seqeval_scheme.IOB1,
    "IOB2": seqeval_scheme.IOB2,
    "IOBES": seqeval_scheme.IOBES,
    "BILOU": seqeval_scheme.IOBES,
    "BMES": seqeval_scheme.IOBES,
}
_START, _INSIDE, _END = 1, 2, 4
AVERAGES = ("micro avg", "macro avg", "weighted avg")
_CELLS = ("precision", "recall", "f1-score", "support")
Ids = npt.NDArray[np.integer]
Table = dict[str, dict[str, float]]


def _letters(tag: str, scheme: str) -> str:
    """The tag with the letters that seqeval knows (M → I, L → E, U → S); DataError if the scheme lacks its letter."""
    letter, kind = parse_tag(tag)
    if letter not in "O" + SCHEMES[scheme]:
        raise DataError(f"expected {scheme} tags, got {tag!r}")
    return make_tag(ROLES[letter], kind)


class Scores(NamedTuple):
    """Fractions from 0 to 1 (0 where nothing is divided by nothing), and the number of gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


def scores(true_positive: int, predicted: int, gold: int) -> Scores:
    """The scores of some counts, rounded in the same steps as seqeval's, so that the last bits are equal too."""
    precision = true_positive / predicted if predicted else 0.0
    recall = true_positive / gold if gold else 0.0
    return Scores(precision, recall, 2.0 * precision * recall / ((precision + recall) or 1.0), gold)


class EntityCounts(NamedTuple):
    """Entities of one type."""

    true_positive: int = 0
    predicted: int = 0
    gold: int = 0

    def plus(self, other: EntityCounts) -> EntityCounts:
        """Both counts together."""
        return EntityCounts(*map(int.__add__, self, other))


@dataclass(frozen=True)
class SpanCounts:
    """Entities by type. EntityCounts of parts of a text add up to those of the whole."""

    by_type: Mapping[str, EntityCounts] = field(default_factory=dict)

    def __add__(self, other: SpanCounts) -> SpanCounts:
        types = sorted({*self.by_type, *other.by_type})
        return SpanCounts({kind: self.of(kind).plus(other.of(kind)) for kind in types})

    def of(self, kind: str) -> EntityCounts:
        """The counts of a type."""
        return self.by_type.get(kind, EntityCounts())

    def micro(self) -> Scores:
        """The scores over all types together."""
        total = EntityCounts()
        for counts in self.by_type.values():
            total = total.plus(counts)
        return scores(*total)

    def per_type(self) -> dict[str, Scores]:
        """The scores of each type that occurs in gold or prediction."""
        found = sorted(self.by_type.items())
        return {kind: scores(*counts) for kind, counts in found if counts.predicted or counts.gold}

    def precision(self) -> float:
        """Micro-averaged precision."""
        return self.micro().precision

    def recall(self) -> float:
        """Micro-averaged recall."""
        return self.micro().recall

    def f1(self) -> float:
        """Micro-averaged F1."""
        return self.micro().f1

    def to_dict(self) -> dict[str, list[int]]:
        """For a checkpoint: plain integers."""
        return {kind: list(counts) for kind, counts in self.by_type.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[int]]) -> SpanCounts:
        """Undo ``to_dict``."""
        return cls({kind: EntityCounts(*map(int, counts)) for kind, counts in values.items()})


class Spans(NamedTuple):
    """Entities of a text of N words in S sentences, arrays (E,), in order.

    ``start`` and ``end`` (excluded) count words and one more place after each sentence: word n of sentence s is n + s.
    """

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    type: npt.NDArray[np.int64]


class SpanCounter:
    """Strict counting of entities on label ids, without a loop over words.

    The rules are seqeval's own: for each pair of neighboring labels, its classes say whether an entity may start
    there, go on, or have ended before. A start that goes on from another entity is none; what follows is arithmetic.
    """

    def __init__(self, labels: Sequence[str], scheme: str = "IOBES") -> None:
        """``labels[i]`` is the tag of id i; DataError for a label that the scheme does not have."""
        make = _CLASSES[scheme]
        tokens = [make(_letters(label, scheme)) for label in (*labels, "O")]  # the last one stands between sentences
        self.types = sorted({token.tag for token, label in zip(tokens, labels, strict=False) if label != "O"})
        self._type = np.array([self.types.index(t.tag) if t.tag in self.types else -1 for t in tokens], dtype=np.int64)
        pairs = [[_START * b.is_start(a) | _INSIDE * b.is_inside(a) | _END * b.is_end(a) for b in tokens] for a in tokens]
        self._pairs = np.array(pairs, dtype=np.uint8).ravel()
        self._border = len(labels)

    def spans(self, ids: Ids, lengths: Ids) -> Spans:
        """The well-formed entities of label ids (N,), the sentences one after the other, of ``lengths`` (S,) words.

        ValueError if the lengths do not add up to N or an id is out of range.
        """
        ids, lengths = np.asarray(ids), np.asarray(lengths)
        if ids.shape != (int(lengths.sum()),):
            raise ValueError(f"expected {int(lengths.sum())} label ids, got an array of shape {ids.shape}")
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self._border:
            raise ValueError(f"expected label ids from 0 to {self._border - 1}, got {ids.min()} to {ids.max()}")
        padded = np.insert(ids.astype(np.int64, copy=False), np.cumsum(lengths), self._border)
        before = np.concatenate(([self._border], padded[:-1])) if len(padded) else padded
        pairs = self._pairs[before * (self._border + 1) + padded]
        starts = np.flatnonzero(pairs & _START)
        breaks = np.flatnonzero((pairs & _INSIDE) == 0)  # where nothing goes on: each stretch holds one start at most
        stretch = np.searchsorted(breaks, starts, side="right")
        first = np.ones(len(starts), dtype=np.bool_)
        first[1:] = stretch[1:] != stretch[:-1]
        starts, ends = starts[first], breaks[stretch[first]]
        ended = (pairs[ends] & _END) != 0
        starts, ends = starts[ended], ends[ended]
        return Spans(starts, ends, self._type[padded[starts]])

    def count(self, gold: Ids, predicted: Ids, lengths: Ids) -> SpanCounts:
        """EntityCounts for gold and predicted label ids, both (N,), of sentences of ``lengths`` (S,) words."""
        lengths = np.asarray(lengths)
        wanted, found = self.spans(gold, lengths), self.spans(predicted, lengths)
        kinds = len(self.types)
        at_start = np.full(int(lengths.sum()) + len(lengths), -1, dtype=np.int64)
        at_start[wanted.start] = wanted.end * kinds + wanted.type
        hit = at_start[found.start] == found.end * kinds + found.type
        columns = (found.type[hit], found.type, wanted.type)
        counts = np.stack([np.bincount(column, minlength=kinds) for column in columns], axis=1)
        return SpanCounts({kind: EntityCounts(*map(int, row)) for kind, row in zip(self.types, counts, strict=True)})


@dataclass(frozen=True)
class Report:
    """seqeval's reports: {row: {"precision", "recall", "f1-score", "support"}}.

    Rows are the types that occur and AVERAGES; a type of such a name stands there as "micro avg (type)".
    """

    strict: Table
    conlleval: Table

    def to_text(self) -> str:
        """The strict one as seqeval prints it, with four digits."""
        from seqeval.reporters import StringReporter

        writer = StringReporter(width=max(map(len, self.strict)), digits=4)
        for number, (row, cells) in enumerate(self.strict.items()):
            if number and number == len(self.strict) - 3:  # the averages stand apart
                writer.write_blank()
            writer.write(row, *cells.values())
        writer.write_blank()
        return str(writer.report())


def report(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str = "IOBES") -> Report:
    """seqeval's strict and conlleval reports of sentences' tags; no entity at all gives rows of zeros.

    DataError where a prediction is not as long as its sentence, or a tag has a letter that the scheme does not have.
    """
    for number, (row, guess) in enumerate(zip(gold, predicted, strict=False), 1):
        if len(row) != len(guess):
            raise DataError(f"sentence {number}: expected {len(row)} predicted tags, got {len(guess)}")
    if len(gold) != len(predicted):
        raise DataError(f"expected predictions for {len(gold)} sentences, got {len(predicted)}")
    known = {tag: _letters(tag, scheme) for sentences in (gold, predicted) for row in sentences for tag in row}
    known = _apart(known)
    sides = [[[known[tag] for tag in row] for row in sentences] for sentences in (gold, predicted)]
    strict = {"mode": "strict", "scheme": _CLASSES[scheme]}
    return Report(_seqeval(sides[0], sides[1], strict), _seqeval(sides[0], sides[1], {}))


def _apart(known: dict[str, str]) -> dict[str, str]:
    """The tags with other types where a type is called as a row of the report's own: seqeval would write over it."""
    types = {parse_tag(tag)[1] for tag in known.values() if tag != "O"}
    own = {*AVERAGES, *(["_"] if "" in types else [])}
    names: dict[str, str] = {}
    for kind in sorted(types & own):
        names[kind] = f"{kind} (type)"
        while names[kind] in types:
            names[kind] += "'"
    parsed = {tag: parse_tag(renamed) for tag, renamed in known.items()} if names else {}
    return {tag: make_tag(letter, names.get(kind, kind)) for tag, (letter, kind) in parsed.items()} or known


def _seqeval(gold: list[list[str]], predicted: list[list[str]], mode: dict[str, Any]) -> Table:
    """seqeval's classification_report as plain numbers, computed once (it takes seconds)."""
    from seqeval.metrics import classification_report  # here, since it imports scikit-learn, which takes a second

    rows = (row for sentences in (gold, predicted) for row in sentences)
    if mode:
        some = any(seqeval_scheme.Tokens(row, mode["scheme"]).entities for row in rows)
    else:
        some = any(tag != "O" for row in rows for tag in row)
    table = {name: dict.fromkeys(_CELLS, 0) for name in AVERAGES}
    if some:  # seqeval fails where there is none
        table = classification_report(gold, predicted, zero_division=0, output_dict=True, **mode)
    return {
        row: {name: int(cells[name]) if name == "support" else float(cells[name]) for name in _CELLS}
        for row, cells in table.items()
    }
