"""What a run did, in plain values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Record:
    """What a run did."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    logged: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    error: str = ""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: list[Any] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    bar: dict[str, float] = field(default_factory=dict)
    end: tuple[Any, ...] = ()
    checkpoint: list[tuple[Any, ...]] = field(default_factory=list)
    stopping: tuple[Any, ...] = ()
    results: list[Any] = field(default_factory=list)


def simplify(value: Any) -> Any:
    """An argument of a hook as a value that can be compared."""
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else tuple(value.detach().double().flatten().tolist())
    if isinstance(value, dict):
        return {key: simplify(each) for key, each in value.items()}
    if isinstance(value, int | float | str) or value is None:
        return value
    if isinstance(value, BaseException):
        return "KeyboardInterrupt" if isinstance(value, KeyboardInterrupt) else "an error"
    return ""


def plain(values: Any) -> dict[str, float]:
    """Metrics as Python floats."""
    return {name: float(value) for name, value in values.items()}
