"""Every write, sync, rename and deletion of a run made to fail in turn: one clear line, nothing half-written, resumable."""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import cli
from tests.proof import trials
from training import files
from training.run.folder import read_manifest

NO_SPACE = OSError(28, "No space left on device")
# torch.save's own writer, in C++, reports a full disk so.
TORCH_FULL = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0\nframe #0: ...")

CHECKPOINTS = [f"{name}.ckpt{end}" for name in ("resume-N", "best", "last", "model") for end in ("", ".sha256")]
REPORTS = ["test_report.txt", "test_report.html", "predictions.conll"]
WHOLE = ["config.json", "manifest.json", "indexer.json", *REPORTS, *CHECKPOINTS]
GROWING = ["metrics.jsonl", "ledger.jsonl", "timings.jsonl"]
CALLS = [
    *(f"{call} {name}" for name in WHOLE for call in ("write", "fsync", "rename")),
    *(f"{call} {name}" for name in GROWING for call in ("append", "fsync")),
    *(f"fsync {name}" for name in ("events", "run", "checkpoints", "new run", "parent")),
    *("rename run", "unlink resume-N.ckpt", "unlink resume-N.ckpt.sha256"),
]
# Before the run's folder has its name there is nothing to resume: nothing is left, and the same command starts it.
BEFORE = {"write config.json", "fsync config.json", "rename config.json", "rename run", "fsync new run"}


def short(path: Any) -> str:
    """A file's name, or that of the file which it will be, without numbers."""
    name = re.sub(r"^\.(.*)\.\d+\.part$", r"\1", Path(str(path)).name)
    if name == "run" and str(path).endswith(".part"):
        return "new run"
    name = "events" if name.startswith("events.") else re.sub(r"best-.*?\.ckpt", "best.ckpt", name)
    return re.sub(r"-\d+", "-N", name)


class Disk:
    """Counts the calls on files below ``folder``, and lets the ``nth`` (from 1) of those called ``fails`` fail."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, fails: str = "", nth: int = 1) -> None:
        self.folder, self.fails, self.nth = folder, fails, nth
        self.made: list[str] = []
        self._wrap(patch, os, "fsync", lambda number: ("fsync", os.readlink(f"/proc/self/fd/{number}")))
        self._wrap(patch, os, "replace", lambda old, new: ("rename", new))
        self._wrap(patch, os, "unlink", lambda path: ("unlink", path))
        self._wrap(patch, Path, "write_bytes", lambda path, data: ("write", path))
        self._wrap(patch, torch, "save", lambda value, path: ("write", path), TORCH_FULL)
        patch.setattr(files, "open", self._open, raising=False)

    def _reach(self, operation: str, path: Any, error: Exception) -> None:
        if not Path(str(path)).is_relative_to(self.folder) or (operation == "unlink" and str(path).endswith(".part")):
            return
        name = f"{operation} {'parent' if Path(str(path)) == self.folder else short(path)}"
        self.made.append(name)
        if name == self.fails and self.made.count(name) == self.nth:
            raise error

    def _wrap(
        self, patch: pytest.MonkeyPatch, owner: Any, name: str, told: Callable[..., Any], error: Exception = NO_SPACE
    ) -> None:
        real = getattr(owner, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            if name == "save":
                real(*arguments, **named)  # the file is there, and not whole
            operation, path = told(*arguments)
            self._reach(operation, path, error)
            return None if name == "save" else real(*arguments, **named)

        patch.setattr(owner, name, wrapper)

    def _open(self, path: Any, mode: str = "r", **named: Any) -> Any:
        if mode == "a":
            self._reach("append", path, NO_SPACE)
        return builtins.open(path, mode, **named)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def start(inputs: Path, run: Path) -> Result:
    settings = "--vectors none --max-epochs 1 --hidden-size 6 --word-dim 6 --batch-size 8 --threads 1 --no-progress"
    return invoke("train-ner", "--data", inputs, "--run", run, *settings.split(), "--checkpoint-every", 1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    trials.small_inputs(folder, sentences=30, paragraphs=1)
    return folder


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The run that nothing happened to, and the calls it made."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(run.parent, patch)
        result = start(inputs, run)
    assert result.exit_code == 0, result.output
    return run, disk.made


def test_the_list_of_calls_is_complete(whole: tuple[Path, list[str]]) -> None:
    assert set(whole[1]) == set(CALLS)


@pytest.mark.parametrize("fails", sorted(CALLS))
def test_a_refused_write_is_one_line_and_the_run_ends_in_the_same_bits(
    inputs: Path, whole: tuple[Path, list[str]], tmp_path: Path, fails: str
) -> None:
    run = tmp_path / "run"
    nth = whole[1].count(fails)  # the last time: the run is then far
    with pytest.MonkeyPatch.context() as patch:
        Disk(tmp_path, patch, fails, nth)
        result = start(inputs, run)
    assert result.exit_code == 1, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.output
    assert "No space left on device" in errors[0] or "the disk did not take all of it" in errors[0]
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.part"))
    again = start(inputs, run) if fails in BEFORE else invoke("train-ner", "--resume", run)
    assert again.exit_code == 0, again.output
    assert read_manifest(run)["weights_sha256"] == read_manifest(whole[0])["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt"):
        assert (run / name).read_bytes() == (whole[0] / name).read_bytes(), name
