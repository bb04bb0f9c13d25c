"""How many CPU threads compute: set only where the system gives so many."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from training.errors import ConfigError


def use_threads(n: int) -> None:
    """Compute with ``n`` CPU threads. ConfigError where the system does not give so many: OpenMP would end the process."""
    if n > (os.cpu_count() or 1):
        try_threads(n)
    torch.set_num_threads(n)


def try_threads(n: int) -> None:
    """Start n idle threads and let them go again. ConfigError where the system does not give so many."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(n):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        cores = os.cpu_count() or 1
        raise ConfigError(
            f"threads: expected as many as the system gives a process, about {len(started)} now, got {n}; "
            f"this machine has {cores} cores: give {cores} or fewer"
        ) from None
    finally:
        done.set()
        for thread in started:
            thread.join()


@contextmanager
def begun_with(act: Callable[[], object]) -> Iterator[None]:
    """Each of Python's threads that is started meanwhile begins with ``act``: torch keeps settings for each thread."""
    before = threading.getprofile()

    def begin(frame: FrameType, event: Any, argument: Any) -> None:
        act()
        sys.setprofile(before)
        if before is not None:  # which may be what another of these had begun
            before(frame, event, argument)

    threading.setprofile(begin)
    try:
        yield
    finally:
        threading.setprofile(before)
