"""Freed memory is kept for the next step, instead of being given back to the system at every step."""

from __future__ import annotations

import ctypes
import platform

# mallopt's parameters, as glibc's malloc.h numbers them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE = 2**30


def keep_freed_memory() -> bool:
    """Have glibc's malloc keep what is freed, up to a gigabyte; returns whether it will (False without glibc).

    A training step makes and frees tensors of some megabytes. glibc returns such memory to the system at once, and the
    next step's first touch of each page goes through the system again: a tenth to a fifth of a step. For the whole process;
    the most memory ever in use stays what it was, and no number changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    done = [libc.mallopt(parameter, _LARGE) for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)]
    return done == [1, 1]
