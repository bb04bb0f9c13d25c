"""Plans of batches: what an epoch runs on is known before it starts, from (seed, epoch) alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol


class Batches(Protocol):
    """Where batches come from: an epoch's plan is made before it starts, from (seed, epoch) alone.

    Any class with a ``plan`` is one. A run resumed at batch k takes the plan's k-th batch and no earlier one.

    A plan is a sequence. These methods are optional: ``plan.has(k)`` says whether there is a batch k, and may read
    ahead to find out, if ``len(plan)`` raises TypeError because the length is not known yet; ``plan.close()`` ends the
    reading of that epoch; ``Batches.state_dict()`` returns the position after the last batch that was handed out, as
    plain values and tensors; ``load_state_dict`` continues there; ``close()`` ends the reading and all workers.
    ``as_batches`` turns a DataLoader into a source that has all of them (training/data/loaders.py).

    Example:
        >>> from training import Batches
        >>> from training.randomness import permutation
        >>> class Shuffled:
        ...     def __init__(self, examples, size, seed):
        ...         self.examples, self.size, self.seed = examples, size, seed
        ...     def plan(self, epoch):
        ...         order = [self.examples[i] for i in permutation(len(self.examples), self.seed, "order", epoch)]
        ...         return [order[i : i + self.size] for i in range(0, len(order), self.size)]
        >>> source: Batches = Shuffled("abcdef", size=4, seed=0)
        >>> [len(batch) for batch in source.plan(epoch=0)]
        [4, 2]
        >>> source.plan(epoch=0) == source.plan(epoch=0) != source.plan(epoch=1)
        True
    """

    def plan(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches; ``plan[i]`` makes batch i when it is asked for."""
        ...


class FixedBatches:
    """The same batches in the same order in every epoch.

    Args:
        batches: the batches, a list of them or whatever else has a length and gives batch i for ``batches[i]``.

    Example:
        >>> from training import FixedBatches
        >>> source = FixedBatches([[1, 2], [3]])
        >>> source.plan(epoch=0) == source.plan(epoch=7) == [[1, 2], [3]]
        True
    """

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches, whatever the epoch."""
        return self.batches


def length(plan: Any) -> int | float:
    """How many batches a plan has; infinite where that is only known once they are read: then ``has`` tells."""
    try:
        return len(plan)
    except TypeError:
        return math.inf


def has(plan: Any, k: int) -> bool:
    """Whether a plan has a batch k; it may read that one ahead."""
    return bool(plan.has(k)) if hasattr(plan, "has") else k < len(plan)


def close(reading: Any) -> None:
    """End what reads a plan or a source, if anything does."""
    function = getattr(reading, "close", None)
    if callable(function):
        function()
