"""What a program finds at ``trainer.profiler``: Lightning's profiler that measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PassThroughProfiler:
    """The calls of a profiler, for programs that mark their parts; nothing is measured."""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """The part of a program that is called so."""
        yield action_name

    def start(self, action_name: str) -> None:
        """The part begins."""

    def stop(self, action_name: str) -> None:
        """The part ends."""

    def summary(self) -> str:
        """What was measured: nothing."""
        return ""

    def describe(self) -> None:
        """Tell what was measured: nothing."""
