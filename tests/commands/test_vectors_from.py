"""train-ner --vectors-from: word vectors of the training sentences and more text, trained by the same command."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from ner.commands.vectors_from import with_trained_vectors
from ner.config import TaggerConfig
from training.errors import Preempted
from training.files import sha256_file
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from training.run.preemption import StopAt

TINY = "--max-epochs 1 --hidden-size 4 --word-dim 6 --no-progress --threads 1 --deterministic --data data".split()
SETTINGS = TaggerConfig(
    data="data", max_epochs=1, hidden_size=4, word_dim=6, progress=False, threads=1, deterministic=True
)  # fmt: skip
ROWS = "Ada B-PER\nMarlow-Ruiz I-PER\nflew O\nto O\nOslo B-LOC\n. O\n\nBo B-PER\nwon O\nin O\nOslo B-LOC\n. O\n\n"
PROSE = "Ada saw Oslo. Bo saw Rome, and Ada won.\n" * 40


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ner.commands.vectors_from.MOST_EPOCHS", 4)
    (tmp_path / "data").mkdir()
    for name in ("train", "valid", "test"):
        (tmp_path / "data" / f"{name}.conll").write_text(ROWS * 5, encoding="utf-8")
    (tmp_path / "prose.txt").write_text(PROSE, encoding="utf-8")
    return tmp_path


def trained(*words: str) -> str:
    done = CliRunner().invoke(cli.main, ["train-ner", *TINY, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: str) -> str:
    """The one line of an error."""
    done = CliRunner().invoke(cli.main, ["train-ner", *TINY, *words], catch_exceptions=False)
    assert done.exit_code == 2, done.output
    return done.output.strip().splitlines()[-1]


def test_a_run_of_vectors_comes_first_and_the_tagger_names_it(place: Path) -> None:
    trained("--vectors-from", "prose.txt")
    words = read_manifest(place / "runs/w2v/version_0")
    tagger = read_manifest(place / "runs/ner/version_0")
    vectors = place / "runs/w2v/version_0/vectors.bin"
    assert tagger["inputs"]["vectors"]["path"] == "runs/w2v/version_0/vectors.bin"
    assert tagger["inputs"]["vectors"]["sha256"] == sha256_file(vectors)
    assert words["config"]["corpus"][1:] == ["prose.txt"]
    assert (words["config"]["seed"], words["config"]["dim"], words["config"]["tokenize"]) == (0, 6, True)
    assert Path(words["config"]["corpus"][0]).read_text().splitlines()[:2] == [
        "Ada Marlow-Ruiz flew to Oslo .",
        "Bo won in Oslo .",
    ]
    config = json.loads((place / "runs/ner/version_0/config.json").read_text())
    assert config["vectors"] == "runs/w2v/version_0/vectors.bin"


def test_the_same_command_again_trains_no_vectors_again(place: Path) -> None:
    trained("--vectors-from", "prose.txt")
    said = trained("--vectors-from", "prose.txt")
    assert "vectors: from the earlier run runs/w2v/version_0" in said
    assert len(list((place / "runs/w2v").glob("version_*"))) == 1
    one, other = (read_manifest(place / f"runs/ner/version_{i}") for i in range(2))
    assert one["weights_sha256"] == other["weights_sha256"]
    (place / "prose.txt").write_text(PROSE + PROSE, encoding="utf-8")
    trained("--vectors-from", "prose.txt")
    assert (place / "runs/w2v/version_1").is_dir()


def test_the_training_sentences_alone_stay_the_words_that_they_are(place: Path) -> None:
    trained("--vectors-from", "train")
    described = read_manifest(place / "runs/w2v/version_0")
    assert (len(described["config"]["corpus"]), described["config"]["tokenize"]) == (1, False)
    assert "Marlow-Ruiz" in (place / "runs/w2v/version_0/vocab.tsv").read_text()


def test_stopped_vectors_go_on_with_the_same_command(place: Path) -> None:
    options = RunOptions(callbacks=(StopAt(2),))
    with click.Context(cli.main, obj=cli.KINDS), pytest.raises(Preempted, match="the same command resumes it"):
        with_trained_vectors(SETTINGS, ["prose.txt"], options)
    assert read_manifest(place / "runs/w2v/version_0")["status"] == "stopped"
    trained("--vectors-from", "prose.txt")
    with click.Context(cli.main, obj=cli.KINDS):
        whole = with_trained_vectors(SETTINGS, ["prose.txt"], RunOptions(root="elsewhere"))
    vectors = place / "runs/w2v/version_0/vectors.bin"
    assert not (place / "runs/w2v/version_1").exists()
    assert vectors.read_bytes() == Path(whole.vectors, "vectors.bin").read_bytes()


def test_what_does_not_go_together_is_refused(place: Path) -> None:
    given = ("--vectors-from", "prose.txt")
    assert "expected no --vectors with it, got none" in refused(*given, "--vectors", "none")
    assert "gone.txt: expected a text to read, got nothing" in refused("--vectors-from", "gone.txt")
    assert "leave --vectors-from out to resume it" in refused(*given, "--resume", "runs/ner/version_0")
    assert "train the vectors first" in refused(*given, "--devices", "2", "--shards", "2")
    assert not (place / "runs").exists() or not list((place / "runs").glob("*/version_*"))


def test_a_group_shares_its_vectors(place: Path) -> None:
    trained("--vectors-from", "prose.txt", "--seeds", "2")
    assert [path.name for path in (place / "runs/w2v").glob("version_*")] == ["version_0"]
    named = {read_manifest(place / f"runs/ner/group_0/seed_{i}")["inputs"]["vectors"]["path"] for i in range(2)}
    assert named == {"runs/w2v/version_0/vectors.bin"}
