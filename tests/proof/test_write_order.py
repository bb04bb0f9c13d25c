"""In what order a checkpoint and a manifest reach the disk, read off the calls: by Python's own, and by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training import checkpoint
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.run.folder import Run

ROOT = Path(__file__).resolve().parents[2]
CONTENT = {"weights": {"a": torch.zeros(100)}}
# What must happen when a second checkpoint is saved. ".x" is the temporary file that becomes x.
CHECKPOINT = [
    "write .resume-000002.ckpt",
    "write .resume-000002.ckpt.sha256",
    "fsync .resume-000002.ckpt.sha256",
    "rename .resume-000002.ckpt.sha256 resume-000002.ckpt.sha256",
    "fsync checkpoints",
    "fsync .resume-000002.ckpt",
    "rename .resume-000002.ckpt resume-000002.ckpt",
    "fsync checkpoints",
    "read resume-000002.ckpt",  # the digest is verified before the older one goes
    "unlink resume-000001.ckpt",
    "unlink resume-000001.ckpt.sha256",
]
MANIFEST = ["write .manifest.json", "fsync .manifest.json", "rename .manifest.json manifest.json", "fsync run"]


def short(path: Any) -> str:
    """The file's name, without process numbers."""
    return re.sub(r"\.\d+\.part$", "", os.path.basename(str(path)))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that write, sync, rename, read back and delete, as they are made."""
    made: list[str] = []

    def record(owner: Any, name: str, told: Any) -> None:
        real = getattr(owner, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            made.append(told(*arguments))
            return result

        monkeypatch.setattr(owner, name, wrapper)

    record(torch, "save", lambda value, path: f"write {short(path)}")
    record(Path, "write_bytes", lambda path, data: f"write {short(path)}")
    record(os, "fsync", lambda number: f"fsync {short(os.readlink(f'/proc/self/fd/{number}'))}")
    record(os, "replace", lambda old, new: f"rename {short(old)} {short(new)}")
    record(os, "unlink", lambda path: f"unlink {short(path)}")
    real = checkpoint.verify

    def verify(path: Path) -> str:
        made.append(f"read {short(path)}")
        return real(path)

    monkeypatch.setattr(checkpoint, "verify", verify)
    return made


def test_a_checkpoint_is_synced_renamed_synced_and_verified_before_the_older_one_goes(
    tmp_path: Path, calls: list[str]
) -> None:
    store = ResumeStore(tmp_path / "checkpoints")
    store.save(CONTENT)
    calls.clear()
    store.save(CONTENT)
    assert calls == CHECKPOINT


def test_a_manifest_is_synced_renamed_and_its_folder_synced(tmp_path: Path, calls: list[str]) -> None:
    run = Run.create("toy", TrainConfig(), path=str(tmp_path / "run"))
    assert calls[-3:] == ["fsync .run", "rename .run run", f"fsync {tmp_path.name}"]
    calls.clear()
    run.set_status("stopped")
    assert calls == MANIFEST


PROGRAM = """
import sys
from pathlib import Path
import torch
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.run.folder import Run
folder = Path(sys.argv[1])
store = ResumeStore(folder / "checkpoints")
store.save({"weights": {"a": torch.zeros(100)}})
run = Run.create("toy", TrainConfig(), path=str(folder / "run"))
(folder / "begin").touch()
store.save({"weights": {"a": torch.zeros(100)}})
run.set_status("stopped")
"""


def system_calls(text: str, folder: Path) -> list[str]:
    """strace's lines about files in ``folder``, after the file "begin" was made; a run of writes to one file as one."""
    found: list[str] = []
    for line in text.partition("/begin")[2].splitlines()[1:]:
        if re.search(r" = -1 |resumed>|unfinished", line) or str(folder) not in line:
            continue
        name, paths = re.sub(r"^\d+ +", "", line).split("(")[0], re.findall(rf"[<\"]({re.escape(str(folder))}[^>\"]*)", line)
        operation = {"pwrite64": "write", "writev": "write", "unlinkat": "unlink", "renameat2": "rename"}.get(name, name)
        if operation == "openat":
            if "O_RDONLY" not in line or paths[-1].endswith((".part", "/run", "checkpoints")):
                continue
            operation = "read"
            if paths[-1].endswith(".sha256"):
                continue
        event = f"{operation} {' '.join(short(path) for path in paths[: 2 if operation == 'rename' else 1])}"
        if not found or found[-1] != event:
            found.append(event)
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_kernel_sees_the_same_order(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    allowed = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    if allowed.returncode != 0:
        pytest.skip("strace may not trace here")
    (tmp_path / "files").mkdir()
    wanted = "trace=openat,write,pwrite64,writev,fsync,rename,renameat2,unlink,unlinkat"
    done = subprocess.run(
        ["strace", "-f", "-y", "-s", "0", "--seccomp-bpf", "-e", wanted, "-o", str(trace),
         sys.executable, "-c", PROGRAM, str(tmp_path / "files")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert system_calls(trace.read_text(), tmp_path / "files") == CHECKPOINT + MANIFEST
