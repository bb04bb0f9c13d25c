"""What predict reads: text, sentences, CoNLL files and JSON lines, as a stream of passages with their tokens.

- ``text``       a paragraph a line, cut into sentences
- ``sentences``  a sentence a line
- ``conll``      CoNLL's columns (ner/corpus/conll.py); the tag column is optional and not read
- ``jsonl``      a JSON object a line; one entry holds the text (a paragraph) or the tokens of a sentence

What a file is, word2vec/text/file_kinds.py tells. Lines end with LF, CRLF or CR, everything is UTF-8. A passage is what is
written back together: a line, or a CoNLL sentence. Only one passage is held at a time.
"""

from __future__ import annotations

import json
import math
import os
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from ner.corpus.conll import Columns, Sentence, iter_conll
from ner.corpus.layout import KeptLines
from ner.inputs.document import Numbering
from training.errors import DataError
from training.visible import shortened
from word2vec.text.file_kinds import (
    COLUMNS,
    COMMAS,
    EMPTY,
    JSON_LINES,
    JSON_LIST,
    JSON_OBJECT,
    STDIN,
    TABLE,
    TEXT,
    FileKind,
    decoded,
)
from word2vec.text.file_kinds import opened as open_file
from word2vec.text.tokenize import Token, pretokenized, sentences, tokenize

FORMS = ("text", "sentences", "conll", "jsonl")
LONGEST = 1 << 24  # bytes of a line
LONGEST_SENTENCE = 1000  # tokens; text without a sentence's end for so long is cut there
KEYS = ("text", "tokens")


@dataclass(frozen=True)
class Passage:
    """A text with the tokens of its sentences, ``text[t.start:t.end] == t.text``.

    ``values`` are the entries that its JSON line has. ``rows`` is the CoNLL sentence it was, None for others;
    ``given`` says that its tokens, not its text, are what was read: the text is then the tokens with spaces between.
    Passages of one ``document``, a number from 1 that never falls, are to be tagged together: a CoNLL file has such.

    ``form``, one of FORMS, and ``lines`` are those that it was read from, with their ends; ``before`` are the comments and
    blank lines between it and the one before. A passage without lines holds what stands behind the last one.
    """

    text: str
    sentences: list[list[Token]]
    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    rows: Sentence | None = None
    given: bool = False
    document: int = 0
    form: str = "text"
    lines: tuple[str, ...] = ()
    before: str = ""


def form_of(source: str, kind: FileKind) -> str:
    """The form that a file has: "conll", "jsonl" or "text"; DataError for what predict does not read."""
    remedies = {
        JSON_LIST: "write an object a line: jq -c '.[]' FILE > NEW",
        JSON_OBJECT: "write an object a line: jq -c . FILE > NEW",
        TABLE: f"{kind.remedy}, or name the form with --input",
        COMMAS: f"{kind.remedy}, or name the form with --input",
    }
    kind.check(source, "text, CoNLL columns or JSON lines", TEXT, COLUMNS, JSON_LINES, EMPTY, **remedies)
    if kind.kind == JSON_LINES:
        return "jsonl"
    return "conll" if kind.kind == COLUMNS or (kind.kind == EMPTY and kind.named) else "text"


class Lines:
    """The lines of a stream as bytes, with their ends, as soon as they are there. DataError for one that is too long.

    ``done`` counts the bytes of those that were taken; ``total`` is how many there are, 0 where that cannot be known.
    """

    def __init__(self, stream: BinaryIO, name: str, total: int = 0, kind: FileKind | None = None) -> None:
        self.stream, self.name, self.total, self.done, self.kind = stream, name, total, 0, kind
        self._ready: list[bytes] = []  # whole lines, the next one last
        self._begun: list[bytes] = []  # the blocks of a line whose end is not read yet
        self._number = 0
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def __iter__(self) -> Iterator[bytes]:
        size = 0  # of the line that is begun
        while True:
            while self._ready:
                self._number += 1
                self.done += len(self._ready[-1])
                yield self._ready.pop()
            try:
                block = self._read(1 << 16)
            except OSError as error:
                raise DataError(f"{self.name}: expected text to tag, cannot read it: {error.strerror}") from None
            if not block:
                break
            *lines, rest = block.split(b"\n")
            if lines:
                lines[0] = b"".join([*self._begun, lines[0]])
                self._ready = [line + b"\n" for line in reversed(lines)]
                self._begun, size = [], 0
            self._begun.append(rest)
            size += len(rest)
            if size > LONGEST:
                at = f"{self.name}:{self._number + len(self._ready) + 1}"
                raise DataError(f"{at}: expected lines of at most {LONGEST:,} bytes, got a longer one; a paragraph a line")
        if rest := b"".join(self._begun):
            self._number += 1
            self.done += len(rest)
            yield rest

    def waiting(self) -> bool:
        """Whether the next line would have to be waited for, as where somebody types."""
        if self._ready:
            return False
        try:
            return not select.select([self.stream], [], [], 0)[0]
        except (OSError, ValueError, TypeError):  # no file descriptor: it is all there
            return False


