"""A warning for each option about one form of labeled files that was typed for files of another form."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from training.commands.help import is_typed
from training.commands.terminal import warn
from training.errors import DataError

OF_COLUMNS = ("word_column", "tag_column")
OF_SPANS = ("misaligned", "overlapping")


def warn_of_forms(files: Iterable[str | Path], written: str = "conll") -> None:
    """A warning for each option of columns where no file has columns, and for each of spans where all files have columns.

    Args:
        files: labeled files; of those that cannot be looked at, such as a stream, nothing is said.
        written: the form of what is written, of which ``--scheme`` needs "conll".
    """
    forms = {_has_columns(each) for each in files}
    if forms == {False}:
        _warn(OF_COLUMNS, "no file has columns")
    if forms == {True}:
        _warn(OF_SPANS, "columns have no spans of characters")
    if written != "conll":
        _warn(("scheme",), f"{written} has no tags")


def _warn(names: Iterable[str], why: str) -> None:
    context = click.get_current_context()
    options = {param.name: max(param.opts, key=len) for param in context.command.params}
    for name in names:
        if name in options and is_typed(context, name):
            warn(f"warning: {options[name]} has no effect, because {why}")


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
