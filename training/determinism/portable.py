"""The same bits on any x86-64 CPU: libraries are told, before they load, to use the code that every such CPU runs.

torch, MKL, oneDNN, NumPy, OpenBLAS and the C library each look at the CPU and choose among several versions of their
code, which round differently (AVX-512, AVX2, SSE; fused multiply-add or not; Intel or AMD). They read these environment
variables once, when the process starts: so the process starts itself anew. One function remains: torch's square root comes
from MKL, and there from the CPU's approximate reciprocal root, which each maker builds otherwise; ``Roots`` puts the exactly
rounded one in its place. The beginning of the list is FastSurfer's
(pull request #892): there MKL_CBWR or ATEN_CPU_CAPABILITY alone left differences, together they did not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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


def begin(asked: bool) -> None:
    """Where a portable run is asked for: the same command in this process's place, with the settings in its environment."""
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
            f"got none of {listed(missing, 1)}; the command line does that by itself"
        )
    found = torch.backends.cpu.get_cpu_capability()
    if found != "DEFAULT" or torch.get_num_threads() != 1:
        raise ReproducibilityError(
            f"portable: expected torch's code for any CPU and one thread, got {found} and {torch.get_num_threads()} threads"
        )


class Roots(TorchDispatchMode):
    """While it is entered, square roots on the CPU are rounded as IEEE 754 asks, which is the same everywhere."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name not in ("sqrt", "sqrt_", "_foreach_sqrt", "_foreach_sqrt_"):
            return func(*args, **(kwargs or {}))
        given = args[0]
        several = list(given) if name.startswith("_foreach") else [given]
        target = [kwargs["out"]] if kwargs and "out" in kwargs else several if name.endswith("_") else None
        found = [_root(each) for each in several]
        if target is not None:
            for old, new in zip(target, found, strict=True):
                old.copy_(new)
            found = target
        return None if name == "_foreach_sqrt_" else found if name == "_foreach_sqrt" else found[0]


def _root(x: Tensor) -> Tensor:
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return x.sqrt()
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.asarray(np.sqrt(x.detach().numpy())))
