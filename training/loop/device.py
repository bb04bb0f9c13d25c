"""Where a task runs and in which number format (32-true, 64-true, bf16-mixed); batches on their way there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from training.data.tensors import map_tensors
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
