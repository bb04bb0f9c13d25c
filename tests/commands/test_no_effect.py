"""Options without an effect are named in a warning; a new run has a place of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from training.config import TrainConfig
from training.errors import ConfigError

# What was typed; the option that then has no effect, and what it lacks.
IDLE = [
    ("train-ner --lm-dim 8", "--lm-dim", "--lm is not given"),
    ("train-ner --lm-place input", "--lm-place", "--lm is not given"),
    ("train-ner --characters none --char-dim 8", "--char-dim", "--characters is none"),
    ("train-ner --subword-dim 8", "--subword-dim", "--subwords is 0"),
    ("train-ner --vectors none --affix-vectors", "--affix-vectors", "--vectors is none"),
    ("train-ner --vectors none --word-form raw", "--word-form", "--vectors is none"),
    ("train-ner --min-epochs 3", "--min-epochs", "--patience is 0"),
    ("train-ner --min-steps 3", "--min-steps", "--patience is 0"),
    ("train-ner --overfit-batches 3 --limit-val-batches 2", "--limit-val-batches", "--overfit-batches is given"),
    ("train-ner --fast-dev-run 3 --max-steps 9", "--max-steps", "--fast-dev-run is given"),
    ("train-lm --fast-dev-run 3 --val-check-interval 9", "--val-check-interval", "--fast-dev-run is given"),
    ("train-w2v --loss softmax --block 4", "--block", "it is for skip-gram with negative sampling"),
    ("train-w2v --architecture cbow --block 4", "--block", "it is for skip-gram with negative sampling"),
    ("train-ner --vectors v.txt --word-dim 8", "--word-dim", "the vectors have a size of their own"),
    (
        "train-ner --gradient-clip-val 0 --gradient-clip-algorithm value",
        "--gradient-clip-algorithm",
        "--gradient-clip-val is 0",
    ),
    ("train-lm --vectors v.txt --dim 8", "--dim", "the vectors have a size of their own"),
    ("train-lm --max-restarts 2", "--max-restarts", "--devices is 1"),
    ("train-w2v --loss softmax --negative 3", "--negative", "--loss is not negative"),
    ("train-w2v --loss hierarchical --noise-exponent 0.5", "--noise-exponent", "--loss is not negative"),
    ("train-w2v --cbow-gradient corrected", "--cbow-gradient", "--architecture is not cbow"),
    ("train-w2v --checkpoint-every never --keep-checkpoints", "--keep-checkpoints", "--checkpoint-every is never"),
    ("train-w2v --allow-changes", "--allow-changes", "no run is resumed"),
]


def said_of(words: list[str]) -> list[str]:
    """The warnings; the command ends at an input that is not there."""
    missing = {"train-ner": ["--data", "nowhere"]}.get(words[0], ["--corpus", "nowhere"])
    result = CliRunner().invoke(cli.main, [*words, *missing])
    assert result.exit_code == 2
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize(("typed", "option", "lacks"), IDLE)
def test_an_option_without_an_effect_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, option: str, lacks: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said_of(typed.split()) == [f"warning: {option} has no effect, because {lacks}"]
    assert said_of([*typed.split(), "--quiet"]) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "typed",
    [
        "--vectors none --freeze-vectors",
        "--freeze-vectors --tune-min-count 2",
        "--patience 2 --min-epochs 3",
        "--fast-dev-run 3 --patience 2",
    ],
)
def test_an_option_with_an_effect_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    """Random vectors can be frozen, too, and rare words are left out of frozen ones."""
    monkeypatch.chdir(tmp_path)
    assert said_of(["train-ner", *typed.split()]) == []


def test_a_size_beside_vectors_that_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "w2v" / "version_0"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"kind": "w2v", "status": "finished", "config": {}}))
    why = "warning: --word-dim has no effect, because the newest run of train-w2v has vectors"
    assert said_of("train-ner --word-dim 8".split()) == [why]
    assert said_of("train-ner --vectors none --word-dim 8".split()) == []


def test_a_folder_beside_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    why = "warning: --data has no effect, because --train, --valid and --test are given"
    assert said_of("train-ner --train a --valid b --test c".split()) == [why]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_of_several_processes_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"WORLD_SIZE": 2, "RANK": rank}.items():
        monkeypatch.setenv(name, f"{value}")

    def enough(*_: object) -> None:
        raise ConfigError("enough")

    monkeypatch.setattr("training.commands.start.check_paths", enough)
    result = CliRunner().invoke(cli.main, ["train-w2v", "--cbow-gradient", "corrected"])
    assert result.stderr.count("has no effect") == (rank == 0)


@pytest.mark.parametrize("command", ["train-ner --data", "train-w2v --corpus", "train-lm --corpus"])
def test_a_process_that_starts_itself_anew_leaves_it_to_that(tmp_path: Path, command: str) -> None:
    words = [sys.executable, cli.__file__, *command.split(), "nowhere", "--portable", "--max-restarts", "2"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("warning: --max-restarts has no effect, because --devices is 1\n") == 1


@pytest.mark.parametrize("command", ["train-ner", "train-w2v", "train-lm"])
def test_defaults_are_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert said_of([command]) == []


def test_random_vectors_have_the_size_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no vectors are found: then auto means random ones."""
    monkeypatch.chdir(tmp_path)
    assert said_of("train-ner --word-dim 8".split()) == said_of("train-ner --vectors none --word-dim 8".split()) == []


@pytest.mark.parametrize("mark", ["manifest.json", "group.json"])
@pytest.mark.parametrize("command", ["train-ner", "train-w2v", "train-lm"])
def test_a_new_run_is_not_put_into_another(tmp_path: Path, command: str, mark: str) -> None:
    """Whose seal it would break."""
    other = tmp_path / "other"
    other.mkdir()
    (other / mark).write_text(json.dumps({"kind": "ner", "status": "stopped", "config": TrainConfig().to_dict()}))
    for path in (other / "new", other / "checkpoints" / "new"):
        result = CliRunner().invoke(cli.main, [command, "--run", str(path)])
        expected = f"expected a folder outside of other runs, got {path}, which is within {other}"
        assert (result.exit_code, result.stderr) == (2, f"error: --run: {expected}\n")
        assert [each.name for each in other.iterdir()] == [mark]
