"""Batches cut into parts: nothing is lost, doubled or moved."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from training.data.cut import count_examples, cut_evenly
from training.errors import ConfigError


class Pair(NamedTuple):
    """A batch as a user's collate_fn may make it."""

    x: torch.Tensor
    y: torch.Tensor


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8, 33])
def test_parts_put_together_are_the_batch(n: int, parts: int) -> None:
    x, y, names = torch.arange(2.0 * n).view(n, 2), torch.arange(n), [f"name {i}" for i in range(n)]
    for batch in ((x, y), [x, y], {"x": x, "y": y}, Pair(x, y), [x, names, y], {"x": x, "more": {"y": y, "names": names}}):
        found = cut_evenly(batch, parts)
        assert len(found) == parts
        full = [each for each in found if each is not None]
        sizes = [count_examples(each) for each in full]
        assert sum(sizes) == n
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert all(type(each) is type(batch) for each in full)
        if full and isinstance(batch, dict):
            assert torch.equal(torch.cat([each["x"] for each in full]), x)
            if "more" in batch:
                assert [name for each in full for name in each["more"]["names"]] == names
        elif full:
            assert torch.equal(torch.cat([each[0] for each in full]), x)
            assert torch.equal(torch.cat([each[-1] for each in full]), y)


def test_scalars_go_to_every_part() -> None:
    first, second = cut_evenly({"x": torch.zeros(4), "scale": torch.zeros(4, 1), "name": "batch"}, 2)
    assert first["name"] == second["name"] == "batch"


@pytest.mark.parametrize("batch", [[torch.zeros(3), torch.zeros(4)], ["a", "b"], {}])
def test_a_batch_whose_examples_cannot_be_told_apart_is_refused(batch: object) -> None:
    with pytest.raises(ConfigError, match="cut_batch"):
        cut_evenly(batch, 2)
