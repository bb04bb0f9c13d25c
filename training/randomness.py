"""Every random number is a pure function of (seed, purpose, counters): there is no generator state.

A stream is NumPy's Philox-4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by the first 128
bits of SHA-256 over the seed, the purpose and the counters. NumPy keeps Philox's raw 64-bit stream across versions, but
not what ``integers``, ``permutation`` or ``random`` make of it (NEP 19), so the mapping from bits to numbers is done here,
with integer arithmetic and exact float operations only: the same on every machine.

Purposes are short strings such as "init", "order", "dropout"; counters are non-negative integers such as
(epoch, batch, layer). Two draws with different (purpose, counters) are independent; the same triple gives the same values.
"""

from __future__ import annotations

import hashlib
import math
import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from training.errors import ConfigError

if TYPE_CHECKING:
    import torch


def stream(seed: int, purpose: str, *counters: int) -> np.random.Philox:
    """The bit stream of (seed, purpose, counters); ``.random_raw(n)`` gives its first n 64-bit words."""
    return np.random.Philox(key=int.from_bytes(_key(seed, purpose, counters), "little"))


def _key(seed: int, purpose: str, counters: tuple[int, ...]) -> bytes:
    text = f"{seed}/{purpose}/" + "/".join([str(int(counter)) for counter in counters])
    return hashlib.sha256(text.encode()).digest()[:16]


class _Reused(threading.local):
    """A Philox for each thread, to be keyed anew: making one asks the system for entropy, at nine times the cost."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)


_reused = _Reused()
_ZEROS = np.zeros(4, np.uint64)


def words(n: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.uint64]:
    """The first ``n`` words of ``stream``: independent uniform 64-bit words, shape (n,)."""
    philox = _reused.philox
    key = np.frombuffer(_key(seed, purpose, counters), "<u8")
    philox.state = {
        "bit_generator": "Philox", "state": {"counter": _ZEROS, "key": key},
        "buffer": _ZEROS, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }  # fmt: skip
    return philox.random_raw(n)


def words32(n: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.uint32]:
    """``n`` independent uniform 32-bit words, shape (n,): the halves of ``words``, low half first."""
    return words((n + 1) // 2, seed, purpose, *counters).astype("<u8", copy=False).view("<u4")[:n]


def permutation(n: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.int64]:
    """A random order of 0 … n−1: the argsort of n random words, ties (about n²/2⁶⁵ of them) by index."""
    return np.argsort(words(n, seed, purpose, *counters), kind="stable").astype(np.int64, copy=False)


def unit(n: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.float32]:
    """``n`` float32 values in [0, 1), multiples of 2⁻²⁴, each exactly representable."""
    high: npt.NDArray[np.uint32] = words32(n, seed, purpose, *counters) >> np.uint32(8)
    values: npt.NDArray[np.float32] = high.astype(np.float32) * np.float32(2.0**-24)
    return values


def below(bounds: npt.NDArray[np.integer] | int, n: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.int64]:
    """``n`` integers in [0, bound): ⌊u·bound / 2³²⌋ with u of 32 bits. ``bounds`` is one bound or n of them, ≤ 2³¹.

    The bias of this map is below bound / 2³², which no experiment of ours can see.
    """
    u = words32(n, seed, purpose, *counters).astype(np.uint64)
    scaled: npt.NDArray[np.uint64] = (u * np.asarray(bounds).astype(np.uint64)) >> np.uint64(32)
    return scaled.astype(np.int64)


def uniform(shape: tuple[int, ...], low: float, high: float, seed: int, purpose: str, *counters: int) -> torch.Tensor:
    """A float32 tensor of ``shape`` with values in [low, high), made on the CPU.

    Initial weights are uniform because normal draws go through libm, and QR through LAPACK: neither is portable.
    """
    import torch

    n = math.prod(shape)
    span = np.float32(high) - np.float32(low)
    values = unit(n, seed, purpose, *counters) * span + np.float32(low)
    return torch.from_numpy(values).reshape(shape)


def keep_mask(shape: tuple[int, ...], drop: float, seed: int, purpose: str, *counters: int) -> torch.Tensor:
    """An inverted-dropout mask: 0 with probability ``drop``, else 1 / (1 − drop). Float32, made on the CPU.

    Srivastava et al. 2014. Eight random bits a value where ``drop`` is a multiple of 1/256, else sixteen; the scale uses
    the probability that the bits really give, so the expectation is exactly one.
    """
    import torch

    if not 0.0 <= drop < 1.0:
        raise ConfigError(f"dropout: expected a probability in [0, 1), got {drop}")
    n = math.prod(shape)
    if drop * 256 == int(drop * 256):
        raw = words((n + 7) // 8, seed, purpose, *counters).astype("<u8", copy=False).view(np.uint8)[:n]
        threshold, total = int(drop * 256), 256
    else:
        raw = words((n + 3) // 4, seed, purpose, *counters).astype("<u8", copy=False).view("<u2")[:n]
        threshold, total = round(drop * 65536), 65536
    if threshold == 0:
        return torch.ones(shape)
    scale = np.float32(total / (total - threshold))
    mask = (raw >= threshold).astype(np.float32)
    mask *= scale
    return torch.from_numpy(mask).reshape(shape)
