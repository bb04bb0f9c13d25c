"""Batches that are there already: lists of them, and whatever else gives batch i for ``batches[i]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.data.own_generators import own_generators, set_own
from training.data.plans import Plan
from training.generators import Keys, kept_generators, set_generators


class SequenceBatches:
    """The same batches in the same order in every epoch.

    Args:
        batches: the batches. Where getting one runs code that draws from generators, they are set for it.
        seed: the run's.
        purpose: what they are for, a key of their random numbers.
    """

    reads_again = True
    """Whether its ``plan`` takes ``again``."""

    def __init__(self, batches: Sequence[Any], seed: int, purpose: str) -> None:
        self.batches = batches
        self._keys = Keys(seed, f"{purpose}/item")
        self._own = [] if type(batches) in (list, tuple) else own_generators(batches)

    def plan(self, epoch: int, again: int = 0) -> SequencePlan:
        """The batches."""
        return SequencePlan(self, epoch, again)

    def get(self, k: int, epoch: int, again: int) -> Any:
        """Batch k of an epoch."""
        if type(self.batches) in (list, tuple):
            return self.batches[k]
        with kept_generators():
            key = self._keys(epoch, again, k)
            set_generators(key)
            set_own(self._own, key.bits)
            return self.batches[k]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: there is nothing to go on in."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is to be ended."""


class SequencePlan(Plan):
    """An epoch's batches, which are there already."""

    known = True

    def __init__(self, source: SequenceBatches, epoch: int, again: int) -> None:
        self.length = len(source.batches)
        self._source, self._epoch, self._again = source, epoch, again

    def _has(self, k: int) -> bool:
        return True

    def _take(self, k: int) -> Any:
        if self.length is not None and k >= self.length:
            raise StopIteration
        return self._source.get(k, self._epoch, self._again)

    def close(self) -> None:
        pass
