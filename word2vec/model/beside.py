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
    """What both return: see ``shared``."""
    found, (other,) = shared(first, second)
    return found, other


def shared(first: Callable[[], First], *others: Callable[[], Second]) -> tuple[First, list[Second]]:
    """What all return: this thread computes ``first`` and, if ``helped`` is in force, another thread the others meanwhile.

    Those that the other thread has not begun by then are computed by this thread, from the last one on. So whichever thread
    is late, the other does more; which of them computes what changes no bit.

    None may change what another reads. Gradients may not be recorded.
    """
    if _helper is None:
        return first(), [other() for other in others]
    begun = [_helper.submit(other) for other in others]
    try:
        found, own = first(), {}
        for i in reversed(range(len(others))):
            if begun[i].cancel():
                own[i] = others[i]()
        return found, [own[i] if i in own else begun[i].result() for i in range(len(others))]
    finally:
        for each in begun:  # none goes on: what they work on may be freed
            _ = each.cancel() or each.exception()


@contextmanager
def helped() -> Iterator[ThreadPoolExecutor | None]:
    """Meanwhile ``shared`` has a second thread: each computes with half of torch's threads; with one thread alone, nothing.

    Yields:
        That thread, which does what it is given in turn; None if there is none.
    """
    global _helper
    if side_by_side() < 2 or _helper is not None:
        yield _helper
        return
    threads = torch.get_num_threads()
    each = max(1, threads // 2)
    with worker("helper", each) as _helper:
        torch.set_num_threads(each)
        try:
            yield _helper
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
