"""Metric objects: what has ``update``, ``compute`` and ``reset``, as torchmetrics' metrics have. None of it is imported.

Each is an attribute of the task, of one of its modules, or in a list or dict there, so that it has a name under which its
state stands in checkpoints: a fit that is left in the middle of an epoch goes on with the same counts.
"""

from __future__ import annotations

import functools
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from training import storable
from training.errors import ConfigError
from training.storable import copied

METHODS = ("update", "compute", "reset")
SIMPLE = {str, int, float, bool, bytes, type(None), torch.Tensor}
OF_ANY_MODULE = frozenset(vars(nn.Module()))
OF_TORCHMETRICS = ("_update_count", "_forward_cache")  # beside the states that they declare
CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type, functools.partial)


def is_metric(value: Any) -> bool:
    """Whether ``value`` is a metric object."""
    kind = type(value)
    return all(callable(getattr(kind, name, None)) for name in METHODS) and not isinstance(value, type)


def metrics_of(task: nn.Module) -> dict[str, Any]:
    """The task's metric objects by name: ``accuracy``, ``encoder.accuracy``, ``metrics.0``, ``metrics.valid``."""
    modules = dict(task.named_modules())
    found = {name: module for name, module in modules.items() if name and is_metric(module)}
    seen = {id(metric) for metric in found.values()}
    for name, module in modules.items():
        for attribute, value in vars(module).items():
            if attribute not in OF_ANY_MODULE:
                _look(value, f"{name}.{attribute}".removeprefix("."), found, seen)
    return found


def name_of(task: nn.Module, metric: Any, logged_as: str) -> str:
    """The metric object's name in ``metrics_of``. ConfigError where it is none of the task's attributes."""
    for name, each in metrics_of(task).items():
        if each is metric:
            return name
    raise ConfigError(
        f"log({logged_as!r}): expected a metric that is an attribute of {type(task).__name__}, so that checkpoints hold its "
        f"state, got a {type(metric).__name__} that is not one; make it one in __init__"
    )


def states_of(task: nn.Module) -> dict[str, Any]:
    """The states of the task's metric objects by name, copied. ConfigError names one that can't be stored."""
    return {name: _state(metric, name) for name, metric in metrics_of(task).items()}


def restore_metrics(task: nn.Module, states: Mapping[str, Any]) -> None:
    """Back from ``states_of``; a warning names metric objects that the task did not have then, or has no more."""
    found = metrics_of(task)
    if odd := sorted(found.keys() ^ states.keys()):
        warnings.warn(
            f"the checkpoint is of a task with other metrics: {', '.join(odd)}; "
            "new metrics start empty here, even within an epoch",
            stacklevel=2,
        )
    for name in found.keys() & states.keys():
        _put(found[name], states[name])


def _look(value: Any, name: str, found: dict[str, Any], seen: set[int]) -> None:
    """Add the metric objects in ``value``, which is the attribute ``name`` or in it."""
    if type(value) in SIMPLE or id(value) in seen:
        return
    if type(value) in (dict, list, tuple):
        seen.add(id(value))
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            _look(each, f"{name}.{key}", found, seen)
    elif is_metric(value):
        seen.add(id(value))
        found[name] = value


# -- the state of one ----------------------------------------------------------------------------------------------------


def state_of_metric(metric: Any) -> Any:
    """The state of one, not copied."""
    return metric.state_dict() if _has_own_state(metric) else _attributes(metric)


def _state(metric: Any, name: str) -> Any:
    state = state_of_metric(metric)
    if not _can_be_stored(state):
        raise ConfigError(_refusal(metric, name, state))
    return copied(state)


def _put(metric: Any, state: Any) -> None:
    state = copied(state)
    if _has_own_state(metric):
        metric.load_state_dict(state)
        return
    for name in _attributes(metric).keys() - state.keys():
        delattr(metric, name)  # it came up later
    for name, value in state.items():
        now = getattr(metric, name, None)
        if isinstance(now, dict | deque) and type(now) not in (dict, type(value)):
            now.clear()  # a Counter, a defaultdict: it stays one
            now.update(value) if isinstance(now, dict) else now.extend(value)
        else:
            setattr(metric, name, _placed(value, now, getattr(metric, "device", None)))
    if getattr(metric, "metric_state", None) is not None:
        metric._computed = None  # what torchmetrics remembers of the state before


def _has_own_state(metric: Any) -> bool:
    """Whether it says itself what its state is; of a module ``state_dict`` is a part of the task's weights."""
    if isinstance(metric, nn.Module):
        return False
    return callable(getattr(metric, "state_dict", None)) and callable(getattr(metric, "load_state_dict", None))


def _attributes(metric: Any) -> dict[str, Any]:
    """The attributes that can change: all but code; of torchmetrics' metrics the states that they declare.

    Those have much else among their attributes, of which what is public and can be stored may be a state, too.
    """
    declared = getattr(metric, "metric_state", None)
    found = {}
    for name, value in _variables(metric):
        if isinstance(value, CODE):
            continue
        known = declared is None or name in declared or name in OF_TORCHMETRICS
        if known or (not name.startswith("_") and _can_be_stored(value)):
            found[name] = _as_plain(value)
    return found


def _variables(metric: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of the object; of a module its buffers, and what not any module has.

    Buffers may be among the weights, too; but a validation is left with the weights of its end, and the counts of its
    beginning.
    """
    if isinstance(metric, nn.Module):
        yield from metric.named_buffers(recurse=False)
        yield from ((name, value) for name, value in vars(metric).items() if name not in OF_ANY_MODULE)
        return
    yield from getattr(metric, "__dict__", {}).items()
    for kind in type(metric).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(metric, name):
                yield name, getattr(metric, name)


def _as_plain(value: Any) -> Any:
    """A Counter and a defaultdict as a dict, a deque as a list; into which they can be put back."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, deque) else value


def _can_be_stored(value: Any) -> bool:
    try:
        storable.encode(value)
    except ConfigError:
        return False
    return True


def _placed(value: Any, now: Any, device: Any) -> Any:
    """Tensors on the device of what stands there now, or of the metric."""
    if isinstance(value, torch.Tensor):
        place = now.device if isinstance(now, torch.Tensor) else device
        return value if place is None else value.to(place)
    if isinstance(value, dict):
        return type(value)((key, _placed(each, None, device)) for key, each in value.items())
    return type(value)(_placed(each, None, device) for each in value) if isinstance(value, list | tuple) else value


def _refusal(metric: Any, name: str, state: Any) -> str:
    kind, what = type(metric).__name__, "state_dict()"
    if isinstance(state, dict) and (odd := [key for key, value in state.items() if not _can_be_stored(value)]):
        what = ", ".join(f"{key} (a {type(state[key]).__name__})" for key in odd)
    return (
        f"the metric {name!r}: a checkpoint can't hold its {what}; keep it in tensors, numbers, text, or lists and dicts of "
        f"them, or give {kind} state_dict and load_state_dict"
    )
