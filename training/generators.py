"""torch's, NumPy's and Python's global generators, made functions of (seed, purpose, counters).

Nothing of ours draws from them (see training/randomness.py). Users' code does: nn.Dropout, torch.rand, np.random.shuffle,
random.random. Set before that code runs, they give it the same numbers whatever was drawn before, so that a run that goes on
in the middle draws what it would have drawn; put back afterwards, they leave the rest of the program undisturbed.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from training.mersenne_twister import BYTES, WORDS, NumPyGenerator, PythonGenerator, Twister
from training.randomness import words32

MASK = 2**64 - 1
NEIGHBORS = 16
"""Places whose words are drawn at once."""
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""Classes of generators that a program makes for itself."""
State = tuple[list[torch.Tensor], Any, Twister]
"""torch's states (CUDA's, too), NumPy's and Python's."""
NUMPY, PYTHON = NumPyGenerator(), PythonGenerator()
_CUDA = torch.backends.cuda.is_built()


def key_of(seed: int, purpose: str, *counters: int) -> int:
    """64 bits, a function of (seed, purpose, counters)."""
    text = f"{seed}/{purpose}/" + "/".join(map(str, counters))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def mixed(key: int, counter: int) -> int:
    """64 bits, a function of a key and one more counter; cheaper than ``key_of``. SplitMix64 (Steele et al. 2014)."""
    z = (key + counter * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Words:
    """The words that NumPy's and Python's generators begin with at neighboring places.

    They are random themselves: made of one number, as generators' own functions make them, they would take longer. Drawn
    when they are first asked for, those of all places at once, since a draw costs much beside its words.
    """

    def __init__(self, seed: int, purpose: str, *counters: int) -> None:
        self._seed, self._purpose, self._counters = seed, f"{purpose}/words", counters

    @functools.cached_property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """NumPy's and Python's image for each place."""
        drawn = words32(NEIGHBORS * 2 * WORDS, self._seed, self._purpose, *self._counters)
        words = drawn.astype(np.uint32, copy=False).tobytes()  # as they lie in this machine's memory
        starts = range(0, len(words), 2 * BYTES)
        return [(NUMPY.image(words[at : at + BYTES]), PYTHON.image(words[at + BYTES : at + 2 * BYTES])) for at in starts]


class Key(NamedTuple):
    """What generators are set from at a place, a function of (seed, purpose, counters)."""

    bits: int
    """64 bits, for torch's, and for those that a program made for itself."""
    words: Words
    row: int
    """The place's among those of ``words``."""


class Keys:
    """The keys of a seed and a purpose. Those of neighbors, with all but the last counter in common, cost little."""

    def __init__(self, seed: int, purpose: str) -> None:
        self.seed, self.purpose = seed, purpose
        self._before: tuple[int, ...] = ()
        self._start = 0
        self._keys: list[Key] = []

    def __call__(self, *counters: int) -> Key:
        """The key of a place."""
        before, last = counters[:-1], counters[-1] if counters else -1  # another place than that of (0)
        row = last - self._start
        if not 0 <= row < len(self._keys) or before != self._before:
            row = last % NEIGHBORS
            self._before, self._start = before, last - row
            self._keys = self._neighbors()
        return self._keys[row]

    def _neighbors(self) -> list[Key]:
        bits = key_of(self.seed, self.purpose, *self._before)
        words = Words(self.seed, self.purpose, *self._before, self._start // NEIGHBORS)
        return [Key(mixed(bits, self._start + row), words, row) for row in range(NEIGHBORS)]


def set_generators(key: Key) -> None:
    """Set them all, CUDA's too where it has started.

    torch.manual_seed would take twenty times as long: it looks for other kinds of devices each time.
    """
    set_torch(key)
    for_numpy, for_python = key.words.pairs[key.row]
    NUMPY.begin(for_numpy)
    PYTHON.begin(for_python)


def set_torch(key: Key) -> None:
    """Set torch's, which takes the key's lower half on the CPU."""
    torch.default_generator.manual_seed(key.bits)
    if _CUDA and torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(key.bits)


def set_numpy(key: Key) -> None:
    """Set NumPy's."""
    NUMPY.begin(key.words.pairs[key.row][0])


def set_python(key: Key) -> None:
    """Set Python's."""
    PYTHON.begin(key.words.pairs[key.row][1])


SETTERS: dict[str, Callable[[Key], None]] = {"torch": set_torch, "numpy": set_numpy, "python": set_python}
"""Each of them by name, as ``touched`` names them."""


def get_generators() -> State:
    """Their states, for ``put_generators``: plain values and tensors."""
    return _torch_states(), NUMPY.get(), PYTHON.get()


def put_generators(state: State) -> None:
    """Back to ``state``."""
    for_torch, for_numpy, for_python = state
    on_cuda = torch.cuda.default_generators if len(for_torch) > 1 else ()
    for generator, each in zip((torch.default_generator, *on_cuda), for_torch, strict=False):
        generator.set_state(each)
    NUMPY.put(for_numpy)
    PYTHON.put(for_python)


def touched(before: State) -> set[str]:
    """Which of SETTERS were drawn from since ``get_generators``, or set; where that cannot be told they count as such."""
    for_torch, for_numpy, for_python = before
    found, now = set(), _torch_states()
    if len(now) != len(for_torch) or not all(map(torch.equal, now, for_torch)):
        found.add("torch")
    if isinstance(for_numpy, dict) or NUMPY.get() != for_numpy:
        found.add("numpy")
    if PYTHON.get() != for_python:
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

    def __init__(self, key: Key) -> None:
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
    on_cuda = [each.get_state() for each in torch.cuda.default_generators] if _CUDA and torch.cuda.is_initialized() else []
    return [torch.default_generator.get_state(), *on_cuda]


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
