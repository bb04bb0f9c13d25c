"""What users' code keeps in plain attributes of a task or a callback: lists of outputs, counters, best values.

Lightning has them in no checkpoint. Here those that have changed since the fit began are, so that a run that goes on in the
middle finds them as they were. What can't be stored is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from training import storable
from training.errors import ConfigError
from training.generators import GENERATORS
from training.loop.callback import Callback, key_of
from training.loop.hooks import overridden
from training.loop.metric_objects import OF_ANY_MODULE, is_metric
from training.loop.task import Task
from training.storable import copied

LARGEST, MOST, DEEPEST = 1 << 20, 100_000, 20
"""Arrays of more bytes, collections of more parts, and parts that lie deeper are told by which object they are."""
PLAIN = (bool, int, float, complex, str, bytes, type(None))
LEFT_OUT = (nn.Module, torch.optim.Optimizer, *GENERATORS)
_OWN = OF_ANY_MODULE | frozenset(vars(Task()))


class Attributes:
    """The attributes of a task and of users' callbacks, as they were when the fit began."""

    def __init__(self, task: Task, callbacks: list[Callback]) -> None:
        self._task, self._holders = task, dict(holders(task, callbacks))
        self._before = {name: {key: mark(value) for key, value in values_of(each)} for name, each in self._holders.items()}
        self._told: set[str] = set()

    def changed(self) -> dict[str, dict[str, Any]]:
        """Those that have changed since, by holder and name, ready to be stored.

        One that holds weights under another name, as nn.LSTM keeps a list of its own, is left out: they are stored as
        weights, and copies would take their place.
        """
        weights = {id(each) for each in (*self._task.parameters(), *self._task.buffers())}
        found = {name: self._changed_in(name, each, weights) for name, each in self._holders.items()}
        return {name: values for name, values in found.items() if values}

    def _changed_in(self, name: str, holder: Any, weights: set[int]) -> dict[str, Any]:
        before, values = self._before[name], dict(values_of(holder))
        changed = {key: value for key, value in values.items() if before.get(key) != mark(value)}
        return {key: copied(value) for key, value in changed.items() if not _holds(value, weights)}

    def refused(self, found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
        """Of ``changed``, those that a checkpoint can't hold: holder, name, and once a line that says so, else ""."""
        for name, values in found.items():
            for key, value in values.items():
                try:
                    storable.encode(value, f"{name}.{key}")
                except ConfigError as error:
                    line = "" if f"{name}.{key}" in self._told else f"{error}; a resume does not restore it"
                    self._told.add(f"{name}.{key}")
                    yield name, key, line

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Back to what ``changed`` gave; the names of what is no longer there are passed over."""
        for name, values in state.items():
            for key, value in values.items():
                if name in self._holders:
                    setattr(self._holders[name], key, value)


class _Marks:
    """Marks of one value's parts, as long as they are not too many or too deep."""

    def __init__(self) -> None:
        self.left = MOST

    def mark(self, value: Any, depth: int = 0) -> Any:
        self.left -= 1
        if isinstance(value, PLAIN):
            return value if value == value else repr(value)  # NaN is unlike itself
        if isinstance(value, torch.Tensor):
            return id(value), None if value.is_inference() else value._version
        if isinstance(value, np.ndarray) and value.nbytes <= LARGEST and not value.dtype.hasobject:
            return hashlib.sha256(value.tobytes()).digest()
        if isinstance(value, dict | list | tuple | set | frozenset) and len(value) <= self.left and depth < DEEPEST:
            parts: Any = value.items() if isinstance(value, dict) else value
            parts = sorted(parts, key=repr) if isinstance(value, set | frozenset) else parts
            return type(value).__name__, tuple(self.mark(each, depth + 1) for each in parts)
        return "object", id(value)


def mark(value: Any) -> Any:
    """What tells whether a value has changed: its content, or of what is large or unknown which object it is."""
    return _Marks().mark(value)


def _holds(value: Any, tensors: set[int], depth: int = 0) -> bool:
    """Whether one of these tensors, by identity, is in it."""
    if isinstance(value, torch.Tensor):
        return id(value) in tensors
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return depth < DEEPEST and any(_holds(each, tensors, depth + 1) for each in parts)


def holders(task: Task, callbacks: list[Callback]) -> Iterator[tuple[str, Any]]:
    """By name, what may keep something in attributes: the modules, and users' callbacks without a state of their own."""
    for name, module in task.named_modules():
        yield f"task.{name}".rstrip("."), module
    for i, callback in enumerate(callbacks):
        if not type(callback).__module__.startswith("training.") and not overridden(callback, "state_dict", Callback):
            yield f"{key_of(callback)} {i}", callback


def values_of(holder: Any) -> Iterator[tuple[str, Any]]:
    """Attributes that may be state: no modules, functions, generators, or what the loop itself sets."""
    for key, value in vars(holder).items():
        if key in _OWN or key in ("log", "log_dict") or isinstance(value, LEFT_OUT):
            continue
        if callable(value) or is_metric(value):
            continue
        yield key, value
