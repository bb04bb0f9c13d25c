"""Generators that users' objects made for themselves: they are found wherever they are held, and set."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import torch
from torch import nn

from training import storable
from training.data.own_generators import get_own, named_generators, own_generators, put_own, set_own

OTHER = np.random.default_rng(2)


class Deep:
    def __init__(self) -> None:
        self.first = random.Random(1)
        inner, late = np.random.RandomState(1), torch.Generator()
        self.held = {"a": [1, (torch.Generator(), "b")], "many": [random.Random(i) for i in range(101)]}
        self.call = functools.partial(print, np.random.default_rng(1))
        self.closed = lambda: inner.rand()
        self.method = self.loop
        self.me = self
        self.late = late

    def loop(self, other: Any = OTHER) -> None:
        """A default that is one, too."""


def test_generators_are_found_wherever_they_are_held_and_set() -> None:
    deep = Deep()
    found = own_generators(deep)
    kinds = [
        random.Random,
        torch.Generator,
        np.random.Generator,
        np.random.RandomState,
        np.random.Generator,
        torch.Generator,
    ]
    assert list(map(type, found)) == kinds  # the long list is data
    assert own_generators(deep) == found
    assert own_generators(deep, deep.first, apart_from=(deep,)) == [deep.first]
    assert not own_generators(
        [random.Random], random.SystemRandom(), {random.Random(1)}, random, np.random, torch.default_generator, random._inst
    )

    def draw() -> list[Any]:
        return [
            float(torch.rand((), generator=each)) if isinstance(each, torch.Generator) else float(each.normal())
            if hasattr(each, "normal") else each.gauss(0, 1) for each in found
        ]  # fmt: skip

    set_own(found, 1)
    state = get_own(found)
    expected = [draw(), draw()]
    set_own(found, 1)
    assert [draw(), draw()] == expected
    put_own(found, storable.decode(storable.encode(state)))
    assert [draw(), draw()] == expected
    set_own(found, 2)
    assert not {*draw()} & {*expected[0]}


def test_each_has_a_name_of_its_own() -> None:
    holder = {1: random.Random(1), "1": random.Random(2), "a.b": random.Random(3), "a": {"b": random.Random(4)}, (): OTHER}
    named = named_generators({"task": holder})
    assert [*named] == ["task.1", "task.1'", "task.a.b", "task.a.b'", "task.value 4"]
    assert [*named.values()] == own_generators(holder)


def test_of_a_module_all_submodules_are_looked_into() -> None:
    wide = nn.ModuleList(nn.Dropout() for _ in range(12_000))
    vars(wide[-1])["generator"] = torch.Generator()
    assert [*named_generators({"task": wide})] == ["task.11999.generator"]
