"""The options for the columns of the word and the tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from training.commands.options import whole

Command = Callable[..., Any]


def columns(command: Command) -> Command:
    """For files that have no settings of their own."""
    return _with_columns(
        command,
        {"tag": "the last, or the one that the content shows", "word": "the first, or the one that the content shows"},
    )


def columns_of_file(command: Command) -> Command:
    """For files that a trained run is used on."""
    return _with_columns(command, {"tag": "as in training", "word": "as in training"})


def _with_columns(command: Command, defaults: dict[str, str]) -> Command:
    for name, default in defaults.items():
        text = f"Column of the {name}, counted from 0, or from the end if negative.  [default: {default}]"
        command = click.option(f"--{name}-column", type=whole(), default=None, help=text)(command)
    return command
