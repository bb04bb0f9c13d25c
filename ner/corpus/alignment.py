"""Spans of characters as entities of whole words, none over another: what does not fit is an error, unless asked otherwise.

- A span that begins or ends within a word is misaligned; so is one without a word, and one of pieces with words between
  them. White space at a span's ends is no part of it.
- Spans overlap where they share a word, whichever their types are.

A sentence never ends within an entity: where the text was cut there, the two sentences are one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from ner.config import MISALIGNED, OVERLAPPING
from ner.corpus.conll import Sentence
from ner.corpus.json_lines import in_json
from ner.corpus.records import CharSpan, Record
from ner.corpus.scheme import Span, from_spans
from ner.corpus.units import other_unit
from training.errors import ConfigError
from training.visible import counted, shortened
from word2vec.text.tokenize import Token, is_separator

SCHEME = "IOB2"  # of the tags that are made of spans


@dataclass(frozen=True)
class SpanRules:
    """How to treat spans that tags cannot express.

    Args:
        misaligned: "error", "skip" to leave such spans out, "expand" to take the words that they touch.
        overlapping: "error", "outermost" to keep the longer of two, "first" to keep the one that begins first.

    Raises:
        ConfigError: another word.

    Example:
        >>> from ner import SpanRules
        >>> SpanRules(misaligned="expand").overlapping
        'error'
    """

    misaligned: str = "error"
    overlapping: str = "error"

    def __post_init__(self) -> None:
        for name, known in (("misaligned", MISALIGNED), ("overlapping", OVERLAPPING)):
            if (value := getattr(self, name)) not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


@dataclass
class SpanNotes:
    """What was not taken as it stood, by "file:line: what"; ``errors`` are spans that the rules do not allow."""

    errors: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    expanded: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def described(self) -> Iterator[tuple[str, list[str]]]:
        """(what, places) of all but the errors, where there are some."""
        for what, places in (
            ("misaligned spans that were left out", self.skipped),
            ("misaligned spans that were expanded to whole words", self.expanded),
            ("overlapping spans that were left out", self.overlapping),
            ("sentence ends within an entity, which were ignored", self.joined),
            ("texts that were left out", self.left_out),
        ):
            if places:
                yield what, places

    def lines(self) -> list[str]:
        """A line for each kind: how many there are, and the first."""
        return [f"{what}: {len(places):,} (the first: {shortened(places[0], 200)})" for what, places in self.described()]


class _Placed(NamedTuple):
    """A span with the tokens that it has: ``first`` (included) to ``last`` (excluded)."""

    span: CharSpan
    first: int
    last: int


def align(record: Record, rules: SpanRules, notes: SpanNotes) -> list[Span]:
    """A record's entities as spans of its tokens, apart and in order; what is not taken as it stands goes into ``notes``."""
    tokens = record.tokens
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    placed: list[_Placed] = []
    for span in record.spans:
        first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
        problem = _misaligned(record.text, span, tokens, first, last)
        if problem:
            problem += other_unit(record.text, span.start, span.end, partial(_on_borders, starts, ends))
        if problem and rules.misaligned == "error":
            remedy = "--misaligned expand takes whole words; --misaligned skip leaves such spans out"
            notes.errors.append(f"{span.where}: expected spans that begin and end where words do, got {problem}; {remedy}")
        elif problem and (rules.misaligned == "skip" or first >= last):
            notes.skipped.append(f"{span.where}: {problem}")
        else:
            if problem:
                notes.expanded.append(f"{span.where}: {problem}")
            placed.append(_Placed(span, first, last))
    return [Span(each.span.type, each.first, each.last) for each in _apart(record.text, placed, rules, notes)]


def _on_borders(starts: list[int], ends: list[int], first: int, last: int) -> bool:
    """Whether tokens begin at ``first`` and end at ``last``; both lists are in order."""
    begun, ended = bisect_right(starts, first), bisect_right(ends, last)
    return begun > 0 and starts[begun - 1] == first and ended > 0 and ends[ended - 1] == last


def shown(text: str, span: CharSpan) -> str:
    """A span for messages: its type, offsets and text."""
    places = ";".join(f"{start}-{end}" for start, end in span.pieces or ((span.start, span.end),))
    said = text[span.start : min(span.end, span.start + 60)]  # of a whole document no more is looked at
    return f"{shortened(span.type, 60) or '(no name)'} {shortened(places, 40)} {in_json(said, 60)}"


