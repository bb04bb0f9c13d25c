"""How good predictions are, and where they are wrong: one evaluation, shown as text, JSON, Markdown and HTML.

Everything beside seqeval's two reports is counted in the strict reading (ner/scoring/errors.py). An entity belongs to a
group of words by the words it has (Ma & Hovy 2016, section 4.5): "unseen" if at least one of them is not in the training
data, "no vector" if at least one has no word vector. A right prediction has the gold entity's words and so its group; the
counts of all groups add up to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span, check
from ner.scoring.errors import KINDS, MEANING, Judged, Mistake, judge, strict_spans
from ner.scoring.metrics import AVERAGES, Report, Scores, report, scores
from ner.scoring.sets import HEADER, SetCoverage
from training.visible import aligned, counted, listed, markdown_table

Known = Callable[[str], bool]
WORST = 10  # sentences shown in full
MOST_TYPES = 200  # of the confusion table, which has as many columns as rows
SHOWN = 5  # errors of a sentence that are put into words
MISSED, SPURIOUS = "missed", "spurious"


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is left-aligned, the others hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""

    def to_text(self) -> str:
        """Aligned columns, for a terminal."""
        lines = [f"  {line}" for line in aligned([self.header, *self.rows], numbers=True)]
        return "\n".join([self.title, "", *lines, *(["", self.note] if self.note else [])])

    def to_markdown(self) -> str:
        """For TensorBoard's text page."""
        table = markdown_table([*map(_escaped, self.header)], [[*map(_escaped, row)] for row in self.rows])
        return "\n".join([f"**{self.title}**", "", *table, *(["", self.note] if self.note else [])])


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") or " "


