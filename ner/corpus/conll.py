"""CoNLL-like files: one word a line with its tag, sentences apart by blank lines.

The rules of the format, so that nothing is guessed:

- UTF-8, with or without a byte-order mark; lines end with LF, CRLF or CR; the last one may lack its end.
- If the first row holds a tab, columns are apart by single tabs (words may hold spaces, columns may be empty, spaces
  around a column are dropped); else by runs of spaces and tabs. Other white space, U+00A0 for one, belongs to the word.
- Every row has as many columns as the first. The word is the first column and the tag the last, unless told otherwise.
- A line of nothing but spaces and tabs ends a sentence; several are as one.
- A line that starts with "# " or "#\\t", or is "#", is a comment if it stands before a sentence's first word and could
  not be a row: another number of columns, or no tag in the tag column. ("# O" is the word # in a file of two columns.)
- A row whose word (or first column) is -DOCSTART- starts a document, whatever its other columns are. It is a sentence
  of its own, as in CoNLL-2003, and can be dropped.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from ner.corpus.scheme import check, convert, detect, is_tag, parse_tag, repair, to_spans
from training.errors import ConfigError, DataError
from training.files import atomic_write
from training.visible import shortened
from word2vec.text.file_columns import Layout, is_numeric, is_part, without_empty
from word2vec.text.file_kinds import (
    COLUMNS,
    COMMAS,
    EMPTY,
    JSON_LINES,
    JSON_LIST,
    JSON_OBJECT,
    OTHER,
    TABLE,
    TEXT,
    FileKind,
    decide,
    decoded,
    opened,
)

DOCSTART = "-DOCSTART-"
EXPECTED = "a CoNLL file"
_BLANKS = re.compile("[ \t]+")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a file.

    Args:
        words: its words.
        tags: as many tags, or none if the file was read without them.
        line: the line of the first word, from 1; the other words are on the following lines.
        path: the file.
        columns: every column of every word as read, to write the file back.
        document: how many -DOCSTART- rows stand before it, itself included.
        separator: what stands between columns.
        lines: those of the words, where other rows stand between them (CoNLL-U's 1-2 and 1.1).

    Example:
        >>> from ner import Sentence
        >>> sentence = Sentence(("Ada", "ran"), ("B-PER", "O"), line=7, path="a.conll")
        >>> sentence.where(1)
        'a.conll:8'
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    line: int = 1
    path: str = ""
    columns: tuple[tuple[str, ...], ...] = ()
    document: int = 0
    separator: str = " "
    lines: tuple[int, ...] = ()

    @property
    def is_docstart(self) -> bool:
        """Whether this is a -DOCSTART- row, no sentence of the text."""
        return self.words == (DOCSTART,)

    def where(self, index: int = 0) -> str:
        """ "file:line" of the word ``index``, for messages."""
        return f"{self.path}:{self.line_of(index)}"

    def line_of(self, index: int) -> int:
        """The line of the word ``index``, from 1."""
        return self.lines[index] if self.lines else self.line + index


@dataclass(frozen=True)
class Columns:
    """The columns of the word and the tag in a row.

    Args:
        word: the word's column, from 0, or from the end if negative.
        tag: the tag's, likewise; None where no tags are read.
        free: those of "word" and "tag" that were not given: another column is used if the content contradicts them and
            has a fitting one.

    Raises:
        ConfigError: both are the same.

    Example:
        >>> from ner import Columns
        >>> Columns(word=1, tag=-1).needed()
        3
    """

    word: int = 0
    tag: int | None = -1
    free: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.word == self.tag:
            raise ConfigError(f"columns: expected the word and the tag in two columns, got {self.word} for both")

    @classmethod
    def asked(cls, word: int | None = None, tag: int | None = None) -> Columns:
        """Those that are given; for None the first or the last, or what the content says."""
        free = tuple(name for name, column in (("word", word), ("tag", tag)) if column is None)
        return cls(0 if word is None else word, -1 if tag is None else tag, free)

    def without_tags(self) -> Columns:
        """The same with tags that are not read."""
        return replace(self, tag=None, free=tuple(name for name in self.free if name == "word"))

    def seen(self, layout: Layout | None) -> tuple[Columns, str]:
        """The columns for a file of this layout, and a line that says what was guessed, or ""."""
        if layout is None or not self.free or not layout.problem(self.word, self.tag):
            return self, ""
        word = layout.words if "word" in self.free and layout.words is not None else self.word
        tag = layout.tag if "tag" in self.free and layout.tag is not None else self.tag
        if (word == self.word and tag == self.tag) or word == tag or layout.problem(word, tag):
            return self, ""
        read = f"words are read from column {word % layout.width + 1}"
        read += f", tags from {tag % layout.width + 1}" if tag is not None else ""
        options = f"--word-column {word}" + (f" --tag-column {tag}" if tag is not None else "")
        return Columns(word, tag), f"{read}, as its first rows show; give {options} to confirm this, or other columns"

    def needed(self) -> int:
        """The least number of columns that a row must have."""
        indices = [index for index in (self.word, self.tag) if index is not None]
        width = max(index + 1 if index >= 0 else -index for index in indices)
        return width if len({index % width for index in indices}) == len(indices) else width + 1


Row = tuple[int, list[str]]  # line number, columns


def read_conll(
    path: str | Path, *, columns: Columns | None = None, docstart: str = "keep", separator: str = "auto"
) -> list[Sentence]:
    """All sentences of a CoNLL file; the rules of the format stand at the top of this module.

    Args:
        path: the file, in UTF-8, compressed or not.
        columns: the columns of the word and the tag; None for the first and the last.
        docstart: how to treat -DOCSTART- rows, "keep" (each a sentence) or "drop".
        separator: what stands between columns, "tab", "space", or "auto" by the first row.

    Returns:
        The sentences in order, at least one.

    Raises:
        DataError: with file:line, for a missing file, a folder, bad UTF-8, ragged columns, a missing or impossible tag, and
            for a file without sentences.

    Example:
        >>> from ner import read_conll
        >>> read_conll("data/sample/test.conll")[0].words[:4]
        ('-DOCSTART-',)
    """
    name = str(path)
    with opened(path, EXPECTED) as stream:
        found = iter_conll(stream, name, columns=columns, docstart=docstart, separator=separator, kind=stream.kind)
        sentences = list(found)
    if not sentences:
        raise DataError(f"{name}: expected sentences, got none (an empty file, or only blank lines and comments)")
    return sentences


def iter_conll(
    lines: Iterable[bytes],
    name: str,
    *,
    columns: Columns | None = None,
    docstart: str = "keep",
    separator: str = "auto",
    problems: list[str] | None = None,
    kind: FileKind | None = None,
) -> Iterator[Sentence]:
    """The sentences of an open binary stream one by one, as ``read_conll``; ``name`` stands in messages.

    With a list for ``problems``, what is wrong with rows is appended there, and their sentences are left out. ``kind`` is
    what the stream is: what holds no columns, and columns of something else than words, are a DataError.
    """
    columns, unread = columns or Columns(), set[int]()
    if docstart not in ("keep", "drop") or separator not in ("auto", "tab", "space"):
        what = "expected docstart keep or drop and separator auto, tab or space"
        raise ConfigError(f"{name}: {what}, got {docstart!r} and {separator!r}")
    if kind:
        remedies = dict.fromkeys(
            (JSON_LINES, JSON_LIST, JSON_OBJECT), "write its words and tags in columns: data convert FILE NEW.conll"
        )
        kind.check(name, EXPECTED, COLUMNS, TEXT, TABLE, COMMAS, EMPTY, **remedies)
        if kind.layout and (problem := kind.layout.problem(columns.word, columns.tag)):
            raise DataError(f"{name}: {problem}")
    form, numbered = _form(_numbered(lines, name, problems, unread, kind), name, columns, separator, kind)
    row: list[Row] = []
    document, wrong = 0, False
    for number, line in numbered:
        fields = form.split(line)
        marks = bool(fields) and form.marks_document(fields)
        if (marks or not fields) and row:
            if not wrong:
                yield form.sentence(row, document)
            row, wrong = [], False
        if marks:
            document += 1
            if docstart == "keep":
                yield form.sentence([(number, fields)], document, docstart=True)
        elif fields and (row or not form.is_comment(line, fields)) and not form.is_part(fields):
            try:
                form.check_row(number, fields)
            except DataError as error:
                wrong = _note(error, problems)
            wrong = wrong or number in unread
            row.append((number, fields))
    if row and not wrong:
        yield form.sentence(row, document)


def _note(error: DataError, problems: list[str] | None) -> bool:
    """True with the error's message in ``problems``; without such a list the error is raised."""
    if problems is None:
        raise error from None
    problems.append(str(error))
    return True


