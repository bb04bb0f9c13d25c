"""The same bits for any number of CPU threads: one thread computes.

A sum is rounded in the order of its additions, and torch, MKL, oneDNN and OpenBLAS choose that order by the number of
threads: matrix products split along the inner dimension or take other code for the rows at the end of a thread's share,
full sums add one part per thread, and some functions round differently in vector code and in the scalar code for the last
elements of a share. To choose operation by operation which may be shared out costs more than sharing them gains, and leaves
out what torch does not hand to Python: scripted code, compiled code, extensions. Whole jobs may still be computed side by
side, each by one thread (single_threads.py).
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from training.determinism.threads import begun_with
from training.determinism.unkept import Unkept

_SET, _GET = "openblas_set_num_threads", "openblas_get_num_threads"
_NAMES = [(f"{prefix}{_SET}{suffix}", f"{prefix}{_GET}{suffix}") for prefix in ("scipy_", "") for suffix in ("64_", "")]

_entered = 0
_wanted = 1


@contextmanager
def one_thread(unkept: Unkept) -> Iterator[None]:
    """torch, and NumPy's products, compute in one thread meanwhile; in threads that are started, too.

    A program that asks torch for more is told that it gets none. ``unkept`` hears where NumPy cannot be told.
    """
    global _entered, _wanted
    threads, set_threads = torch.get_num_threads(), torch.set_num_threads

    def refuse(n: int) -> None:
        if n != 1:
            unkept.tell(f"torch.set_num_threads({n}): ignored, since any_threads computes with one thread")

    _forget_compiled()
    set_threads(1)
    setattr(torch, "set_num_threads", refuse)  # noqa: B010
    _entered += 1
    before, _wanted = _wanted, max(_wanted, threads)
    try:
        with begun_with(lambda: set_threads(1)), _numpy_in_one_thread(unkept):
            yield
    finally:
        _entered, _wanted = _entered - 1, before
        setattr(torch, "set_num_threads", set_threads)  # noqa: B010
        set_threads(threads)


def in_force() -> bool:
    """Whether ``one_thread`` is entered."""
    return _entered > 0


def side_by_side() -> int:
    """How many threads may compute at once: torch's number, and under ``one_thread`` the one from before, each by itself."""
    return _wanted if in_force() else torch.get_num_threads()


def for_good() -> None:
    """One thread, in a process that ends with its work."""
    torch.set_num_threads(1)
    for _, put in blas_threads():
        put(1)


def _forget_compiled() -> None:
    """Code that torch.compile made before: it has the number of threads of then in it."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@contextmanager
def _numpy_in_one_thread(unkept: Unkept) -> Iterator[None]:
    found = blas_threads()
    if not found:
        unkept.add(
            "any_threads does not hold for NumPy's products (dot, @, linalg): they are computed by "
            f"{_numpys_blas()}, which cannot be told to use one thread; set OMP_NUM_THREADS=1"
        )
    before = [get() for get, _ in found]
    for _, put in found:
        put(1)
    try:
        yield
    finally:
        for (_, put), n in zip(found, before, strict=True):
            put(n)


def blas_threads() -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    """Of each OpenBLAS in this process (NumPy's, SciPy's): what gets and what sets its number of threads."""
    found = []
    for path in _libraries():
        library = ctypes.CDLL(path)
        for setter, getter in _NAMES:
            if hasattr(library, setter) and hasattr(library, getter):
                found.append((getattr(library, getter), getattr(library, setter)))
                break
    return found


def _libraries() -> list[str]:
    """The files of OpenBLAS that this process has loaded; else NumPy's own code, through which its BLAS is found."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    paths = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.lower()}
    return sorted(paths) or [str(importlib.import_module("numpy._core._multiarray_umath").__file__)]


def _numpys_blas() -> str:
    built = np.show_config(mode="dicts")
    return str((built or {}).get("Build Dependencies", {}).get("blas", {}).get("name", "an unknown library"))
