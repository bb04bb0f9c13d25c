"""Relative paths of a run lead from where it was started, or from its own folder, wherever it is used from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import cli
from tests.conftest import head
from tests.proof.test_foreign_run import TINY, as_stopped
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

W2V = "--dim 4 --epochs 1 --threads 1 --no-progress --corpus a.txt --corpus sub/b.txt --evaluate pairs.tsv".split()
NER = [*TINY[2:], "--data", "data", "--vectors", "v.bin", "--more-vectors", "sub/w.txt"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def project(small_data: Path, small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, and runs that were started in it with relative paths: finished ones, stopped ones, a group."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "sub").mkdir()
    (folder / "data").mkdir()
    for name, count in (("train", 24), ("valid", 8), ("test", 8)):
        (folder / "data" / f"{name}.conll").write_text(head(small_data / f"{name}.conll", count), encoding="utf-8")
    for i, name in enumerate(("v.bin", "sub/w.txt")):
        table = torch.randn(3, 4, generator=torch.Generator().manual_seed(i))
        WordVectors(["the", "Haiti", "Walton"], table, TextRule(False)).save(folder / name, ("binary", "text")[i])
    for name in ("a.txt", "sub/b.txt"):
        shutil.copyfile(small_text, folder / name)
    (folder / "pairs.tsv").write_text("the\tof\t1\nin\tat\t2\n")
    begun = os.getcwd()
    os.chdir(folder)
    try:
        for command, name in ((["train-ner", *NER], "ner"), (["train-w2v", *W2V, "--keep-checkpoints"], "w2v")):
            assert run(*command, "--run", f"runs/{name}/version_0").exit_code == 0
            assert run(*command, "--run", f"runs/{name}/version_1", "--max-time", "0s").exit_code == 75
        assert run("train-ner", *NER, "--run", "runs/ner/group_0", "--seeds", 2, "--max-time", "0s").exit_code == 75
        shutil.copytree("runs/ner/version_1", "runs/ner/more")
        shutil.copytree("runs/w2v/version_1", "runs/w2v/unread")
        Path("runs/w2v/unread/corpus.ids.json").unlink()  # it was killed before it had read its text
    finally:
        os.chdir(begun)
    return folder


COMMANDS = (
    "predict runs/ner/version_0 data/test.conll", "evaluate runs/ner/version_0 data/test.conll",
    "export runs/ner/version_0 exported", "verify runs/ner/version_0", "verify runs/ner/version_0 --from 1 --to-step 2",
    "verify runs/w2v/version_0", "train-ner --resume runs/ner/version_1 --max-time 1h",
    "train-w2v --resume runs/w2v/version_1 --max-time 1h",
    "train-w2v --resume runs/w2v/unread --max-time 1h", "train-ner --resume runs/ner/group_0",
    "runs list --root runs", "train-ner --resume runs/ner/more --word-dim 4 --max-time 1h",
    "diff runs/ner/version_0 runs/ner/version_0",
    "compare runs/ner/version_0 runs/ner/version_0",
)  # fmt: skip


def absolute(command: str, project: Path) -> list[str]:
    words = command.replace("--root runs", "--root ./runs").split()
    return [str(project / word) if "/" in word or word == "exported" else word for word in words]


@pytest.mark.parametrize("how", ["from elsewhere", "moved", "moved, from within"])
def test_every_command_finds_what_the_run_was_started_with(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "from elsewhere":
        here, kept = project, shutil.copytree(project, tmp_path / "kept")
    else:
        here, kept = Path(shutil.copytree(project, tmp_path / "moved")), Path(shutil.move(project, tmp_path / "away"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(here if how == "moved, from within" else tmp_path / "elsewhere")
    try:
        for command in COMMANDS if how == "from elsewhere" else (COMMANDS[0], COMMANDS[4], COMMANDS[5]):
            result = run(*(command.split() if how == "moved, from within" else absolute(command, here)))
            code = 75 if "group_0" in command else 0
            assert result.exit_code == code, f"{command}: {result.stdout[-500:]} {result.stderr[-500:]}"
        assert not any((tmp_path / "elsewhere").iterdir())
    finally:
        shutil.rmtree(project, ignore_errors=True)
        shutil.move(kept, project)


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_a_run_that_was_resumed_elsewhere_can_be_used_from_anywhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    here = shutil.copytree(project / "runs" / kind / "version_1", project / "runs" / kind / "again")
    inputs = json.loads((here / "manifest.json").read_text())["inputs"]
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    try:
        assert run(f"train-{kind}", "--resume", here).exit_code == 75  # the run has --max-time 0s
        monkeypatch.chdir(tmp_path / "second")
        resumed = run(f"train-{kind}", "--resume", here, "--max-time", "1h")
        assert resumed.exit_code == 0, resumed.stderr
        assert json.loads((here / "manifest.json").read_text())["inputs"] == inputs
        verified = run("verify", here)
        assert (verified.exit_code, "same bits" in verified.stdout) == (0, True), verified.stderr
    finally:
        shutil.rmtree(here)


def test_where_an_input_is_gone_the_line_names_both_folders(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for gone in ("v.bin", "a.txt"):
        shutil.move(project / gone, tmp_path / "kept")
        try:
            for command in (*COMMANDS[:3], *COMMANDS[4:6]):
                kind = "w2v" if "w2v" in command else "ner"
                result = run(*absolute(command.replace("version_1", "version_0"), project))
                if "resume" in command or (kind == "ner") != (gone == "v.bin"):
                    continue
                assert result.exit_code == 2, command
                assert gone in result.stderr
                assert (
                    f"looked in {project}, where it was started, in the run's own folder {project / 'runs' / kind}"
                    in result.stderr
                )
            stopped = shutil.copytree(project / "runs" / "w2v" / "version_0", tmp_path / gone / "stopped")
            described = as_stopped(json.loads((stopped / "manifest.json").read_text()))
            (stopped / "manifest.json").write_text(json.dumps(described))
            result = run("train-w2v", "--resume", stopped)
            assert (result.exit_code, "its inputs are gone: a.txt; put them back (" in result.stderr) == (
                (2, True) if gone == "a.txt" else (0, False)
            ), result.stderr
        finally:
            shutil.move(tmp_path / "kept", project / gone)
