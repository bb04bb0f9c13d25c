"""One process at a time works on a run: two that resumed it would write into each other's files.

The lock is the kernel's (flock), on a file in the run's folder. It ends with the process that holds it, however that ends:
there is no stale one to remove. A process that is forked, as workers are that load data, lets go of it: it would
hold it for seconds after its parent was killed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from training.errors import CheckpointError
from training.files import inside

FILE = ".lock"
_held: set[RunLock] = set()


class RunLock:
    """Holds the run's folder from when it is made until ``release``; CheckpointError where another process holds it."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(inside(folder, FILE), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise CheckpointError(_taken(folder)) from None
        except OSError:
            self.release()  # a file system without locks is an error of the disk
            raise
        _held.add(self)

    def release(self) -> None:
        """Let others have it; in a forked process there is nothing to let go."""
        _held.discard(self)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _let_go() -> None:
    """In a forked process: close its copies. The lock stays with its parent."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_let_go)


def check_free(folder: Path) -> None:
    """CheckpointError where a process is working on the run; the lock is not taken, and nothing is written."""
    if is_held(folder):  # where that cannot be told, who writes will find out
        raise CheckpointError(_taken(folder))


def is_held(folder: Path) -> bool | None:
    """Whether a process is working on the run; None where nothing tells (no permission, a file system without locks)."""
    try:
        descriptor = os.open(inside(folder, FILE), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _taken(folder: Path) -> str:
    return f"{folder}: another process is working on this run; let it finish, or stop it (fuser {folder / FILE} names it)"
