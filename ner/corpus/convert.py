"""Labeled files from one form into another: CoNLL's columns, JSON lines, BRAT's pairs. Sentences and documents are kept.

A document is a line of JSON lines, and a pair of BRAT's. A file of columns without -DOCSTART- rows has none: its sentences
become a line each, or a text with a line each. What the form to be written cannot hold is an error, never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ner.corpus import brat
from ner.corpus.alignment import SCHEME, SpanNotes, SpanRules, align, errors_of, sentences_of, shown
from ner.corpus.conll import DOCSTART, Columns, Sentence, format_sentence, iter_conll, to_scheme
from ner.corpus.cut import joined
from ner.corpus.labeled import records_or_columns
from ner.corpus.records import CharSpan, Record, text_and_sentences
from ner.corpus.scheme import convert, detect, scheme_named, to_spans
from training.errors import ConfigError, DataError
from training.files import atomic_path, atomic_write, check_new_file, folder_to_be
from training.visible import counted
from word2vec.text.file_columns import COLUMN_SUFFIXES
from word2vec.text.file_kinds import Opened
from word2vec.text.tokenize import Token

FORMS = ("conll", "jsonl", "brat")
_JSON_SUFFIXES = ("jsonl", "ndjson")
_NAME = re.compile(r"[^\W_][\w.\- ]{0,99}")


@dataclass(frozen=True)
class Converted:
    """What was written: the form, how much, and lines on what was not taken as it stood."""

    source: str
    target: str
    form: str
    sentences: int
    documents: int
    entities: int
    lines: tuple[str, ...]

    def to_text(self) -> str:
        """For people: what was written, and how the source was read."""
        entities = counted(self.entities, "entity", "entities")
        size = f"{counted(self.documents, 'document')}, {counted(self.sentences, 'sentence')}, {entities}"
        lines = [f"{self.source}: {line}" for line in self.lines]
        return "\n".join([*lines, f"{self.target}: written ({self.form}; {size})"])


def form_of(target: str | Path, asked: str | None = None) -> str:
    """The form to be written: the one that is asked for, or by the name. ConfigError where it says none."""
    suffix = Path(target).suffix.lower().removeprefix(".")
    if asked is not None:
        if asked not in FORMS:
            raise ConfigError(f"--to: expected one of {', '.join(FORMS)}, got {asked!r}")
        return asked
    if suffix in COLUMN_SUFFIXES:
        return "conll"
    if suffix in _JSON_SUFFIXES:
        return "jsonl"
    if suffix == brat.SUFFIX[1:]:
        return "brat"
    raise ConfigError(f"{target}: expected a name that ends with .conll, .jsonl or .ann; or say --to {', '.join(FORMS)}")


def convert_file(
    source: str | Path,
    target: str | Path,
    form: str | None = None,
    *,
    scheme: str | None = None,
    columns: Columns | None = None,
    rules: SpanRules | None = None,
) -> Converted:
    """Write a labeled file in another form; what ``data convert`` does.

    Args:
        source: columns, JSON records, or BRAT's pair or folder.
        target: a file; for BRAT one of a pair, or a folder for several documents.
        form: one of FORMS; None goes by the target's name.
        scheme: of the tags of columns; None for the source's, of spans IOB2.
        columns: the columns of words and tags; None for the first and the last, or what the content shows.
        rules: how to treat spans that columns, and pieces that JSON, cannot express; None for errors.

    Returns:
        How much was written, and what was changed or left out.

    Raises:
        ConfigError: the target exists, or its name does not tell the form.
        DataError: with file:line, what cannot be read, or written in this form.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ner import convert_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     conll = Path(folder) / "a.conll"
        ...     _ = conll.write_text("Ada B-PER\\nran O\\n")
        ...     done = convert_file(conll, Path(folder) / "a.jsonl")
        ...     print((Path(folder) / "a.jsonl").read_text(), end="")
        {"text": "Ada ran", "spans": [{"start": 0, "end": 3, "label": "PER"}]}
    """
    form, rules = form_of(target, form), rules or SpanRules()
    written = None if scheme is None else scheme_named(scheme)
    paths = [Path(target)]
    if form == "brat" and Path(target).suffix in (brat.SUFFIX, brat.TEXT_SUFFIX):
        paths = list(brat.pair_of(target))
    for path in paths:
        check_new_file("OUT", path)
    notes = SpanNotes()
    read = _read(source, columns or Columns.asked(), notes)
    if not read.records:
        raise DataError(f"{source}: expected sentences, got none")
    try:
        if form == "conll":
            entities = _write_columns(paths[0], read, rules, notes, written)
        elif form == "jsonl":
            entities = _write_json(paths[0], read.records, rules, notes)
        else:
            entities = (_write_pair if len(paths) == 2 else _write_folder)(paths[0], read.records)
    except OSError as error:
        raise ConfigError(f"OUT: {target} cannot be written: {error.strerror}; give another name") from None
    sentences = sum(len(record.sentences) for record in read.records)
    documents = len({record.document for record in read.records if record.document})
    lines = (*([read.guessed] if read.guessed else []), *notes.lines())
    return Converted(str(source), str(target), form, sentences, documents, entities, lines)


# --- reading


class _Source(NamedTuple):
    """What was read: records, the scheme of columns, and a line on those that were guessed."""

    records: list[Record]
    scheme: str | None = None
    guessed: str = ""


def _read(source: str | Path, columns: Columns, notes: SpanNotes) -> _Source:
    """A labeled file of any form."""
    with records_or_columns(source, notes) as read:
        if not isinstance(read, Opened):
            return _Source(list(read))
        columns, guessed = columns.seen(read.kind.layout)
        sentences = list(iter_conll(read, str(source), columns=columns, docstart="drop", kind=read.kind))
    found = detect(sentence.tags for sentence in sentences).scheme
    checked, _ = to_scheme(sentences, SCHEME, source=found)
    return _Source(list(_records(checked)), found, guessed)


def _records(sentences: Sequence[Sentence]) -> Iterator[Record]:
    """A document of columns each; sentences outside of documents, which have the number 0, each by itself."""
    for document, group in groupby(sentences, key=lambda sentence: sentence.document):
        some = list(group)
        for part in [some] if document else [[each] for each in some]:
            yield _record(part, document)


def _record(sentences: Sequence[Sentence], document: int) -> Record:
    """Sentences as a text, a line each, its words with a blank between."""
    lines, parts, spans, at = [], [], [], 0
    for sentence in sentences:
        text, tokens = joined(sentence.words)
        parts.append([Token(token.text, token.start + at, token.end + at) for token in tokens[0]])
        for span in to_spans(sentence.tags):
            start, end = parts[-1][span.start].start, parts[-1][span.end - 1].end
            spans.append(CharSpan(span.type, start, end, sentence.where(span.start)))
        lines.append(text)
        at += len(text) + 1
    first = sentences[0]
    return Record("\n".join(lines), parts, tuple(spans), first.path, first.line, document)


# --- columns


def _write_columns(target: Path, read: _Source, rules: SpanRules, notes: SpanNotes, scheme: str | None) -> int:
    """Words and tags apart by tabs; -DOCSTART- rows where the source has some, or documents of more than a sentence."""
    aligned = [(record, align(record, rules, notes)) for record in read.records]
    if notes.errors:
        raise DataError(errors_of(notes.errors))
    cut = [sentences_of(record, spans, notes) for record, spans in aligned]
    marked = read.scheme is not None or any(len(sentences) > 1 for sentences in cut)
    written = scheme or read.scheme or SCHEME
    parts: list[str] = []
    for record, sentences in zip(read.records, cut, strict=True):
        if marked and record.document and sentences:
            parts.append(f"{DOCSTART}\tO\n\n")
        for sentence in sentences:
            if sentence.is_docstart:
                expected = f"expected sentences, got one of the word {DOCSTART}, which columns cannot hold"
                raise DataError(f"{sentence.where()}: {expected}")
            parts.append(format_sentence(replace(sentence, tags=tuple(convert(sentence.tags, SCHEME, written)))))
    atomic_write(target, "".join(parts))
    return sum(len(spans) for _, spans in aligned)


# --- JSON lines


def _write_json(target: Path, records: Sequence[Record], rules: SpanRules, notes: SpanNotes) -> int:
    """A document a line. Tokens and sentences are written where they are others than the text would be cut into."""
    lines, count = [], 0
    for record in records:
        spans = _whole(record, rules, notes)
        said = [{"start": span.start, "end": span.end, "label": span.type} for span in spans]
        values: dict[str, Any] = {"id": record.id} if record.id else {}
        values |= {"text": record.text, **_cut_otherwise(record), "spans": said}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
        count += len(spans)
    if notes.errors:
        raise DataError(errors_of(notes.errors))
    atomic_write(target, "".join(lines))
    return count


def _whole(record: Record, rules: SpanRules, notes: SpanNotes) -> Sequence[CharSpan]:
    """The spans as they stand; those of pieces, which JSON cannot hold, by the rules."""
    if not any(span.pieces for span in record.spans):
        return record.spans
    kept: list[CharSpan] = []
    for span in record.spans:
        alone = replace(record, spans=(span,))
        if not span.pieces or align(alone, rules, notes):
            kept.append(span)
    return kept


def _cut_otherwise(record: Record) -> dict[str, Any]:
    """The entries that a reader needs, beside the text, to find the record's tokens and sentences."""
    starts = [sentence[0].start for sentence in record.sentences]
    ends = [sentence[-1].end for sentence in record.sentences]
    sentences = {"sents": [{"start": start, "end": end} for start, end in zip(starts, ends, strict=True)]}
    tokens = {"tokens": [{"text": t.text, "start": t.start, "end": t.end, "id": i} for i, t in enumerate(record.tokens)]}
    for more in ({}, sentences, tokens):
        if text_and_sentences({"text": record.text, **more}, record.path)[1] == record.sentences:
            return more
    return {**tokens, **sentences}


