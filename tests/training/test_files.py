"""Files are whole or not there, whatever fails on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from training import files
from training.errors import DataError


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


OUTSIDE = ("/etc/passwd", "/", "..", "../a", "a/../../b", "a/..", ".", "./a", "", "a//b", "a/")
ODD = ("a\x00b", "a\nb", "a\x1b", "\ud800", "a" * 5000, "é" * 130)


@pytest.mark.parametrize("name", OUTSIDE + ODD)
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected the name of something in") as refused:
        files.inside(tmp_path, name, "manifest.json")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a", "a.ckpt", "sub/a", "a b", "é", "back\\slash", "..a", "a..", "\udce9"])
def test_other_names_are_those_of_what_stands_in_the_folder(tmp_path: Path, name: str) -> None:
    assert files.inside(tmp_path, name) == tmp_path / name
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with files.open_inside(tmp_path, name, "a") as stream:
        stream.write("é\r\n")
    assert (tmp_path / name).read_bytes() == "é\r\n".encode()
    with files.open_inside(tmp_path, name) as stream:
        assert stream.readlines() == ["é\r\n"]


def test_links_pipes_and_devices_are_no_files_of_a_folder(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "file").write_text("kept")
    (folder / "link").symlink_to(other / "file")
    (folder / "dangling").symlink_to(other / "new")
    (folder / "way").symlink_to(other)
    os.mkfifo(folder / "pipe")
    for name in ("link", "dangling", "way", "way/file", "pipe"):
        for mode in ("r", "a", "wb"):
            with pytest.raises(
                DataError, match=r"expected a regular file or a folder, got (a link|a device, a pipe or a socket)"
            ):
                files.open_inside(folder, name, mode)
    assert (other / "file").read_text() == "kept"
    assert not (other / "new").exists()


def test_a_temporary_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / f".a.{os.getpid()}.part").symlink_to(other)
    files.atomic_write(tmp_path / "a", "new")
    assert (other.read_text(), (tmp_path / "a").read_text()) == ("kept", "new")
