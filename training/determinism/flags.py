"""torch's flags for equal bits: set once at the start of a run, stated, and undone when it ends."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from training.config import TrainConfig
from training.determinism import any_threads, portable
from training.determinism.threads import begun_with, use_threads
from training.determinism.unkept import Unkept
from training.determinism.waiting import considerate
from training.errors import ReproducibilityError
from training.values import check_seed

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"

# Environment variables that can change what a CPU or GPU computes; recorded in each manifest.
BITS_ENVIRONMENT = (
    "ATEN_CPU_CAPABILITY CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES DNNL_MAX_CPU_ISA GLIBC_TUNABLES KMP_AFFINITY "
    "MKL_CBWR MKL_DYNAMIC MKL_ENABLE_INSTRUCTIONS MKL_NUM_THREADS NPY_DISABLE_CPU_FEATURES NVIDIA_TF32_OVERRIDE "
    "OMP_DYNAMIC OMP_NUM_THREADS ONEDNN_DEFAULT_FPMATH_MODE ONEDNN_MAX_CPU_ISA OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS "
    "PYTHONHASHSEED TORCH_BLAS_PREFER_CUBLASLT TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
).split()


last_seed: int | None = None
"""The seed that ``seed_everything`` was given last: a Trainer without one of its own takes it."""


def seed_everything(seed: int, workers: bool = False, verbose: bool = True) -> int:
    """Seed Python's, NumPy's and torch's global generators, and the fits that follow.

    A Trainer without a seed of its own takes this one. Call it before the model is built, for its initial weights.

    Args:
        seed: 0 … 2³²−1.
        workers: not needed: the workers of a DataLoader are seeded in any case.
        verbose: not needed: nothing is printed.

    Returns:
        The seed.

    Raises:
        ConfigError: for any other seed.

    Example:
        >>> import torch
        >>> from training import seed_everything
        >>> seed_everything(7)
        7
        >>> first = torch.rand(3)
        >>> _ = seed_everything(7)
        >>> bool((first == torch.rand(3)).all())
        True

    Source: Lightning 2.6's ``seed_everything``.
    """
    global last_seed
    last_seed = check_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return seed


@contextmanager
def determinism(config: TrainConfig, unkept: Unkept | None = None) -> Iterator[str]:
    """Set the flags for a run, yield the name of the level obtained, and restore what was before.

    ``unkept`` hears what of the level's promise the run does not keep.

    "seeded": random numbers depend on the seed alone. "run", with ``deterministic``: the same bits on the same machine with
    the same settings. "threads", with ``any_threads``: for any number of CPU threads (any_threads.py). "machines", with
    ``portable``: on any x86-64 CPU (portable.py, which must have been in force since the process began).

    What ``deterministic`` sets: torch's deterministic algorithms (an operation without one raises), cuDNN deterministic and
    without benchmarking, TF32 off, cuBLAS' workspace fixed to :16:8 (which suits cuDNN's LSTM too) unless the user set it.
    Scripted code (torch.jit) is run as it stands: rewritten, as it is after a few calls, it would round otherwise, and the
    first calls after a resume differ from those that they repeat.
    ReproducibilityError if CUDA has started without that workspace setting: it is then too late.
    ``fill_uninitialized_memory`` is off: filling torch.empty with NaN costs time and hides nothing from our tests.
    """
    before_threads = torch.get_num_threads()
    if threads := chosen_threads(config):
        use_threads(threads)
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    if config.deterministic:
        if CUBLAS not in os.environ:
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                raise ReproducibilityError(
                    f"{CUBLAS} must be set before CUDA starts, and CUDA has started: set {CUBLAS}=:16:8 and start again"
                )
            os.environ[CUBLAS] = ":16:8"
        _set_flags(True, False, False, True, False, False, False)
    try:
        with ExitStack() as stack:
            if config.deterministic:
                stack.enter_context(_scripts_as_they_stand())
            if config.portable:
                portable.check()
                stack.enter_context(portable.portably(unkept or Unkept()))
            elif config.any_threads:
                stack.enter_context(any_threads.one_thread(unkept or Unkept()))
            stack.enter_context(considerate(torch.get_num_threads()))
            yield level(config)
    finally:
        _set_flags(*before)
        torch.set_num_threads(before_threads)


@contextmanager
def _scripts_as_they_stand() -> Iterator[None]:
    """torch.jit's executor rewrites nothing, in this thread and in those that are started."""
    before = torch._C._get_graph_executor_optimize()
    torch._C._set_graph_executor_optimize(False)
    try:
        with begun_with(lambda: torch._C._set_graph_executor_optimize(False)):
            yield
    finally:
        torch._C._set_graph_executor_optimize(before)


def in_force() -> tuple[bool, bool]:
    """What a process that is started anew does not inherit: whether one thread computes, and portably."""
    return any_threads.in_force(), portable.in_force()


def put_in_force(state: tuple[bool, bool]) -> None:
    """What ``in_force`` said where this process was started, and torch's flags ask for; for good."""
    threads, portably = state
    if torch.are_deterministic_algorithms_enabled():
        torch._C._set_graph_executor_optimize(False)
    if threads:
        any_threads.for_good()
    if portably and not portable.in_force():
        portable.Portable(Unkept()).enter()


def chosen_threads(config: TrainConfig) -> int:
    """The CPU threads of each process; 0 for torch's own choice.

    With shards it is one, however many processes share them: with several, bits would depend on the cores of a machine.
    """
    return config.threads or (1 if config.shards > 1 else 0)


def level(config: TrainConfig) -> str:
    """The level of determinism that these settings ask for: machines, threads, run or seeded."""
    if config.portable:
        return "machines"
    if config.any_threads:
        return "threads"
    return "run" if config.deterministic else "seeded"


def _set_flags(
    algorithms: bool, warn: bool, fill: bool, cudnn: bool, benchmark: bool, matmul_tf32: bool, cudnn_tf32: bool
) -> None:
    torch.use_deterministic_algorithms(algorithms, warn_only=warn)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = cudnn
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
    torch.backends.cudnn.allow_tf32 = cudnn_tf32
