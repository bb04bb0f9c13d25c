"""The checkpoint store: whole, verified, without pickled code; and what it says of files that are not."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from training import checkpoint, files
from training.checkpoint import ResumeStore
from training.errors import CheckpointError, ConfigError
from training.run import stored_weights

CONTENT = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3)},
    "progress": {"step": 3, "stage": "batch"},
    "list": [1, 2.5, None],
}


@pytest.fixture
def hook() -> Iterator[None]:
    yield
    files.fault_hook = None


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.ckpt"
    checkpoint.save(path, CONTENT)
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["weights"]["a"], CONTENT["weights"]["a"])  # type: ignore[index]
    assert loaded["progress"] == CONTENT["progress"]
    assert checkpoint.digest_path(path).read_text().strip() == files.sha256_file(path)


def damage(how: str, path: Path) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    elif how == "no digest":
        checkpoint.digest_path(path).unlink()
    elif how == "no values in it":  # as the archive has it, and the digest: what reads them raises an error without a text
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, b"" if name.endswith("data.pkl") else content)
        with_digest(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "damaged"),
        ("flipped", "damaged"),
        ("empty", "is empty"),
        ("missing", "no such checkpoint"),
        ("no digest", "expected its digest"),
        ("no values in it", r"not a samebits checkpoint \(EOFError\)"),
    ],
)
def test_damage_is_named(tmp_path: Path, how: str, message: str) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, CONTENT)
    damage(how, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def with_digest(path: Path) -> None:
    checkpoint.digest_path(path).write_text(files.sha256_file(path) + "\n")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"weights": {}}, path)
    with_digest(path)
    with pytest.raises(CheckpointError, match="not a samebits checkpoint"):
        checkpoint.load(path)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_hostile_file_runs_no_code(tmp_path: Path, form: str) -> None:
    path, target = tmp_path / "a.ckpt", tmp_path / "owned"
    if form == "torch":
        torch.save({"format": checkpoint.FORMAT, "x": Hostile(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(target)))
    with_digest(path)
    with pytest.raises(CheckpointError, match="not a samebits checkpoint"):
        checkpoint.load(path)
    assert not target.exists()


@pytest.mark.parametrize("form", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, "the same bytes twice"])
def test_a_packed_file_is_not_unpacked(tmp_path: Path, form: int | str) -> None:
    """A few kilobytes could become all the memory that there is."""
    checkpoint.save(tmp_path / "good.ckpt", {"weights": {"a": torch.zeros(1 << 20)}})
    path = tmp_path / "packed.ckpt"
    packing = 0 if isinstance(form, str) else form
    with zipfile.ZipFile(tmp_path / "good.ckpt") as good, zipfile.ZipFile(path, "w", packing) as to:
        for member in good.infolist():
            to.writestr(member.filename, good.read(member))
        if isinstance(form, str):
            to.filelist.append(to.filelist[-1])
            to.filelist.append(max(to.filelist, key=lambda member: member.file_size))
    checkpoint.digest_path(path).write_text(files.sha256_file(path) + "\n")
    tracemalloc.start()
    for read in (checkpoint.load, checkpoint.written_at, stored_weights.weights_sha256):
        with pytest.raises(CheckpointError, match=r"packed\.ckpt: not a samebits checkpoint"):
            read(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\['x'\]\[0\]: expected tensors, numbers, .* got object"):
        checkpoint.save(tmp_path / "a.ckpt", {"x": [object()]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, error: Exception, hook: None) -> None:
    store = ResumeStore(tmp_path)
    store.save(CONTENT)

    def fail(name: str) -> None:
        if name.startswith("fsync:resume"):
            raise error

    files.fault_hook = fail
    with pytest.raises(CheckpointError, match="could not be written") as caught:
        store.save(CONTENT)
    assert "\n" not in str(caught.value)
    files.fault_hook = None
    assert [p.name for p in store.paths()] == ["resume-000001.ckpt"]
    assert store.latest(print) is not None


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize(
    "point",
    [
        "write:resume-000002.ckpt", "write:resume-000002.ckpt.sha256", "fsync:resume-000002.ckpt.sha256",
        "rename:resume-000002.ckpt.sha256", "renamed:resume-000002.ckpt.sha256", "fsync:resume-000002.ckpt",
        "rename:resume-000002.ckpt", "renamed:resume-000002.ckpt", "verified:resume",
    ],
)  # fmt: skip
def test_a_kill_at_any_point_leaves_a_good_checkpoint(tmp_path: Path, point: str, hook: None) -> None:
    store = ResumeStore(tmp_path)
    store.save({**CONTENT, "n": 1})
    seen = []

    def kill(name: str) -> None:
        seen.append(name)
        if name == point:
            raise Killed

    files.fault_hook = kill
    with pytest.raises(Killed):
        store.save({**CONTENT, "n": 2})
    files.fault_hook = None
    assert point in seen
    found = ResumeStore(tmp_path).latest(lambda line: None)
    assert found is not None
    late = point in ("renamed:resume-000002.ckpt", "verified:resume")
    assert found[1]["n"] == (2 if late else 1)
    store.save({**CONTENT, "n": 3})
    assert store.latest(print)[1]["n"] == 3  # type: ignore[index]
    assert len(store.paths()) == 1


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "no digest", "no values in it"])
def test_the_last_good_one_is_used(tmp_path: Path, how: str) -> None:
    store = ResumeStore(tmp_path)
    store.save({**CONTENT, "n": 1})
    checkpoint.save(tmp_path / "resume-000002.ckpt", {**CONTENT, "n": 2})
    damage(how, tmp_path / "resume-000002.ckpt")
    told: list[str] = []
    found = store.latest(told.append)
    assert found is not None
    assert found[1]["n"] == 1
    assert "resume-000002.ckpt" in told[0]
    assert ResumeStore(tmp_path / "nowhere").latest(told.append) is None


def test_tidy_removes_what_a_kill_left_and_nothing_else(tmp_path: Path) -> None:
    store = ResumeStore(tmp_path)
    store.save(CONTENT)
    checkpoint.save(tmp_path / "best.ckpt", CONTENT)
    names = {path.name for path in tmp_path.iterdir()}
    (tmp_path / ".resume-000002.ckpt.77.part").write_bytes(b"half")
    (tmp_path / "resume-000002.ckpt.sha256").write_text("0")
    store.tidy()
    assert {path.name for path in tmp_path.iterdir()} == names
    store.forget_others()
    assert {path.name for path in tmp_path.iterdir()} == {"resume-000001.ckpt", "resume-000001.ckpt.sha256"}
