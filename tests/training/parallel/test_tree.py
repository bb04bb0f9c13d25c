"""Sums over the tree: however its leaves are dealt out, the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.meeting import added
from training.parallel.tree import Tree


def leaves(shards: int, seed: int) -> list[list[Tensor | None]]:
    """Gradients of some parameters for each shard: some are not there, some are sparse, some are −0.0."""
    generator = torch.Generator().manual_seed(seed)
    found: list[list[Tensor | None]] = []
    for _ in range(shards):
        dense = torch.randn(5, 3, generator=generator) * 10.0 ** torch.randint(-6, 6, (5, 1), generator=generator)
        zero = torch.where(torch.rand(4, generator=generator) < 0.5, -0.0, 0.0)
        rows = torch.randint(0, 6, (9,), generator=generator)
        values = torch.randn(9, 2, generator=generator)
        sparse = torch.sparse_coo_tensor(rows[None], values, (6, 2), check_invariants=False)  # with rows several times
        found.append([dense, zero if torch.rand(1, generator=generator) < 0.6 else None, None, sparse])
    return found


def total(values: list[list[Tensor | None]]) -> list[Tensor | None]:
    tree = Tree()
    for each in values:
        tree.add([None if t is None else t.clone() for t in each])
    return tree.total()


def bits(tensors: list[Tensor | None]) -> list[bytes | None]:
    return [None if t is None else (t.to_dense() if t.is_sparse else t).numpy().tobytes() for t in tensors]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shards", [2, 4, 8])
def test_subtrees_and_their_sum_are_the_whole_tree(shards: int, seed: int) -> None:
    values = leaves(shards, seed)
    whole = total(values)
    processes = 1
    while processes <= shards:
        each = shards // processes
        parts = [total(values[i * each : (i + 1) * each]) for i in range(processes)]
        for i, expected in enumerate(whole):
            if expected is None:
                assert all(part[i] is None for part in parts)
                continue
            dense = [torch.zeros(expected.shape) if p[i] is None else p[i].to_dense() for p in parts]  # type: ignore[union-attr]
            assert bits([added(torch.stack(dense))]) == bits([expected])
        processes *= 2


def test_a_sum_from_left_to_right_is_another_one() -> None:
    """Else the tree would be for nothing."""
    values = [torch.randn(1000, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    tree = total([[value] for value in values])
    assert bits(tree) != bits([sum(values[1:], values[0])])
    assert torch.allclose(tree[0], sum(values[1:], values[0]), atol=1e-5)  # type: ignore[arg-type]
