"""Generators that a data set, a sampler or a collate_fn made for itself: found wherever it holds them, and set."""

from __future__ import annotations

import functools
import random
import types
from typing import Any

import numpy as np
import torch

from training.generators import GENERATORS, mixed, put_state, state_of

_LEAVES = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.Tensor, np.ndarray, np.generic)
_WIDEST, _MOST = 100, 10_000


def own_generators(*holders: object, apart_from: tuple[object, ...] = (), leaves: tuple[type, ...] = ()) -> list[Any]:
    """The generator objects that are reached from ``holders`` by attributes, lists, dicts, closures and partials.

    Lists and dicts of more than 100 values are taken for data, and not looked into; nor are the things in ``apart_from`` and
    those of a class in ``leaves``.
    """
    found: list[Any] = []
    not_own = (*apart_from, random._inst, np.random.mtrand._rand, torch.default_generator)
    seen: dict[int, object] = {id(each): each for each in not_own}  # what it holds stays alive: no id is given twice
    left: list[object] = list(reversed(holders))
    while left and len(seen) < _MOST:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, (*_LEAVES, random.SystemRandom, *leaves)):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, GENERATORS):
            found.append(thing)
        else:
            left.extend(reversed(_parts(thing)))
    return found


def _parts(thing: Any) -> list[object]:
    if isinstance(thing, (set, frozenset)):
        return []  # whose order hangs on addresses
    if isinstance(thing, (list, tuple)):
        return list(thing) if len(thing) <= _WIDEST else []
    if isinstance(thing, dict):
        return list(thing.values()) if len(thing) <= _WIDEST else []
    if isinstance(thing, types.MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, types.FunctionType):
        cells = []
        for cell in thing.__closure__ or ():
            try:
                cells.append(cell.cell_contents)
            except ValueError:  # it was not filled yet
                continue
        return [*cells, *(thing.__defaults__ or ())]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    return list(vars(thing).values()) if hasattr(thing, "__dict__") else []


def set_own(generators: list[Any], key: int) -> None:
    """Set generators of users' objects from a key of 64 bits; each gets numbers of its own."""
    for i, generator in enumerate(generators):
        seed = mixed(key, i + 1)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = type(generator.bit_generator)(np.random.SeedSequence(seed)).state
        elif isinstance(generator, np.random.RandomState):
            generator.seed([seed & 0xFFFFFFFF, seed >> 32])
        else:
            generator.seed(seed)


def get_own(generators: list[Any]) -> list[Any]:
    """Their states, as a checkpoint can hold them."""
    return [state_of(each) for each in generators]


def put_own(generators: list[Any], states: list[Any]) -> None:
    """Back to what ``get_own`` gave."""
    for generator, state in zip(generators, states, strict=True):
        put_state(generator, state)
