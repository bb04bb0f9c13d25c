"""The errors that the library raises on purpose. Each message is one line: expected, got, where, what to do."""

from __future__ import annotations

import errno
import pickle
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.visible import one_line


class SamebitsError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with.

    Its text is one line of bounded length, whatever names and values came into it.
    """

    exit_code = 1
    run = ""
    """The folder of the run that can go on once what was wrong is mended; "" where there is none."""
    kind = ""
    """The kind of that run, as its manifest names it."""
    go_on = ""
    """The command that goes on with it, from the command line."""
    silent = False
    """Whether another process of the run says it."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(SamebitsError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another."""

    exit_code = 2


class DataError(SamebitsError):
    """An input file is missing, damaged or not of the form that was expected."""

    exit_code = 2


class CheckpointError(SamebitsError):
    """A checkpoint or a run folder cannot be used."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no file of this name."""


class NonFiniteError(SamebitsError):
    """A loss or a gradient is NaN or infinite (see training/loop/nonfinite.py)."""

    batch: Any = None
    """The batch that it came up in."""
    ids: Any = None
    """The task's ``batch_ids`` of it."""
    path: Path | None = None
    """The file that keeps the batch and the weights that it met."""


class ReproducibilityError(SamebitsError):
    """A promise of equal bits cannot be kept, or was not."""


class Preempted(SamebitsError, SystemExit):
    """The run was stopped by a signal or its time limit, with an exact checkpoint on disk.

    A program that does not catch it ends with this exit code, without a traceback.
    """

    code = exit_code = 75


class DiskError(CheckpointError):
    """The disk refused a read or a write: it is full, damaged, or the file is not to be had."""


class OutOfMemory(SamebitsError):
    """There was not enough memory for what was asked."""


class StreamError(SamebitsError):
    """Standard output cannot be written."""


_NO_MEMORY = re.compile(
    "(can't|cannot|unable to) allocate|not enough memory|out of memory|bad_alloc|start new thread"
    "|could not create a (memory|primitive(?! desc))",
    re.IGNORECASE,
)
_ASKED = re.compile(r"allocate ([0-9.]+) (bytes|[KMGTPE]i?B)")
_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EROFS: "give a place that can be written",
    errno.EACCES: "give a place that may be used",
    errno.EPERM: "give a place that may be used",
    errno.EIO: "mend the disk",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy, torch or the system says that there was not enough memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))


def known(error: BaseException) -> SamebitsError | None:
    """What an error of the system says, as one of ours; None for any other, and for a broken connection."""
    if is_out_of_memory(error):
        asked = _ASKED.search(str(error))
        more = f": {_size(asked[1], asked[2])} more were asked for" if asked else ""
        return OutOfMemory(f"not enough memory{more}; make the work smaller (its batches or files), or give it more memory")
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | SamebitsError):
        return None  # a connection is no disk: a user's data may come from a network, and a killed worker breaks one
    name = error.filename if isinstance(error.filename, str) else ""
    said = error.strerror or str(error) or type(error).__name__
    remedy = f"; {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else ""
    return DiskError(f"{name}: {said}{remedy}" if name else f"{said}{remedy}")


@contextmanager
def as_ours() -> Iterator[None]:
    """Errors of the system that come out of the body become our own."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        ours = known(error)
        if ours is None:
            raise
        raise ours from error


def portable(error: Exception, rank: int, world: int) -> Exception:
    """``error``, to be raised in all of ``world`` processes: with its place in process ``rank``, and as pickle takes it."""
    if world == 1:
        return error
    if not isinstance(error, SamebitsError) and not getattr(error, "__notes__", None):
        lines = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error.__notes__ = [f"in process {rank}:\n{lines}"]  # type: ignore[attr-defined]
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # as of a class whose __init__ takes other arguments
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _size(number: str, unit: str) -> str:
    return f"{float(number) / 1e9:.3g} GB" if unit == "bytes" else f"{number} {unit}"