# --- BRAT


def _write_pair(target: Path, records: Sequence[Record]) -> int:
    """One document, or sentences outside of documents, as a text and its annotations."""
    documents = list(_documents(records))
    if len(documents) > 1:
        where = f"{records[0].path}: expected one document for a pair of files, got {len(documents):,}"
        raise DataError(f"{where}; name a folder, with --to brat")
    text, annotations = _brat(documents[0])
    with atomic_path(brat.pair_of(target)[1]) as beside:
        beside.write_bytes(annotations.encode())
        atomic_write(target, text.encode())
    return len(documents[0].spans)


def _write_folder(target: Path, records: Sequence[Record]) -> int:
    """A pair for each document, in a new folder: by the records' names, where all have one of their own, or by numbers."""
    documents = list(_documents(records))
    names = [record.id for record in documents]
    alike = len({name.casefold() for name in names}) < len(names)
    if alike or not all(map(_NAME.fullmatch, names)) or names != sorted(names):
        width = len(str(len(names)))
        names = [f"{number:0{width}}" for number in range(1, len(names) + 1)]
    with folder_to_be(target) as made:
        for name, record in zip(names, documents, strict=True):
            text, annotations = _brat(record)
            (made / f"{name}{brat.TEXT_SUFFIX}").write_bytes(text.encode())
            (made / f"{name}{brat.SUFFIX}").write_bytes(annotations.encode())
    return sum(len(record.spans) for record in documents)


