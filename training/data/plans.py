"""What all plans that are read from a loader have in common."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any


class Plan(Sequence[Any], ABC):
    """An epoch's batches, asked for from front to back: ``plan[k]`` makes batch k, and loads none that comes before it.

    Asked for another k than the next, it begins anew there.
    """

    length: int | None = None
    """How many batches there are; None where that is known only once they are read."""
    known = False
    """Whether there are just as many: else ``has`` may say that there are fewer."""

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError(
                "the number of batches is not known before they are read: has(k) says whether there is a batch k"
            )
        return self.length

    def __getitem__(self, k: Any) -> Any:
        k = operator.index(k)
        if k < 0:
            k += len(self)
        try:
            if k >= 0:
                return self._take(k)
        except StopIteration:
            pass
        except BaseException:
            self._fail()
            raise
        raise IndexError(f"expected one of the epoch's batches, got batch {k}")

    def __iter__(self) -> Iterator[Any]:
        k = 0
        while self.has(k):
            yield self[k]
            k += 1

    def has(self, k: int) -> bool:
        """Whether there is a batch k, which may be read ahead to tell."""
        try:
            return k >= 0 and (self.length is None or k < self.length) and self._has(k)
        except BaseException:
            self._fail()
            raise

    @abstractmethod
    def _has(self, k: int) -> bool:
        """Whether there is a batch k, which ``length`` leaves open."""

    @abstractmethod
    def _take(self, k: int) -> Any:
        """Batch k; StopIteration where there is none."""

    def _fail(self) -> None:
        """Leave nothing running after an error."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End the reading of this epoch; workers that persist wait for the next one."""


def length_said_by(source: object) -> int | None:
    """What ``len`` says of a source; None where it says nothing."""
    try:
        return len(source)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None
