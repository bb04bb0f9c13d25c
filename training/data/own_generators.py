"""Generators that users' objects made for themselves: found wherever they are held, by name; set, and put back."""

from __future__ import annotations

import functools
import random
import types
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from training.generators import GENERATORS, mixed, put_state, state_of

_LEAVES = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.Tensor, np.ndarray, np.generic)
_NAMES = (str, int)
_WIDEST, _MOST = 100, 10_000


def own_generators(*holders: object, apart_from: tuple[object, ...] = (), leaves: tuple[type, ...] = ()) -> list[Any]:
    """The generator objects that are reached from ``holders``: the values of ``named_generators``."""
    named = {str(i): each for i, each in enumerate(holders)}
    return list(named_generators(named, apart_from=apart_from, leaves=leaves).values())


def named_generators(
    holders: Mapping[str, object], *, apart_from: tuple[object, ...] = (), leaves: tuple[type, ...] = ()
) -> dict[str, Any]:
    """The generator objects that are reached by attributes, submodules, lists, dicts, closures and partials.

    Args:
        holders: where to begin, by name.
        apart_from: things that are not looked into.
        leaves: classes whose objects are not looked into.

    Returns:
        The generators by the way to them, in the order of the holders and of what these hold. One that is reached in two
        ways is named by one of them. Lists and dicts of more than 100 values are taken for data, and not looked into.
    """
    found: dict[str, Any] = {}
    not_own = (*apart_from, random._inst, np.random.mtrand._rand, torch.default_generator)
    seen: dict[int, object] = {id(each): each for each in not_own}  # what it holds stays alive: no id is given twice
    left: list[tuple[str, object]] = list(reversed([*holders.items()]))
    modules = 0
    while left and len(seen) - modules < _MOST:
        name, thing = left.pop()
        if id(thing) in seen or isinstance(thing, (*_LEAVES, random.SystemRandom, *leaves)):
            continue
        seen[id(thing)] = thing
        modules += isinstance(thing, nn.Module)
        if isinstance(thing, GENERATORS):
            while name in found:  # 1 and "1" are keys of one dict
                name += "'"
            found[name] = thing
        else:
            left.extend((f"{name}.{part}", each) for part, each in reversed(_parts(thing)))
    return found


def _parts(thing: Any) -> list[tuple[object, object]]:
    """What a thing holds, by name."""
    if isinstance(thing, (set, frozenset)):
        return []  # whose order hangs on addresses
    if isinstance(thing, (list, tuple, deque)):
        return list(enumerate(thing)) if len(thing) <= _WIDEST else []
    if isinstance(thing, dict):
        named = ((key if isinstance(key, _NAMES) else f"value {i}", each) for i, (key, each) in enumerate(thing.items()))
        return list(named) if len(thing) <= _WIDEST else []
    if isinstance(thing, types.MethodType):
        return [("self", thing.__self__), ("function", thing.__func__)]
    if isinstance(thing, types.FunctionType):
        return [*_closed_over(thing), *enumerate(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).items()]
    if isinstance(thing, functools.partial):
        return [("function", thing.func), *enumerate(thing.args), *thing.keywords.items()]
    if isinstance(thing, nn.Module):
        return list(_in_module(thing))
    return [*_in_slots(thing), *(vars(thing).items() if hasattr(thing, "__dict__") else ())]


def _in_module(module: nn.Module) -> Iterator[tuple[object, object]]:
    """Its attributes and submodules, however many these are, but no tensors."""
    for name, each in vars(module).items():
        if name == "_modules":
            yield from module._modules.items()
        elif name not in ("_parameters", "_buffers") and not (isinstance(each, (dict, set)) and not each):
            yield name, each


def _closed_over(function: types.FunctionType) -> Iterator[tuple[object, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it was not filled yet
            continue


def _in_slots(thing: Any) -> Iterator[tuple[object, object]]:
    """What a class without __dict__ keeps, as a dataclass with slots does."""
    for cls in type(thing).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if isinstance(vars(cls).get(name), types.MemberDescriptorType) and hasattr(thing, name):
                yield name, getattr(thing, name)


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
