"""What predict reads: text, sentences, CoNLL files and JSON lines, as a stream of passages with their tokens.

- ``text``       a paragraph a line, cut into sentences
- ``sentences``  a sentence a line
- ``conll``      CoNLL's columns (ner/corpus/conll.py); the tag column is optional and not read
- ``jsonl``      a JSON object a line, or a list of them; one entry holds the text, or the tokens of a sentence

What a file is, word2vec/text/file_kinds.py tells. Lines end with LF, CRLF or CR, everything is UTF-8. A passage is what is
written back together: a line, or a CoNLL sentence. Only one passage is held at a time.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from ner.corpus import brat
from ner.corpus.conll import Columns, Sentence, iter_conll
from ner.corpus.cut import cut_paragraph, cut_text, joined, text_tokens
from ner.corpus.json_lines import is_unicode, one_a_line, parse_json_line, whole_number
from ner.corpus.layout import KeptLines
from ner.corpus.records import as_object, text_and_sentences
from ner.inputs.document import Numbering
from training.errors import DataError
from training.files import distinct
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
from word2vec.text.tokenize import Token

FORMS = ("text", "sentences", "conll", "jsonl")
LONGEST = 1 << 24  # bytes of a line
KEYS = ("text", "tokens")
JSON = (JSON_LINES, JSON_LIST, JSON_OBJECT)


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
        TABLE: f"{kind.remedy}, or name the form with --input",
        COMMAS: f"{kind.remedy}, or name the form with --input",
    }
    kind.check(source, "text, CoNLL columns or JSON lines", TEXT, COLUMNS, *JSON, EMPTY, **remedies)
    if kind.kind in JSON:
        return "jsonl"
    return "conll" if kind.kind == COLUMNS or (kind.kind == EMPTY and kind.named) else "text"


class Lines:
    """The lines of a stream as bytes, with their ends, as soon as they are there. DataError for one that is too long.

    ``done`` counts the bytes of those that were taken; ``total`` is how many there are, 0 where that cannot be known.
    """

    def __init__(self, stream: BinaryIO, name: str, total: int = 0, kind: FileKind | None = None) -> None:
        self.stream, self.name, self.total, self.done, self.kind = stream, name, total, 0, kind
        self.whole = kind is not None and kind.kind in (JSON_LIST, JSON_OBJECT)  # its lines are no passages
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
            if size > LONGEST and not self.whole:
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
    for count, (where, line, end) in enumerate(
        _json_ends(lines) if form == "jsonl" and lines.whole else _split_ends(lines), 1
    ):
        if form == "jsonl":
            if not line.strip():
                before.append(line + end)
                continue
            line = _as_object(line)
            read = _json_passage(line, where, key, split_words)
            yield replace(read, document=count, form=form, lines=(line + end,), before="".join(before))
            before = []
        else:
            tokens = text_tokens(line, split_words)
            parts = [tokens] if form == "sentences" and tokens else cut_paragraph(tokens)
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
        yield Passage(*joined(sentence.words), where, values, sentence, True, document, "conll", rows, before)
    if rest := kept.rest():
        yield Passage("", [], lines.name, document=document + 1, form="conll", before=rest)


def _json_ends(lines: Lines) -> Iterator[tuple[str, str, str]]:
    """(file:line, JSON text, line end) of records that stand as a line or not."""
    for number, text in one_a_line(lines, lines.name, lines.kind):
        yield f"{lines.name}:{number}", text, "\n"


def _split_ends(lines: Lines) -> Iterator[tuple[str, str, str]]:
    """(file:line, the line without its end, its end)."""
    for number, text in decoded(lines, lines.name, lines.kind):
        line = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        yield f"{lines.name}:{number}", line, text[len(line) :]


def _as_object(line: str) -> str:
    """A JSON line; of one that is a text and its annotations (spaCy's pairs) an object with both."""
    if not line.lstrip(" \t").startswith("["):
        return line
    try:
        value = json.loads(line, parse_int=whole_number, object_pairs_hook=distinct)
    except (ValueError, RecursionError):
        return line  # who reads it says what is wrong
    found = as_object(value)
    return line if found is value else json.dumps(found, ensure_ascii=False)


def _is_record(values: Mapping[str, Any]) -> bool:
    """Whether a record of annotations (ner/corpus/records.py) says more than a text, or a list of words, alone."""
    if "text" not in values and "tokens" not in values:
        return isinstance(values.get("data"), str | dict)
    return isinstance(values.get("text"), str) and any(isinstance(values.get(name), list) for name in ("tokens", "sents"))


def _json_passage(line: str, where: str, key: str | None, split_words: bool) -> Passage:
    values = parse_json_line(line, where)
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(values).__name__}")
    if key is None and not split_words and _is_record(values):
        text, parts, given = text_and_sentences(values, where)
        return Passage(text, parts, where, values, None, given)
    wanted = [key] if key else list(KEYS)
    found = next((name for name in wanted if name in values), None)
    if found is None:
        there = shortened(json.dumps(list(values)), 80)
        raise DataError(f"{where}: expected an entry {' or '.join(wanted)}, got {there}; name the right one with --key")
    given = values[found]
    words = given if isinstance(given, list) else [given]
    if not all(isinstance(word, str) and is_unicode(word) for word in words) or (words is given and "" in words):
        expected = f"expected {found} to be a text, or a list of words"
        raise DataError(f"{where}: {expected}, got {shortened(json.dumps(given), 80)}")
    if isinstance(given, list):
        return Passage(*joined(given), where, values, None, True)
    return Passage(given, cut_text(given, split_words), where, values)


def texts_of(source: str) -> list[str]:
    """The text that stands beside BRAT's annotations, those of a folder, or the source as it is."""
    if source != "-" and brat.is_folder(source):
        return [str(path) for path in brat.texts_of(source)]
    return [str(brat.pair_of(source)[0])] if source.endswith(brat.SUFFIX) and os.path.isfile(source) else [source]


def read_as(lines: Lines, form: str, columns: Columns) -> tuple[str, Columns, str]:
    """The form and the columns that a file is read with, and a line that says what was guessed, or "".

    ``form`` is one of FORMS, or "auto" for the content's. DataError for what predict does not read.
    """
    found = form_of(lines.name, lines.kind) if form == "auto" and lines.kind else form
    if found == "conll" and lines.kind:
        return found, *columns.without_tags().seen(lines.kind.layout)
    return found, columns, ""


@contextmanager
def opened(source: str) -> Iterator[Lines]:
    """The lines of a file, or of standard input for "-". DataError where it cannot be read."""
    with open_file(source, "a file to tag", wait=source != "-") as stream:
        name = STDIN if source == "-" else source
        measured = source != "-" and not stream.kind.compression  # else nobody knows how many bytes there will be
        yield Lines(stream, name, os.fstat(stream.file.fileno()).st_size if measured else 0, stream.kind)