def _numbered(
    lines: Iterable[bytes], name: str, problems: list[str] | None, unread: set[int], kind: FileKind | None
) -> Iterator[tuple[int, str]]:
    """(line number, text without its end). One that is not UTF-8: DataError, or in ``problems`` and ``unread``."""
    lines = iter(lines)
    first = list(itertools.islice(lines, 1))
    if first and kind is None:
        kind = decide(first[0], whole=False)
        if kind.kind == OTHER:
            kind.check(f"{name}:1", EXPECTED)

    def note(number: int, error: DataError) -> None:
        _note(error, problems)
        unread.add(number)

    for number, text in decoded(itertools.chain(first, lines), name, kind, note):
        text = text.removesuffix("\n").rstrip("\r")
        if "\r" in text:
            raise DataError(f"{name}:{number}: expected lines that end with LF or CRLF, got a bare CR within a line")
        yield number, text


def _is_hash(line: str) -> bool:
    return line == "#" or line.startswith(("# ", "#\t"))


@dataclass(frozen=True)
class _Form:
    """What the first row says about all rows of a file."""

    name: str
    columns: Columns
    tabs: bool
    width: int
    first: int  # the line that the width comes from
    judge: int | None  # the column that tells comments from rows: the tag's; unread, the last if it looks like one
    numbers: int | None = None  # the column of running numbers, as in CoNLL-U

    def split(self, line: str) -> list[str]:
        """The columns of a line; none if it is blank."""
        line = line.strip(" \t") if not self.tabs or not line.strip(" \t") else line.rstrip(" ")
        if not line:
            return []
        fields = [field.strip(" ") for field in line.split("\t")] if self.tabs else _BLANKS.split(line)
        return without_empty(fields, self.width) if self.width else fields

    def is_part(self, fields: list[str]) -> bool:
        """Whether a row of CoNLL-U is no word: a token of several words (1-2) or an empty node (1.1)."""
        return self.numbers is not None and len(fields) > self.numbers and is_part(fields[self.numbers])

    def marks_document(self, fields: list[str]) -> bool:
        """Whether a row starts a document; in a file of tabs its columns may be apart by spaces."""
        first, word = fields[0], self.columns.word
        if first == DOCSTART or first.startswith(DOCSTART + " "):
            return True
        return len(fields) == self.width and fields[word] == DOCSTART

    def is_comment(self, line: str, fields: list[str]) -> bool:
        """Whether a line before a sentence's first word is a comment (the module's rule)."""
        if self.numbers is not None and line.startswith("#"):
            return len(fields) <= self.numbers or not fields[self.numbers].isdecimal()
        if not _is_hash(line):
            return False
        return len(fields) != self.width or (self.judge is not None and not is_tag(fields[self.judge]))

    def check_row(self, number: int, fields: list[str]) -> None:
        """DataError unless the row has the width, a word and a possible tag."""
        where = f"{self.name}:{number}"
        if len(fields) != self.width:
            apart = "tabs" if self.tabs else "spaces"
            hint = "; a comment may only stand before a sentence" if fields[0] == "#" else ""
            raise DataError(
                f"{where}: expected {self.width} columns separated by {apart} as in line {self.first}, "
                f"got {len(fields)}: {quoted(fields)}{hint}"
            )
        if not fields[self.columns.word]:
            raise DataError(f"{where}: expected a word, got an empty column: {quoted(fields)}")
        if self.columns.tag is not None:
            try:
                parse_tag(fields[self.columns.tag])
            except ValueError as error:
                raise DataError(f"{where}: {error} in column {self.columns.tag % self.width + 1}") from None

    def sentence(self, rows: Sequence[Row], document: int, docstart: bool = False) -> Sentence:
        """The rows as a sentence; a -DOCSTART- row, whatever its columns are, as one word with the tag O."""
        word, tag = self.columns.word, self.columns.tag
        lines = tuple(number for number, _ in rows)
        return Sentence(
            words=(DOCSTART,) if docstart else tuple(fields[word] for _, fields in rows),
            tags=() if tag is None else ("O",) if docstart else tuple(fields[tag] for _, fields in rows),
            line=rows[0][0],
            path=self.name,
            columns=tuple(tuple(fields) for _, fields in rows),
            document=document,
            separator="\t" if self.tabs else " ",
            lines=() if lines[-1] - lines[0] == len(lines) - 1 else lines,
        )


