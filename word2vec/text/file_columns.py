"""What the columns of a labeled file seem to hold, told by its first rows: running numbers, words, tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from training.visible import counted

ENOUGH = 0.95  # of the rows must agree
_TAG = re.compile(r"[OBIMELSU]|[BIMELSU]-(?!-).*(?<!-)")
_NUMBER = re.compile(r"\d+")
_PART = re.compile(r"\d+[-.]\d+")  # CoNLL-U: 1-2 is a token of several words, 1.1 an empty node
_NUMERIC = re.compile(r"[+-]?[\d.,:/-]*\d[\d.,:/-]*%?")
_BLANKS = re.compile("[ \t]+")
DOCSTART = "-DOCSTART-"
# How names of files of columns end; splits, too, as in CoNLL-2003's eng.testa.
COLUMN_SUFFIXES = frozenset(
    "conll conll03 conll2003 conllu tsv bio bio2 iob iob2 iobes bioes bilou bmes ner tags "
    "train valid validation dev devel test testa testb".split()
)


class Layout(NamedTuple):
    """Columns from 0 up. ``words`` and ``tags`` are proposals, None where nothing is fit to be proposed."""

    width: int
    rows: int  # that were looked at
    tabs: bool
    numbers: int | None  # the column of a number that runs from 1 in each sentence
    tags: tuple[int, ...]  # the columns of tags
    taglike: tuple[int, ...]  # the columns that hold more tags than others
    steady: tuple[int, ...]  # the columns that change between sentences only, such as a document's name
    numeric: tuple[int, ...]  # the columns that hold nothing but numbers
    words: int | None
    text: int  # the column whose fields hold the most words, and how many they hold on an average
    longest: float
    sentences: int
    marked: bool  # -DOCSTART- rows

    @property
    def words_alone(self) -> bool:
        """Whether a line is a word, and a word a line: columns without tags, or short paragraphs."""
        return self.width == 1 and self.rows > 1 and not self.tags

    @property
    def labeled(self) -> bool:
        """Whether these are surely words with tags."""
        return bool(self.tags) and (self.rows > 1 or self.marked)

    @property
    def tag(self) -> int | None:
        """The column of tags that is proposed: the last, but beside running numbers (GermEval) the first after the words."""
        if not self.tags:
            return None
        return self.tags[0] if self.numbers is not None else self.tags[-1]

    def problem(self, word: int, tag: int | None) -> str:
        """Why these columns cannot be meant, with a proposal; "" if nothing speaks against them, or nothing is better."""
        place = word % self.width if -self.width <= word < self.width else None
        if place is None:
            wrong = f"only {counted(self.width, 'column')}"
        elif place == self.numbers:
            wrong = "a running number"
        elif place in self.steady and self.rows > 4:
            wrong = "the same in all rows of a sentence"
        elif place in self.tags and self.rows > 2:
            wrong = "tags"
        else:
            if tag is None or not self.tags or not -self.width <= tag < self.width or tag % self.width in self.taglike:
                return ""
            return f"expected tags in column {_ordinal(tag or 0, self.width)}, got others; {self.proposal()}"
        if self.words is None or self.words == place:
            return ""
        return f"expected words in column {_ordinal(word, self.width)}, got {wrong}; {self.proposal()}"

    def proposal(self) -> str:
        """Where words and tags seem to be, with the options that say so."""
        tag = self.tag
        said = [f"column {self.numbers + 1} is a running number"] if self.numbers is not None else []
        if self.words is not None:
            said.append(f"words seem to be in column {self.words + 1}" + (f", tags in {tag + 1}" if tag is not None else ""))
        options = f"--word-column {self.words}" + (f" --tag-column {tag}" if tag is not None else "")
        return f"{'; '.join(said)}: {options}"


def _ordinal(column: int, width: int) -> str:
    return str(column + 1) if column >= 0 else str(max(1, width + column + 1))


def layout(lines: Sequence[str], *, least: float = 0.6) -> Layout | None:
    """What the columns hold, or None where not even ``least`` of the lines have one number of columns."""
    tabs = sum("\t" in line.strip(" \t") for line in lines) * 2 > sum(bool(line.strip(" \t")) for line in lines)
    sentences = _without_parts(_rows(lines, tabs))
    rows = [row for sentence in sentences for row in sentence]
    if not rows:
        return None
    widest = Counter(map(len, rows)).most_common(1)[0][0]
    width = max((i + 1 for row in rows if len(row) == widest for i, field in enumerate(row) if field), default=0)
    sentences = [[cut for row in sentence if len(cut := without_empty(row, width)) == width] for sentence in sentences]
    if not width or sum(map(len, sentences)) < least * len(rows):
        return None
    columns = list(zip(*(row for sentence in sentences for row in sentence), strict=True))
    numbers = next((i for i in range(width) if _runs([[row[i] for row in each] for each in sentences if each])), None)
    tags = tuple(i for i in range(width) if _share(_TAG, columns[i]) >= ENOUGH and _has_outside(columns[i]))
    numeric = tuple(i for i in range(width) if _share(_NUMERIC, columns[i]) >= ENOUGH)
    long = [sentence for sentence in sentences if len(sentence) > 2]
    steady = tuple(i for i in range(width) if long and all(len({row[i] for row in sentence}) == 1 for sentence in long))
    text = [i for i in range(width) if i not in (*tags, *numeric, *steady, numbers) and len(set(columns[i])) > 1]
    after = [i for i in text if numbers is None or i > numbers]
    lengths = [sum(field.count(" ") + 1 for field in column) / len(column) for column in columns]
    return Layout(
        width=width,
        rows=len(columns[0]),
        tabs=tabs,
        numbers=numbers,
        tags=tags,
        taglike=tuple(i for i in range(width) if _share(_TAG, columns[i]) > 0.5),
        steady=steady,
        numeric=numeric,
        words=next(iter(after or text), None),
        text=lengths.index(max(lengths)),
        longest=max(lengths),
        sentences=len(sentences),
        marked=any(line.startswith(DOCSTART) for line in lines),
    )


def _rows(lines: Sequence[str], tabs: bool) -> list[list[list[str]]]:
    """Sentences of rows of columns, without comments and -DOCSTART- rows."""
    found: list[list[list[str]]] = [[]]
    for line in lines:
        text = line.strip(" \t")
        if not text:
            found.append([])
        elif not (text.startswith(DOCSTART) or (text.startswith("#") and not found[-1])):
            row = [field.strip(" ") for field in line.split("\t")] if tabs else _BLANKS.split(text)
            found[-1].append(row)
    return [sentence for sentence in found if sentence]


def _without_parts(sentences: list[list[list[str]]]) -> list[list[list[str]]]:
    """The sentences without CoNLL-U's rows that are no words; as they are where the first column is no running number."""
    words = [kept for sentence in sentences if (kept := [row for row in sentence if not is_part(row[0])])]
    return words if _runs([[row[0] for row in sentence] for sentence in words]) else sentences


