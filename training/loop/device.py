"""Choosing a device, and moving a batch there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from training.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU; "cuda" where there is none is a ConfigError."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name in ("auto", "cuda"):
        if not torch.cuda.is_available():
            raise ConfigError(
                "device: expected a CUDA GPU, got none (torch "
                f"{torch.__version__} {'was built without CUDA' if torch.version.cuda is None else 'sees no GPU'}); "
                "use --device cpu"
            )
        return torch.device("cuda", torch.cuda.current_device())
    raise ConfigError(f"device: expected auto, cpu or cuda, got {name!r}")


def move(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on ``device``: tensors, tuples, lists, dicts and dataclasses of them."""
    return batch if device.type == "cpu" else map_tensors(batch, lambda t: t.to(device, non_blocking=True))


def map_tensors(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The batch with ``change`` applied to every tensor in it, whatever holds them; other values as they are."""
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        changed = {f.name: map_tensors(getattr(batch, f.name), change) for f in dataclasses.fields(batch) if f.init}
        return dataclasses.replace(batch, **changed)
    if isinstance(batch, dict):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(value, change) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(map_tensors(value, change) for value in batch)
    return batch
