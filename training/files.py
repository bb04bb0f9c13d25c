"""Files that are either whole or not there, and their digests; names that stay inside the folder they belong to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar

from training.errors import ConfigError, DataError
from training.leftovers import held, part_of, sweep
from training.visible import encodable, shortened

Made = TypeVar("Made")

# Tests put a function here that raises or kills the process at a named point ("write:config.json", "fsync:…",
# "rename:…"); None in use. The points are what a crash can interrupt.
fault_hook: Callable[[str], None] | None = None


def fault_point(name: str) -> None:
    """Tell the fault hook, where a test has set one, that the named point is reached."""
    if fault_hook is not None:
        fault_hook(name)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all: yields a temporary path beside it, then fsync, rename, fsync of the folder.

    Leaves the old file and no temporary one behind if the body raises; those of killed processes are deleted.
    """
    target = Path(path)
    temporary = part_of(target)
    sweep(target.parent)
    temporary.unlink(missing_ok=True)  # in a foreign folder it may be a link that was put there to be written through
    try:
        fault_point(f"write:{target.name}")
        temporary.touch(exist_ok=False)
        with held(temporary):
            yield temporary
        fault_point(f"fsync:{target.name}")
        sync(temporary)
        fault_point(f"rename:{target.name}")
        os.replace(temporary, target)
        fault_point(f"renamed:{target.name}")
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Replace ``path`` with ``content`` (text as UTF-8 with \\n line ends), whole or not at all.

    What UTF-8 cannot hold, as a path's name may have it, is written escaped.
    """
    data = encodable(content).encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_link(source: Path, target: Path, *, symbolic: bool) -> None:
    """Make ``target`` another name of ``source``: a relative symbolic link, or a hard link. What was there is replaced."""
    temporary = part_of(target)
    temporary.unlink(missing_ok=True)
    try:
        fault_point(f"link:{target.name}")
        if symbolic:
            os.symlink(os.path.relpath(source, target.parent), temporary)
        else:
            os.link(source, temporary)
        os.replace(temporary, target)
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)  # where both were the same file already, it is left


def cut(path: Path, size: int) -> None:
    """Cut a file to ``size``. One that has another name as well, as a copy made of hard links has, is copied first."""
    if path.stat().st_nlink > 1:
        with atomic_path(path) as temporary:
            shutil.copyfile(path, temporary)
    if path.stat().st_size > size:
        os.truncate(path, size)


LONGEST = 255  # bytes in a file's name
LARGEST_JSON = 1 << 26  # bytes of settings, a manifest, a summary, a line of a log
HOLLOW = 1 << 26  # bytes from which on a file is looked at for holes

# -- inside a folder --------------------------------------------------------------------------------------------------


def is_inside(name: Any) -> bool:
    """Whether ``name`` is a plain one, or several with slashes between; not what leads out of a folder or is no name."""
    if not isinstance(name, str) or any(part in ("", ".", "..") for part in name.split("/")):
        return False
    try:
        long = any(len(os.fsencode(part)) > LONGEST for part in name.split("/"))
    except UnicodeEncodeError:
        return False
    return not long and all(character >= " " and character != "\x7f" for character in name)


def inside(folder: str | Path, name: str, where: str = "", largest: int | None = None) -> Path:
    """``folder/name``, where whoever made the folder may have chosen the name, or what stands there.

    DataError for a name that leads out of the folder, and where there is a link, a device, a pipe or a socket on the way, a
    file that is nearly all holes, or one of more than ``largest`` bytes. ``where`` says in which file the name stands.
    """
    path = Path(folder)
    if not is_inside(name):
        got = f"{shortened(str(name), 80)!r}: a forged or damaged file"
        raise DataError(f"{where or path}: expected the name of something in {path}, got {got}")
    for part in name.split("/"):
        path = path / part
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{where or folder}: expected a name, got {shortened(name, 80)!r} ({error.strerror})") from None
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            got = "a link" if stat.S_ISLNK(status.st_mode) else "a device, a pipe or a socket"
            raise DataError(f"{path}: expected a regular file or a folder, got {got}; put a copy of its target there")
        _check_size(path, status, largest)
    return path


def _check_size(path: str | Path, status: os.stat_result, largest: int | None) -> None:
    """DataError for a file that takes no room on the disk, or little, and all the memory and time to read that there is."""
    if not stat.S_ISREG(status.st_mode):
        return
    if largest is not None and status.st_size > largest:
        raise DataError(f"{path}: expected at most {largest:,} bytes, got {status.st_size:,}: a forged or damaged file")
    if _is_hollow(path, status):
        raise DataError(f"{path}: expected {status.st_size:,} bytes of data, got holes: a forged or damaged file")


def _is_hollow(path: str | Path, status: os.stat_result) -> bool:
    """Whether a large file is nearly all holes: bytes that were never written, and are read as zeros.

    A file system that compresses may use as little room for data: it knows where there are holes.
    """
    if status.st_size < HOLLOW or 16 * 512 * status.st_blocks > status.st_size:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False  # whoever reads it hears of that
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < status.st_size
    except OSError:
        return True  # none of the file systems that files are kept in
    finally:
        os.close(descriptor)


def open_inside(
    folder: str | Path, name: str, mode: str = "r", errors: str = "strict", largest: int | None = None
) -> IO[Any]:
    """``open(inside(folder, name), mode)``, in UTF-8 where it is text; a link is not followed, a pipe not waited for."""

    def without_links(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)

    path = inside(folder, name, largest=largest)
    text: dict[str, str] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n", "errors": errors}
    return open(path, mode, opener=without_links, **text)  # type: ignore[call-overload, no-any-return]


# -- JSON -------------------------------------------------------------------------------------------------------------


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, as json's ``object_pairs_hook``. ValueError for a key that stands there twice: which value holds?"""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"JSON with the key {shortened(json.dumps(twice), 60)} twice in an object; leave one out")
    return values


