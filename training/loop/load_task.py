"""A task from a checkpoint: built from the hyperparameters in it, with its weights."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from training import checkpoint
from training.errors import CheckpointError, ConfigError
from training.hyperparameters import put_hyperparameters, rebuilt
from training.loop.checkpoint_names import both_names
from training.visible import listed

V = TypeVar("V")
SHOWN = 3


class ClassOnly:
    """A method of the class that makes an instance: called on one it would leave that as it is, and is refused."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type[V]) -> Callable[..., V]:
        if instance is None:
            return functools.partial(self.function, owner)
        name, kind = self.function.__name__, owner.__name__

        def refused(*args: Any, **kwargs: Any) -> V:
            raise ConfigError(f"{name}: it makes another {kind}, and leaves this one as it is; call {kind}.{name}(…)")

        return refused


def load_task(
    cls: type[V],
    path: str | Path,
    map_location: Any,
    strict: bool | None,
    given: Mapping[str, Any],
    hparams_file: str | Path | None,
) -> V:
    """``Task.load_from_checkpoint``."""
    found = checkpoint.load(Path(path))
    weights = found.get("weights")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: expected weights, tensors by name, got none")
    put_hyperparameters(cls, found, hparams_file)
    made: Any = rebuilt(cls, found, given, str(path))
    strict = _strictness(made, strict)
    if callable(made.configure_model):
        made.configure_model()
    if callable(made.on_load_checkpoint):
        with both_names(found):
            made.on_load_checkpoint(found)
    load_weights(made, found["weights"], strict, str(path))
    task: V = made.to(_device(map_location))
    return task


def load_weights(task: nn.Module, weights: Mapping[str, Any], strict: bool, where: str) -> None:
    """Load weights in the number format in which they are stored. CheckpointError names those that do not fit.

    With ``strict`` false, a warning names those that are on one side only.
    """
    own = task.state_dict()
    missing, unexpected = [name for name in own if name not in weights], [name for name in weights if name not in own]
    shared = {name: weights[name] for name in own if name in weights}
    shapes = [
        f"{name} {_shape(tensor)} in place of {_shape(own[name])}"
        for name, tensor in shared.items()
        if isinstance(tensor, torch.Tensor) and isinstance(own[name], torch.Tensor) and tensor.shape != own[name].shape
    ]
    lists = [("no", missing), ("unknown", unexpected), ("", shapes)]
    what = "; ".join(f"{word} {listed(names, SHOWN)}".strip() for word, names in lists if names)
    if shapes or (strict and what):
        raise CheckpointError(
            f"{where}: expected the weights of {type(task).__name__}, got others ({what}); build it as it was trained"
            + ("" if shapes else ", or pass strict=False")
        )
    if what:
        warnings.warn(f"{where}: not all weights are those of {type(task).__name__}: {what}", stacklevel=4)
    tensors = {**dict(task.named_parameters(remove_duplicate=False)), **dict(task.named_buffers(remove_duplicate=False))}
    for name, tensor in shared.items():
        if name in tensors and tensors[name].is_floating_point() and tensor.dtype != tensors[name].dtype:
            tensors[name].data = tensors[name].data.to(tensor.dtype)
    task.load_state_dict(weights, strict=strict)


def _strictness(task: Any, strict: bool | None) -> bool:
    """Whether all weights must be there: as asked for, else as the task says, which must not contradict each other."""
    own = task._strict_loading
    if own is not None and strict is not None and strict != own:
        raise ConfigError(f"load_from_checkpoint: strict={strict} contradicts strict_loading = {own} of the task")
    return bool(task.strict_loading if strict is None else strict)


def _device(map_location: Any) -> torch.device:
    if map_location is None or isinstance(map_location, Mapping) or callable(map_location):
        return torch.device("cpu")  # where the weights are read: torch.load's dicts and functions are of what was elsewhere
    if isinstance(map_location, str | torch.device | int):
        try:
            return torch.device(map_location)
        except RuntimeError:
            pass
    raise ConfigError(f"load_from_checkpoint: map_location: expected a device such as cpu or cuda, got {map_location!r}")


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"
