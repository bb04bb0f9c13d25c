"""Choosing a device, and moving a batch there."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from training.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """"auto" is CUDA where there is one, else the CPU; "cuda" where there is none is a ConfigError."""
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
    if device.type == "cpu":
        return batch
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        changed = {f.name: move(getattr(batch, f.name), device) for f in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **changed)
    if isinstance(batch, dict):
        return {key: move(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(move(value, device) for value in batch)
    return batch
