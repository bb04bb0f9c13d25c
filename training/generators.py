"""torch's, NumPy's and Python's global generators, made functions of (seed, purpose, counters).

Nothing of ours draws from them (see training/randomness.py). Users' code does: nn.Dropout, torch.rand, np.random.shuffle,
random.random. Set before that code runs, they give it the same numbers whatever was drawn before, so that a run that goes on
in the middle draws what it would have drawn; put back afterwards, they leave the rest of the program undisturbed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

MASK = 2**64 - 1
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""Classes of generators that a program makes for itself."""
State = tuple[torch.Tensor, list[torch.Tensor], dict[str, Any], tuple[Any, ...]]


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


def set_generators(key: int) -> None:
    """Set them all, CUDA's too where it has started, from a key of 64 bits.

    torch.manual_seed would take twenty times as long: it looks for other kinds of devices each time.
    """
    torch.default_generator.manual_seed(key)  # which takes its lower half
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(key)
    np.random.seed(key >> 32)  # the upper half: both are the same Mersenne Twister
    random.seed(key)


def get_generators() -> State:
    """Their states, for ``put_generators``."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return torch.get_rng_state(), cuda, np.random.get_state(legacy=False), random.getstate()


def put_generators(state: State) -> None:
    """Back to ``state``."""
    on_cpu, on_cuda, numpy_state, python_state = state
    torch.set_rng_state(on_cpu)
    if on_cuda:
        torch.cuda.set_rng_state_all(on_cuda)
    np.random.set_state(numpy_state)
    random.setstate(python_state)


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


@contextmanager
def kept_generators() -> Iterator[None]:
    """Whatever the body draws, they are put back afterwards."""
    before = get_generators()
    try:
        yield
    finally:
        put_generators(before)