@dataclass(frozen=True)
class Evaluation:
    """Predictions compared with gold tags: seqeval's scores, and each sentence's entities judged; ``evaluation`` makes one.

    Args:
        scores: seqeval's two reports.
        sentences: with their gold tags.
        judged: of each sentence, its right entities and its errors.
        by_words: scores of the entities by their words: seen in training or not, with a vector or not.
        broken: how many predicted tags break the scheme, and how many sentences have one.
        sets: how often sets of readings hold the gold entities; None if none were requested.

    Example:
        >>> from ner import Sentence, evaluation
        >>> gold = [Sentence(("Ada", "ran"), ("B-PER", "O"))]
        >>> found = evaluation(gold, [["O", "O"]], "IOB2", seen=lambda word: False)
        >>> print(found.sentence_text(0))
          sentence 1: missed (gold PER 'Ada')
            gold       [Ada]{PER} ran
            predicted  Ada ran
    """

    scores: Report
    sentences: Sequence[Sentence]
    judged: list[Judged]
    by_words: dict[str, Scores]
    broken: tuple[int, int]
    """Predicted tags that break the scheme, and the sentences that have one."""
    sets: SetCoverage | None = None
    """How often sets of readings hold the gold entities; None where there are none."""

    @property
    def types(self) -> list[str]:
        """The types that occur, in order of their names."""
        return sorted({span.type for each in self.judged for span in (*each.gold, *each.predicted)})

    def mistakes(self) -> Iterator[Mistake]:
        """All errors, in order."""
        return (mistake for each in self.judged for mistake in each.mistakes)

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Errors by kind and type: the gold entity's type; the predicted one's where there is no gold entity."""
        counts = Counter((m.kind, (m.gold or m.predicted or Span("", 0, 0)).type) for m in self.mistakes())
        types = self.types
        return {kind: {name: counts[kind, name] for name in types} for kind in KINDS}

    def confusion(self) -> dict[str, dict[str, int]]:
        """Gold type → the type predicted in its place, or "missed"; what was predicted where nothing is: "spurious" → type.

        With the right words or with others: rows add up to the gold entities, columns to the predicted ones. A type that is
        itself called "missed" or "spurious" stands there as "missed (type)".
        """
        pairs: Counter[tuple[str | None, str | None]] = Counter()
        for each in self.judged:
            pairs.update((span.type, span.type) for span in each.right)
        for m in self.mistakes():
            pairs[m.gold.type if m.gold else None, m.predicted.type if m.predicted else None] += 1
        types = self._confused()
        named = [(self._apart(name), name) for name in types]
        rows = {
            row: {**{column: pairs[name, other] for column, other in named}, MISSED: pairs[name, None]}
            for row, name in named
        }
        return {**rows, SPURIOUS: {column: pairs[None, other] for column, other in named}}

    def _apart(self, name: str) -> str:
        """What a type is called in the confusion table, which has a row and a column of its own."""
        if name in (MISSED, SPURIOUS):
            name += " (type)"
            while name in self.types:
                name += "'"
        return name

    def _confused(self) -> list[str]:
        """The types of the confusion table: all, or of very many those with the most errors."""
        types = self.types
        if len(types) <= MOST_TYPES:
            return types
        errors = Counter(span.type for m in self.mistakes() for span in (m.gold, m.predicted) if span)
        return sorted(sorted(types, key=lambda name: (-errors[name], name))[:MOST_TYPES])

    def worst(self) -> list[int]:
        """The numbers of the worst sentences: most errors first, then most errors a word, then in order."""
        wrong = [i for i, each in enumerate(self.judged) if each.mistakes]
        n, words = [len(each.mistakes) for each in self.judged], [len(s.words) for s in self.sentences]
        return sorted(wrong, key=lambda i: (-n[i], -n[i] / words[i], i))

    # -- tables -------------------------------------------------------------------------------------------------------

    def tables(self) -> dict[str, Table]:
        """All tables by name."""
        return {
            "scores": self._scores_table(),
            "words": self._words_table(),
            "errors": self._errors_table(),
            "confusion": self._confusion_table(),
            **({"sets": self._sets_table(self.sets)} if self.sets else {}),
        }

    def _scores_table(self) -> Table:
        strict, loose = self.scores.strict, self.scores.conlleval
        names = [name for name in loose if name not in AVERAGES]
        names = [*sorted({*names, *strict} - {*AVERAGES}), *list(strict)[-3:]]
        rows = []
        for name in names:
            cells = [f"{table.get(name, {}).get(of, 0.0):.4f}" for table in (strict, loose) for of in _OF]
            rows.append((name, *cells, f"{max(int(t.get(name, {}).get('support', 0)) for t in (strict, loose)):,}"))
        header = ("type", *(f"{reading} {of}" for reading in ("strict", "conlleval") for of in ("P", "R", "F1")), "entities")
        note = (
            "P precision, R recall; strict: an entity counts if its type and both its ends are right and it is well formed; "
            "conlleval: ill-formed tags count as the entities that they begin."
        )
        if self.broken[0]:
            note += f" {counted(self.broken[0], 'predicted tag')} in {counted(self.broken[1], 'sentence')} broke the scheme."
        return Table("Scores (seqeval), by type", header, rows, note)

    def _words_table(self) -> Table:
        rows = [
            (name, *(f"{value:.4f}" if any(s) else "–" for value in s[:3]), f"{s.support:,}")
            for name, s in self.by_words.items()
        ]
        vectors = any("vector" in name for name in self.by_words)
        note = "unseen: at least one of the entity's words is not in the training data"
        note += "; no vector: at least one has no word vector." if vectors else "; no word vectors are at hand."
        return Table("F1 by words (strict)", ("entities with words", "precision", "recall", "F1", "entities"), rows, note)

    def _errors_table(self) -> Table:
        kinds = self.by_kind()
        total = sum(sum(row.values()) for row in kinds.values())
        rows = [
            (f"{kind}: {MEANING[kind]}", f"{sum(row.values()):,}", f"{100 * sum(row.values()) / max(1, total):.1f} %",
             *(f"{count:,}" for count in row.values()))
            for kind, row in kinds.items()
        ]  # fmt: skip
        missing, surplus = self.wrong()
        note = f"{total:,} errors: {missing:,} gold entities that were not found, {surplus:,} predicted ones that are none."
        return Table("Errors by kind (strict)", ("kind", "errors", "share", *self.types), rows, note)

    def _confusion_table(self) -> Table:
        found = self.confusion()
        columns = (*(name for name in found if name != SPURIOUS), MISSED)
        rows = [(name, *(f"{row[c]:,}" if c in row else "" for c in columns)) for name, row in found.items()]
        note = "rows: gold; columns: what was predicted in its place, with the right words or with some of them."
        if len(columns) <= len(self.types):
            note += f" Of {len(self.types):,} types the {MOST_TYPES} with the most errors."
        return Table("Confusion between types (strict)", ("gold", *columns), rows, note)

    def _sets_table(self, sets: SetCoverage) -> Table:
        return Table(f"Sets of readings at {sets.percent} %, by type", HEADER, sets.cells(), sets.note())

    def wrong(self) -> tuple[int, int]:
        """(gold entities that were not found, predicted entities that are none)."""
        every = list(self.mistakes())
        return sum(m.gold is not None for m in every), sum(m.predicted is not None for m in every)

    # -- the whole ----------------------------------------------------------------------------------------------------

    def to_text(self, worst: int = WORST) -> str:
        """For a terminal and test_report.txt."""
        blocks = [table.to_text() for table in self.tables().values()]
        shown = self.worst()[:worst]
        if shown:
            blocks.append("Worst sentences (most errors first)\n\n" + "\n\n".join(self.sentence_text(i) for i in shown))
        return "\n\n\n".join(blocks) + "\n"

    def sentence_text(self, number: int) -> str:
        """A sentence with its entities in brackets, gold and predicted, and what is wrong."""
        sentence, judged = self.sentences[number], self.judged[number]
        wrong = listed([said(sentence, mistake) for mistake in judged.mistakes], SHOWN, ", and ")
        return "\n".join([
            f"  {_place(sentence, number)}: {wrong}",
            f"    gold       {bracketed(sentence.words, judged.gold)}",
            f"    predicted  {bracketed(sentence.words, judged.predicted)}",
        ])  # fmt: skip

    def to_dict(self, worst: int = WORST) -> dict[str, Any]:
        """Plain values for JSON."""
        missing, surplus = self.wrong()
        return {
            "strict": self.scores.strict,
            "conlleval": self.scores.conlleval,
            "by_words": {name: s._asdict() for name, s in self.by_words.items()},
            "errors": {"by_kind": self.by_kind(), "gold_not_found": missing, "predicted_wrongly": surplus},
            "confusion": self.confusion(),
            "broken_tags": {"tags": self.broken[0], "sentences": self.broken[1]},
            **({"sets": self.sets.to_dict()} if self.sets else {}),
            "worst": [self._sentence_dict(i) for i in self.worst()[:worst]],
        }

    def _sentence_dict(self, number: int) -> dict[str, Any]:
        judged = self.judged[number]
        return {
            "sentence": number,
            "line": self.sentences[number].line,
            "words": list(self.sentences[number].words),
            "right": [span._asdict() for span in judged.right],
            "errors": [
                {"kind": m.kind, "gold": m.gold and m.gold._asdict(), "predicted": m.predicted and m.predicted._asdict()}
                for m in judged.mistakes
            ],
        }


_OF = ("precision", "recall", "f1-score")


def evaluation(
    gold: Sequence[Sentence], predicted: Sequence[Sequence[str]], scheme: str, seen: Known, has_vector: Known | None = None
) -> Evaluation:
    """Score predicted tags.

    Args:
        gold: the sentences, whose own tags are the right ones, in ``scheme``.
        predicted: for each of them its predicted tags, in ``scheme``.
        scheme: IOBES, IOB2 or another of ner.corpus.scheme.
        seen: whether the training data had a raw word.
        has_vector: whether there is a vector of a raw word; None if there are no vectors.

    Returns:
        Scores, and each sentence's entities judged.

    Raises:
        DataError: a prediction that is not as long as its sentence, or has tags of another scheme.

    Example:
        >>> from ner import Sentence, evaluation
        >>> gold = [Sentence(("Ada", "met", "Bo"), ("B-PER", "O", "B-PER"))]
        >>> found = evaluation(gold, [["B-PER", "O", "B-LOC"]], "IOB2", seen=lambda word: word == "Ada")
        >>> found.scores.strict["micro avg"]["f1-score"]
        0.5
        >>> found.by_kind()["type"]
        {'LOC': 0, 'PER': 1}
    """
    rows = [sentence.tags for sentence in gold]
    both = report(rows, predicted, scheme)
    sides = [strict_spans(rows, scheme), strict_spans(predicted, scheme)]
    judged = [judge(g, p) for g, p in zip(*sides, strict=True)]
    faults = [len(check(tags, scheme)) for tags in predicted]
    groups = _Groups(seen, has_vector)
    return Evaluation(both, gold, judged, groups.scores(gold, judged), (sum(faults), sum(map(bool, faults))))


class _Groups:
    """Scores of the entities by their words."""

    def __init__(self, seen: Known, has_vector: Known | None) -> None:
        self.tests = [(seen, "seen in training", "unseen")]
        if has_vector:
            self.tests.append((has_vector, "", ", no vector"))
        self.of: dict[str, str] = {}
        self.names = [a + b for a in self.tests[0][1:] for b in (self.tests[1][1:] if has_vector else ("",))]

    def name(self, words: Sequence[str]) -> str:
        """The group of an entity's words."""
        return "".join(yes if all(map(test, words)) else no for test, yes, no in self.tests)

    def scores(self, sentences: Sequence[Sentence], judged: Sequence[Judged]) -> dict[str, Scores]:
        """Strict scores of each group, "all" last."""
        counts: Counter[tuple[str, str]] = Counter()
        for sentence, each in zip(sentences, judged, strict=True):
            for what, spans in (("right", each.right), ("predicted", each.predicted), ("gold", each.gold)):
                for span in spans:
                    counts[self.name(sentence.words[span.start : span.end]), what] += 1
        kept = {n: scores(*(counts[n, what] for what in ("right", "predicted", "gold"))) for n in self.names}
        total = [sum(counts[n, what] for n in self.names) for what in ("right", "predicted", "gold")]
        return {**kept, "all": scores(*total)}


def bracketed(words: Sequence[str], spans: Sequence[Span]) -> str:
    """A sentence with its entities as [words]{TYPE}."""
    starts, ends = {s.start for s in spans}, {s.end - 1: s for s in spans}
    marked = [f"{'[' if i in starts else ''}{w}{f']{{{ends[i].type}}}' if i in ends else ''}" for i, w in enumerate(words)]
    return " ".join(marked)


def said(sentence: Sentence, mistake: Mistake) -> str:
    """An error in words."""
    sides = []
    for name, span in (("gold", mistake.gold), ("predicted", mistake.predicted)):
        if span:
            sides.append(f"{name} {span.type} {' '.join(sentence.words[span.start : span.end])!r}")
    return f"{mistake.kind} ({', '.join(sides)})"


def _place(sentence: Sentence, number: int) -> str:
    return f"line {sentence.line}" if sentence.path else f"sentence {number + 1}"
