"""Temporary files and folders, which those that see them later clean up where a kill has left them behind.

They are called ``.NAME.PID.part``, or are folders with a prefix of ours and a PID. Who works with one holds a lock on it
(the kernel's flock, which ends with the process): what nobody holds, of a process that does not live, is left over. The PID
alone would not do: processes on other machines, or in other containers, share the folder and not the numbers.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PART = re.compile(r"\..+\.([0-9]{1,10})\.part", re.DOTALL)
FOLDERS = (".reading-", "samebits-verify-", "samebits-ask-", "samebits-process-")
_FOLDER = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})([0-9]{{1,10}}-)?[a-z0-9_]{{8}}")


def part_of(target: Path) -> Path:
    """Where this process writes what is to become ``target``."""
    return target.with_name(f".{target.name}.{os.getpid()}.part")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep others from taking an existing file or folder for left over, as far as the file system has locks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A folder of one of FOLDERS in ``place`` (None: the system's), held while the body runs and then deleted."""
    assert prefix in FOLDERS
    beside = Path(tempfile.gettempdir()) if place is None else place
    sweep(beside)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", dir=beside) as name, held(Path(name)):
        yield Path(name)


def sweep(folder: Path) -> None:
    """Delete what killed processes of this user have left in ``folder`` itself. What cannot be deleted stays."""
    with suppress(OSError):
        for path in folder.iterdir():
            found = _PART.fullmatch(path.name) or _FOLDER.fullmatch(path.name)
            if found and not _lives(int((found[1] or "0").rstrip("-"))):
                with suppress(OSError):
                    _remove_unheld(path)


def _lives(process: int) -> bool:
    """Whether there is such a process here; 0 is where no PID is known."""
    try:
        if process:
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process > 0


def _remove_unheld(path: Path) -> None:
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != os.getuid() or not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
