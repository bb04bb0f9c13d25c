"""Whether tensors are finite: exact, and read as few times as can be."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.errors import NonFiniteError

LARGE = 1 << 18  # numbers
_FOUND, _ONE = torch.zeros(1), torch.ones(1)
_FOUND_VALUE = memoryview(_FOUND.numpy())  # type: ignore[arg-type]


def check_loss(loss: Tensor, where: Callable[[], str], what: str = "no step was taken") -> None:
    """NonFiniteError for a loss that is NaN or infinite; ``where`` gives the place in the run."""
    value = loss.item()
    if not math.isfinite(value):
        raise NonFiniteError(f"{where()}: the loss is {value}; {what}")


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of it is NaN or infinite. A sum that is finite says so, and is read faster than each number."""
    values = tensor._values() if tensor.is_sparse else tensor
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether no number of them is NaN or infinite: exact, and read once. All on one device."""
    for tensor in tensors:
        if tensor.numel() >= LARGE:
            tensors = [t for t in tensors if t.numel() < LARGE or not _sum_is_finite(t)]
            break
    if not tensors:
        return True
    found, one = (_FOUND, _ONE) if tensors[0].is_cpu else _buffers(tensors[0].device)
    # Made for gradients that were scaled up; scaled by one, it changes none of their bits.
    try:
        torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, one)
    except NotImplementedError:  # some are sparse
        return all_finite([t._values() if t.is_sparse else t for t in tensors])
    if found is _FOUND:  # where it lies, it is read in less time
        if not _FOUND_VALUE[0]:
            return True
    elif not found.item():
        return True
    found.zero_()
    return False


def _sum_is_finite(tensor: Tensor) -> bool:
    """For a dense tensor on the CPU: then all its terms are. Reading a large one is faster than what also writes."""
    return tensor.is_cpu and not tensor.is_sparse and math.isfinite(tensor.sum().item())


@functools.cache
def _buffers(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.zeros(1, device=device), torch.ones(1, device=device)
