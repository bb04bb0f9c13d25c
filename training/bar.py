"""One line of a terminal that shows how far work is, and lines of text that come between."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any

from training.errors import ConfigError
from training.visible import one_line, shortened

WIDTH = 36  # characters of the bar itself
REFRESH = 0.1  # seconds between two drawings
LONGEST_LINE = 10_000

_drawn: Bar | None = None
"""The bar that the terminal's last line shows."""


class Pace:
    """How fast a part of the work goes: only the time between ``begin`` and ``end`` counts."""

    def __init__(self) -> None:
        self.units, self.seconds, self.begun = 0, 0.0, perf_counter()

    def begin(self) -> None:
        """A piece of work begins."""
        self.begun = perf_counter()

    def end(self, units: int) -> None:
        """It has ended, and was so much work."""
        self.seconds += perf_counter() - self.begun
        self.units += units

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds if self.seconds else 0.0


class Bar:
    """``label  [####----]  12/20  00:00:03  text``, drawn anew at most every tenth of a second, and at its end.

    ``total`` None is of unknown length: the count alone. ``done`` is what was done before the bar began. ``percent`` shows
    the share in place of the count.
    """

    def __init__(self, label: str, total: int | None, *, stream: Any = None, done: int = 0, percent: bool = False) -> None:
        self.label, self.total, self.stream, self.percent = one_line(label), total, stream or sys.stderr, percent
        self.done = self.first = done
        self.text = ""
        self.begun = monotonic()
        self._drawn_at: float | None = None
        self._drawn_length = 0

    def is_due(self, done: int) -> bool:
        """Whether ``update`` would draw: for whoever has to make the text."""
        ended = done == self.total and done != self.done
        return ended or self._drawn_at is None or monotonic() - self._drawn_at >= REFRESH

    def update(self, done: int, text: str = "") -> None:
        """So much is done."""
        due = self.is_due(done)
        self.done, self.text = done, one_line(text)
        if due:
            self.draw()

    def draw(self) -> None:
        """Draw it as it stands."""
        global _drawn
        now = monotonic()
        columns = shutil.get_terminal_size().columns - 1
        line = self._line(now, columns)[:columns]
        before = 0 if _drawn is None else _drawn._drawn_length
        self._write("\r" + line + " " * (before - len(line)))
        self._drawn_at, self._drawn_length, _drawn = now, len(line), self

    def close(self, leave: bool = True, text: str | None = None) -> None:
        """End its line, with another text if one is given; without ``leave`` the next bar takes its place."""
        global _drawn
        if self._drawn_at is None:
            return
        self.text = self.text if text is None else one_line(text)
        self.draw()
        if leave:
            self._write("\n")
            _drawn = None

    def clear(self) -> None:
        """Make its line empty."""
        self._write("\r" + " " * self._drawn_length + "\r")
        self._drawn_at, self._drawn_length = None, 0

    def _line(self, now: float, columns: int) -> str:
        if self.total is None:
            parts = [self.label, str(self.done)]
        else:
            count = f"{self.done}/{self.total}"
            share = min(1.0, self.done / self.total) if self.total else 1.0
            parts = [self.label, "", f"{share:4.0%}" if self.percent else count.rjust(2 * len(str(self.total)) + 1)]
            parts += [time_left] if (time_left := self._time_left(now)) else []
        parts += [self.text] if self.text else []
        if self.total is not None:
            width = min(WIDTH, columns - len("  ".join(parts)) - 2)
            full = int(share * width)
            parts[1] = f"[{'#' * full}{'-' * (width - full)}]"
            parts = parts if width > 0 else [parts[0], *parts[2:]]
        return "  ".join(parts)

    def _time_left(self, now: float) -> str:
        """Hours, minutes and seconds, once there was a second to measure; "" where nothing is left."""
        assert self.total is not None
        if self.done <= self.first or self.done >= self.total or now - self.begun < 1:
            return ""
        return clock((now - self.begun) / (self.done - self.first) * (self.total - self.done))

    def _write(self, text: str) -> None:
        if not is_first():
            return
        with suppress(OSError, ValueError):  # a terminal that went away stops no work
            self.stream.write(text)
            self.stream.flush()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, with two digits each."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}"


def launched(name: str, without: int | None = None) -> int:
    """A number that torchrun, or our launcher, puts into the environment; ``without``: where it is not there, or empty.

    ConfigError for what is no number.
    """
    given = os.environ.get(name) or without
    try:
        return int(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        got = "none" if given is None else shortened(json.dumps(given), 60)
        raise ConfigError(f"{name}: expected a number in the environment, as torchrun puts it there, got {got}") from None


def is_first() -> bool:
    """Whether this process speaks for all that work on a run together: torchrun, and our launcher, number them.

    Where their number is none, it does: what is wrong with the environment is said by it, too, as it joins the others.
    """
    try:
        return launched("WORLD_SIZE", 1) < 2 or os.environ.get("RANK", "0") == "0"
    except ConfigError:
        return True


def end_line() -> None:
    """Leave the bar that the terminal's last line shows, if there is one, where it is."""
    if _drawn is not None:
        _drawn.close()


def say(line: str, *, by_any: bool = False) -> None:
    """A line to standard error, above a bar that is drawn there; of several processes the first says it, or ``by_any``."""
    if by_any or is_first():
        write(one_line(line, LONGEST_LINE), by_any=True)


def write(text: str, end: str = "\n", stream: Any = None, *, by_any: bool = False) -> None:
    """Text to a stream, standard error if none is given, above a bar that is drawn; the bar comes again below it.

    Of several processes the first writes, or ``by_any``.
    """
    global _drawn
    if not (by_any or is_first()):
        return
    bar, stream = _drawn, stream or sys.stderr
    if bar is not None:
        bar.clear()
        _drawn = None
    stream.write(text + end)
    stream.flush()
    if bar is not None and end.endswith("\n"):
        bar.draw()
