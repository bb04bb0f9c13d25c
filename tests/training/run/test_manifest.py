"""The manifest of a run: all that can change its bits is in it, with digests of what went in and came out."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import cli
from training.files import sha256_file
from training.run import environment
from training.run.folder import read_manifest
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

SMALL = "--max-epochs 1 --hidden-size 8 --batch-size 64 --no-progress --threads 1 --deterministic".split()


@pytest.fixture(scope="module")
def described(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of a tagger's run on vectors with a text rule, with a variable set that can change bits."""
    folder = tmp_path_factory.mktemp("manifest")
    matrix = torch.arange(16.0).reshape(2, 8)
    WordVectors(["the", "of"], matrix, TextRule(False, False, "keep")).save(folder / "vectors.txt")
    arguments = ["train-ner", "--data", str(small_data), "--vectors", str(folder / "vectors.txt"), *SMALL]
    result = CliRunner(env={"MKL_CBWR": "COMPATIBLE"}).invoke(cli.main, [*arguments, "--run", str(folder / "run")])
    assert result.exit_code == 0, result.output
    return {**read_manifest(folder / "run"), "path": folder / "run", "data": small_data}


def test_every_input_has_its_digest(described: dict[str, Any]) -> None:
    inputs, folder = described["inputs"], described["path"].parent
    assert set(inputs) == {"train", "valid", "test", "vectors", "vectors' text rule"}
    assert inputs["vectors' text rule"]["path"] == str(folder / "vectors.rule.json")
    assert all(sha256_file(each["path"]) == each["sha256"] for each in inputs.values())
    assert inputs["train"]["bytes"] == (described["data"] / "train.conll").stat().st_size


def test_settings_code_and_results_are_there(described: dict[str, Any]) -> None:
    assert isinstance(described["argv"], list)
    assert described["config"] == json.loads((described["path"] / "config.json").read_text())
    assert re.fullmatch("[0-9a-f]{64}", described["code"]["source_sha256"])
    assert {"git_commit", "git_clean"} <= set(described["code"])
    assert re.fullmatch("[0-9a-f]{64}", described["weights_sha256"])
    assert {"test_f1", "test_loss", "best_val_f1"} <= set(described["metrics"])
    wanted = {"indexer.json", "predictions.conll", "test_report.txt", "metrics.jsonl", "ledger.jsonl"}
    assert wanted <= set(described["outputs"])


def test_the_environment_is_there(described: dict[str, Any]) -> None:
    found = described["environment"]
    assert found["packages"]["torch"] == str(torch.__version__)
    assert found["packages"]["numpy"] == np.__version__
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert found["torch_build"]["blas"]
    assert found["cpu"] == environment.cpu_model()
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert (found["threads"], found["device"], found["gpu"]) == (1, "cpu", None)
    assert found["level"] not in ("", "seeded")
    assert found["deterministic_algorithms"] is True
    assert found["environment_variables"]["MKL_CBWR"] == "COMPATIBLE"


def test_the_source_digest_is_of_the_program_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cli.py", "training/commands/__init__.py", "training/loop/trainer.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    code = inspect.unwrap(environment.code)  # not as tests/conftest.py keeps it
    before = code()
    (tmp_path / "README.md").write_text("words\n")
    assert code()["source_sha256"] == before["source_sha256"]
    (tmp_path / "training" / "loop.py").write_text("2\n")
    assert code()["source_sha256"] != before["source_sha256"]
    assert before["git_commit"] is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(tmp_path), *identity, "commit", "-qm", "x"], check=True)
    assert re.fullmatch("[0-9a-f]{40}", code()["git_commit"])
    assert code()["git_clean"] is True
    (tmp_path / "cli.py").write_text("3\n")
    assert code()["git_clean"] is False
