"""A batch cut into parts along the first dimension of its tensors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch import Tensor

from training.data.tensors import first_dimensions, map_tensors
from training.errors import ConfigError


def cut_evenly(batch: Any, parts: int) -> list[Any]:
    """The examples in order, as many in each part as in the others, or one more; None for a part without.

    Args:
        batch: tensors (B, …) in lists, tuples, dicts and dataclasses; lists of B other values are cut, too.
        parts: how many.

    Raises:
        ConfigError: where the tensors have other first dimensions than each other, so that B can't be told.
    """
    n = count_examples(batch)
    ends = [n * i // parts for i in range(parts + 1)]
    return [_rows(batch, n, a, b) if b > a else None for a, b in pairwise(ends)]


def count_examples(batch: Any) -> int:
    """B, the first dimension of all tensors in the batch. ConfigError where they differ, or there is none."""
    sizes = first_dimensions(batch)
    if len(sizes) != 1:
        got = f"tensors of {sizes[0]} and {sizes[1]} rows" if sizes else "a batch without tensors"
        raise ConfigError(
            f"shards: expected a batch whose tensors have a row for each example, got {got}: give the task cut_batch and "
            "loss_count of its own"
        )
    return sizes[0]


def _rows(batch: Any, n: int, begin: int, end: int) -> Any:
    found = map_tensors(batch, lambda tensor: tensor[begin:end] if tensor.dim() else tensor)
    return _cut_lists(found, lambda values: values[begin:end] if len(values) == n else values)


def _cut_lists(value: Any, cut: Callable[[Any], Any]) -> Any:
    """Lists and tuples of things that are no tensors, wherever they stand."""
    if isinstance(value, dict):
        return {key: _cut_lists(each, cut) for key, each in value.items()}
    if not isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return value
    if any(isinstance(each, Tensor | list | tuple | dict) for each in value):
        return type(value)(_cut_lists(each, cut) for each in value)
    return cut(value)
