"""Beside other programs that need the cores, OpenMP's threads sleep at once where they wait.

How long libgomp's threads spin before they sleep is read once, when it is loaded (openmp.py). What is best depends on what
else runs: on a quiet machine, spin until the next operation; beside a busy neighbor, hardly at all, for the thread that all
others wait for may be the one that has no core. So a thread of Python looks every half second what others use, and switches.

libgomp itself spins 100 times at most while it manages more threads than there are cores. A team of idle threads makes that
so, and to end it undoes it. The team computes nothing, and no other team has more or fewer threads for it: no bit changes.

Source: the manual of libgomp, GOMP_SPINCOUNT ("if there are more managed threads than available CPUs"); its source, team.c.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from training import openmp
from training.determinism.threads import try_threads
from training.errors import ConfigError

FIRST, INTERVAL = 0.1, 0.5  # seconds until the first look, and between later ones; the kernel counts in ticks of 1 to 10 ms
MARGIN = 0.25  # cores: what a machine does beside, and the error of counting by ticks
CALM = 2  # so many quiet looks in a row let threads spin again

_watched = False


@contextmanager
def considerate(threads: int, root: Path = Path("/")) -> Iterator[None]:
    """Meanwhile ``threads`` threads that compute sleep sooner where they wait, whenever other programs need their cores.

    Inside another one it does nothing; nor with one thread, without libgomp, where the user said how threads wait, or where
    the system does not say what others do.

    Args:
        threads: how many threads torch computes with.
        root: the folder that ``proc`` is in.
    """
    global _watched
    if _watched or threads < 2 or openmp.users_own() or openmp.busy_seconds(root) is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(threads, root, ended), name="considerate", daemon=True)
    with suppress(RuntimeError):  # where the system gives no more threads
        thread.start()
        _watched = True
    try:
        yield
    finally:
        ended.set()
        if _watched:
            thread.join()
        _watched = False


def _forget() -> None:
    global _watched
    _watched = False


os.register_at_fork(after_in_child=_forget)  # a child has no threads but the one that forked


def _watch(threads: int, root: Path, ended: threading.Event) -> None:
    """Look what others use until ``ended``, and have OpenMP's threads wait accordingly.

    Until the first look they sleep soon: much of a short run on a busy machine would be lost, and little on a quiet one.
    """
    short, calm, wait = ShortSpins(threads), CALM - 1, FIRST
    try:
        before = _Look.now(root)
        short.put(True)
        while not ended.wait(wait):
            look, wait = _Look.now(root), INTERVAL
            if before is not None and look is not None:
                crowded = needed(threads, look.others_since(before), openmp.affine_cores())
                calm = 0 if crowded else calm + 1
                if crowded or calm == CALM:
                    short.put(crowded)
            before = look
    finally:
        short.put(False)


def needed(threads: int, others: float, cores: int) -> bool:
    """Whether others, who use so many of these cores, need some of those that ``threads`` threads compute on."""
    return threads + others > cores + MARGIN


class _Look(NamedTuple):
    """What was used up to a moment, in seconds of processor time."""

    when: float  # the moment, in seconds
    all_used: float  # by all programs, on the cores of the mask
    own: float  # by this process

    @classmethod
    def now(cls, root: Path) -> _Look | None:
        """None where the system does not say."""
        used = openmp.busy_seconds(root)
        return None if used is None else cls(time.perf_counter(), used, time.process_time())

    def others_since(self, before: _Look) -> float:
        """How many cores others used since then."""
        return (self.all_used - before.all_used - (self.own - before.own)) / max(1e-9, self.when - before.when)


class ShortSpins:
    """libgomp's threads spin 100 times at most where they wait, while ``put(True)`` was said last.

    Args:
        threads: how many threads torch computes with.
    """

    def __init__(self, threads: int) -> None:
        self.idle = max(2, openmp.affine_cores() - threads + 2)  # with those that compute, more than there are cores
        self.team: tuple[threading.Thread, threading.Event] | None = None  # idle, until it is told to end

    def put(self, short: bool) -> None:
        """Does nothing where it is so already, without libgomp, or where the system gives no more threads."""
        if short and self.team is None:
            self.team = self._begin()
        elif not short and self.team is not None:
            thread, ended = self.team
            ended.set()
            thread.join()
            self.team = None

    def _begin(self) -> tuple[threading.Thread, threading.Event] | None:
        library = libgomp()
        if library is None:
            return None
        ended = threading.Event()
        thread = threading.Thread(target=_idle, args=(library, self.idle, ended), name="idle team", daemon=True)
        try:
            try_threads(self.idle)  # libgomp ends the process if it cannot have its threads
            thread.start()
        except (ConfigError, RuntimeError):
            return None
        return thread, ended


def _idle(library: ctypes.CDLL, threads: int, ended: threading.Event) -> None:
    """Make a team of so many threads, which ends with this thread."""
    library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    work = ctypes.cast(library.omp_get_level, ctypes.c_void_p)  # something for them to do: it changes nothing
    library.GOMP_parallel(work, None, threads, 0)
    ended.wait()


@functools.cache
def libgomp() -> ctypes.CDLL | None:
    """torch's libgomp; None where it computes with another OpenMP, or with none."""
    folder = os.path.realpath(Path(torch.__file__).parent)
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    files = {"/" + line.partition("/")[2] for line in maps if "libgomp" in line}
    own = sorted(files, key=lambda file: (not os.path.realpath(file).startswith(folder), file))
    return ctypes.CDLL(own[0]) if own else None
