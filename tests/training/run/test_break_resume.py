"""Attempts to break a resume: moved folders, hostile and foreign checkpoints, garbled settings."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import cli
from training import checkpoint
from training.run.folder import read_manifest

STARTS = {
    "train-ner": "--vectors none --max-epochs 1 --hidden-size 8 --word-dim 8 --batch-size 24 --no-progress --threads 1",
    "train-w2v": "--dim 8 --epochs 1 --batch-words 512 --no-progress --threads 1",
}
KINDS = pytest.mark.parametrize("kind", STARTS)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def begin(kind: str, small_data: Path, small_text: Path, path: Path, *more: object) -> Result:
    data = ["--data", small_data] if kind == "train-ner" else ["--corpus", small_text]
    return run(kind, *data, *STARTS[kind].split(), "--run", path, *more)


@pytest.fixture
def pair(small_data: Path, small_text: Path, tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """Of a kind: a run that was stopped after a batch, and the digest of the weights that it would have ended with."""

    def made(kind: str, *more: object) -> tuple[Path, str]:
        whole = begin(kind, small_data, small_text, tmp_path / "whole", *more)
        assert whole.exit_code == 0, whole.output
        stopped = begin(kind, small_data, small_text, tmp_path / "run", *more, "--max-time", "0s")
        assert stopped.exit_code == 75, stopped.output
        return tmp_path / "run", read_manifest(tmp_path / "whole")["weights_sha256"]

    return made


@KINDS
def test_a_moved_run_goes_on_from_another_folder(
    pair: Callable[..., tuple[Path, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, expected = pair(kind)
    elsewhere = tmp_path / "else where" / "renamed"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    result = run(kind, "--resume", "renamed", "--max-time", "1h")
    assert result.exit_code == 0, result.output
    assert read_manifest(elsewhere)["weights_sha256"] == expected
    assert not path.exists()


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


@KINDS
def test_a_hostile_checkpoint_runs_no_code_and_the_one_before_it_is_used(
    pair: Callable[..., tuple[Path, str]], tmp_path: Path, kind: str
) -> None:
    path, expected = pair(kind)
    hostile, target = path / "checkpoints" / "resume-000099.ckpt", tmp_path / "owned"
    torch.save({"format": checkpoint.FORMAT, "weights": Hostile(target)}, hostile)
    checkpoint.digest_path(hostile).write_text(hashlib.sha256(hostile.read_bytes()).hexdigest() + "\n")
    result = run(kind, "--resume", path, "--max-time", "1h")
    assert not target.exists()
    assert result.exit_code == 0, result.output
    assert "resume-000099.ckpt: not a samebits checkpoint" in result.output
    assert "trying the one before it" in result.output
    assert read_manifest(path)["weights_sha256"] == expected


def only_error(result: Result, code: int) -> str:
    """The one line of an error."""
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    return line


@KINDS
@pytest.mark.parametrize("ledger", [0, 1])
def test_a_checkpoint_of_another_run_is_refused(
    pair: Callable[..., tuple[Path, str]], small_data: Path, small_text: Path, tmp_path: Path, kind: str, ledger: int
) -> None:
    """With and without a ledger; put back, the run's own goes on to the same bits."""
    path, expected = pair(kind, "--ledger-every", ledger)
    other = tmp_path / "other"
    stopped = begin(kind, small_data, small_text, other, "--ledger-every", ledger, "--seed", 7, "--max-time", "0s")
    assert stopped.exit_code == 75, stopped.output
    shutil.copytree(path / "checkpoints", tmp_path / "own")
    for file in (other / "checkpoints").iterdir():
        shutil.copyfile(file, path / "checkpoints" / file.name)
    error = only_error(run(kind, "--resume", path, "--max-time", "1h"), 1)
    assert "expected a checkpoint of this run, got one of a run that began with other settings, inputs" in error
    for file in (tmp_path / "own").iterdir():
        shutil.copyfile(file, path / "checkpoints" / file.name)
    result = run(kind, "--resume", path, "--max-time", "1h")
    assert result.exit_code == 0, result.output
    assert read_manifest(path)["weights_sha256"] == expected


@pytest.mark.parametrize("part", ["run", "progress"])
def test_a_checkpoint_without_counters_is_one_line(pair: Callable[..., tuple[Path, str]], part: str) -> None:
    path, _ = pair("train-w2v")
    (file,) = (path / "checkpoints").glob("resume-*.ckpt")
    kept = checkpoint.load(file)
    if part == "run":
        kept["run"] = dict.fromkeys(kept["run"], math.inf)
    else:
        del kept["progress"]["current_epoch"]
    checkpoint.save(file, kept)
    before = (path / "ledger.jsonl").read_bytes()
    assert "expected a run's counters" in only_error(run("train-w2v", "--resume", path, "--max-time", "1h"), 1)
    assert (path / "ledger.jsonl").read_bytes() == before


def test_a_stopped_run_that_lacks_what_it_began_with_is_one_line(pair: Callable[..., tuple[Path, str]]) -> None:
    path, _ = pair("train-w2v")
    described = read_manifest(path)
    del described["code"]
    (path / "manifest.json").write_text(json.dumps(described))
    error = only_error(run("train-w2v", "--resume", path, "--max-time", "1h"), 2)
    assert "expected what the run began with, got no entry code" in error


@KINDS
def test_a_ledger_of_other_steps_is_refused(
    pair: Callable[..., tuple[Path, str]], small_data: Path, small_text: Path, tmp_path: Path, kind: str
) -> None:
    path, _ = pair(kind, "--ledger-every", 1)
    other = tmp_path / "other"
    stopped = begin(kind, small_data, small_text, other, "--ledger-every", 1, "--seed", 7, "--max-time", "0s")
    assert stopped.exit_code == 75, stopped.output
    shutil.copyfile(other / "ledger.jsonl", path / "ledger.jsonl")
    error = only_error(run(kind, "--resume", path, "--max-time", "1h"), 2)
    assert "expected the lines that the checkpoint was written after, got others" in error


@KINDS
@pytest.mark.parametrize("content", ["", "{", "[]", '{"seed": "x"}'])
def test_garbled_settings_are_one_line(kind: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"status": "stopped", "kind": "ner" if kind == "train-ner" else "w2v"}))
    (path / "config.json").write_text(content)
    result = run(kind, "--resume", path)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert len(result.output.splitlines()) == 1
