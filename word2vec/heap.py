"""The C library's heap: what a step frees is kept for the next step, not given back to the system."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEPT, MAPPED = 1 << 30, 1 << 25


def keep_freed_memory() -> None:
    """Give back what is free now, and from now on keep up to a GiB; does nothing where the C library is not glibc.

    A step makes and frees some dozen tensors of several megabytes. As glibc is set, it gives them back to the system at the
    end of a step, and the next step gets them page by page: a thousand page faults with 8,192 words a step.
    """
    try:
        library = ctypes.CDLL(None)
        trim, set_option = library.malloc_trim, library.mallopt
    except (OSError, AttributeError, TypeError):  # not Linux, or another C library
        return
    trim(0)
    set_option(M_MMAP_THRESHOLD, MAPPED)
    set_option(M_TRIM_THRESHOLD, KEPT)
