"""Digests of tensors: what a run says it is, it can prove."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


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

    Any single changed element changes it; it finds accidents, not forgeries.
    """
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.is_sparse:
        raise TypeError("checksum: expected a dense tensor")
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()]
    return int(flat.view(kind).sum(dtype=torch.int64).item()) & (2**64 - 1)
