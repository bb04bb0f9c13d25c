"""Gradients of several processes, added over the tree: dense ones whole, of tables only the rows that somebody touched."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from training.parallel.group import Group

Part = tuple[Tensor | None, Tensor, bool]
"""A process's own sum, or None for zeros; a tensor of the shape and type that it has; whether it is sent by rows."""
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def exchanged(group: Group, parts: Mapping[int, Part]) -> dict[int, Tensor]:
    """The sums over all processes, under the same keys. The keys, shapes and kinds are the same in each process."""
    if group.world == 1:
        return {key: torch.zeros_like(like) if own is None else own for key, (own, like, _) in parts.items()}
    apart = [key for key, (_, _, by_rows) in parts.items() if by_rows]
    rows = dict(zip(apart, _touched(group, [parts[key] for key in apart]), strict=True))
    sent = {key: _dense(part, rows.get(key)) for key, part in parts.items()}
    summed = dict(zip(sent, group.sum(list(sent.values())), strict=True))
    return {key: _whole(parts[key], summed[key], rows.get(key)) for key in parts}


def _touched(group: Group, parts: list[Part]) -> list[Tensor]:
    """For each table the rows, int64, that are not all 0.0 in some process. A row of −0.0 counts as touched."""
    if not parts:
        return []
    masks = [_mask(own, like) for own, like, _ in parts]
    any_of_them = group.largest(torch.cat(masks))
    return [each.nonzero().squeeze(1) for each in any_of_them.split([len(mask) for mask in masks])]


def _mask(own: Tensor | None, like: Tensor) -> Tensor:
    mask = torch.zeros(len(like), dtype=torch.uint8, device=like.device)
    if own is None:
        return mask
    if own.is_sparse:
        mask[own.coalesce().indices()[0]] = 1
        return mask
    return (own.flatten(1).view(BITS[own.element_size()]) != 0).any(1).to(torch.uint8)


def _dense(part: Part, rows: Tensor | None) -> Tensor:
    own, like, _ = part
    if rows is None:
        return torch.zeros_like(like) if own is None else own
    if own is None:
        return like.new_zeros(len(rows), *like.shape[1:])
    if own.is_sparse:
        own = own.coalesce()
        block = like.new_zeros(len(rows), *like.shape[1:])
        block[torch.searchsorted(rows, own.indices()[0])] = own.values()
        return block
    return own[rows]


def _whole(part: Part, summed: Tensor, rows: Tensor | None) -> Tensor:
    own, like, _ = part
    if rows is None:
        return summed
    whole = torch.zeros_like(like) if own is None or own.is_sparse else own
    if own is not None and own.is_sparse:
        return torch.sparse_coo_tensor(rows.unsqueeze(0), summed, like.shape, is_coalesced=True, check_invariants=False)
    whole[rows] = summed  # what no process touched is 0.0 everywhere
    return whole
