"""Groups of processes as threads of one: for what each of them computes, without starting any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from training.parallel.group import Group

R = TypeVar("R")


class ThreadGroup(Group):
    """A Group whose processes are threads that meet at ``place``."""

    def __init__(self, rank: int, world: int, shards: int, place: tuple[threading.Barrier, list[Any]]) -> None:
        super().__init__(rank, world, shards)
        object.__setattr__(self, "place", place)

    place: tuple[threading.Barrier, list[Any]]

    def gather(self, value: Any) -> list[Any]:
        """What each gives, by rank."""
        barrier, values = self.place
        values[self.rank] = value
        barrier.wait(60)
        found = list(values)
        barrier.wait(60)
        return found

    def broadcast(self, value: Any) -> Any:
        """What the first one has."""
        return self.gather(value)[0]

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite them with those of the first one."""
        for own, first in zip(tensors, self.gather([each.clone() for each in tensors])[0], strict=True):
            own.copy_(first)

    def to_first(self, tensor: Tensor) -> list[Tensor]:
        """In the first one, what each has."""
        found = self.gather(tensor.clone())
        return found if self.writes else []

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Along the tree."""
        return [added(torch.stack(each)) for each in zip(*self.gather([t.clone() for t in tensors]), strict=True)]


def added(parts: Tensor) -> Tensor:
    """The sum of ``parts`` (n, …) over its first dimension, n a power of two: neighbors first: the tree."""
    while len(parts) > 1:
        parts = parts[0::2] + parts[1::2]
    return parts[0]


def in_threads(world: int, shards: int, act: Callable[[Group], R]) -> list[R]:
    """What ``act`` returns in each of ``world`` threads, by rank."""
    place = threading.Barrier(world), [None] * world

    def run(rank: int) -> R:
        torch.set_num_threads(1)
        try:
            return act(ThreadGroup(rank, world, shards, place))
        except BaseException:
            place[0].abort()
            raise

    with ThreadPoolExecutor(world) as threads:
        return [each.result() for each in [threads.submit(run, rank) for rank in range(world)]]
