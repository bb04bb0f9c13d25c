"""A warning for each option about one form of labeled files that was typed for files of another form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from training.commands.help import is_typed
from training.commands.no_effect import warn_of_typed
from training.errors import DataError, SamebitsError

OF_COLUMNS = ("word_column", "tag_column")
OF_SPANS = ("misaligned", "overlapping")
KEPT_BY = {"brat": OF_SPANS, "jsonl": ("overlapping",)}
"""What spans need no rule for, by the form that they are written in."""


def warn_of_forms(files: Iterable[str | Path], written: str = "conll", *, columns: bool = True) -> None:
    """A warning for each option of columns where no file has columns, and for each of spans where all files have columns.

    Args:
        files: labeled files; of those that cannot be looked at, such as a stream, nothing is said.
        written: the form of what is written, of which ``--scheme`` needs "conll". Spans are written as they are.
        columns: whether options of columns are for these files alone.
    """
    forms = {_has_columns(each) for each in files} if _any_typed(*OF_COLUMNS, *OF_SPANS) else set()  # reading takes time
    if forms == {False} and columns:
        warn_of_typed(OF_COLUMNS, "no file has columns")
    if forms == {True}:
        warn_of_typed(OF_SPANS, "columns have no spans of characters")
    elif written in KEPT_BY:
        warn_of_typed(KEPT_BY[written], f"{written} can hold such spans")
    if written != "conll":
        warn_of_typed(("scheme",), f"{written} has no tags")


def warn_of_inputs(sources: Sequence[str], form: str, output: str | None) -> None:
    """``warn_of_forms`` for ``predict``, which reads text, too.

    Args:
        sources: files; of streams nothing is said.
        form: that of the input, or "auto".
        output: the form of what is written; None for that of the first file, or text.
    """
    colored = click.get_current_context().params.get("color") == "always"
    forms = _forms(sources, form) if colored or _any_typed("word_column", "split_words") else []  # reading takes time
    if forms and "conll" not in forms:
        warn_of_typed(("word_column",), "no file has columns")
    if not _any_typed("sets_from"):
        warn_of_typed(("tag_column",), "predict reads no tags, but for --sets-from")
    if forms and set(forms) == {"conll"}:
        warn_of_typed(("split_words",), "columns are words already")
    written = output or next((form if form in ("conll", "jsonl") else "text" for form in forms), "text")
    if colored and written != "text":
        warn_of_typed(("color",), f"the output is {written}")


def _forms(sources: Sequence[str], form: str) -> list[str]:
    """The forms of files, in their order; none where one is a stream (as "-" is), or cannot be read, which is said later."""
    from ner.corpus.conll import Columns
    from ner.tagging.readers import opened, read_as, texts_of

    found = []
    try:
        for file in (file for source in sources for file in texts_of(source)):
            if not os.path.isfile(file):
                return []
            with opened(file) as lines:
                found.append(read_as(lines, form, Columns())[0])
    except (SamebitsError, OSError):
        return []
    return found


def _any_typed(*names: str) -> bool:
    context = click.get_current_context()
    return any(is_typed(context, name) for name in names)


def _has_columns(path: str | Path) -> bool | None:
    """Whether a labeled file has columns, and not spans; None where that cannot be said."""
    from ner.corpus.alignment import SpanNotes
    from ner.corpus.labeled import records_or_columns
    from word2vec.text.file_kinds import Opened

    if not (os.path.isfile(path) or os.path.isdir(path)):
        return None
    try:
        with records_or_columns(path, SpanNotes()) as found:
            return isinstance(found, Opened)
    except (DataError, OSError):
        return None  # the command itself will say what is wrong with it
