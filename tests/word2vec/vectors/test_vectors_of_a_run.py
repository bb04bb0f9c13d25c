"""Where a command takes a file of word vectors, it takes a train-w2v run; what else a folder may be is said in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import cli
from training.errors import DataError
from word2vec.vectors.load import file_of
from word2vec.vectors.vectors import WordVectors


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


def made_run(folder: Path, kind: str = "w2v", status: str = "finished", *, vectors: bool = True) -> Path:
    """A run's folder as an earlier version left it, without a seal."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"kind": kind, "status": status, "config": {"seed": 0}}))
    if vectors:
        WordVectors(["Oslo", "Rome", "ran"], torch.tensor([[1.0, 0.0], [1.0, 0.5], [-1.0, 1.0]])).save(
            folder / "vectors.bin", "binary"
        )
    return folder


def test_a_run_stands_for_its_vectors(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a run")
    pairs, tagged = tmp_path / "pairs.txt", tmp_path / "train.conll"
    pairs.write_text("Oslo Rome 9\nOslo ran 1\nRome ran 2\n")
    tagged.write_text("Oslo B-LOC\nran O\n\n")
    for words in (["nearest", "", "Oslo"], ["analogy", "", "Oslo", "Rome", "ran"], ["evaluate", "", pairs]):
        both = [run("vectors", words[0], path, *words[2:]) for path in (folder, folder / "vectors.bin")]
        assert [each.exit_code for each in both] == [0, 0]
        assert both[0].output == both[1].output
    assert run("vectors", "convert", folder, tmp_path / "out.txt").exit_code == 0
    assert (tmp_path / "out.txt").read_text().splitlines()[0] == "3 2"
    assert run("data", "check", tagged, "--vectors", folder).exit_code == 0


def test_a_run_is_not_overwritten_by_its_own_vectors(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run")
    before = (folder / "vectors.bin").read_bytes()
    result = run("vectors", "convert", folder, folder / "vectors.bin")
    assert (result.exit_code, (folder / "vectors.bin").read_bytes()) == (2, before)
    assert f"TARGET: {folder / 'vectors.bin'} exists already" in result.output


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run")
    result = run("vectors", "convert", folder, tmp_path / "gone/out.txt")
    assert result.exit_code == 2
    assert (
        f"TARGET: {tmp_path / 'gone/out.txt'} cannot be written: expected a name in a folder that is there" in result.output
    )


def test_a_long_line_that_is_no_question_is_shortened(tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("Ada ran to Oslo and " * 500 + "\n")
    (tmp_path / "analogies.txt").write_text(": capitals\n" + "Oslo " * 500 + "\n")
    for name in ("prose.txt", "analogies.txt"):
        result = run("vectors", "evaluate", made_run(tmp_path / f"run {name}"), tmp_path / name)
        assert (result.exit_code, len(result.output.splitlines()[-1]) < 400) == (2, True), result.output


def test_a_file_and_a_folder_of_no_run_stand_for_themselves(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors/vectors.bin").write_bytes(b"")
    for name, expected in (("gone", "gone"), ("empty", "empty"), ("vectors", "vectors/vectors.bin")):
        assert file_of(tmp_path / name) == tmp_path / expected
    assert "got a folder" in run("vectors", "nearest", tmp_path / "empty", "Oslo").output


def test_what_has_no_vectors_is_named(tmp_path: Path) -> None:
    made_run(tmp_path / "tagger", "ner")
    made_run(tmp_path / "stopped", status="stopped", vectors=False)
    made_run(tmp_path / "group/seed_3")
    (tmp_path / "group/group.json").write_text('{"seeds": [3]}')
    for name, expected in (
        ("tagger", 'got a run of kind "ner"'),
        ("stopped", "expected a finished run with vectors.bin, got one that is stopped"),
        ("group", "got a group of runs; name one of them, as .*seed_3"),
    ):
        with pytest.raises(DataError, match=f"{name}: .*{expected}"):
            file_of(tmp_path / name)
        assert run("vectors", "convert", tmp_path / name, tmp_path / "out.txt").exit_code == 2
        assert not (tmp_path / "out.txt").exists()
        assert run("train-ner", "--vectors", tmp_path / name, "--run", tmp_path / "new").exit_code == 2
        assert not (tmp_path / "new").exists()


def test_stability_of_another_kind_of_group_is_refused_by_its_kind(tmp_path: Path) -> None:
    metrics = {"metrics": {"test_f1": 0.5}}
    for seed in (0, 1):
        folder = made_run(tmp_path / f"group/seed_{seed}", "ner", vectors=False)
        described = {**json.loads((folder / "manifest.json").read_text()), **metrics}
        (folder / "manifest.json").write_text(json.dumps(described))
    (tmp_path / "group/group.json").write_text('{"seeds": [0, 1]}')
    result = run("vectors", "stability", tmp_path / "group")
    assert (result.exit_code, 'expected a run of kind w2v, got one of kind "ner"' in result.output) == (2, True)
