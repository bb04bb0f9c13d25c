"""Inputs by the bytes that were read: a file that changes between being hashed and being read is found out.

Its digest is taken before it is read. When all are read the system is asked whether it is still the file that it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import DataError
from training.files import sha256_file


class Inputs:
    """Files that are about to be read, by name. ``add`` each before it is read, ``described`` when all are."""

    def __init__(self, paths: Mapping[str, str | Path] | None = None) -> None:
        self._found: dict[str, tuple[str, os.stat_result, str]] = {}
        for name, path in (paths or {}).items():
            self.add(name, path)

    def add(self, name: str, path: str | Path) -> str:
        """Take the digest of a file, which is returned; "" for what is no plain file: who reads it says what is wrong."""
        if not Path(path).is_file():
            return ""
        seen = os.stat(path)  # first: a change while it is hashed is one, too
        self._found[name] = str(path), seen, sha256_file(path)
        return self._found[name][2]

    def described(self) -> dict[str, dict[str, Any]]:
        """Place, digest and size of each, for the manifest. DataError for one that has changed since it was added."""
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
            raise DataError(f"{path}: expected a file that stays as it is while it is read, got a change; try again")
        return {"path": path, "sha256": digest, "bytes": before.st_size}


class DescribedInputs(Inputs):
    """What another process has read: ``described`` gives what it found."""

    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self._described = described

    def described(self) -> dict[str, dict[str, Any]]:
        """Place, digest and size of each."""
        return self._described


def _written(found: os.stat_result) -> tuple[int, ...]:
    """What changes with each write to a file, or where another file takes its place."""
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
