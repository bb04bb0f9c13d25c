"""torch's, NumPy's and Python's global generators, made functions of (seed, purpose, counters).

Nothing of ours draws from them (see training/randomness.py). Users' code does: nn.Dropout, torch.rand, np.random.shuffle,
random.random. Set before that code runs, they give it the same numbers whatever was drawn before, so that a run that goes on
in the middle draws what it would have drawn; put back afterwards, they leave the rest of the program undisturbed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

MASK = 2**64 - 1
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""Classes of generators that a program makes for itself."""
State = tuple[list[torch.Tensor], Any, Any]
"""torch's states (CUDA's, too), NumPy's and Python's."""


def key_of(seed: int, purpose: str, *counters: int) -> int:
    """64 bits for ``set_generators``, a function of (seed, purpose, counters)."""
    text = f"{seed}/{purpose}/" + "/".join(map(str, counters))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def mixed(key: int, counter: int) -> int:
    """64 bits, a function of a key and one more counter; cheaper than ``key_of``. SplitMix64 (Steele et al. 2014)."""
    z = (key + counter * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Keys:
    """Keys for ``set_generators``, functions of (seed, purpose, counters).

    Those of neighbors, which have all but the last counter in common, cost little.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self.seed, self.purpose = seed, purpose
        self._key = 0
        self._counters: tuple[int, ...] = (-1,)

    def __call__(self, *counters: int) -> int:
        """The key of a place."""
        if counters[:-1] != self._counters:
            self._key, self._counters = key_of(self.seed, self.purpose, *counters[:-1]), counters[:-1]
        return mixed(self._key, counters[-1]) if counters else self._key


def set_generators(key: int) -> None:
    """Set them all, CUDA's too where it has started, from a key of 64 bits.

    torch.manual_seed would take twenty times as long: it looks for other kinds of devices each time.
    """
    set_torch(key)
    set_numpy(key)
    random.seed(key)


def set_torch(key: int) -> None:
    """Set torch's, which takes the key's lower half on the CPU."""
    torch.default_generator.manual_seed(key)
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(key)


def set_numpy(key: int) -> None:
    """Set NumPy's from the key's upper half: it is the same Mersenne Twister as torch's."""
    np.random.seed(key >> 32)


SETTERS: dict[str, Callable[[int], None]] = {"torch": set_torch, "numpy": set_numpy, "python": random.seed}
"""Each of them by name, as ``touched`` names them."""


def get_generators() -> State:
    """Their states, for ``put_generators``: plain values and tensors. In some 30 µs."""
    return _torch_states(), _get_numpy(), random.getstate()


def put_generators(state: State) -> None:
    """Back to ``state``."""
    for_torch, for_numpy, for_python = state
    on_cuda = torch.cuda.default_generators if len(for_torch) > 1 else ()
    for generator, each in zip((torch.default_generator, *on_cuda), for_torch, strict=False):
        generator.set_state(each)
    _put_numpy(for_numpy)
    random.setstate(for_python)


def mark(state: State | None = None) -> Any:
    """How they stand, for ``touched``; torch's and NumPy's were set right before, Python's is as in ``state``, if given."""
    return _torch_states(), _copied(), random.getstate() if state is None else state[2]


def touched(marked: Any) -> set[str]:
    """Which of SETTERS were drawn from since ``mark``, or set; where that cannot be told they count as such."""
    for_torch, for_numpy, for_python = marked
    found, now = set(), _torch_states()
    if len(now) != len(for_torch) or not all(map(torch.equal, now, for_torch)):
        found.add("torch")
    if for_numpy is None or _copied() != for_numpy:
        found.add("numpy")
    if random.getstate() != for_python:
        found.add("python")
    return found


@contextmanager
def kept_generators() -> Iterator[None]:
    """Whatever the body draws, they are put back afterwards."""
    before = get_generators()
    try:
        yield
    finally:
        put_generators(before)


class Carried:
    """States of the global generators that are in force while it is entered, and go on where they were left.

    ``key`` is what they begin with.
    """

    def __init__(self, key: int) -> None:
        self._key = key
        self._outer: list[State] = []
        self.state: State | None = None
        """Where they stand; None at the beginning."""

    def __enter__(self) -> None:
        self._outer.append(get_generators())
        if self.state is None:
            set_generators(self._key)
        else:
            put_generators(self.state)

    def __exit__(self, *_: object) -> None:
        self.state = get_generators()
        put_generators(self._outer.pop())


def _torch_states() -> list[torch.Tensor]:
    on_cuda = [each.get_state() for each in torch.cuda.default_generators] if torch.cuda.is_initialized() else []
    return [torch.default_generator.get_state(), *on_cuda]


# NumPy's get_state and set_state take 140 µs, so that its generator is copied as it lies in memory: its ctypes interface
# says where. What it keeps beside that: of each pair of normal numbers that it makes, the second.

_BYTES = 4 * 625  # 624 words and a position


def _get_numpy() -> Any:
    copy = _copied()
    if copy is None:
        return np.random.get_state(legacy=False)
    normal = np.random.standard_normal()
    if _copied() != copy:  # it was made anew
        np.random.standard_normal()  # the second of this pair: now none is kept
        _put_copy(copy)
        return copy, None
    _put_numpy((copy, normal))
    return copy, normal


def _put_numpy(state: Any) -> None:
    if isinstance(state, dict):
        np.random.set_state(state)
        return
    copy, normal = state
    if normal is None:
        np.random.seed(0)  # forgets a normal number that is kept
        _put_copy(copy)
        return
    lying = np.frombuffer(copy, np.uint32)
    np.random.set_state(("MT19937", lying[:-1], int(lying[-1]), 1, normal))


def _copied() -> bytes | None:
    """NumPy's generator as it lies in memory; None where it lies there in another way."""
    bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if type(bits) is not np.random.MT19937 or not _lies_as_expected():
        return None
    return ctypes.string_at(bits.ctypes.state_address, _BYTES)


def _put_copy(copy: bytes) -> None:
    bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
    ctypes.memmove(bits.ctypes.state_address, copy, _BYTES)


@functools.cache
def _lies_as_expected() -> bool:
    own = np.random.MT19937(7)
    state = own.state["state"]
    lying = np.frombuffer(ctypes.string_at(own.ctypes.state_address, _BYTES), np.uint32)
    return bool((lying[:-1] == state["key"]).all() and lying[-1] == state["pos"])


# -- generators that a program makes for itself ----------------------------------------------------------------------------


def state_of(generator: Any) -> Any:
    """The state of one of GENERATORS, as a checkpoint can hold it."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate()


def put_state(generator: Any, state: Any) -> None:
    """Back to what ``state_of`` gave."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)
