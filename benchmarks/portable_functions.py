"""Which of torch's functions a portable run must not take from MKL: those that come out otherwise on other CPUs.

    python benchmarks/portable_functions.py [--qemu qemu-x86_64] [--cpu Nehalem EPYC]

Functions, random numbers, decompositions and norms of 300,000 numbers of three kinds and four formats, here and under qemu's
user-mode emulation of other CPUs, each with the environment of a portable run: once as torch computes them, once as a
portable run does (training/determinism/numpy_functions.py). Printed: those whose bits differ. With the second there must be
none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402
from training.determinism import portable  # noqa: E402
from training.determinism.unkept import Unkept  # noqa: E402

COUNT = 300_000
FORMATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NAMED = [
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sinc"),
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "sqrt", "rsqrt", "reciprocal"),
    *("erf", "erfc", "erfinv", "lgamma", "digamma", "i0"),
]


def generator() -> torch.Generator:
    """The same one each time."""
    return torch.Generator().manual_seed(3)


def square(x: Tensor) -> Tensor:
    """A matrix (50, 50) of the first numbers."""
    return x[:2500].view(50, 50)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: getattr(torch, name) for name in NAMED},
    "pow 2.37": lambda x: x.abs() ** 2.37,
    "pow 3": lambda x: x**3,
    "pow 0.5": lambda x: x.abs() ** 0.5,
    "pow -0.5": lambda x: x.abs() ** -0.5,
    "atan2": lambda x: torch.atan2(x, x.flip(0)),
    "hypot": lambda x: torch.hypot(x, x.flip(0)),
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(0)),
    "xlogy": lambda x: torch.xlogy(x, x.abs()),
    "logit": lambda x: torch.logit(x.abs()),
    "entr": torch.special.entr,
    "ndtri": lambda x: torch.special.ndtri(x.abs()),
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "log_softmax": lambda x: x.view(100, -1).log_softmax(1),
    "logsumexp": lambda x: x.view(100, -1).logsumexp(1),
    "std": lambda x: x.view(100, -1).std(1),
    "norm": lambda x: x.view(100, -1).norm(dim=1),
    "layer_norm": lambda x: F.layer_norm(x.view(100, -1), (COUNT // 100,)),
    "batch_norm": lambda x: F.batch_norm(x.view(1000, -1), None, None, training=True),
    "group_norm": lambda x: F.group_norm(x.view(10, 30, -1), 3),
    "_foreach_sqrt": lambda x: torch._foreach_sqrt([x.abs()])[0],
    "_foreach_log": lambda x: torch._foreach_log([x.abs()])[0],
    "_foreach_asin": lambda x: torch._foreach_asin([x])[0],
    "complex abs": lambda x: torch.complex(x, x.flip(0)).abs(),
    "complex angle": lambda x: torch.complex(x, x.flip(0)).angle(),
    "complex log": lambda x: torch.complex(x, x.flip(0)).log(),
    "complex sqrt": lambda x: torch.complex(x, x.flip(0)).sqrt(),
    "complex exp": lambda x: torch.complex(x, x.flip(0)).exp(),
    "polar": lambda x: torch.polar(x.abs(), x),
    "normal": lambda x: torch.empty_like(x).normal_(generator=generator()),
    "log_normal": lambda x: torch.empty_like(x).log_normal_(generator=generator()),
    "exponential": lambda x: torch.empty_like(x).exponential_(generator=generator()),
    "cauchy": lambda x: torch.empty_like(x).cauchy_(generator=generator()),
    "geometric": lambda x: torch.empty_like(x).geometric_(0.3, generator=generator()),
    "gamma": lambda x: torch._standard_gamma(x[:3000].abs() + 0.5, generator=generator()),
    "poisson": lambda x: torch.poisson(x[:3000].abs(), generator=generator()),
    "rfft": torch.fft.rfft,
    "cholesky": lambda x: torch.linalg.cholesky(square(x) @ square(x).T + 1000 * torch.eye(50, dtype=x.dtype)),
    "qr": lambda x: torch.linalg.qr(square(x))[0],
    "svd": lambda x: torch.linalg.svdvals(square(x)),
    "matrix_exp": lambda x: torch.linalg.matrix_exp(square(x) * 0.01),
    "pdist": lambda x: torch.pdist(square(x)),
    "cdist of few": lambda x: torch.cdist(square(x)[:20], square(x)[:20]),
    "cdist": lambda x: torch.cdist(square(x), square(x)),
    "renorm": lambda x: square(x).renorm(2, 0, 1),
    "cosine_similarity": lambda x: F.cosine_similarity(square(x), square(x).T),
    "_weight_norm": lambda x: torch._weight_norm(square(x), square(x)[:, :1]),
}


def digests(portably: bool) -> dict[str, str]:
    """Of each function, by name, kind of numbers and format."""
    found = {}
    uniform = torch.empty(COUNT, dtype=torch.float64).uniform_(-1, 1, generator=generator())
    kinds = {"in ±1": uniform, "in ±30": 30 * uniform, "positive": torch.exp(20 * uniform)}
    with portable.portably(Unkept()) if portably else nullcontext():
        for name, function in FUNCTIONS.items():
            for kind, x in kinds.items():
                for dtype in FORMATS:
                    found[f"{name}, {str(dtype)[6:]}, {kind}"] = _digest(function, x.to(dtype))
    return found


def _digest(function: Callable[[Tensor], Tensor], x: Tensor) -> str:
    try:
        y = function(x)
    except RuntimeError:
        return "not there for these"
    y = (torch.view_as_real(y) if y.is_complex() else y).nan_to_num().contiguous()
    return hashlib.sha256(y.view(torch.uint8).numpy().tobytes()).hexdigest()


def on(start: list[str], portably: bool) -> dict[str, str]:
    """The digests as a process finds them that is started so."""
    command = [*start, sys.executable, __file__, "--digests", *(["--portably"] if portably else [])]
    environment = {**os.environ, **portable.SETTINGS}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qemu", default="qemu-x86_64")
    parser.add_argument("--cpu", nargs="*", default=["Nehalem", "EPYC"])
    parser.add_argument("--digests", action="store_true", help="print the digests as found here, as JSON")
    parser.add_argument("--portably", action="store_true", help="as a portable run computes them")
    record.add_option(parser)
    given = parser.parse_args()
    if given.digests:
        print(json.dumps(digests(given.portably)))
        return
    rows: dict[str, dict[str, record.Figure]] = {}
    for portably in (False, True):
        print("as a portable run computes them" if portably else "as torch computes them")
        here = on([], portably)
        for cpu in given.cpu:
            there = on([given.qemu, "-cpu", cpu], portably)
            differ = [name for name in here if here[name] != there[name]]
            print(f"  qemu {cpu}: {len(differ)} of {len(here)} differ", *differ, sep="\n    ", flush=True)
            row = rows.setdefault("as a portable run does" if portably else "as torch computes them", {})
            row[f"differ on {cpu}"] = f"{len(differ)} of {len(here)}"
    record.write(given.record, "portable-functions", rows, modules=(*record.DETERMINISM, *record.PORTABLE), threads=1)


if __name__ == "__main__":
    main()
