"""Two threads that compute at the same time, each by itself.

torch shares out the work of one operation at a time, and its threads wait for each other at the end of each. Where
operations are short, or are not shared out at all, two threads that each go through operations of their own do more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from training.determinism.any_threads import side_by_side

First = TypeVar("First")
Second = TypeVar("Second")

_helper: ThreadPoolExecutor | None = None


def both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """What both return: ``second`` is computed by another thread meanwhile, if ``helped`` is in force; else after ``first``.

    Neither may change what the other reads. Gradients are not recorded in the other thread.
    """
    if _helper is None:
        return first(), second()
    other = _helper.submit(second)
    try:
        return first(), other.result()
    finally:
        other.exception()  # it has ended in any case: what it works on may be freed


@contextmanager
def helped() -> Iterator[None]:
    """Meanwhile ``both`` has a second thread: each computes with half of torch's threads; with one thread alone, nothing."""
    global _helper
    if side_by_side() < 2 or _helper is not None:
        yield
        return
    threads = torch.get_num_threads()
    each = max(1, threads // 2)
    with worker("helper", each) as _helper:
        torch.set_num_threads(each)
        try:
            yield
        finally:
            _helper = None
            torch.set_num_threads(threads)


@contextmanager
def worker(name: str, threads: int) -> Iterator[ThreadPoolExecutor]:
    """A thread that computes with so many of torch's threads, without recording gradients; its end is waited for."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, name) as executor:
        executor.submit(_begin, threads).result()
        torch.set_num_threads(before)  # what threads that are begun later take over
        yield executor


def _begin(threads: int) -> None:
    """torch keeps both for each thread."""
    torch.get_num_threads()  # the first call in a thread takes over what the process has; so it must not come later
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
