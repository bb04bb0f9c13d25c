"""Files are whole or not there, whatever fails on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from training import files


@pytest.fixture
def hook() -> Iterator[None]:
    yield
    files.fault_hook = None


@pytest.mark.parametrize("point", ["write:a.txt", "fsync:a.txt", "rename:a.txt"])
def test_a_fault_before_the_rename_leaves_the_old_file(tmp_path: Path, point: str, hook: None) -> None:
    path = tmp_path / "a.txt"
    files.atomic_write(path, "old")

    def fail(name: str) -> None:
        if name == point:
            raise OSError("no space left")

    files.fault_hook = fail
    with pytest.raises(OSError, match="no space"):
        files.atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_fault_after_the_rename_leaves_the_new_file(tmp_path: Path, hook: None) -> None:
    path = tmp_path / "a.txt"
    files.atomic_write(path, "old")

    def fail(name: str) -> None:
        if name == "renamed:a.txt":
            raise OSError("power is gone")

    files.fault_hook = fail
    with pytest.raises(OSError, match="power"):
        files.atomic_write(path, b"new")
    assert path.read_bytes() == b"new"


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "a", "é\nж\n")
    assert (tmp_path / "a").read_bytes() == "é\nж\n".encode()


def test_sha256_of_a_file(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
