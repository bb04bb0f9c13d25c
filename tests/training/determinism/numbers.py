"""Random numbers that a test computes with."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
