"""Number formats: 32-true, 64-true and bf16-mixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from training.loop.device import map_tensors


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """The context for a step: float64 as torch's default type, or autocast to bfloat16, or nothing.

    Autocast keeps no casts of the weights, as in Lightning: a step that changes weights itself would go on with old ones.
    """
    if name == "bf16-mixed":
        with torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False):
            yield
        return
    if name != "64-true":
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def made_in(name: str) -> Iterator[None]:
    """The context in which a task makes its layers: with 64-true they are float64 from the start, not rounded before."""
    if name == "64-true":
        with precision(name, torch.device("cpu")):
            yield
        return
    yield


def convert(batch: Any) -> Any:
    """The batch with each floating-point tensor in it as float64."""
    return map_tensors(batch, lambda t: t.double() if t.is_floating_point() else t)