def _documents(records: Sequence[Record]) -> Iterator[Record]:
    """The records; those outside of documents, one after the other, as one text with a line each."""
    for alone, group in groupby(records, key=lambda record: record.document == 0):
        if not alone:
            yield from group
            continue
        texts, spans, at = [], [], 0
        for record in group:
            texts.append(record.text)
            spans += [span._replace(start=span.start + at, end=span.end + at) for span in record.spans]
            at += len(record.text) + 1
        yield Record("\n".join(texts), [], tuple(spans), records[0].path)


def _brat(record: Record) -> tuple[str, str]:
    """(text, annotations) of a document. A span over several lines is in pieces, a line each, as BRAT has them."""
    text = record.text
    if text.startswith("\ufeff"):
        raise DataError(f"{record.path}:{record.line}: expected a text without a byte-order mark, which would shift offsets")
    lines = []
    for number, span in enumerate(record.spans, 1):
        pieces = [piece for part in span.pieces or ((span.start, span.end),) for piece in _on_lines(text, *part)]
        if not span.type or re.search(r"\s", span.type) or not pieces:
            expected = "expected a type without blanks and a span that is not empty, as BRAT needs them"
            raise DataError(f"{span.where}: {expected}, got {shown(text, span)}")
        places = ";".join(f"{start} {end}" for start, end in pieces)
        said = re.sub(r"[\t\r\n]", " ", " ".join(text[start:end] for start, end in pieces))
        lines.append(f"T{number}\t{span.type} {places}\t{said}\n")
    return text, "".join(lines)


def _on_lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The pieces of a part of the text that line ends leave."""
    at = start
    for line in text[start:end].split("\n"):
        piece = line.removesuffix("\r") if at + len(line) < end else line
        if piece:
            yield at, at + len(piece)
        at += len(line) + 1
