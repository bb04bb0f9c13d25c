"""The options that say where in a file the word and the tag stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from training.commands.options import whole

Command = Callable[..., Any]


def columns(command: Command) -> Command:
    """For files that have no settings of their own."""
    return _with_columns(command, {"word": 0, "tag": -1}, "")


def columns_of_file(command: Command) -> Command:
    """For files that a trained run is used on."""
    return _with_columns(command, {"word": None, "tag": None}, "  [default: as in training]")


def _with_columns(command: Command, defaults: dict[str, int | None], more: str) -> Command:
    for name in ("tag", "word"):
        text = f"Column of the {name}, counted from 0, or from the end if negative.{more}"
        option = click.option(f"--{name}-column", type=whole(), default=defaults[name], show_default=not more, help=text)
        command = option(command)
    return command