def _misaligned(text: str, span: CharSpan, tokens: Sequence[Token], first: int, last: int) -> str:
    """What is wrong with a span that touches the tokens ``first`` to ``last`` (excluded), "" for one on their borders."""
    if first >= last:
        return f"{shown(text, span)}, which contains no word"
    gaps = pairwise(span.pieces)
    if any(not is_separator(character) for (_, end), (start, _) in gaps for character in text[end:start]):
        return f"{shown(text, span)}, which is in pieces"
    if tokens[first].start >= span.start and tokens[last - 1].end <= span.end:
        return ""
    count = last - first
    some = tokens[first:last] if count < 5 else [*tokens[first : first + 2], *tokens[last - 2 : last]]
    words = [f"{in_json(token.text, 40)} ({token.start}-{token.end})" for token in some]
    if count > 4:
        words.insert(2, "…")
    return f"{shown(text, span)} at the {'word' if count == 1 else 'words'} {' '.join(words)}"


def _apart(text: str, placed: list[_Placed], rules: SpanRules, notes: SpanNotes) -> list[_Placed]:
    """The spans that share no word, in order; the others by the rules."""
    placed = sorted(placed, key=lambda each: (each.first, -each.last))
    if rules.overlapping == "outermost":
        return _outermost(text, placed, notes)
    kept: list[_Placed] = []
    for each in placed:
        if kept and each.first < kept[-1].last:
            what = _overlap(text, each, kept[-1])
            if rules.overlapping == "first":
                notes.overlapping.append(f"{each.span.where}: {what}")
                continue
            remedy = "--overlapping outermost keeps the longer of two; --overlapping first keeps the one that begins first"
            notes.errors.append(f"{each.span.where}: expected spans that share no word, got {what}; {remedy}")
            if each.last <= kept[-1].last:
                continue
            kept.pop()
        kept.append(each)
    return kept


def _outermost(text: str, placed: list[_Placed], notes: SpanNotes) -> list[_Placed]:
    """The longer of any two that share a word, of equal ones the first."""
    taken: dict[int, _Placed] = {}
    kept: list[_Placed] = []
    for each in sorted(placed, key=lambda each: each.first - each.last):
        # What was taken before is no shorter: where it shares a word, it has the first or the last one.
        other = taken.get(each.first) or taken.get(each.last - 1)
        if other:
            notes.overlapping.append(f"{each.span.where}: {_overlap(text, each, other)}")
        else:
            kept.append(each)
            taken.update(dict.fromkeys(range(each.first, each.last), each))
    return sorted(kept, key=lambda each: each.first)


def _overlap(text: str, each: _Placed, other: _Placed) -> str:
    if (each.first, each.last) == (other.first, other.last):
        how = "at the same words as"
    elif other.first <= each.first and each.last <= other.last:
        how = "nested in"
    else:
        how = "across"
    return f"{shown(text, each.span)} {how} {shown(text, other.span)}"


def sentences_of(record: Record, spans: Sequence[Span], notes: SpanNotes) -> list[Sentence]:
    """A record's sentences with the tags of its entities, in SCHEME."""
    borders = [0]
    for sentence in record.sentences:
        borders.append(borders[-1] + len(sentence))
    within = {
        border for span in spans for border in borders[bisect_right(borders, span.start) : bisect_left(borders, span.end)]
    }
    for _ in sorted(within):
        notes.joined.append(f"{record.path}:{record.line}")
    tokens, tags = record.tokens, from_spans(spans, borders[-1], SCHEME)
    ends = [border for border in borders if border not in within]
    lines = _lines(record, tokens)
    return [
        Sentence(
            words=tuple(token.text for token in tokens[first:last]),
            tags=tuple(tags[first:last]),
            line=lines[first],
            path=record.path,
            document=record.document,
            separator="\t",
            lines=tuple(lines[first:last]),
        )
        for first, last in pairwise(ends)
    ]


def _lines(record: Record, tokens: Sequence[Token]) -> list[int]:
    """The line of each token."""
    if record.on_one_line:
        return [record.line] * len(tokens)
    lines, line, counted_to = [], record.line, 0
    for token in tokens:
        line += record.text.count("\n", counted_to, token.start)
        counted_to = token.start
        lines.append(line)
    return lines


def errors_of(errors: Sequence[str]) -> str:
    """The first error, with the number of the others."""
    more = f" ({counted(len(errors) - 1, 'more span')} like it; data check lists them)" if len(errors) > 1 else ""
    return errors[0] + more
