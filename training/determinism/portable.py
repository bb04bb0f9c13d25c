"""The same bits on any x86-64 CPU: libraries are told, before they load, to use the code that every such CPU runs.

torch, MKL, oneDNN, NumPy, OpenBLAS and the C library each look at the CPU and choose among several versions of their
code, which round differently (AVX-512, AVX2, SSE; fused multiply-add or not; Intel or AMD). They read these environment
variables once, when the process starts: so the process starts itself anew. A few functions remain: torch's square roots,
logarithms and inverse sines come from MKL, and there from the CPU's approximate reciprocals, which each maker builds
otherwise; ``Portable`` puts NumPy's in their place. Which they are was found by running torch's functions under qemu as
CPUs of two makers (benchmarks/portable_functions.py). The beginning of the list is FastSurfer's (pull request #892): there
MKL_CBWR or ATEN_CPU_CAPABILITY alone left differences, together they did not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

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


def is_set(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started with these settings."""
    return all(environment.get(name) == value for name, value in SETTINGS.items())


def begin(asked: bool = True) -> None:
    """Where a portable run is asked for: the same command in this process's place, with the settings in its environment.

    A program of your own calls it first of all, since what came before it is done twice.
    """
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

    ``unkept`` hears of operations for which nobody knows.
    """
    mode = Portable(unkept)
    with mode, begun_with(mode.enter):
        yield


def in_force() -> bool:
    """Whether ``portably`` is entered in this thread."""
    return any(isinstance(mode, Portable) for mode in _get_current_dispatch_mode_stack())


class Portable(TorchDispatchMode):
    """While it is entered, functions that MKL computes from approximations are those of NumPy, which does not."""

    def __init__(self, unkept: Unkept) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unkept = unkept

    def enter(self) -> None:
        """Enter it for good, in a thread or a process that ends with its work."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, named = func.overloadpacket.__name__, kwargs or {}
        if func.namespace not in _TORCHS:
            self.unkept.add(
                f"portable does not hold for {func.namespace}.{name}: its code may choose instructions by the CPU"
            )
            return func(*args, **named)
        if name == "_euclidean_dist":  # its root would be MKL's; another kernel takes the exact one
            return torch.ops.aten._cdist_forward(*args[:2], 2.0, 2)
        stem = name.removeprefix("_foreach_").removesuffix("_")
        if stem == "pow" and isinstance(args[1], float) and args[1] == 0.5:
            stem = "sqrt"  # torch computes it as one
        if stem not in _FUNCTIONS or not all(_is_computed(stem, x) for x in _several(args[0])):
            return func(*args, **named)
        return _replaced(_FUNCTIONS[stem], stem, name, args, named)


def _several(given: Any) -> list[Tensor]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _is_computed(stem: str, x: Tensor) -> bool:
    """Whether torch's function of such a tensor would be MKL's: half precision is not, nor are complex numbers."""
    if x.device.type != "cpu" or x.layout is not torch.strided or x.is_complex():
        return False
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return dtype == torch.float64 or (dtype == torch.float32 and stem not in _ONLY_DOUBLE)


def _replaced(function: Any, stem: str, name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What the operation ``name`` gives, or does in place, with ``function`` instead of torch's ``stem``."""
    several = _several(args[0])
    found = [_computed(function, stem, x, args[1:]) for x in several]
    target = [named["out"]] if "out" in named else several if name.endswith("_") else None
    if target is not None:
        for old, new in zip(target, found, strict=True):
            old.resize_(new.shape).copy_(new)
        found = target
    if name.startswith("_foreach"):
        return None if name.endswith("_") else found
    return found[0]


def _computed(function: Any, stem: str, x: Tensor, more: Sequence[Any]) -> Tensor:
    x = x.detach()
    if not x.is_floating_point():
        x = x.to(torch.get_default_dtype())
    if stem == "logit" and more and more[0] is not None:
        x = x.clamp(more[0], 1 - more[0])
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.asarray(function(x.resolve_neg().numpy())))


def _logit(x: Any) -> Any:
    return np.log(x / (1 - x))


_TORCHS = frozenset(("aten", "prims", "prim", "profiler", "c10d", "_c10d_functional", "debugprims"))
_FUNCTIONS = {
    "sqrt": np.sqrt, "log": np.log, "log10": np.log10, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "logit": _logit,
}  # fmt: skip
_ONLY_DOUBLE = frozenset(("log", "logit"))  # those of float32 came out alike
