"""Jobs side by side, each computed by one thread: where a library rounds otherwise when it shares out a single job."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from training.determinism.any_threads import side_by_side

Result = TypeVar("Result")
WORKERS = 2


def in_single_threads(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What the calls return, in order. Each is computed by one thread; two of them at once, if two threads compute.

    The calls are for torch's operators, and see the caller's inference mode; they set their own grad mode.
    """
    if side_by_side() == 1:
        return [call() for call in calls]
    inference = torch.is_inference_mode_enabled()

    def computed(call: Callable[[], Result]) -> Result:
        with torch.inference_mode(inference):
            return call()

    return list(_workers().map(computed, calls))


@functools.cache
def _workers() -> ThreadPoolExecutor:
    """Threads in which torch computes with one thread, for good: each takes over the number of when it first asks for it."""
    workers, started = ThreadPoolExecutor(WORKERS, "single"), threading.Barrier(WORKERS)

    def start(number: int) -> None:
        torch.get_num_threads()
        started.wait()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        list(workers.map(start, range(WORKERS)))
    finally:
        torch.set_num_threads(before)
    return workers


os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has no threads but the one that forked
