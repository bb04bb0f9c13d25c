"""Freed memory is kept for the next step, instead of being given back to the system at every step."""

from __future__ import annotations

import ctypes
import platform

# mallopt's parameters, as glibc's malloc.h numbers them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
KEPT = 2**30
MOST_OF_OLD_GLIBC = 2**25


def keep_freed_memory(largest: int = KEPT) -> bool:
    """Have glibc's malloc keep what is freed, up to a gigabyte; returns whether it will (False without glibc).

    A training step makes and frees tensors of some megabytes. glibc returns such memory to the system at once, and the
    next step's first touch of each page goes through the system again: a tenth to a fifth of a step. What is free now is
    given back first, and what is larger than ``largest`` bytes at all times. For the whole process; no number changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    mapped = any(libc.mallopt(_MMAP_THRESHOLD, size) == 1 for size in (largest, min(largest, MOST_OF_OLD_GLIBC)))
    return mapped and libc.mallopt(_TRIM_THRESHOLD, KEPT) == 1
