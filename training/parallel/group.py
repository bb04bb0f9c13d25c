"""The processes that work on one run: which this one is, and what they tell each other.

torchrun, or ``--devices N``, starts them, all with the same program; torch.distributed carries the bytes. Each has the whole
data, model and plan. They share the work on the ``shards`` of each batch, and what they know is the same in all of them.
"""

from __future__ import annotations

import atexit
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from training.bar import launched
from training.config import TrainConfig
from training.errors import ConfigError, SamebitsError
from training.parallel import launch, loss, swaps
from training.parallel.launch import check_shards
from training.parallel.pulse import Pulse, connection, is_kept_by_launcher, own_part

TIMEOUT = timedelta(days=7)
"""For the bytes of others: one may compute that long. Whether it still does, its signs of life tell."""
_BROKEN = re.compile("gloo|nccl|connection|socket|peer|timed out|timeout|broken pipe", re.IGNORECASE)
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

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine."""
        return launched("LOCAL_RANK", 0) if self.world > 1 else 0

    @property
    def local_world(self) -> int:
        """How many of them are on this machine."""
        return launched("LOCAL_WORLD_SIZE", self.world) if self.world > 1 else 1

    @property
    def nodes(self) -> int:
        """How many machines there are, with as many processes each."""
        return self.world // self.local_world

    @property
    def node_rank(self) -> int:
        """The number of this machine."""
        return self.rank // self.local_world

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
        received = torch.zeros(self.world, size, dtype=torch.uint8)
        fits = bytearray(framed[:size])
        received[self.rank, : len(fits)] = torch.frombuffer(fits, dtype=torch.uint8)
        with _exchange():
            swaps.collect(self.rank, self.world, received)
        return [each.numpy().tobytes() for each in received]

    def broadcast(self, value: Any) -> Any:
        """What process 0 has; the others' ``value`` is not looked at."""
        if self.world == 1:
            return value
        box = [value if self.writes else None]
        with _exchange():
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
            raise self.shared(raised)
        return value

    def shared(self, error: Exception) -> Exception:
        """An error that all processes raise: process 0 says it, the others end in silence."""
        if isinstance(error, SamebitsError) and not self.writes:
            error.silent = True
        return error

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite ``tensors`` with those of process 0."""
        if self.world > 1:
            with _exchange():
                for each in tensors:
                    whole = each.contiguous()
                    dist.broadcast(swaps.as_bytes(whole.view(-1)), src=0)
                    if whole is not each:
                        each.copy_(whole)
                _wait_for_gpu(tensors)

    def to_first(self, tensor: Tensor) -> list[Tensor]:
        """In process 0, what each process has, by rank; elsewhere nothing. The same shape and type in each."""
        if self.world == 1:
            return [tensor]
        received = [torch.empty_like(tensor) for _ in range(self.world)] if self.writes else []
        with _exchange():
            dist.gather(tensor.contiguous(), received if self.writes else None, dst=0)
            _wait_for_gpu([tensor])
        return received

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of the processes' numbers, place by place."""
        if self.world > 1:
            with _exchange():
                dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
                _wait_for_gpu([tensor])
        return tensor

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Of each tensor the sum over the processes, along the tree.

        ``tensors`` have the same shapes and types in each process, and are the sums of their subtrees.
        """
        if self.world == 1:
            return list(tensors)
        found = list(tensors)
        for kind in dict.fromkeys((each.dtype, each.device) for each in tensors):
            places = [i for i, each in enumerate(tensors) if (each.dtype, each.device) == kind]
            with _exchange():
                sums = swaps.added(self.rank, self.world, [tensors[i] for i in places])
                _wait_for_gpu(sums)
            for i, each in zip(places, sums, strict=True):
                found[i] = each
        return found


_pulse: Pulse | None = None


@contextmanager
def _exchange() -> Iterator[None]:
    """Around all that waits for other processes. Lost where one of them is, whatever it was that broke."""
    if _pulse is None:
        yield
        return
    try:
        _pulse.begin()
        yield
    except RuntimeError as error:
        if not _BROKEN.search(str(error)):
            raise
        raise loss.announce(_pulse.broken()) from None
    finally:
        _pulse.end()


def _wait_for_gpu(tensors: Sequence[Tensor]) -> None:
    """What NCCL does goes on after its call: here it is waited for, so that a loss is noticed in the exchange."""
    if any(each.is_cuda for each in tensors):
        torch.cuda.synchronize()


def in_group() -> bool:
    """Whether torchrun or a launcher of ours started this process as one of several."""
    return launched("WORLD_SIZE", 1) > 1


def join(config: TrainConfig) -> Group:
    """The group of this process: itself alone, or that which its launcher tells of in the environment.

    Where several ``devices`` are asked for and no launcher started this process, it starts them, and ends with them.

    Raises:
        ConfigError: where the shards can't be dealt out evenly, or the processes can't meet.
    """
    if not in_group():
        check_shards(config.shards)
        launch.begin(config)
        return Group(0, 1, config.shards)
    group = Group(launched("RANK"), launched("WORLD_SIZE"), config.shards)
    try:
        check_shards(config.shards, group.world)
    except ConfigError as error:
        raise group.shared(error) from None
    if _pulse is None:
        _meet(group)
    return group


def _meet(group: Group) -> None:
    """Come together with the other processes."""
    global _pulse
    if torch.cuda.is_available() and launched("LOCAL_RANK", 0) < torch.cuda.device_count():
        torch.cuda.set_device(launched("LOCAL_RANK", 0))
    try:
        store, rank, world = _in_time(lambda: next(rendezvous("env://", timeout=timedelta(seconds=_to_connect()))))
        store.set_timeout(timedelta(seconds=loss.seconds.meeting))
        _pulse = Pulse(group.rank, group.world, connection(loss.seconds.meeting))
    except (dist.DistNetworkError, ValueError) as error:
        raise _unmet(error) from None
    atexit.register(leave)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _exchange():
        dist.init_process_group(backend, store=own_part(store), rank=rank, world_size=world, timeout=TIMEOUT)


def _to_connect() -> float:
    """Seconds for the store to be there: that of a launcher is from the beginning, that of process 0 once it has come."""
    return loss.seconds.lost if is_kept_by_launcher() else loss.seconds.meeting


def _in_time(meet: Callable[[], Any]) -> Any:
    """What ``meet`` gives, or raises. ValueError if it waits for longer than it should.

    torch waits without an end where another program has the port of process 0, takes connections and says nothing.
    """
    found: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            found.append((meet(), None))
        except Exception as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(2 * _to_connect() + loss.seconds.grace)  # it has one for the connection, and one for the others to come
    if not found:
        raise ValueError("no answer")
    value, raised = found[0]
    if raised is not None:
        raise raised
    return value


def _unmet(error: Exception) -> ConfigError:
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if re.search("in use|EADDRINUSE", str(error)):
        return ConfigError(f"MASTER_PORT: expected a free port, got {port}, which another program uses; give another")
    return ConfigError(
        f"expected the other processes to be met at MASTER_ADDR {address!r}, MASTER_PORT {port!r}, got no answer there; "
        "start all of them, with the address and a free port of the first one's host"
    )


def leave() -> None:
    """Tell the other processes that this one has done its part, and close the connections to them."""
    global _pulse
    if _pulse is not None:
        _pulse.leave()
        _pulse = None
        if dist.is_initialized():
            dist.destroy_process_group()
