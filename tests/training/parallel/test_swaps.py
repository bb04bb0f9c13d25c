"""Sums and collections by swaps: those of the tree, for any number of processes, sizes and types. Here these are threads."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from tests.meeting import added, in_threads
from training.parallel import swaps
from training.parallel.group import Group

WORLDS = (2, 4, 8, 16)
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64)
R = TypeVar("R")


class Ways:
    """What goes from thread to thread, in the place of the network."""

    def __init__(self) -> None:
        self.ways: dict[tuple[int, int], queue.Queue[list[Tensor]]] = defaultdict(queue.Queue)
        self.lock, self.own = threading.Lock(), threading.local()
        self.sent: dict[int, list[int]] = defaultdict(list)
        """The bytes of each swap, by rank."""

    def by_all(self, world: int, act: Callable[[int], R]) -> list[R]:
        """What ``act`` gives for each rank, each in a thread."""

        def begun(group: Group) -> R:
            self.own.rank = group.rank
            return act(group.rank)

        return in_threads(world, world, begun)

    def swap(self, partner: int, sent: Sequence[Tensor], received: Sequence[Tensor]) -> None:
        """As ``swaps._swap``."""
        rank = self.own.rank
        with self.lock:
            there, back = self.ways[rank, partner], self.ways[partner, rank]
            self.sent[rank].append(sum(each.nbytes for each in sent))
        there.put([each.clone() for each in sent])
        for target, each in zip(received, back.get(timeout=60), strict=True):
            target.copy_(each)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    found = Ways()
    monkeypatch.setattr(swaps, "_swap", found.swap)
    return found


@pytest.mark.parametrize("small", [0, 100, 1 << 20])
@pytest.mark.parametrize("world", WORLDS)
def test_sums_are_those_of_the_tree(ways: Ways, monkeypatch: pytest.MonkeyPatch, world: int, small: int) -> None:
    monkeypatch.setattr(swaps, "SMALL", small)
    draw = torch.Generator().manual_seed(world + small)
    for kind in TYPES:
        shapes = [(), (0,), (1,), (3, 7), (40,), (2, 3, 5)]
        parts = [[torch.randn(shape, generator=draw).mul_(1e3).to(kind) for shape in shapes] for _ in range(world)]
        parts = [[each.t() if each.dim() == 2 else each for each in part] for part in parts]  # not in its order in memory
        kept = [[each.clone() for each in part] for part in parts]
        expected = [added(torch.stack(each)) for each in zip(*parts, strict=True)]
        for found in ways.by_all(world, lambda rank, parts=parts: swaps.added(rank, world, parts[rank])):  # type: ignore[misc]
            assert [each.shape for each in found] == [each.shape for each in expected]
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert all(
            torch.equal(a, b) for one, other in zip(parts, kept, strict=True) for a, b in zip(one, other, strict=True)
        )


@pytest.mark.parametrize("world", WORLDS)
def test_all_have_what_each_had(ways: Ways, world: int) -> None:
    def act(rank: int) -> Tensor:
        blocks = torch.zeros(world, 5, dtype=torch.uint8)
        blocks[rank] = rank + 1
        swaps.collect(rank, world, blocks)
        return blocks

    for blocks in ways.by_all(world, act):
        assert blocks.tolist() == [[rank + 1] * 5 for rank in range(world)]


@pytest.mark.parametrize("world", WORLDS)
def test_large_sums_go_by_halves_and_small_ones_in_few_messages(ways: Ways, world: int) -> None:
    size = 2 * swaps.SMALL
    ways.by_all(world, lambda rank: swaps.added(rank, world, [torch.ones(size)]))
    swaps_of_all = world.bit_length() - 1
    for sent in ways.sent.values():
        assert sum(sent) == 4 * size * (1 if world == 2 else 2 * (world - 1) / world)
        assert len(sent) == (1 if world == 2 else 2 * swaps_of_all)
    ways.sent.clear()
    ways.by_all(world, lambda rank: swaps.added(rank, world, [torch.ones(3), torch.ones(())]))
    assert {len(sent) for sent in ways.sent.values()} == {swaps_of_all}
