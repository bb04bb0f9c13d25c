"""The DataLoader that stands behind a user's: where batches come from that are asked for by requests.

The user's DataLoader is not touched: one of our own has its settings, and a sampler that hands on our requests. It lives as
long as the fit, so that workers that persist do; the others end with the epoch.
"""

from __future__ import annotations

import atexit
import functools
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from training.data.workers import Start
from training.generators import key_of

_with_workers: weakref.WeakSet[Reader] = weakref.WeakSet()


class Reader:
    """Reads from a DataLoader of our own with the settings of a user's.

    Args:
        loader: the user's DataLoader.
        dataset: what our own loads from.
        seed: the run's.
        purpose: what the loader is for, a key of its random numbers.
        named: further arguments of our own DataLoader.
    """

    def __init__(self, loader: DataLoader[Any], dataset: Any, seed: int, purpose: str, **named: Any) -> None:
        self._given, self.dataset, self._named = loader, dataset, named
        self._seed, self._purpose = seed, f"{purpose}/workers"
        self._loader: _Loader | None = None
        self._iterator: Any = None
        self._process = os.getpid()

    @property
    def workers(self) -> int:
        """How many worker processes the loader has."""
        return self._given.num_workers

    def open(self, epoch: int, again: int) -> Any:
        """Begin to read; returns the iterator of the batches."""
        self.stop()
        if self._loader is None:
            self._loader, self._process = self._made(), os.getpid()
        # Of this the workers' seeds are drawn, for a worker_init_fn that asks for them.
        self._loader.generator.manual_seed(key_of(self._seed, self._purpose, epoch, again))
        if self.workers:
            _close_at_exit(self)
        self._iterator = iter(self._loader)
        return self._iterator

    def stop(self) -> None:
        """End the reading of an epoch. Workers that persist stay."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None and not self._given.persistent_workers:
            end_workers(iterator)

    def close(self) -> None:
        """End the reading, and all workers."""
        iterator, self._iterator = self._iterator, None
        loader, self._loader = self._loader, None
        if os.getpid() == self._process:  # a forked process must not end its parent's workers
            end_workers(iterator)
            end_workers(loader._iterator if loader is not None else None)

    def _made(self) -> _Loader:
        given = self._given
        return _Loader(
            self.dataset,
            num_workers=given.num_workers,
            pin_memory=given.pin_memory,
            pin_memory_device=given.pin_memory_device,
            timeout=given.timeout,
            worker_init_fn=Start(given.worker_init_fn) if given.num_workers else None,
            multiprocessing_context=given.multiprocessing_context,
            prefetch_factor=given.prefetch_factor,
            persistent_workers=given.persistent_workers,
            generator=torch.Generator(),
            **self._named,
        )


class _Loader(DataLoader[Any]):
    """Our own. That there are more workers than processors was said of the user's already."""

    def check_worker_number_rationality(self) -> None:
        pass


class Feed:
    """The sampler of our own DataLoader: hands on the requests that it is given."""

    def __init__(self) -> None:
        self.requests: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self.requests


@contextmanager
def one_thread() -> Iterator[None]:
    """Load in this process as a worker does: with one thread, which may decide how a sum is rounded."""
    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads != 1:
            torch.set_num_threads(threads)


def end_workers(iterator: Any) -> None:
    """End the workers behind a DataLoader's iterator, if it has any; those that do not listen are killed."""
    workers = getattr(iterator, "_workers", None)
    if workers is None:
        return
    iterator._shutdown_workers()
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join()


def _close_at_exit(reader: Reader) -> None:
    """Before multiprocessing waits for the workers: they ignore the signal that it sends."""
    if reader not in _with_workers:
        _with_workers.add(reader)
        _register()


@functools.cache
def _register() -> None:
    atexit.register(_close_all)


def _close_all() -> None:
    for reader in list(_with_workers):
        reader.close()
