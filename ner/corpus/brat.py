"""BRAT's standoff files: a text (.txt) and beside it its annotations (.ann); a folder of such pairs is a file of documents.

Of the annotations T lines are read: ``T1``, a tab, the type and the offsets, a tab, the text. Relations, events,
attributes, normalizations and notes are no entities, and passed over. Offsets count the characters of the file as they
stand, the CR of CRLF too. Pieces of a span with white space alone between them, as BRAT writes across lines, are one.
A line of the text is a paragraph, as predict reads it; a pair is a document.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ner.corpus.cut import cut_paragraph, text_tokens
from ner.corpus.records import CharSpan, Record, check_text, checked_type
from training.errors import DataError
from training.visible import shortened
from word2vec.text.file_kinds import decoded, opened
from word2vec.text.tokenize import Token

TEXT_SUFFIX, SUFFIX = ".txt", ".ann"
_ENTITY = re.compile(r"(T\S*)\t(\S+) ([0-9]{1,15} [0-9]{1,15}(?:;[0-9]{1,15} [0-9]{1,15})*)(?:\t(.*))?", re.DOTALL)
_OTHER = re.compile(r"([REAMN#]\S*|\*)[ \t]")


def is_folder(path: str | Path) -> bool:
    """Whether a folder holds annotations."""
    return os.path.isdir(path) and any(Path(path).glob(f"*{SUFFIX}"))


def pair_of(path: str | Path) -> tuple[Path, Path]:
    """The text and the annotations, whichever of the two ``path`` names."""
    path = Path(path)
    return path.with_suffix(TEXT_SUFFIX), path.with_suffix(SUFFIX)


def texts_of(folder: str | Path) -> list[Path]:
    """The texts of a folder that have annotations beside them, by name."""
    return [pair_of(path)[0] for path in sorted(Path(folder).glob(f"*{SUFFIX}")) if not path.name.startswith(".")]


def unlabeled_texts(folder: str | Path) -> list[Path]:
    """The texts of a folder that have none."""
    return [path for path in sorted(Path(folder).glob(f"*{TEXT_SUFFIX}")) if not os.path.isfile(pair_of(path)[1])]


def read_pair(path: str | Path, document: int, problems: list[str] | None = None) -> Record:
    """The record of a text and its annotations. DataError (file:line) for what cannot be read; with ``problems`` the
    lines of annotations that cannot are told there."""
    source, annotations = pair_of(path)
    text = _text(source, "a text next to its annotations")
    spans: dict[str, CharSpan] = {}
    for number, line in enumerate(_text(annotations, "BRAT's annotations").split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or _OTHER.match(line):
            continue
        try:
            name, span = _span(line, text, f"{annotations}:{number}")
            if name in spans:
                raise DataError(f"{span.where}: expected distinct names, got {name} again, as in {spans[name].where}, too")
            spans[name] = span
        except DataError as error:
            if problems is None:
                raise
            problems.append(str(error))
    sentences = [sentence for line in _paragraphs(text) for sentence in cut_paragraph(line)]
    return Record(text, sentences, tuple(spans.values()), str(source), 1, document, source.stem, on_one_line=False)


def _text(path: Path, expected: str) -> str:
    with opened(path, expected) as stream:
        return "".join(text for _, text in decoded(stream, str(path), stream.kind))


def _paragraphs(text: str) -> Iterator[list[Token]]:
    """The tokens of each line, where they stand in the text."""
    at = 0
    for line in text.split("\n"):
        yield [Token(token.text, token.start + at, token.end + at) for token in text_tokens(line.removesuffix("\r"))]
        at += len(line) + 1


def _span(line: str, text: str, where: str) -> tuple[str, CharSpan]:
    """(name, span) of a T line."""
    found = _ENTITY.fullmatch(line)
    if found is None:
        expected = "expected a name, a tab, a type and offsets, a tab and the text (T1, PER 0 5, Ada M)"
        raise DataError(f"{where}: {expected}, got {shortened(repr(line), 80)}")
    name, kind, places, said = found.groups()
    pieces = [(int(start), int(end)) for start, _, end in (piece.partition(" ") for piece in places.split(";"))]
    after = 0
    for start, end in pieces:
        if not after <= start < end <= len(text):
            expected = f"expected start < end within the text's {len(text):,} characters, one piece after the other"
            raise DataError(f"{where}: {expected}, got {shortened(places, 60)}")
        after = end
    if said:
        check_text(said, text, pieces, f"{where}: {shortened(places, 60)}")
    many = tuple(pieces) if len(pieces) > 1 else ()
    return name, CharSpan(checked_type(kind, where), pieces[0][0], pieces[-1][1], where, many)
