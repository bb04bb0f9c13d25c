"""The table of runs: order, settings in short, groups, and runs that cannot be read."""

from __future__ import annotations

import errno
import fcntl
import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from ner.config import TaggerConfig
from training.run.lock import FILE, RunLock
from training.run.run_list import list_runs


def write(folder: Path, f1: float | None = None, status: str = "finished", kind: str = "ner", **changes: Any) -> None:
    """A run's folder with a manifest and nothing else."""
    folder.mkdir(parents=True)
    metrics = {} if f1 is None else {"best_val_f1": f1 + 0.1, "test_f1": f1}
    described = {
        "kind": kind, "status": status, "config": {**TaggerConfig().to_dict(), **changes}, "metrics": metrics,
        "environment": {"level": "run", "threads": 1}, "weights_sha256": "ab" * 32,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(described))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (0, 2, 10):
        write(tmp_path / "ner" / f"version_{number}", 0.5, lr=0.01, vectors="runs/w2v/version_3/vectors.bin", threads=7)
    write(tmp_path / "ner" / "version_11", status="stopped")
    (tmp_path / "ner" / "version_12").mkdir()
    (tmp_path / "ner" / "version_12" / "manifest.json").write_text("{")
    (tmp_path / "ner" / "notes").mkdir()
    group = tmp_path / "ner" / "group_0"
    for seed, f1 in enumerate((0.5, 0.7, 0.6)):
        write(group / f"seed_{seed}", f1, seed=seed)
    (group / "group.json").write_text(json.dumps({"kind": "group", "seeds": [0, 1, 2, 3]}))
    (group / "config.json").write_text(json.dumps(TaggerConfig(decoder="softmax").to_dict()))
    return tmp_path


def test_rows_by_hand(root: Path) -> None:
    rows = list_runs(root, cli.KINDS)
    names = ["group_0", "version_0", "version_2", "version_10", "version_11", "version_12"]
    assert [Path(row["run"]).name for row in rows] == names
    assert rows[0] == {
        "run": str(root / "ner" / "group_0"), "status": "3 of 4 finished", "best F1": "0.7000 (0.6000-0.8000)",
        "test F1": "0.6000 (0.5000-0.7000)", "perplexity": "", "level": "run", "threads": "1", "weights": "",
        "settings": "4 seeds; decoder=softmax",
    }  # fmt: skip
    assert rows[1]["best F1"] == "0.6000"
    assert rows[1]["weights"] == "abababababab"
    assert rows[1]["settings"] == "vectors=runs/w2v/version_3 lr=0.01"
    assert (rows[4]["status"], rows[4]["test F1"], rows[4]["settings"]) == ("stopped", "", "")
    assert rows[5]["status"] == "unreadable"
    assert len({tuple(row) for row in rows}) == 1, "the same columns in all of them"


def test_a_run_that_nobody_works_on_any_more_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "ner" / "version_0"
    write(folder, status="running")
    lock = RunLock(folder)
    assert [row["status"] for row in list_runs(tmp_path, cli.KINDS)] == ["running"]
    lock.release()
    assert [row["status"] for row in list_runs(tmp_path, cli.KINDS)] == ["killed"]
    said = CliRunner().invoke(cli.main, ["predict", str(folder)])
    assert "expected a finished run, got one that is killed; resume it first" in said.stderr


READERS = (
    "predict {ner}", "evaluate {ner} x", "export {ner} new", "train-ner --data {data} --start-from {ner}",
    "train-ner --data {data} --teacher {ner}", "train-ner --data {data} --lm {lm}", "train-ner --vectors {w2v}",
    "train-lm --vectors {w2v}", "train-w2v --corpus {data}/train.conll --start-from {w2v}", "vectors nearest {w2v} word",
    "verify {ner}", "ask {ner} --steps 1 --watch batch", "compare {ner} {ner}", "compare {w2v} {w2v}", "diff {w2v} {w2v}",
    "runs card {ner}", "runs list --root runs",
)  # fmt: skip


@pytest.mark.parametrize("command", READERS)
def test_no_command_says_of_a_killed_run_that_it_is_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_data: Path, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {kind: Path("runs") / kind / "version_0" for kind in cli.KINDS}
    for kind, folder in folders.items():
        write(folder, status="running", kind=kind)
        described = json.loads((folder / "manifest.json").read_text())
        del described["weights_sha256"]
        (folder / "manifest.json").write_text(json.dumps(described))
        (folder / "config.json").write_text(json.dumps(cli.KINDS[kind].config_class()().to_dict()))
    said = CliRunner().invoke(cli.main, command.format(data=small_data, **folders).split())
    assert "killed" in said.output, said.output
    assert "running" not in said.output


def test_where_locks_cannot_be_looked_at_a_run_may_be_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ner" / "version_0", status="running")
    (tmp_path / "ner" / "version_0" / FILE).touch()

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert [row["status"] for row in list_runs(tmp_path, cli.KINDS)] == ["running"]


def test_seeds_of_a_group_are_listed_below_its_parent(root: Path) -> None:
    assert {Path(row["run"]).name for row in list_runs(root / "ner", cli.KINDS)} == {"seed_0", "seed_1", "seed_2"}


def test_the_command(root: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(cli.main, ["runs", "list", "--root", str(root)])
    assert said.exit_code == 0
    lines = said.output.splitlines()
    assert len(lines) == 7
    assert len({line.index(column) for line, column in zip(lines[2:5], ["finished"] * 3, strict=True)}) == 1
    assert "\x1b" not in said.output
    assert "perplexity" not in said.output.splitlines()[0]  # empty for all of these runs
    assert (
        "perplexity" in json.loads(CliRunner().invoke(cli.main, ["runs", "list", "--json", "--root", str(root)]).output)[0]
    )


def test_no_runs_are_told_from_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for options, code, said in (
        ([], 0, "no runs in runs; "),
        (["--root", "empty"], 0, "no runs in empty; "),
        (["--json"], 0, "[]"),
        (["--root", "none"], 2, "error: --root: expected a folder that holds runs, got nothing: none"),
        (["--root", "file", "--json"], 2, "error: --root: expected a folder that holds runs, got a file: file"),
    ):
        result = CliRunner().invoke(cli.main, ["runs", "list", *options])
        assert (result.exit_code, len(result.output.splitlines())) == (code, 1), result.output
        assert result.output.startswith(said)
    (tmp_path / "runs").write_text("")
    assert CliRunner().invoke(cli.main, ["runs", "list"]).exit_code == 2


@pytest.mark.parametrize("value", [None, [], {}, "x", True, math.nan, 10**400, ["x"], {"x": []}])
def test_a_damaged_folder_is_a_row_and_hides_no_other(root: Path, value: Any) -> None:
    """Each file that a row is made of, and each of its values, as something else or gone."""
    group, single = root / "ner" / "group_0", root / "ner" / "version_0"
    for path in (group / "config.json", group / "group.json", group / "seed_1" / "manifest.json", single / "manifest.json"):
        whole = path.read_text()
        contents = json.loads(whole)
        damaged = [value, *({**contents, name: value} for name in contents)]
        damaged += [{k: v for k, v in contents.items() if k != name} for name in contents]
        damaged += [{**contents, "metrics": {"test_f1": value}}, {**contents, "changes": [value]}]
        for each in damaged:
            path.write_text(json.dumps(each))
            assert len(list_runs(root, cli.KINDS)) == 6, each
        path.write_text(whole)
    (group / "config.json").write_text(json.dumps([value]))
    assert list_runs(root, cli.KINDS)[0]["status"] == "unreadable"
