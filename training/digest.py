"""Digests of tensors: what a run says it is, it can prove."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

MASK = 2**64 - 1


def weights_sha256(state: Mapping[str, torch.Tensor] | torch.nn.Module) -> str:
    """SHA-256 over (name, dtype, shape, bytes) of each tensor, in the order of names.

    Never the bytes of a checkpoint file: torch.save does not promise them.
    """
    if isinstance(state, torch.nn.Module):
        state = state.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.cpu().contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checksum(tensor: torch.Tensor) -> int:
    """An exact checksum that does not depend on the order of summation: the bits as integers, summed modulo 2⁶⁴.

    Eight bytes are read at a time. Any single changed element changes it; it finds accidents, not forgeries.
    """
    flat = tensor.detach().contiguous().reshape(-1)
    whole = flat.numel() * flat.element_size() // 8 * 8
    if flat.device.type == "cpu" and flat.dtype != torch.bfloat16:  # NumPy sums in a third of torch's time
        data = flat.numpy().view(np.uint8)
        return (int(data[:whole].view(np.int64).sum()) + int(data[whole:].sum())) & MASK
    data_on_device = flat.view(torch.uint8)
    head, tail = data_on_device[:whole].view(torch.int64), data_on_device[whole:]
    # An int64 sum wraps around, so neither order nor threads matter.
    return (int(head.sum().item()) + int(tail.long().sum().item())) & MASK