def _form(
    numbered: Iterator[tuple[int, str]], name: str, columns: Columns, separator: str, kind: FileKind | None
) -> tuple[_Form, Iterator[tuple[int, str]]]:
    """The form of the first line that must be a row, and all lines again; DataError if it has too few columns.

    Lines that may be comments and -DOCSTART- rows say nothing, unless the file has no others.
    """
    seen: list[tuple[int, str]] = []
    chosen: tuple[int, str] | None = None
    for number, line in numbered:
        seen.append((number, line))
        if line.strip(" \t") and not _is_hash(line) and not line.lstrip(" \t").startswith(DOCSTART):
            chosen = (number, line)
            break
    number, line = chosen or next(((n, text) for n, text in seen if text.strip(" \t")), (1, ""))
    tabs = separator == "tab" or (separator == "auto" and "\t" in line.strip(" \t"))
    seems = kind.layout if kind and kind.layout and kind.layout.tabs == tabs else None
    numbers = seems.numbers if seems and seems.numbers != columns.word else None
    form = _Form(name, columns, tabs, seems.width if seems else 0, number, columns.tag, numbers)
    fields = form.split(line)
    if fields and chosen and len(fields) < columns.needed():
        wanted = "a word" if columns.tag is None else "a word and its tag"
        raise DataError(
            f"{name}:{number}: expected {wanted} in at least {columns.needed()} columns, separated by tabs or spaces, "
            f"got {len(fields)}: {quoted(fields)}"
        )
    judge = -1 if columns.tag is None and len(fields) > 1 and is_tag(fields[-1]) else columns.tag
    width = max(len(fields), columns.needed())
    return replace(form, width=width, judge=judge), itertools.chain(seen, numbered)