def read_passages(
    lines: Lines, form: str, columns: Columns, key: str | None = None, split_words: bool = False
) -> Iterator[Passage]:
    """The passages of a stream in one of FORMS.

    ``key``: the JSON entry that holds the text or the tokens; None takes "text", or else "tokens". ``split_words``: words
    are apart by white space already. DataError (file:line) for what is not of the form.
    """
    if form == "conll":
        yield from _conll_passages(lines, columns)
        return
    offset, count, before = 0, 0, list[str]()
    for count, (where, line, end) in enumerate(_split_ends(lines), 1):
        if form == "jsonl":
            if not line.strip():
                before.append(line + end)
                continue
            read = _json_passage(line, where, key, split_words)
            yield replace(read, document=count, form=form, lines=(line + end,), before="".join(before))
            before = []
        else:
            tokens = _tokens(line, split_words)
            parts = [tokens] if form == "sentences" and tokens else _sentences(tokens)
            values = {"text": line, "offset": offset}
            yield Passage(line, parts, where, values, document=count, form=form, lines=(line + end,))
        offset += len(line) + len(end)
    if before:
        yield Passage("", [], lines.name, document=count + 1, form=form, before="".join(before))


def _conll_passages(lines: Lines, columns: Columns) -> Iterator[Passage]:
    number, kept, document = Numbering(), KeptLines(lines), 0
    for sentence in iter_conll(kept, lines.name, columns=Columns(columns.word, None), kind=lines.kind):
        before, rows = kept.of(sentence)
        document = number(sentence) + 1
        values = {"tokens": list(sentence.words)}
        where = sentence.where()
        yield Passage(*_joined(sentence.words), where, values, sentence, True, document, "conll", rows, before)
    if rest := kept.rest():
        yield Passage("", [], lines.name, document=document + 1, form="conll", before=rest)


def _split_ends(lines: Lines) -> Iterator[tuple[str, str, str]]:
    """(file:line, the line without its end, its end)."""
    for number, text in decoded(lines, lines.name, lines.kind):
        line = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        yield f"{lines.name}:{number}", line, text[len(line) :]


def cut_text(text: str, split_words: bool = False) -> list[list[Token]]:
    """The sentences of raw text; a blank line ends one, a single line end is a space."""
    tokens = _tokens(text, split_words)
    if "\n" not in text:
        return _sentences(tokens)
    begins = [0, *(i for i in range(1, len(tokens)) if text.count("\n", tokens[i - 1].end, tokens[i].start) > 1)]
    pairs = zip(begins, [*begins[1:], len(tokens)], strict=True)
    return [part for first, last in pairs for part in _sentences(tokens[first:last])]


def _tokens(text: str, split_words: bool) -> list[Token]:
    if not split_words:
        return tokenize(text)
    tokens, end = [], 0
    for word in pretokenized(text):
        start = text.index(word, end)
        end = start + len(word)
        tokens.append(Token(word, start, end))
    return tokens


def _sentences(tokens: list[Token]) -> list[list[Token]]:
    """The sentences of a paragraph, the longest cut: a page of numbers is not one sentence."""
    parts = sentences(tokens)
    return [part[i : i + LONGEST_SENTENCE] for part in parts for i in range(0, len(part), LONGEST_SENTENCE)]


def _joined(words: tuple[str, ...] | list[str]) -> tuple[str, list[list[Token]]]:
    """Words with a space between, and where each of them stands."""
    tokens, at = [], 0
    for word in words:
        tokens.append(Token(word, at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), [tokens] if tokens else []


def _json_passage(line: str, where: str, key: str | None, split_words: bool) -> Passage:
    try:
        values = json.loads(line, parse_int=_whole_number, parse_constant=_no_number)
    except RecursionError:
        raise DataError(f"{where}: expected a JSON object, got JSON that is nested too deep") from None
    except ValueError as error:
        raise DataError(f"{where}: expected a JSON object, got {shortened(str(error), 200)}") from None
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(values).__name__}")
    wanted = [key] if key else list(KEYS)
    found = next((name for name in wanted if name in values), None)
    if found is None:
        there = shortened(json.dumps(list(values)), 80)
        raise DataError(f"{where}: expected an entry {' or '.join(wanted)}, got {there}; name the right one with --key")
    given = values[found]
    words = given if isinstance(given, list) else [given]
    if not all(isinstance(word, str) and _is_unicode(word) for word in words) or (words is given and "" in words):
        expected = f"expected {found} to be a text, or a list of words"
        raise DataError(f"{where}: {expected}, got {shortened(json.dumps(given), 80)}")
    if isinstance(given, list):
        return Passage(*_joined(given), where, values, None, True)
    return Passage(given, cut_text(given, split_words), where, values)


def _whole_number(text: str) -> int | float:
    """A whole number of any length; one that Python's int would refuse is only looked at, never written."""
    return int(text) if len(text) < 1000 else math.inf


def _no_number(name: str) -> float:
    raise ValueError(f"{name}, which is no JSON; write null or a text in its place")


def _is_unicode(text: str) -> bool:
    """Not so where JSON names half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def opened(source: str) -> Iterator[Lines]:
    """The lines of a file, or of standard input for "-". DataError where it cannot be read."""
    with open_file(source, "a file to tag", wait=source != "-") as stream:
        name = STDIN if source == "-" else source
        measured = source != "-" and not stream.kind.compression  # else nobody knows how many bytes there will be
        yield Lines(stream, name, os.fstat(stream.file.fileno()).st_size if measured else 0, stream.kind)
