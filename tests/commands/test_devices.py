"""The commands as they are typed, with --devices: processes are started, and the bits are those of one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from tests.conftest import SAMPLE

ROOT = Path(cli.__file__).parent
SMALL = ["--device", "cpu", "--shards", "2", "--no-progress"]
TAGGER = [
    "train-ner", *SMALL, "--data", str(SAMPLE), "--vectors", "none", "--max-epochs", "1", "--limit-train-batches", "3",
    "--limit-val-batches", "1", "--limit-test-batches", "1", "--run", "run", "--devices", "2",
]  # fmt: skip
VECTORS = ["train-w2v", *SMALL, "--corpus", str(SAMPLE / "text.txt"), "--dim", "8", "--max-steps", "4", "--min-count", "20"]


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In two processes, started by torchrun."""
    start = ["-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command = [sys.executable, *start, "--nproc-per-node", "2", "--", str(ROOT / "cli.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def manifest(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "manifest.json").read_text()))


def test_two_processes_are_started_and_one_repeats_them(tmp_path: Path) -> None:
    started = typed(tmp_path, *TAGGER)
    assert (started.returncode, started.stdout.count("seal: ")) == (0, 1)
    said = [line for line in started.stderr.splitlines() if not line.startswith("devices: 2 processes share 1 core")]
    assert len(said) == started.stderr.count("epoch 1/1, ") == 1  # the first process's alone
    assert manifest(tmp_path / "run")["config"]["devices"] == 2
    repeated = CliRunner().invoke(cli.main, ["verify", str(tmp_path / "run")])
    assert "verified: same bits" in repeated.output, repeated.output


def test_two_processes_repeat_one(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli.main, [*VECTORS, "--run", str(tmp_path / "run")])
    assert made.exit_code == 0, made.output
    repeated = typed(tmp_path, "verify", "run", "--devices", "2")
    assert (repeated.returncode, repeated.stdout.count("verified: same bits")) == (0, 1), repeated.stderr
    assert repeated.stdout.count("seal: ") == 1


@pytest.mark.parametrize("command", [TAGGER[:-4], VECTORS], ids=lambda command: command[0])
def test_started_by_torchrun_they_make_what_one_makes(tmp_path: Path, command: list[str]) -> None:
    alone = CliRunner().invoke(cli.main, [*command, "--run", str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output
    started = torchrun(tmp_path, *command, "--run", "run")
    assert (started.returncode, started.stdout.count("seal: ")) == (0, 1), started.stderr
    described = [manifest(tmp_path / name) for name in ("run", "alone")]
    for name in ("weights_sha256", "metrics", "outputs"):
        assert described[0][name] == described[1][name], name


def test_a_port_that_another_program_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("MASTER_PORT", str(other.getsockname()[1]))
        found = typed(tmp_path, *TAGGER)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("error: MASTER_PORT: expected a free port, got "), found.stderr


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--devices", "2"], "error: shards: expected a multiple of the 2 processes, got 1"),
    (["--devices", "2", "--shards", "2", "--seeds", "2"], "error: seeds: expected one process for each run of a group"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anything_starts(arguments: list[str], expected: str) -> None:
    found = CliRunner().invoke(cli.main, ["train-ner", *arguments])
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert expected in found.output