def quoted(fields: Sequence[str]) -> str:
    """The beginning of a row or a sentence, for a message."""
    return repr(shortened(" ".join(fields), 60, "..."))


def entities_by_type(sentences: Iterable[Sentence]) -> Counter[str]:
    """How many entities of each type there are; the tags may be of any scheme."""
    return Counter(span.type for sentence in sentences for span in to_spans(sentence.tags))


def number_words(sentences: Iterable[Sentence]) -> str:
    """A warning, where nearly all words are numbers: the word column may be another one; else ""."""
    words = [word for sentence in sentences if not sentence.is_docstart for word in sentence.words]
    numbers = sum(map(is_numeric, words))
    if numbers <= 2 or numbers < 0.95 * len(words):
        return ""
    return f"{numbers:,} of {len(words):,} words are numbers; if words are in another column, name it: --word-column, from 0"


def format_sentence(sentence: Sentence, predicted: Sequence[str] | None = None) -> str:
    """The sentence's rows as in its file, ``predicted`` tags as one more last column, and the blank line that ends it.

    DataError if a column is empty or holds what would break the row (a line's end, or the separator).
    """
    rows = sentence.columns or tuple(zip(sentence.words, *([sentence.tags] if sentence.tags else []), strict=True))
    if predicted is not None:
        rows = tuple((*row, tag) for row, tag in zip(rows, predicted, strict=True))
    separator = sentence.separator
    lines = []
    for index, row in enumerate(rows):
        line = separator.join(row)
        parts = line.split("\t") if separator == "\t" else _BLANKS.split(line)
        if len(parts) != len(row) or "\n" in line or "\r" in line or (separator == " " and "" in row):
            raise DataError(f"{sentence.where(index)}: expected words and tags that columns can hold, got {row!r}")
        lines.append(line + "\n")
    return "".join(lines) + "\n"


def write_conll(
    target: str | Path | TextIO, sentences: Iterable[Sentence], predicted: Iterable[Sequence[str]] | None = None
) -> None:
    """Write sentences as their files had them, or as words and tags where they come from none; see ``format_sentence``.

    Args:
        target: an open text stream, which gets them one by one, or a path, which is written whole or not at all.
        sentences: what to write.
        predicted: for each of them its predicted tags, as one more last column.

    Raises:
        DataError: a column that would break its row.

    Example:
        >>> import sys
        >>> from ner import Sentence, write_conll
        >>> write_conll(sys.stdout, [Sentence(("Ada", "ran"), ("B-PER", "O"))], [["B-PER", "O"]])
        Ada B-PER B-PER
        ran O O
        <BLANKLINE>
    """
    tags: Iterable[Sequence[str] | None] = itertools.repeat(None) if predicted is None else predicted
    texts = (format_sentence(each, row) for each, row in zip(sentences, tags, strict=predicted is not None))
    if isinstance(target, str | Path):
        atomic_write(target, "".join(texts))
    else:
        target.writelines(texts)


def to_scheme(
    sentences: Sequence[Sentence], target: str, *, source: str | None = None, mend: bool = False
) -> tuple[list[Sentence], int]:
    """The sentences with their tags in scheme ``target``, and how many tags were mended on the way.

    ``source`` None detects the scheme (ner/corpus/scheme.py's rule): give the one of the training split for the others. Tags
    that break it are a DataError with file:line, unless ``mend`` asks to read them as conlleval. Harmless faults, which
    have one reading, are no error and are not counted.
    """
    source = source or detect(sentence.tags for sentence in sentences).scheme
    done: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
    for sentence in sentences:
        if sentence.tags in done:
            continue
        fault = next((each for each in check(sentence.tags, source) if not each.harmless), None)
        if fault and not mend:
            raise DataError(
                f"{sentence.where(fault.index)}: expected {source} tags, but {fault.what}; "
                "data check shows all faults, data repair writes a mended file"
            )
        tags, changes = repair(sentence.tags, source)
        done[sentence.tags] = tuple(convert(tags, source, target)), changes if fault else 0
    result = [replace(sentence, tags=done[sentence.tags][0]) for sentence in sentences]
    return result, sum(done[sentence.tags][1] for sentence in sentences)