def without_empty(row: list[str], width: int) -> list[str]:
    """A row without the empty columns that it has beyond ``width``: a trailing tab makes no column."""
    end = len(row)
    while end > width and not row[end - 1]:
        end -= 1
    return row[:end]


def _share(pattern: re.Pattern[str], column: Sequence[str]) -> float:
    return sum(pattern.fullmatch(field) is not None for field in column) / len(column)


def _has_outside(column: Sequence[str]) -> bool:
    """Whether letters are tags, no letters that happen to stand there: one is O, or has a type."""
    return any(field == "O" or "-" in field for field in column)


def _runs(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether a column counts 1, 2, 3 (or from 0) in every sentence, as CoNLL-U and GermEval do, or through the file."""
    if not all(_NUMBER.fullmatch(field) and len(field) < 9 for column in sentences for field in column):
        return False
    numbers = [[int(field) for field in column] for column in sentences]
    through = [number for column in numbers for number in column]
    if len(through) < 3 or all(len(column) == 1 for column in numbers):
        return False
    return _consecutive(through) or all(map(_consecutive, numbers))


def _consecutive(numbers: Sequence[int]) -> bool:
    """Whether these are 1, 2, 3, … or 0, 1, 2, …"""
    return numbers[0] < 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def is_numeric(field: str) -> bool:
    """Whether a field is a number, or made of digits and the marks between them."""
    return _NUMERIC.fullmatch(field) is not None


def is_part(number: str) -> bool:
    """Whether a number of CoNLL-U marks a token of several words (1-2) or an empty node (1.1), no word of its own."""
    return _PART.fullmatch(number) is not None
