"""How much work a call does, counted and not timed: the same on any machine, however busy it is.

Counted are the lines of Python that run, and the bytes that each of them allocates, kept or not: a copy of what is left of a
text, made again and again, shows in the bytes, a loop within a loop in the lines. What C does without either, such as a
regular expression that goes back and forth, shows in neither: ``within`` stops that.
"""

from __future__ import annotations

import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple


class Work(NamedTuple):
    """Lines that were run, and bytes that they allocated."""

    lines: int
    bytes: int


def work_of(call: Callable[[], object]) -> Work:
    """The work of a call, in this thread."""
    lines = allocated = last = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines, allocated, last
        now, peak = tracemalloc.get_traced_memory()
        lines, allocated = lines + 1, allocated + peak - last
        tracemalloc.reset_peak()
        last = now
        return trace

    before = sys.gettrace()
    tracemalloc.start()
    last = tracemalloc.get_traced_memory()[0]
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        allocated += max(0, tracemalloc.get_traced_memory()[1] - last)
        tracemalloc.stop()
    return Work(lines, allocated)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """AssertionError where the body takes more CPU time than this: for limits that are a hundred times too large."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"expected at most {seconds} s of CPU time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
