"""What a run does not keep of the promise of its level: told once each, and kept for its manifest."""

from __future__ import annotations

from collections.abc import Callable


class Unkept:
    """Lines that each name what is not kept, and why.

    Args:
        tell: hears each line once.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self.tell = tell
        self.lines: list[str] = []
        self.changed: Callable[[], None] = lambda: None
        """Called when a line has come to them."""

    def add(self, line: str) -> None:
        """One more, unless it is there already."""
        if line not in self.lines:
            self.lines.append(line)
            self.tell(line)
            self.changed()