def parse_json(text: str) -> Any:
    """The value of a JSON text. ValueError for any text that is none, also one nested too deep or with a key twice."""
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None


def read_json(folder: str | Path, name: str) -> Any:
    """The value in a JSON file of a folder that somebody else may have made.

    DataError as of ``inside``, OSError where it cannot be read, ValueError where it is no JSON.
    """
    with open_inside(folder, name, largest=LARGEST_JSON) as stream:
        return parse_json(stream.read())


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add a line of JSON. A kill may leave a part of it: who reads such a file goes by the line ends."""
    with open_inside(path.parent, path.name, "a") as stream:
        fault_point(f"append:{path.name}")
        stream.write(json.dumps(values) + "\n")
    fault_point(f"appended:{path.name}")


def atomic_folder(written: Path, target: Path) -> None:
    """Give a folder that is whole its name; OSError where that is taken by one with files in it."""
    fault_point(f"rename:{target.name}")
    sync(written)
    os.replace(written, target)
    sync(target.parent)


@contextmanager
def folder_to_be(target: Path) -> Iterator[Path]:
    """A folder to write into. It becomes ``target`` when the body is done; where that fails, it is gone."""
    sweep(target.parent)
    part = part_of(target)
    try:
        part.mkdir()
        with held(part):
            yield part
            atomic_folder(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def versions(folder: Path, name: str = "version") -> dict[int, Path]:
    """What is called ``NAME_N`` in ``folder``, by N, the highest first."""
    found = {int(p.name[len(name) + 1 :]): p for p in folder.glob(f"{name}_*") if p.name[len(name) + 1 :].isdecimal()}
    return dict(sorted(found.items(), reverse=True))


def next_version(folder: Path, name: str = "version") -> Path:
    """``folder/NAME_N`` with N one above the highest there."""
    return folder / f"{name}_{next(iter(versions(folder, name)), -1) + 1}"


def with_next_number(folder: Path, name: str, make: Callable[[Path], Made]) -> Made:
    """What ``make`` makes at ``next_version``; at the one after it, if another process has taken that name meanwhile."""
    while True:
        path = next_version(folder, name)
        try:
            return make(path)
        except ConfigError:
            if next_version(folder, name) == path:
                raise


def remove_partial(folder: Path) -> None:
    """Delete what a killed process left half-written in ``folder`` itself: temporary files end in ``.part``."""
    for path in folder.glob("*.part"):
        if path.is_symlink() or path.is_file():
            path.unlink()


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def packaged(package: str, name: str) -> str:
    """The text of a file that a package has as its data, as a page's style."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex. DataError for what is no file, or nearly all holes: it would have no end."""
    with _open_file(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _chunks(stream)


def read_small(path: str | Path) -> str:
    """The text, in UTF-8, of a file that is read without being asked for. DataError for what is none, or no small one.

    OSError where it cannot be read, ValueError where it is no UTF-8.
    """
    with _open_file(path, LARGEST_JSON) as stream:
        return stream.read().decode()


def _open_file(path: str | Path, largest: int | None = None) -> IO[bytes]:
    """A file to be read, which a link may lead to; what has no end is not waited for."""
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    try:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: expected a file, got a device, a pipe or a socket")
        _check_size(path, status, largest)
    except BaseException:
        stream.close()
        raise
    return stream


def _chunks(stream: object) -> str:
    """hashlib.file_digest for Python 3.10."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):  # type: ignore[attr-defined]
        digest.update(block)
    return digest.hexdigest()


def exists_already(option: str, target: str | Path) -> ConfigError:
    """The error for the name of what is to be written, where something has it: a file, a folder, a link, a device."""
    return ConfigError(f"{option}: {target} exists already; give another name, or move that one away")


def check_new(option: str, target: str | Path) -> None:
    """ConfigError where ``target`` is there already: no command replaces anything that it was not told to replace."""
    if os.path.lexists(target):
        raise exists_already(option, target)


def check_new_file(option: str, target: str | Path) -> None:
    """``check_new``, and ConfigError where there is no folder to put the file into: said before the work is done."""
    check_new(option, target)
    if not Path(target).absolute().parent.is_dir():
        raise ConfigError(f"{option}: {target} cannot be written: expected a name in a folder that is there")
