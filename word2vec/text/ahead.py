"""Batches that another thread makes while the step of the one before computes.

A batch is a function of its epoch and its number: who makes it, and when, changes none. One that is asked for out of turn,
as the first of an epoch or of a run that goes on, is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from training.data.batches import Batches, close


class Ahead:
    """The same batches, each made and prepared by another thread while the step of the one before computes.

    Args:
        source: whose plans have a length, and batches that are functions of (epoch, number).
        prepare: gives a batch with what can be found out of it before its step.
        executor: the other thread; see beside.py.

    Example:
        >>> from training import FixedBatches
        >>> from word2vec.text.ahead import Ahead
        >>> from word2vec.model.beside import worker
        >>> with worker("batches", threads=1) as executor:
        ...     plan = Ahead(FixedBatches([1, 2, 3]), lambda batch: 10 * batch, executor).plan(0)
        ...     [plan[0], plan[1], plan[2]]
        [10, 20, 30]
    """

    def __init__(self, source: Batches, prepare: Callable[[Any], Any], executor: ThreadPoolExecutor) -> None:
        self.source, self.prepare, self.executor = source, prepare, executor

    def plan(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches."""
        return _Plan(self.source.plan(epoch), self.prepare, self.executor)


class _Plan(Sequence[Any]):
    """The batches of one epoch: to ask for one begins the making of the next."""

    def __init__(self, plan: Sequence[Any], prepare: Callable[[Any], Any], executor: ThreadPoolExecutor) -> None:
        self.plan, self.prepare, self.executor = plan, prepare, executor
        self.begun: dict[int, Future[Any]] = {}  # by its number, the one that is being made

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = self.begun.pop(index, None) or self._begin(index)
        self._forget()
        if index + 1 < len(self):
            self.begun[index + 1] = self._begin(index + 1)
        return found.result()

    def _begin(self, index: int) -> Future[Any]:
        return self.executor.submit(lambda: self.prepare(self.plan[index]))

    def _forget(self) -> None:
        for each in self.begun.values():
            each.cancel()
        self.begun.clear()

    def close(self) -> None:
        """Make no more of them."""
        self._forget()
        close(self.plan)
