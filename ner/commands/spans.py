"""The options that say what becomes of spans that tags cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ner.config import MISALIGNED, OVERLAPPING

Command = Callable[..., Any]


def spans(command: Command) -> Command:
    """For commands that read labeled files."""
    command = click.option("--overlapping", type=click.Choice(OVERLAPPING), default="error", show_default=True,
                           help="Of spans that share a word: refuse them, keep the longer one, or the one that begins "
                           "first.")(command)  # fmt: skip
    return click.option("--misaligned", type=click.Choice(MISALIGNED), default="error", show_default=True,
                        help="Of a span that begins or ends within a word: refuse it, leave it out, or take the whole "
                        "words.")(command)  # fmt: skip
