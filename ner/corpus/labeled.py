"""Labeled files of any form, as sentences with tags: the one door of training, evaluation and checks.

What a file is, its content tells (word2vec/text/file_kinds.py): CoNLL's columns, JSON records with spans
(ner/corpus/records.py), a text with BRAT's annotations beside it, or a folder of these (ner/corpus/brat.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ner.corpus import brat
from ner.corpus.alignment import SCHEME, SpanNotes, SpanRules, align, errors_of, sentences_of
from ner.corpus.conll import Columns, Sentence, iter_conll
from ner.corpus.json_lines import one_a_line, parse_json_line
from ner.corpus.records import Record, record_of
from training.errors import DataError
from word2vec.text.file_kinds import BRAT, JSON_LINES, JSON_LIST, JSON_OBJECT, OTHER, Opened, opened

LABELED = "a labeled file"
Told = Callable[[Opened], Iterator[bytes]]


@dataclass(frozen=True)
class Labeled:
    """What was read of a file.

    Args:
        sentences: its sentences; of spans with tags in ``scheme``.
        scheme: None for columns, whose tags are to be looked at.
        notes: what was not taken as it stood.
        guessed: a line that says which columns were taken for words and tags, or "".
    """

    sentences: list[Sentence]
    scheme: str | None = None
    notes: SpanNotes = field(default_factory=SpanNotes)
    guessed: str = ""

    def lines(self) -> list[str]:
        """What there is to say of how the file was read."""
        return [*([self.guessed] if self.guessed else []), *self.notes.lines()]


def files_of(name: str, path: str | Path) -> dict[str, Path]:
    """The files that a labeled one stands for, by name: with BRAT's annotations there are several."""
    path = Path(path)
    if brat.is_folder(path):
        files = [each for text in brat.texts_of(path) for each in brat.pair_of(text) if os.path.isfile(each)]
    elif has_annotations(path):
        files = list(brat.pair_of(path))
    else:
        files = [path]
    return {name if i == 1 else f"{name} {i}": each for i, each in enumerate(files, 1)}


def _as_it_is(stream: Opened) -> Iterator[bytes]:
    return iter(stream)


def read_labeled(
    path: str | Path,
    *,
    columns: Columns | None = None,
    docstart: str = "keep",
    rules: SpanRules | None = None,
    problems: list[str] | None = None,
    told: Told = _as_it_is,
) -> Labeled:
    """All sentences of a labeled file.

    Args:
        path: a file, or a folder of BRAT's.
        columns: the columns of words and tags; None for the first and the last.
        docstart: how to treat -DOCSTART- rows, "keep" or "drop".
        rules: how to treat spans that tags cannot express; None for errors.
        problems: collects all faults, and what is faulty is left out; None raises the first fault.
        told: gives the lines of a file, and sees them go by.

    Returns:
        The sentences, and notes on how they were read.

    Raises:
        DataError: with file:line, what cannot be read; no sentence at all, unless there are ``problems``.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ner import read_labeled
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.jsonl"
        ...     _ = path.write_text('{"text": "Ada ran to Oslo.", "label": [[0, 3, "PER"]]}')
        ...     read_labeled(path).sentences[0].tags
        ('B-PER', 'O', 'O', 'O', 'O')
    """
    notes, rules = SpanNotes(), rules or SpanRules()
    found = _read(path, columns or Columns(), docstart, rules, notes, problems, told)
    if notes.errors and problems is None:
        raise DataError(errors_of(notes.errors))
    if problems is not None:
        problems += notes.errors
    if not found.sentences and problems is None:
        what = "every text was left out" if notes.left_out else "an empty file, or only blank lines and comments"
        raise DataError(f"{path}: expected sentences, got none ({what})")
    return found


def _read(
    path: str | Path,
    columns: Columns,
    docstart: str,
    rules: SpanRules,
    notes: SpanNotes,
    problems: list[str] | None,
    told: Told,
) -> Labeled:
    with records_or_columns(path, notes, problems, told) as found:
        if not isinstance(found, Opened):
            return _labeled(found, rules, notes)
        columns, guessed = columns.seen(found.kind.layout)
        lines = told(found)
        read = iter_conll(lines, str(path), columns=columns, docstart=docstart, kind=found.kind, problems=problems)
        return Labeled(list(read), None, notes, guessed)


def _labeled(records: Iterator[Record], rules: SpanRules, notes: SpanNotes) -> Labeled:
    sentences = [each for record in records for each in sentences_of(record, align(record, rules, notes), notes)]
    return Labeled(sentences, SCHEME, notes)


@contextmanager
def records_or_columns(
    path: str | Path, notes: SpanNotes, problems: list[str] | None = None, told: Told = _as_it_is
) -> Iterator[Iterator[Record] | Opened]:
    """A labeled file, opened: the records of spans of characters, or the lines of columns; its content tells which."""
    if brat.is_folder(path) or has_annotations(path):
        yield _brat_records(path, notes, problems)
        return
    with opened(path, LABELED) as stream:
        if stream.kind.kind in (JSON_LINES, JSON_LIST, JSON_OBJECT):
            yield _json_records(stream, str(path), notes, problems, told)
        elif stream.kind.kind == BRAT:
            yield _brat_records(path, notes, problems)
        else:
            yield stream


def has_annotations(path: str | Path) -> bool:
    """Whether it is one of a pair of BRAT's: annotations, or a text that has some beside it."""
    path = Path(path)
    if path.suffix == brat.SUFFIX:
        return os.path.isfile(path)
    if path.suffix != brat.TEXT_SUFFIX or not all(map(os.path.isfile, brat.pair_of(path))):
        return False
    with opened(path, LABELED) as stream:
        kind = stream.kind
    return kind.kind not in (JSON_LINES, JSON_LIST, JSON_OBJECT, OTHER) and not (kind.layout and kind.layout.labeled)


def _brat_records(path: str | Path, notes: SpanNotes, problems: list[str] | None) -> Iterator[Record]:
    """The records of a pair of BRAT's, or of a folder of them: a document each."""
    texts = [Path(path)]
    if Path(path).is_dir():
        texts = brat.texts_of(path)
        notes.left_out += [f"{each}: it has no annotation file next to it" for each in brat.unlabeled_texts(path)]
    for number, each in enumerate(texts, 1):
        try:
            yield brat.read_pair(each, number, problems)
        except DataError as error:
            _note(error, problems)


def _json_records(stream: Opened, name: str, notes: SpanNotes, problems: list[str] | None, told: Told) -> Iterator[Record]:
    """The records of JSON lines, a JSON list or a JSON object: a document each."""
    unread: set[int] = set()

    def note(number: int, error: DataError) -> None:
        _note(error, problems)
        unread.add(number)

    count = 0
    try:
        for number, line in one_a_line(told(stream), name, stream.kind, note):
            if number in unread or not line.strip():
                continue
            count += 1
            try:
                found = record_of(parse_json_line(line, f"{name}:{number}"), name, number, count)
            except DataError as error:
                _note(error, problems)
                continue
            if isinstance(found, str):
                notes.left_out.append(found)
            else:
                yield found
    except DataError as error:
        _note(error, problems)


def _note(error: DataError, problems: list[str] | None) -> None:
    """The error's message in ``problems``; without such a list the error is raised."""
    if problems is None:
        raise error from None
    problems.append(str(error))
