"""Every value of every option with choices, with every value of the others: from training to all that is done with a run.

The tables are read off the commands, so that a new option or choice joins them by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import click
import pytest
import torch
from click.testing import CliRunner, Result

import cli
from ner.tagging.bundle import write_bundle
from tests.commands.test_cli import ALL
from tests.conftest import SAMPLE
from tests.ner.small_tagger import saved
from tests.pairwise import Row, pairwise
from training.commands import progress
from training.commands.progress import Voice
from training.run.card import Card
from training.run.folder import read_manifest
from training.run.preemption import StopAt
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

# Switches in the form of numbers: what is off, or usual, and what is not.
NUMBERS: dict[str, dict[str, tuple[str, ...]]] = {
    "train-ner": {
        "average": ("0.9", "0"), "features_dim": ("3", "0"), "topic_dim": ("0", "3"), "subwords": ("0", "30"),
        "tune_min_count": ("1", "2"),
        "dropout": ("0.5", "0"), "word_dropout": ("0", "0.2"), "accumulate_grad_batches": ("1", "2"), "patience": ("0", "1"),
        "gradient_clip_val": ("5", "0"), "val_check_interval": ("1.0", "0.5"), "ledger_every": ("1", "0"),
    },
    "train-w2v": {
        "sample": ("0.001", "0"), "damping": ("0.05", "0"), "block": ("8", "1"), "noise_words": ("64", "8"),
        "window": ("5", "1"), "ledger_every": ("1", "0"), "max_vocab": ("none", "50"), "streams": ("4", "1"),
    },
    "train-lm": {
        "dropout": ("0.1", "0"), "ledger_every": ("1", "0"), "max_vocab": ("none", "50"), "max_length": ("64", "3"),
        "gradient_clip_val": ("1", "0"), "accumulate_grad_batches": ("1", "2"), "val_check_interval": ("1.0", "0.5"),
    },
}  # fmt: skip
SIZES = {
    "train-ner": "--max-epochs 2 --batch-size 8 --hidden-size 4 --char-hidden 4 --char-dim 3 --word-dim 5 --threads 1",
    "train-w2v": "--epochs 2 --dim 6 --batch-words 256 --min-count 1 --threads 1",
    "train-lm": "--epochs 2 --dim 6 --hidden-size 4 --projection-dim 16 --batch-words 200 --min-count 2 --threads 1",
}
# A portable run starts its process anew; there may be no GPU.
ELSEWHERE = {"portable": ["--portable"], "device": [] if torch.cuda.is_available() else ["--device", "cuda"]}
CORE = {
    "train-ner": "precision preset characters decoder average mentions freeze_vectors",
    "train-w2v": "loss architecture cbow_gradient sample",
    "train-lm": "precision digits",
}
"""Of these the fast suite walks all pairs; other options take their values in turn. The soak walks all pairs of all."""
PARTS = [pytest.param(part, marks=pytest.mark.soak if part else ()) for part in range(4)]


def choices(name: str) -> dict[str, list[list[str]]]:
    """The words for each value of each option of a command that has a choice, or is on or off."""
    found: dict[str, list[list[str]]] = {}
    for each in ALL[name].params:
        flag = each.opts[-1]
        if isinstance(each, click.Argument) or each.name in ("allow_changes", "help"):
            continue
        if isinstance(each.type, click.Choice):
            found[str(each.name)] = [[flag, value] for value in each.type.choices]
        elif isinstance(each, click.Option) and each.secondary_opts:
            found[str(each.name)] = [[flag], [each.secondary_opts[-1]]]
        elif isinstance(each, click.Option) and each.is_flag:
            found[str(each.name)] = [*found.get(str(each.name), [[]]), [flag]]
        elif each.name in NUMBERS.get(name, {}):
            found[str(each.name)] = [[flag, value] for value in NUMBERS[name][each.name]]
    for option, words in ELSEWHERE.items():
        if words in found.get(option, ()):
            found[option].remove(words)
    return found


def rows(name: str, part: int = 0) -> list[Row]:
    """The table of a command: part 0 is that of the fast suite; the others meet in other threes."""
    values = choices(name)
    if part == 0 and name in CORE:
        found = pairwise({key: values[key] for key in CORE[name].split()})
        return [{key: row[key] if key in row else Random(f"{key} {number // len(v)}").sample(v, len(v))[number % len(v)]
                 for key, v in values.items()} for number, row in enumerate(found)]  # fmt: skip
    names = [*values][part * 3 :] + [*values][: part * 3]
    return pairwise({key: values[key][part % len(values[key]) :] + values[key][: part % len(values[key])] for key in names})


def words_of(row: Row) -> list[str]:
    return [word for words in row.values() for word in words]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.output)
    return result


def good(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, (arguments, result.output)
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labeled files, a text, and vectors of some of their words, lower-cased."""
    folder = tmp_path_factory.mktemp("choices")
    words: set[str] = set()
    for name, count in (("train", 20), ("valid", 6), ("test", 8)):
        whole = (SAMPLE / f"{name}.conll").read_text(encoding="utf-8").split("\n\n")
        short = [each for each in whole if "-DOCSTART-" not in each and 1 < len(each.splitlines()) < 8][:count]
        documents = ["-DOCSTART- O", *short[:4], "-DOCSTART- O", *short[4:]]
        (folder / f"{name}.conll").write_text("\n\n".join(documents) + "\n\n", encoding="utf-8")
        words |= {line.split()[0].lower() for each in short for line in each.splitlines()}
    known = sorted(words)[::2]
    matrix = torch.rand(len(known), 6, generator=torch.Generator().manual_seed(1)) - 0.5
    WordVectors(known, matrix, TextRule(tokenize=False, lowercase=True, digits="zero")).save(folder / "v.bin", "binary")
    lines = (SAMPLE / "text.txt").read_text(encoding="utf-8").splitlines()[:25]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def trained(
    name: str, row: Sequence[str], inputs: Sequence[str | Path], path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run that was stopped at its first step and resumed; run again it comes to the same bits."""
    with monkeypatch.context() as patched:
        patched.setattr(progress, "voice", lambda *_: Voice(click.echo, (StopAt(1),), None))
        result = run(name, *SIZES[name].split(), *inputs, *row, "--run", path)
        assert result.exit_code == 75, result.output
    good(name, "--resume", path)
    assert "same bits" in good("verify", path).output
    return path


@pytest.mark.parametrize("part", PARTS)
def test_every_choice_of_train_ner_goes_all_the_way(
    place: Path, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, row in enumerate(rows("train-ner", part)):
        inputs = ("--data", place, "--vectors", place / "v.bin")
        path = trained("train-ner", words_of(row), inputs, tmp_path / str(number), monkeypatch)
        use_tagger(path, place / "test.conll")


def use_tagger(path: Path, file: Path) -> None:
    """A run's tagger, and the bundle of it, find in the test split what the run's own test did."""
    report = json.loads(good("evaluate", path, file, "--json").stdout)
    bundle = path.with_name(f"{path.name} bundle")
    good("export", path, bundle)
    assert json.loads(good("evaluate", bundle, file, "--json").stdout) == report
    own = read_manifest(path)
    assert report["strict"]["micro avg"]["f1-score"] == pytest.approx(own["metrics"]["test_f1"], abs=1e-6)
    said = [good("predict", each, file, "--format", "jsonl").stdout for each in (path, bundle)]
    assert said[0] == said[1]


@pytest.mark.parametrize("part", PARTS)
def test_every_choice_of_train_w2v_goes_all_the_way(
    place: Path, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, row in enumerate(rows("train-w2v", part)):
        inputs = ("--corpus", place / "text.txt")
        path = trained("train-w2v", words_of(row), inputs, tmp_path / str(number), monkeypatch)
        word = (path / "vocab.tsv").read_text(encoding="utf-8").split("\t")[0]
        assert len(good("vectors", "nearest", path / "vectors.bin", word, "-k", 3).output.splitlines()) == 3


@pytest.mark.parametrize("part", PARTS)
def test_every_choice_of_train_lm_goes_all_the_way(
    place: Path, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, row in enumerate(rows("train-lm", part)):
        inputs = ("--corpus", place / "text.txt", "--vectors", place / "v.bin")
        path = trained("train-lm", words_of(row), inputs, tmp_path / str(number), monkeypatch)
        tagger = [
            "--data",
            place,
            "--vectors",
            "none",
            "--max-epochs",
            1,
            "--lm-dim",
            3,
            "--run",
            tmp_path / f"{number} ner",
        ]
        good("train-ner", *SIZES["train-ner"].split(), "--lm", path, *tagger)


# What other commands are given: {} is the folder of ``place``, <> a new file of the test's own.
OTHERS = {
    "compare": "{}/a {}/b", "data check": "{}", "evaluate": "{}/tagger {}/test.conll --html <>", "predict": "{}/tagger",
    "data suspects": "{}/few.conll --folds 2 --vectors none --run <>",
    "runs list": "--root {}", "vectors convert": "{}/v.bin <>", "data convert": "{}/test.conll <>.jsonl",
}  # fmt: skip
SOURCES = {"auto": "text.txt", "text": "text.txt", "sentences": "text.txt", "conll": "test.conll", "jsonl": "lines.jsonl"}
WALKED = {"train-ner", "train-w2v", "train-lm", *OTHERS}


def test_no_command_with_choices_is_left_out() -> None:
    assert {name for name in ALL if choices(name)} == WALKED


@pytest.fixture(scope="module")
def furnished(place: Path) -> Path:
    """Beside the data a bundle, and two groups of runs as ``compare`` takes them."""
    (place / "tagger").mkdir()
    write_bundle(place / "tagger", saved(3), {}, Card("", "ner", (), ()))
    (place / "few.conll").write_text("Ada B-PER\nwon O\n\nin O\nOslo B-LOC\n\n" * 4, encoding="utf-8")
    (place / "lines.jsonl").write_text('{"text": "Ada flew to Oslo."}\n{"text": "Bo won."}\n', encoding="utf-8")
    for name in ("a", "b"):
        given = ["--data", place, "--vectors", "none", "--max-epochs", "1", "--run", place / name]
        good("train-ner", *SIZES["train-ner"].split(), *given)
    return place


@pytest.mark.parametrize("name", OTHERS)
def test_every_choice_of_a_command_is_answered(furnished: Path, tmp_path: Path, name: str) -> None:
    for number, row in enumerate(pairwise(choices(name))):
        target = tmp_path / f"{number}.txt"
        given = OTHERS[name].replace("{}", str(furnished)).replace("<>", str(target)).split()
        if name == "predict":
            given.append(str(furnished / SOURCES[row["form"][1]]))
        result = run(*name.split(), *given, *words_of(row))
        if name == "evaluate" and row["unknown_types"] == ["--unknown-types", "error"]:  # the file has one
            assert result.exit_code == 2, (row, result.output)
            continue
        assert result.exit_code == 0 or (name == "data check" and result.exit_code == 1), (row, result.output)
        assert result.stdout or target.is_file()
