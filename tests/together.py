"""What a function gives in several processes that work together: see tests/processes.py."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests import processes

WORLDS = (1, 2, 4, 8)


def together(function: Callable[[], Any], world: int) -> list[Any]:
    """What ``function`` gives in each of ``world`` processes, by rank; an error that it raises is given in place of that."""
    torch.optim.SGD([torch.zeros(1)])  # imports what takes a second, once and not in each of them

    def act() -> None:
        value: Any
        try:
            value = function()
        except Exception as error:
            value = error
        (folder / os.environ["RANK"]).write_bytes(pickle.dumps(value))

    with tempfile.TemporaryDirectory(prefix="together-") as name:
        folder = Path(name)
        ended = processes.run(folder, world, act)
        assert {each.code for each in ended} == {0}, ended
        return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(world)]


def same_in_all(function: Callable[[], Any], world: int) -> Any:
    """What it gives in all of them."""
    first, *others = found = together(function, world)
    for each in found:
        if isinstance(each, Exception):
            raise each
    assert all(each == first for each in others), (first, others)
    return first
