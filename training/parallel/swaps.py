"""Sums and collections by swaps: W processes, a power of two, go in pairs, first each with its neighbor, then two with two.

After each swap two subtrees of the tree (tree.py) have the sum of both, so that all have the whole one after log₂ W swaps,
and its bits are those of the tree. Large tensors are swapped by halves, so that not all of each travels every time. In a
pair each sends and receives at once. gloo's own collectives take as many rounds as there are processes, and have threads
of their own that take turns with this one.

Source: Thakur et al., "Optimization of Collective Communication Operations in MPICH", 2005, section 4: recursive doubling,
and Rabenseifner's reduce-scatter by recursive halving with an allgather.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

SMALL = 1 << 15
"""Bytes that travel whole: of so few it is the number of messages, one after another, that takes time."""


def added(rank: int, world: int, tensors: list[Tensor]) -> list[Tensor]:
    """The sums of ``tensors`` over the processes, along the tree; all are of one type, on one device.

    They travel together, in a flat tensor; but between two processes a large one travels as it lies.
    """
    apart = [i for i, each in enumerate(tensors) if world == 2 and each.nbytes > SMALL]
    together = [i for i in range(len(tensors)) if i not in apart]
    flat = [tensors[i].reshape(-1) for i in together]
    sizes = [each.numel() for each in flat]
    padding = -sum(sizes) % world  # slices are as long as each other
    sums = [torch.cat([*flat, tensors[0].new_zeros(padding)]), *(tensors[i].contiguous() for i in apart)]
    if world == 2 or sums[0].nbytes <= SMALL:
        sums = _added_whole(rank, world, sums)
    else:
        _add_slices(rank, world, sums[0].view(world, -1))
    parts = sums[0].split([*sizes, padding])[: len(together)]
    found = dict(zip([*together, *apart], [*parts, *sums[1:]], strict=True))
    return [found[i].view(each.shape) for i, each in enumerate(tensors)]


def collect(rank: int, world: int, blocks: Tensor) -> None:
    """Fill ``blocks`` (W, n), of which each process has the one of its rank, with those of the others."""
    _collect(rank, rank, _distances(world), blocks)


def as_bytes(tensor: Tensor) -> Tensor:
    """The same memory as bytes, which every backend carries, whatever the type."""
    return tensor.view(torch.uint8)


def _distances(world: int) -> list[int]:
    """How far the partner is in each swap: 1, 2, 4, …"""
    return [1 << level for level in range(world.bit_length() - 1)]


def _added_whole(rank: int, world: int, sums: list[Tensor]) -> list[Tensor]:
    """The sums, from those of each process."""
    for distance in _distances(world):
        received = [torch.empty_like(each) for each in sums]
        _swap(rank ^ distance, sums, received)
        torch._foreach_add_(received, sums)  # a + b is b + a: it does not matter which subtree is the left one
        sums = received
    return sums


def _add_slices(rank: int, world: int, slices: Tensor) -> None:
    """The same in place, for ``slices`` (W, n): after each swap a process goes on with half of them, to the sum of one."""
    received = slices.new_empty(world // 2, slices.shape[1])
    first, count = 0, world
    for distance in _distances(world):
        count //= 2
        sent = first + count
        if rank & distance:
            first, sent = sent, first
        _swap(rank ^ distance, [slices[sent : sent + count]], [received[:count]])
        slices[first : first + count] += received[:count]
    _collect(rank, first, _distances(world)[::-1], slices)


def _collect(rank: int, first: int, distances: list[int], blocks: Tensor) -> None:
    """Fill ``blocks`` (W, n), of which this process has number ``first``: each swap doubles what it has."""
    for level, distance in enumerate(distances):
        count = 1 << level
        other = first ^ count
        _swap(rank ^ distance, [blocks[first : first + count]], [blocks[other : other + count]])
        first = min(first, other)


def _swap(partner: int, sent: Sequence[Tensor], received: Sequence[Tensor]) -> None:
    """Send these to another process, and receive as many of the same sizes; each in one stretch of memory."""
    there = [as_bytes(each.view(-1)) for each in sent if each.numel()]
    back = [as_bytes(each.view(-1)) for each in received if each.numel()]
    ways: Sequence[dist.Work | None]
    if there and there[0].is_cuda:  # NCCL does both at once only where it is told of both at once
        both = [dist.P2POp(dist.irecv, each, partner) for each in back]
        ways = dist.batch_isend_irecv(both + [dist.P2POp(dist.isend, each, partner) for each in there])
    else:  # that takes a quarter of a millisecond
        ways = [dist.irecv(each, partner) for each in back] + [dist.isend(each, partner) for each in there]
    for way in ways:
        assert way is not None  # it is for those who are not in the group
        way.wait()
