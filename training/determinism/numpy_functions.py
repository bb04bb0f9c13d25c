"""NumPy's functions in the place of those that torch takes from MKL on the CPU.

MKL computes square roots, logarithms and inverse sines from the CPU's approximate reciprocals, which each maker builds
otherwise. Which functions differ was found by running torch's under qemu as CPUs of two makers
(benchmarks/portable_functions.py). They are replaced in torch's dispatcher, so that calls from torch's C++ code get them,
too, and other operations cost nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, library


def _logit(x: Any) -> Any:
    return np.log(x / (1 - x))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sqrt": np.sqrt, "log": np.log, "log2": np.log2, "log10": np.log10, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "logit": _logit,
}  # fmt: skip
_ONLY_DOUBLE = frozenset(("log", "logit"))  # those of float32 came out alike
_POWERS = "pow.Tensor_Scalar", "pow_.Scalar", "pow.Tensor_Scalar_out"  # torch computes a power of ½ as a square root

_entered = 0
_library: library.Library | None = None


@contextmanager
def replaced() -> Iterator[None]:
    """The functions are NumPy's meanwhile, in all threads."""
    enter()
    try:
        yield
    finally:
        leave()


def enter() -> None:
    """From here on the functions are NumPy's, until ``leave`` is called as often."""
    global _entered, _library
    _entered += 1
    if _library is None:
        _library = library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
            for stem, function in _FUNCTIONS.items():
                for name in (stem, f"{stem}_", f"{stem}.out"):
                    _replace(_library, name, stem, function)
            for name in _POWERS:
                _replace(_library, name, "pow", np.sqrt)
            # its root would be MKL's; another kernel takes the exact one
            _library.impl("_euclidean_dist", lambda a, b: torch.ops.aten._cdist_forward(a, b, 2.0, 2), "CPU")


def leave() -> None:
    """The functions are torch's again, unless somebody else has entered."""
    global _entered, _library
    _entered -= 1
    if not _entered and _library is not None:
        _library._destroy()
        _library = None


def in_force() -> bool:
    """Whether the functions are NumPy's now."""
    return _entered > 0


def _replace(into: library.Library, name: str, stem: str, function: Callable[[Any], Any]) -> None:
    """Let ``function`` compute the operation ``name``, which may be in place or into ``out``, where it is MKL's."""
    own = library.get_kernel(f"aten::{name}", "CPU")
    in_place = name.split(".")[0].endswith("_")

    def computed(keys: Any, x: Tensor, *more: Any, out: Tensor | None = None) -> Tensor:
        if not _is_mkls(stem, x, more):
            named = {} if out is None else {"out": out}
            kept: Tensor = own.call_boxed(keys, x, *more, **named)
            return kept
        found = _by_numpy(function, stem, x, more)
        target = x if in_place else out
        return found if target is None else target.resize_(found.shape).copy_(found)

    into.impl(name, computed, "CPU", with_keyset=True)


def _is_mkls(stem: str, x: Tensor, more: tuple[Any, ...]) -> bool:
    """Whether torch's function of such a tensor would be MKL's: half precision is not, nor are complex numbers."""
    if x.is_complex() or (stem == "pow" and not (isinstance(more[0], float) and more[0] == 0.5)):
        return False
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return dtype == torch.float64 or (dtype == torch.float32 and stem not in _ONLY_DOUBLE)


def _by_numpy(function: Callable[[Any], Any], stem: str, x: Tensor, more: tuple[Any, ...]) -> Tensor:
    x = x.detach()
    if not x.is_floating_point():
        x = x.to(torch.get_default_dtype())
    if stem == "logit" and more and more[0] is not None:
        x = x.clamp(more[0], 1 - more[0])
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.asarray(function(x.resolve_neg().numpy())))
