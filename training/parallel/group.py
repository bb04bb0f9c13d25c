"""The processes that work on one run: which this one is, and what they tell each other.

torchrun, or ``--devices N``, starts them, all with the same program; torch.distributed carries the bytes. Each has the whole
data, model and plan. They share the work on the ``shards`` of each batch, and what they know is the same in all of them.
"""

from __future__ import annotations

import atexit
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from training.errors import ConfigError
from training.parallel.tree import added

TIMEOUT = timedelta(minutes=30)
SLOT = 2048
"""Bytes of a message that go without its length being told first."""
HEADER = 8


@dataclass(frozen=True)
class Group:
    """``world`` processes, of which this is number ``rank``; each has ``shards // world`` neighboring shards of a batch."""

    rank: int
    world: int
    shards: int

    @property
    def own(self) -> range:
        """The shards of this process."""
        each = self.shards // self.world
        return range(self.rank * each, (self.rank + 1) * each)

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes the run."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, by rank. Anything that pickle takes; they are processes of one user's one program."""
        if self.world == 1:
            return [value]
        message = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        received = self._exchange(message, SLOT)
        longest = max(int.from_bytes(each[:HEADER], "little") for each in received)
        if longest > SLOT - HEADER:
            received = self._exchange(message, longest + HEADER)
        return [
            value if rank == self.rank else pickle.loads(each[HEADER : HEADER + int.from_bytes(each[:HEADER], "little")])
            for rank, each in enumerate(received)
        ]

    def _exchange(self, message: bytes, size: int) -> list[bytes]:
        framed = len(message).to_bytes(HEADER, "little") + message
        sent = torch.zeros(size, dtype=torch.uint8)
        fits = bytearray(framed[:size])
        sent[: len(fits)] = torch.frombuffer(fits, dtype=torch.uint8)
        received = torch.empty(self.world, size, dtype=torch.uint8)
        dist.all_gather(list(received.unbind()), sent)
        return [each.numpy().tobytes() for each in received]

    def broadcast(self, value: Any) -> Any:
        """What process 0 has; the others' ``value`` is not looked at."""
        if self.world == 1:
            return value
        box = [value if self.writes else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def first(self, function: Callable[[], Any]) -> Any:
        """What ``function`` gives, or raises, in process 0, which alone runs it."""
        if self.world == 1:
            return function()
        found: tuple[Any, Exception | None] = None, None
        if self.writes:
            try:
                found = function(), None
            except Exception as error:
                found = None, error
        value, raised = self.broadcast(found)
        if raised is not None:
            raise raised
        return value

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite ``tensors`` with those of process 0."""
        if self.world > 1:
            for each in tensors:
                dist.broadcast(each.contiguous().view(-1) if each.is_contiguous() else each, src=0)

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of the processes' numbers, place by place."""
        if self.world > 1:
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Of each tensor the sum over the processes, along the tree: each adds up one slice of all, and gets the rest.

        ``tensors`` have the same shapes and types in each process, and are the sums of their subtrees.
        """
        if self.world == 1:
            return list(tensors)
        found: list[Tensor | None] = [None] * len(tensors)
        for kind in dict.fromkeys((each.dtype, each.device) for each in tensors):
            places = [i for i, each in enumerate(tensors) if (each.dtype, each.device) == kind]
            flat = self._sum_flat([tensors[i] for i in places])
            begin = 0
            for i in places:
                size = tensors[i].numel()
                found[i] = flat[begin : begin + size].view(tensors[i].shape)
                begin += size
        return [each for each in found if each is not None]

    def _sum_flat(self, tensors: list[Tensor]) -> Tensor:
        size = sum(each.numel() for each in tensors)
        width = -(-size // self.world)
        sent = tensors[0].new_zeros(self.world * width)
        torch.cat([each.reshape(-1) for each in tensors], out=sent[:size])
        received = torch.empty_like(sent)
        dist.all_to_all_single(_bytes(received), _bytes(sent))
        part = added(received.view(self.world, width)).contiguous()
        dist.all_gather([_bytes(each) for each in sent.view(self.world, width).unbind()], _bytes(part))
        return sent[:size]


def _bytes(tensor: Tensor) -> Tensor:
    """The same memory as bytes, which every backend carries, whatever the type."""
    return tensor.view(torch.uint8)


_joined: Group | None = None


def in_group() -> bool:
    """Whether torchrun or a launcher of ours started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(shards: int) -> Group:
    """The group of this process: itself alone, or that which its launcher tells of in the environment.

    Args:
        shards: into how many parts a batch is cut.

    Raises:
        ConfigError: where the shards can't be dealt out evenly.
    """
    global _joined
    if shards < 1 or shards & (shards - 1):
        raise ConfigError(f"shards: expected a power of two (1, 2, 4, 8, …), got {shards}")
    if not in_group():
        return Group(0, 1, shards)
    world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    if shards % world:
        raise ConfigError(
            f"shards: expected a multiple of the {world} processes, got {shards}; give a power of two that {world} divides, "
            "or another number of processes"
        )
    if _joined is None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT)
        atexit.register(leave)
        _joined = Group(rank, world, shards)
    return Group(rank, world, shards)


def leave() -> None:
    """Close the connections to the other processes."""
    global _joined
    if _joined is not None:
        _joined = None
        dist.destroy_process_group()
