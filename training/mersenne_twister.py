"""NumPy's and Python's global generators, read and written where they lie in memory.

Both are Mersenne Twisters (Matsumoto and Nishimura 1998): 624 words of 32 bits, and a position among them. Beside that they
keep, of each pair of normal numbers that they make, the second. Their own functions take up to 140 µs to read or to write
that, most of it to make tuples and arrays. Where it lies is found out on a generator of the same class whose state is known;
where it is not found, those functions are used, which comes to the same.
"""

from __future__ import annotations

import ctypes
import functools
import random
import struct
import sys
from array import array
from typing import Any

import numpy as np

WORDS = 624
BYTES = 4 * WORDS
BEGUN = struct.pack("i", WORDS)
"""The position of a generator that is about to make new words, as it lies in memory."""
Twister = tuple[bytes, int, float | None]
"""A state: the words as they lie in memory, the position (WORDS: all were used), and the normal number that is kept."""


class NumPyGenerator:
    """The generator behind NumPy's functions.

    Args:
        in_memory: whether to read and write it in memory where that can be.
    """

    def __init__(self, in_memory: bool = True) -> None:
        self._in_memory = in_memory
        self._bits: Any = None
        """The bit generator that the views are of; np.random.set_bit_generator takes another."""
        self._in_place = False
        self._words, self._position, self._has_normal = (memoryview(b"") for _ in range(3))
        self._normal: Any = memoryview(b"")
        self._image = memoryview(b"")
        """The words and the position."""

    def get(self) -> Any:
        """A Twister; NumPy's own form where another kind of generator was set."""
        if self._lies_in_memory():
            return bytes(self._words), self._position[0], self._normal[0] if self._has_normal[0] else None
        state: Any = np.random.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            return state
        normal = state["gauss"] if state["has_gauss"] else None
        return state["state"]["key"].astype(np.uint32).tobytes(), int(state["state"]["pos"]), normal

    def put(self, state: Any) -> None:
        """Back to what ``get`` gave."""
        if isinstance(state, dict):
            np.random.set_state(state)
            return
        words, position, normal = _checked(state)
        if self._lies_in_memory():
            self._words[:], self._position[0] = words, position
            self._normal[0], self._has_normal[0] = normal or 0.0, normal is not None
            return
        np.random.set_state(("MT19937", np.frombuffer(words, np.uint32), position, int(normal is not None), normal or 0.0))

    @staticmethod
    def image(words: bytes) -> bytes:
        """A generator that stands before the first number that these words give, as it lies in memory."""
        return words + BEGUN

    def begin(self, image: bytes) -> None:
        """Set it to an ``image``."""
        if self._lies_in_memory():
            self._image[:] = image
            self._has_normal[0] = 0
            return
        words = image[:BYTES]
        if type(np.random.get_bit_generator()) is np.random.MT19937:  # type: ignore[attr-defined]
            self.put((words, WORDS, None))
        else:
            np.random.seed(int.from_bytes(words[:4], sys.byteorder))

    def _lies_in_memory(self) -> bool:
        bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
        if bits is not self._bits:
            self._look_at(bits)
        return self._in_place

    def _look_at(self, bits: Any) -> None:
        holder, at = np.random.mtrand._rand, _numpy_normal_at()
        fits = type(holder) is np.random.RandomState and type(bits) is np.random.MT19937 and _numpy_words_lie_first()
        self._bits, self._in_place = bits, self._in_memory and fits and at is not None
        if self._in_place and at is not None:
            address = bits.ctypes.state_address
            self._words, self._position = _view(address, BYTES, "B"), _view(address + BYTES, 4, "i")
            self._image = _view(address, BYTES + len(BEGUN), "B")
            self._has_normal, self._normal = _view(id(holder) + at - 8, 4, "i"), _view(id(holder) + at, 8, "d")


class PythonGenerator:
    """The generator behind the functions of ``random``.

    Args:
        in_memory: whether to read and write it in memory where that can be.
    """

    def __init__(self, in_memory: bool = True) -> None:
        at = _python_words_at() if in_memory and type(random._inst) is random.Random else None
        self._generator: Any = random._inst
        self._lies_in_memory = at is not None
        if at is not None:
            address = id(self._generator) + at
            self._words, self._position = _view(address, BYTES, "B"), _view(address - 4, 4, "i")
            self._image = _view(address - len(BEGUN), len(BEGUN) + BYTES, "B")

    def get(self) -> Twister:
        """Its state."""
        if self._lies_in_memory:
            return bytes(self._words), self._position[0], self._generator.gauss_next
        _, (*words, position), normal = random.getstate()
        return array("I", words).tobytes(), position, normal

    def put(self, state: Twister) -> None:
        """Back to what ``get`` gave."""
        words, position, normal = _checked(state)
        if self._lies_in_memory:
            self._words[:], self._position[0], self._generator.gauss_next = words, position, normal
        else:
            random.setstate((3, (*array("I", words), position), normal))

    @staticmethod
    def image(words: bytes) -> bytes:
        """A generator that stands before the first number that these words give, as it lies in memory."""
        return BEGUN + words

    def begin(self, image: bytes) -> None:
        """Set it to an ``image``."""
        if self._lies_in_memory:
            self._image[:] = image
            self._generator.gauss_next = None
        else:
            self.put((image[len(BEGUN) :], WORDS, None))


def _checked(state: Twister) -> Twister:
    """The state; ValueError for one that would make a generator read what lies beside it in memory."""
    words, position, _ = state
    if len(words) != BYTES or not 0 <= position <= WORDS:
        raise ValueError(f"generator: expected {BYTES} bytes and a position up to {WORDS}, got {len(words)} and {position}")
    return state


def _view(address: int, size: int, kind: str) -> Any:
    """The memory there, as numbers of a ``struct`` format; what lies there must outlive it."""
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B").cast(kind)  # type: ignore[call-overload]


@functools.cache
def _numpy_words_lie_first() -> bool:
    """Whether NumPy's words, and then the position, lie where its ctypes interface says that the state is."""
    own = np.random.MT19937(7)
    own.random_raw(345)
    state: Any = own.state["state"]
    lying = np.frombuffer(ctypes.string_at(own.ctypes.state_address, BYTES + 4), np.uint32)
    return bool((lying[:-1] == state["key"]).all() and lying[-1] == state["pos"])


@functools.cache
def _numpy_normal_at() -> int | None:
    """How many bytes into a RandomState the normal number lies that it keeps; 8 bytes before it, whether it keeps one."""
    if sys.implementation.name != "cpython":
        return None
    own, normal = np.random.RandomState(7), -0.5772156649015329
    words = np.arange(WORDS, dtype=np.uint32)
    looks = []
    for kept in (1, 0):
        own.set_state(("MT19937", words, WORDS, kept, normal))
        looks.append(ctypes.string_at(id(own), type(own).__basicsize__))
    at = looks[0].find(struct.pack("d", normal))
    fits = at >= 8 and [look[at - 8 : at - 4] for look in looks] == [struct.pack("i", 1), struct.pack("i", 0)]
    return at if fits and looks[1][at : at + 8] == looks[0][at : at + 8] else None


@functools.cache
def _python_words_at() -> int | None:
    """How many bytes into a ``random.Random`` the words lie; the position is just before them."""
    if sys.implementation.name != "cpython":
        return None
    own = random.Random(7)
    own.getrandbits(32 * 345)
    *words, position = own.getstate()[1]
    look = ctypes.string_at(id(own), type(own).__basicsize__)
    at = look.find(array("I", words).tobytes())
    return at if at >= 4 and look[at - 4 : at] == struct.pack("i", position) else None
