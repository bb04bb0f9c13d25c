"""The options for spans that tags cannot express."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ner.config import MISALIGNED, OVERLAPPING

Command = Callable[..., Any]


def spans(command: Command) -> Command:
    """For commands that read labeled files."""
    command = click.option("--overlapping", type=click.Choice(OVERLAPPING), default="error", show_default=True,
                           help="Spans that share a word: refuse them, keep the longer one, or keep the one that begins "
                           "first.")(command)  # fmt: skip
    return click.option("--misaligned", type=click.Choice(MISALIGNED), default="error", show_default=True,
                        help="Spans that begin or end within a word: refuse them, leave them out, or extend them to "
                        "whole words.")(command)  # fmt: skip
