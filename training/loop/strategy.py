"""Lightning's strategy and accelerator, as far as callbacks and tasks ask them: one process, on one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from training.loop.optimizers import CountingOptimizer, Scheduler
from training.loop.session import Session
from training.loop.task import Task

V = TypeVar("V")


class Accelerator:
    """A kind of device."""

    @staticmethod
    def is_available() -> bool:
        """Whether there is one."""
        return True

    @staticmethod
    def auto_device_count() -> int:
        """How many of them a Trainer takes."""
        return 1

    @staticmethod
    def name() -> str:
        """As the keyword ``accelerator`` has it."""
        return "cpu"


class CPUAccelerator(Accelerator):
    """The CPU."""


class CUDAAccelerator(Accelerator):
    """A CUDA GPU."""

    @staticmethod
    def is_available() -> bool:
        """Whether torch sees one."""
        return torch.cuda.is_available()

    @staticmethod
    def name() -> str:
        """As the keyword ``accelerator`` has it."""
        return "cuda"


class Strategy:
    """The processes that share the work. What one of them knows outside of a step, the others know, too."""

    launcher = None

    def __init__(self, session: Session) -> None:
        self._session, group = session, session.group
        self.world_size, self.num_nodes, self.is_global_zero = group.world, group.nodes, group.writes
        self.global_rank, self.local_rank, self.node_rank = group.rank, group.local_rank, group.node_rank

    @property
    def root_device(self) -> torch.device:
        """Where the task is."""
        return self._session.device

    @property
    def accelerator(self) -> Accelerator:
        """The kind of that device."""
        return CUDAAccelerator() if self.root_device.type == "cuda" else CPUAccelerator()

    @property
    def model(self) -> Task | None:
        """The task; None before there is one."""
        return self._session.task if self._session.has_task else None

    lightning_module = model

    @property
    def optimizers(self) -> Sequence[CountingOptimizer]:
        """As of the Trainer."""
        return self._session.optimizers

    @property
    def lr_scheduler_configs(self) -> Sequence[Scheduler]:
        """As of the Trainer."""
        return self._session.schedulers

    def barrier(self, name: str | None = None) -> None:
        """Wait for the other processes."""
        self._session.group.gather(None)

    def broadcast(self, obj: V, src: int = 0) -> V:
        """What a process has, the first one if no other is named."""
        found: V = self._session.group.gather(obj)[src]
        return found

    def reduce(self, tensor: V, *args: Any, **kwargs: Any) -> V:
        """As it is: a step's values are added up over its parts already."""
        return tensor

    def all_gather(self, tensor: V, group: Any = None, sync_grads: bool = False) -> V:
        """As it is, since all processes have the same."""
        return tensor

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Whether all processes, or any, say so."""
        said = [bool(each) for each in self._session.group.gather(decision)]
        return False not in said if all else True in said
