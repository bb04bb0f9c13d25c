"""The tensors in a batch, whatever holds them: changed, moved to a device, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence


def map_tensors(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The batch with ``change`` applied to every tensor in it, whatever holds them; other values as they are."""
    return _map(batch, lambda value: isinstance(value, torch.Tensor), change)


def move(batch: Any, device: torch.device) -> Any:
    """The batch on ``device``: its tensors, and whatever else has a ``to``, in tuples, lists, dicts and dataclasses."""

    def to(value: Any) -> Any:
        moved = value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value.to(device)
        return value if moved is None else moved  # one that moves itself in place

    return batch if device.type == "cpu" else _map(batch, _moves, to)


def as_tensors(data: Any, device: torch.device) -> Any:
    """``data`` on ``device``, with numbers and arrays in it as tensors of the types that Lightning's all_gather gives."""
    types = {bool: torch.uint8, int: torch.int, float: torch.float}

    def made(value: Any) -> Any:
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else torch.tensor(value, dtype=types[type(value)])

    return move(_map(data, lambda value: isinstance(value, np.ndarray) or type(value) in types, made), device)


def _moves(value: Any) -> bool:
    return callable(getattr(value, "to", None)) and not isinstance(value, type)


def _map(batch: Any, fits: Callable[[Any], bool], change: Callable[[Any], Any]) -> Any:
    if fits(batch):
        return change(batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        changed = {f.name: _map(getattr(batch, f.name), fits, change) for f in dataclasses.fields(batch) if f.init}
        return dataclasses.replace(batch, **changed)
    if isinstance(batch, dict):
        return {key: _map(value, fits, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_map(value, fits, change) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_map(value, fits, change) for value in batch)
    return batch


def first_dimensions(batch: Any) -> list[int]:
    """The different first dimensions of the tensors in the batch, in the order found; two tell already that they differ.

    A tensor without dimensions counts as 1, as in Lightning; packed sequences count as their number.
    """
    found: list[int] = []
    for size in _first_dimensions(batch):
        if size not in found:
            found.append(size)
        if len(found) == 2:
            break
    return found


def _first_dimensions(batch: Any) -> Iterator[int]:
    if isinstance(batch, torch.Tensor):
        yield batch.size(0) if batch.dim() else 1
    elif isinstance(batch, PackedSequence):
        yield int(batch.batch_sizes[0])
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _first_dimensions(value)
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for field in dataclasses.fields(batch):
            yield from _first_dimensions(getattr(batch, field.name, None))
    elif isinstance(batch, Iterable) and not isinstance(batch, str | bytes | np.ndarray | Iterator):
        for value in batch:
            yield from _first_dimensions(value)


def size(tensor: torch.Tensor) -> str:
    """Its sizes as text: 3×4."""
    return "×".join(map(str, tensor.shape)) or "one number"


def described(batch: Any, name: str = "") -> Iterator[str]:
    """A line for each tensor in the batch: where it stands, its size and type; for other values what they are."""
    if isinstance(batch, torch.Tensor):
        yield f"{name or 'batch'}: {size(batch)} {str(batch.dtype).removeprefix('torch.')}"
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for item in dataclasses.fields(batch):
            yield from described(getattr(batch, item.name), f"{name}.{item.name}" if name else item.name)
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from described(value, f"{name}[{key!r}]")
    elif isinstance(batch, list | tuple):
        for i, value in enumerate(batch):
            yield from described(value, f"{name}[{i}]")
    else:
        text = repr(batch) if isinstance(batch, str | int | float | bool | None) else type(batch).__name__
        yield f"{name or 'batch'}: {text}"
