"""What is said and left behind when another process of the run is lost. Free of torch, so that commands may import it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from training.bar import say
from training.errors import Preempted


@dataclass(frozen=True)
class Seconds:
    """How long a process waits for a sign of life of the others."""

    lost: float = 30.0
    """Without one, after which a process counts as lost."""

    @property
    def interval(self) -> float:
        """Between two signs of life."""
        return min(1.0, self.lost / 30)

    @property
    def roll_call(self) -> float:
        """Once a connection has broken: who gives none then is the one that is lost."""
        return self.lost / 6

    @property
    def grace(self) -> float:
        """From the first bad end until the launcher looks at who is left."""
        return self.lost / 3

    @property
    def stuck(self) -> float:
        """That all may wait for each other's bytes in one exchange: a link between two of them is dead."""
        return 10 * self.lost

    @property
    def meeting(self) -> float:
        """For all to come together."""
        return 20 * self.lost


seconds = Seconds(float(os.environ.get("SAMEBITS_LOST_AFTER") or Seconds.lost))
"""The environment may shorten them, for tests."""
_hearers: list[Callable[[Lost], object]] = []


class Lost(Preempted):
    """Another process of the run is gone, or does not answer: this one ends, and the run can go on from its checkpoint.

    ``silent`` is set where another process says so.
    """


@contextmanager
def heard(hearer: Callable[[Lost], object]) -> Iterator[None]:
    """While the body runs, ``hearer`` is called before this process ends in an exchange that nothing can interrupt.

    It does what the body's ``except`` would do: what waits for another's bytes raises no exception.
    """
    _hearers.append(hearer)
    try:
        yield
    finally:
        _hearers.remove(hearer)


def announce(lost: Lost) -> Lost:
    """Say it here where nobody around will: outside of a run, in a program of a user's own."""
    if not _hearers and not lost.silent:
        say(str(lost), by_any=True)
        lost.silent = True
    return lost


def end(lost: Lost) -> None:
    """End this process, from the thread that found out: the innermost hearer first, as an exception would pass."""
    try:
        announce(lost)
        for hearer in reversed(_hearers):
            hearer(lost)
    finally:
        os._exit(lost.exit_code)
