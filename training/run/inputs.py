"""Inputs by the bytes that were read: a file that changes between being hashed and being read is found out.

Its digest is taken before it is read. When all are read the system is asked whether it is still the file that it was.
What has no bytes to come back to (standard input, a pipe, a device) is refused: no resume and no repetition could read it.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.errors import DataError
from training.files import sha256_file


def check_no_stream(path: str | Path) -> None:
    """DataError for what can be read only once: "-", which readers take for standard input, a pipe, a device, a socket."""
    got = "standard input"
    if str(path) != "-":
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return  # who reads it says what is wrong
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            return
        got = "a pipe, a device or a socket"
    raise DataError(f"{path}: expected a file, which can be read again, got {got}; write it to a file first")


def check_paths(config: TrainConfig) -> None:
    """``check_no_stream`` for the paths in the settings of a new run: said before there is a folder for it, or its group."""
    for item in dataclasses.fields(config):
        words, value = item.metadata.get("no_path"), getattr(config, item.name)
        if words is not None:
            for path in value if isinstance(value, tuple) else (value,):
                if path not in ("", *words):
                    check_no_stream(path)


class Inputs:
    """Files that are about to be read, by name. ``add`` each before it is read, ``described`` when all are."""

    def __init__(self, paths: Mapping[str, str | Path] | None = None) -> None:
        self._found: dict[str, tuple[str, os.stat_result, str]] = {}
        self._missing: list[str | Path] = []
        for name, path in (paths or {}).items():
            self.add(name, path)

    def add(self, name: str, path: str | Path) -> str:
        """Take the digest of a file, which is returned; "" where there is none: who reads it says so, if it has to be there.

        DataError for what is there and is no file, since the run's manifest could not say what was read.
        """
        check_no_stream(path)
        if Path(path).is_dir():
            raise DataError(f"{path}: expected a file, got a folder; name the files in it")
        if not Path(path).is_file():
            self._missing.append(path)
            return ""
        seen = os.stat(path)  # first: a change while it is hashed is one, too
        self._found[name] = str(path), seen, sha256_file(path)
        return self._found[name][2]

    def described(self) -> dict[str, dict[str, Any]]:
        """Place, digest and size of each, for the manifest. DataError for one that has changed or come since."""
        for path in self._missing:
            if Path(path).exists():
                raise _changed(path)
        return {name: self._entry(*found) for name, found in self._found.items()}

    @staticmethod
    def _entry(path: str, before: os.stat_result, digest: str) -> dict[str, Any]:
        try:
            now = os.stat(path)
            changed = _written(now) != _written(before)
            if not changed and now.st_ctime_ns != before.st_ctime_ns:  # its rights or links, or its times were put back
                changed = sha256_file(path) != digest
        except OSError:
            changed = True
        if changed:
            raise _changed(path)
        return {"path": path, "sha256": digest, "bytes": before.st_size}


class DescribedInputs(Inputs):
    """What another process has read: ``described`` gives what it found."""

    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self._described = described

    def described(self) -> dict[str, dict[str, Any]]:
        """Place, digest and size of each."""
        return self._described


def _changed(path: str | Path) -> DataError:
    return DataError(f"{path}: expected a file that stays as it is while it is read, got a change; try again")


def _written(found: os.stat_result) -> tuple[int, ...]:
    """What changes with each write to a file, or where another file takes its place."""
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
