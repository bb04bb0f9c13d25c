"""The same bits on any x86-64 CPU: libraries are told, before they load, to use the code that every such CPU runs.

torch, MKL, oneDNN, NumPy, OpenBLAS and the C library each look at the CPU and choose among several versions of their
code, which round differently (AVX-512, AVX2, SSE; fused multiply-add or not; Intel or AMD). They read these environment
variables once, when the process starts: so the process starts itself anew. A few functions of MKL remain; NumPy's take
their place (numpy_functions.py). The beginning of the list is FastSurfer's (pull request #892): there MKL_CBWR or
ATEN_CPU_CAPABILITY alone left differences, together they did not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from training.determinism import numpy_functions
from training.determinism.threads import begun_with
from training.determinism.unkept import Unkept
from training.errors import ReproducibilityError
from training.visible import listed

_NO_AVX = ",".join(
    f"-{name}{suffix}"  # glibc calls them AVX2 from 2.33 on, AVX2_Usable before; it passes over names that it does not know
    for name in "AVX AVX2 FMA FMA4 AVX512F AVX512VL AVX512BW AVX512DQ AVX512CD ERMS FSRM Prefer_No_VZEROUPPER".split()
    for suffix in ("", "_Usable")
)
SETTINGS: dict[str, str] = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",  # MKL's products depend on it in this mode more than in others
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={_NO_AVX}",
}

_own = False


def is_set(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started with these settings."""
    return all(environment.get(name) == value for name, value in SETTINGS.items())


def begin(asked: bool = True, *, own: bool = False) -> None:
    """Where a portable run is asked for: the same command in this process's place, with the settings in its environment.

    A program of your own calls it first of all, since what came before it is done twice. ``own`` is for samebits' commands,
    which call torch's operations alone: so nothing watches for others, which takes a third of the tagger's time.
    """
    global _own
    _own = asked and own
    if not asked or is_set():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **SETTINGS})


def check() -> None:
    """ReproducibilityError where the settings are not in force, as in a program that imported torch without them."""
    missing = [name for name, value in SETTINGS.items() if os.environ.get(name) != value]
    if missing:
        raise ReproducibilityError(
            "portable: expected the process to be started with training.determinism.portable.SETTINGS in its environment, "
            f"got none of {listed(missing, 1)}; the command line does that by itself, a program of your own by "
            "portable.begin() of training.determinism as its first step"
        )
    found = torch.backends.cpu.get_cpu_capability()
    if found != "DEFAULT" or torch.get_num_threads() != 1:
        raise ReproducibilityError(
            f"portable: expected torch's code for any CPU and one thread, got {found} and {torch.get_num_threads()} threads"
        )


@contextmanager
def portably(unkept: Unkept) -> Iterator[None]:
    """Functions on the CPU are rounded alike everywhere meanwhile, in threads that are started, too.

    ``unkept`` hears of operations for which nobody knows, unless the program began as samebits' own.
    """
    with numpy_functions.replaced(), ExitStack() as stack:
        if not _own:
            mode = Portable(unkept)
            stack.enter_context(mode)
            stack.enter_context(begun_with(mode.watch))
        yield


def in_force() -> bool:
    """Whether ``portably`` is entered."""
    return numpy_functions.in_force()


class Portable(TorchDispatchMode):
    """While it is entered, ``unkept`` hears of operations that are not torch's. It costs some 10 µs for each operation."""

    def __init__(self, unkept: Unkept) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unkept = unkept

    def enter(self) -> None:
        """Be portable for good, in a process that ends with its work."""
        numpy_functions.enter()
        self.watch()

    def watch(self) -> None:
        """Enter it for good, in a thread that ends with its work."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace not in _TORCHS:
            self.unkept.add(
                f"portable does not hold for {func.namespace}.{func.overloadpacket.__name__}: "
                "its code may choose instructions by the CPU"
            )
        return func(*args, **(kwargs or {}))


_TORCHS = frozenset(("aten", "prims", "prim", "profiler", "c10d", "_c10d_functional", "debugprims"))
