"""What a step leaves on the task, the callbacks and the loggers, where with shards one process alone would have it."""

from __future__ import annotations

import hashlib
import operator
import pickle
from typing import Any

import torch
from torch import Tensor

from training.data.tensors import map_tensors
from training.errors import ConfigError, ReproducibilityError
from training.generators import state_of
from training.loop.attributes import holders, mark, values_of
from training.loop.metric_objects import metrics_of, state_of_metric
from training.loop.session import Session
from training.loop.snapshot import held_generators

MANY = 100
"""Parts of an output that are looked at one by one."""


class Kept:
    """Whatever a step may change beside what it returns and logs, to be compared before it and after it.

    With ``tensors`` the parameters and buffers, too. The attributes of a task that says ``keeps_attributes = False`` are
    left out: it vouches for them.
    """

    def __init__(self, session: Session, tensors: bool) -> None:
        self._session, self._tensors = session, tensors
        task = session.task
        self._holders = list(holders(task, session.callbacks)) if task.keeps_attributes else []
        self._metrics, self._generators = metrics_of(task), held_generators(session)
        self._alive: list[Any] = []

    def marks(self) -> dict[str, Any]:
        """By name, what tells whether it has changed."""
        found: dict[str, Any] = {"the logger": self._session.loggers_asked}
        self._alive = []  # what is marked by its identity must not make room for another object
        for name, holder in self._holders:
            for key, value in values_of(holder):
                self._alive.append(value)
                found[f"{name}.{key}"] = mark(value)
        found |= {f"the metric {name}": mark(self._held(state_of_metric(each))) for name, each in self._metrics.items()}
        found |= {f"the generator {name}": mark(_plain(state_of(each))) for name, each in self._generators.items()}
        if self._tensors:
            task = self._session.task
            named = [*task.named_parameters(), *task.named_buffers()]
            found |= {f"task.{name}": None if each.is_inference() else each._version for name, each in named}
        return found

    def _held(self, value: Any) -> Any:
        self._alive.append(value)
        return value

    def changed(self, before: dict[str, Any]) -> list[str]:
        """The names of what is other than ``before``, which ``marks`` gave."""
        alive, now = self._alive, self.marks()
        del alive
        return [name for name in now if name not in before or now[name] != before[name]]


def _plain(state: Any) -> Any:
    """A generator's state as what ``mark`` reads by its content."""
    return state.numpy() if hasattr(state, "numpy") else state


def unsent(output: Any) -> str:
    """Why a step's output can't be sent to other processes; "" where it can."""
    if _is_plain(output):
        return ""
    try:
        pickle.dumps(map_tensors(output, Tensor.cpu))
    except Exception as error:
        return " ".join(str(error).split())
    return ""


def _is_plain(output: Any) -> bool:
    if isinstance(output, list | tuple) and not hasattr(output, "_fields"):
        return len(output) < MANY and all(map(_is_plain, output))
    if isinstance(output, dict):
        return len(output) < MANY and all(map(_is_plain, (*output, *output.values())))
    return isinstance(output, Tensor | float | int | str | None)


class Bindings:
    """What the attributes of a task and of its modules are bound to: as it was, once a shard has run.

    So a shard finds what another shard of the same process has not set.
    """

    def __init__(self, session: Session) -> None:
        task = session.task
        self._holders = [(name, each) for name, each in holders(task, []) if task.keeps_attributes]
        self._before: list[dict[str, Any]] = []
        self.begin()

    def begin(self) -> None:
        """From here on."""
        self._before = [dict(vars(each)) for _, each in self._holders]

    def swap(self) -> list[dict[str, Any]]:
        """Back to what was before; returns what was set meanwhile, for ``put``, a dict for each module."""
        found: list[dict[str, Any]] = []
        for (_, holder), before in zip(self._holders, self._before, strict=True):
            found.append({})
            if _is_same(vars(holder), before):
                continue
            now = dict(values_of(holder))
            found[-1] = {key: value for key, value in now.items() if key not in before or before[key] is not value}
            for key in found[-1]:
                if key in before:
                    object.__setattr__(holder, key, before[key])
                else:
                    vars(holder).pop(key, None)
        return found

    def put(self, found: list[dict[str, Any]]) -> None:
        """Set again what ``swap`` took away."""
        for (_, holder), each in zip(self._holders, found, strict=True):
            for key, value in each.items():
                object.__setattr__(holder, key, value)

    def names(self, found: list[dict[str, Any]]) -> list[str]:
        """The names of what ``swap`` gave."""
        return [f"{name}.{key}" for (name, _), each in zip(self._holders, found, strict=True) for key in each]


def _is_same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether they hold the same objects, in the same order: the usual case, for which every module is looked at."""
    return len(now) == len(before) and all(map(operator.is_, now.values(), before.values()))


class Watch:
    """What the shards of one batch do beside their gradients, logs and outputs: what they set ends with them.

    Changes in place can't be taken back. They are looked for in a fit's first batches, and then ever more seldom; in the
    very first they pass for what is made once, such as tables.
    """

    def __init__(self, session: Session, batch: Any) -> None:
        self._bindings = Bindings(session)
        n = session.watched
        session.watched += 1
        self._kept = Kept(session, tensors=False) if n & (n - 1) == 0 else None
        if self._kept is not None and session.group.world > 1:
            _check_alike(session, batch)
        self._first = n == 0
        self._before = {} if self._kept is None else self._kept.marks()

    def begin(self) -> None:
        """Before a shard goes on: what hooks have changed meanwhile stays."""
        self._bindings.begin()
        if self._kept is not None:
            self._before = self._kept.marks()

    def take(self) -> list[dict[str, Any]]:
        """What a shard has set, which is taken away. ConfigError for changes in place."""
        found = self._bindings.swap()
        if self._kept is not None:
            changed, before = self._kept.changed(self._before), self._before
            self._before = {**before, **self._kept.marks()} if changed else before
            if changed and not self._first:
                raise ConfigError(
                    f"training_step: it changes {', '.join(changed[:3])}, and with shards each process would change its "
                    "own; return that from training_step, and use it in on_train_batch_end"
                )
        return found

    def put(self, found: list[dict[str, Any]]) -> None:
        """Set it again, for the shard to go on."""
        self._bindings.put(found)

    def names(self, found: list[dict[str, Any]]) -> list[str]:
        """What ``take`` gave, by name."""
        return self._bindings.names(found)


def _check_alike(session: Session, batch: Any) -> None:
    """ReproducibilityError where the processes have not read the same batch."""
    digest = hashlib.sha256()

    def add(tensor: Tensor) -> Tensor:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.layout is torch.strided:
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return tensor

    map_tensors(batch, add)
    found = session.group.gather(digest.digest())
    if odd := [rank for rank, each in enumerate(found) if each != found[0]]:
        raise ReproducibilityError(
            f"{session.progress.where()}: expected the same batch in all processes, which share the work on it, got another "
            f"in process {odd[0]}; its data must not depend on the process or the clock, and needs no DistributedSampler"
        )
