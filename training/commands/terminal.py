"""What the terminal shows: progress bars with rate, time left and metrics; plain lines where there is no terminal.

With ``--quiet`` nothing but errors, with ``--json-log`` a JSON object a line. There are colors only on a terminal where
NO_COLOR (https://no-color.org) is not set.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import click

from training.bar import Bar
from training.commands.door import for_styles
from training.visible import aligned, one_line, visible


class LongJob:
    """Progress of work outside of training: ``job("reading", done, total)``; with rate and time left, on a terminal only."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.what = ""
        self.begun = 0.0
        self.terminal = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self.terminal:
            return
        if self.bar is None or what != self.what:
            self.close()
            self.what = what
            self.begun = time.perf_counter()
            self.bar = Bar(what, max(1, total), stream=for_styles(sys.stderr), percent=True)
        rate = done / max(1e-9, time.perf_counter() - self.begun)
        self.bar.update(min(done, self.bar.total or 1), f"{short(rate)}/s")
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def short(number: float) -> str:
    """A number of three digits: 950, 12.3k, 4.56M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def colors() -> bool:
    """Whether standard output takes colors."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Styled(str):
    """Text with escape sequences of our own, in which all others are escaped."""


def styled(text: str, color: str | None = None, *, bold: bool = False) -> str:
    """The text in a color, where there are any; ``echo`` writes it."""
    return Styled(click.style(visible(text), fg=color, bold=bold or None)) if colors() else text


def echo(*parts: str) -> None:
    """A line of output, some parts of it styled."""
    on_terminal = sys.stdout.isatty()
    text = "".join(visible(part) if on_terminal and not isinstance(part, Styled) else part for part in parts)
    click.echo(text, file=for_styles(sys.stdout))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns, the header first; a cell's text is of one line."""
    return aligned([header, *([one_line(cell) for cell in row] for row in rows)])


def warn(line: str) -> None:
    """A line to standard error, for what does not stop a command."""
    click.echo(one_line(line), err=True)
