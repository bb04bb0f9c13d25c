"""Data smaller than what it is laid out for: something is learned, or one line says that there is nothing to train on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from tests.pairwise import pairwise
from training.run.folder import read_jsonl, read_manifest

TEXTS = {
    "nine lines of four words": "".join(f"a{i % 3} b{i % 2} c{i % 3} d{i % 2}\n" for i in range(9)),
    "six words": "a b c a b c\n",
    "two words": "a b\n",
    "one word": "a\n",
    "one word, often": "a a a a a\n" * 9,
    "one word a line": "".join(f"w{i % 7}\n" for i in range(300)),
    "one pair among single words": "".join(f"w{i % 7}\n" for i in range(700)) + "w1 w2\n",
    "an empty text": "\n\n",
}
LAYOUT = {
    "loss": ("negative", "softmax", "hierarchical"),
    "architecture": ("skipgram", "cbow"),
    "sample": ("0", "1e-12", "0.001"),
    "streams": ("64", "1", "2000"),
    "batch-words": ("4096", "1", "70"),
    "window": ("5", "100", "1"),
    "noise-words": ("64", "512", "8"),
    "min-count": ("1", "2", "9"),
}
PERSON, PLACE, NOTHING = "Ada B-PER\nflew O\n\n", "Oslo B-LOC\nis O\nBo B-PER\n\n", "it O\nis O\n\n"
SPLITS = {
    "one sentence": (PLACE, PLACE, PLACE),
    "one word": ("Ada B-PER\n", "Ada B-PER\n", "Ada B-PER\n"),
    "a validation of one word": (PERSON + PLACE, "Ada B-PER\n", PERSON),
    "nothing to find in the others": (PERSON + PLACE, "x O\n", NOTHING),
    "nothing to learn": (NOTHING, NOTHING, NOTHING),
    "no validation": (PERSON, "", PERSON),
    "no test": (PERSON, PERSON, "\n\n"),
    "no training": ("-DOCSTART- O\n\n", PERSON, PERSON),
}
TRAINING = {
    "batch-size": ("16", "1000", "1"),
    "preset": ("default", "lecture", "conll2003"),
    "decoder": ("crf", "softmax"),
    "accumulate-grad-batches": ("1", "50"),
    "val-check-interval": ("1.0", "0.1"),
    "limit-train-batches": ("1.0", "0", "1000"),
    "max-steps": ("-1", "0", "1"),
    "limit-val-batches": ("1.0", "0"),
    "max-epochs": ("2", "0"),
}
EVERY = [3, pytest.param(1, marks=pytest.mark.soak)]
"""The fast suite takes every third row of a table, beginning at another one for each text."""


def finished_or_said(path: Path, *words: str) -> dict[str, Any] | None:
    """The results of a run that has come to its end; None where one line said why not, and no folder was left."""
    result = CliRunner().invoke(cli.main, [*words, "--threads", "1", "--no-progress", "--run", str(path)])
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.output)
    if result.exit_code:
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.exit_code == 2, (words, result.output)
        assert len(errors) == 1
        assert not path.exists(), words
        return None
    described = read_manifest(path)
    assert described["status"] == "finished"
    assert all(math.isfinite(value) for value in described["metrics"].values()), (words, described["metrics"])
    metrics: dict[str, Any] = described["metrics"]
    return metrics


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("name", TEXTS)
def test_a_tiny_text_is_learned_or_refused(tmp_path: Path, name: str, every: int) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXTS[name], encoding="utf-8")
    learned = 0
    for number, row in enumerate(pairwise(LAYOUT)[[*TEXTS].index(name) % every :: every]):
        if name == "one pair among single words":
            row["batch-words"] = "4096"  # else hundreds of steps
        options = [word for option, value in row.items() for word in (f"--{option}", value)]
        given = "train-w2v --pretokenized --dim 4 --epochs 2 --block 1 --corpus".split()
        results = finished_or_said(tmp_path / str(number), *given, str(text), *options)
        assert results is None or results["train_loss"] > 0.0, row
        learned += results is not None
        if name.startswith(("nine", "six")) and row["sample"] == "0" and row["min-count"] != "9":
            assert results, row
    assert learned or not name.startswith(("nine", "six", "one pair"))


@pytest.mark.parametrize("architecture", LAYOUT["architecture"])
@pytest.mark.parametrize("loss", LAYOUT["loss"])
def test_nine_lines_of_four_words_are_learned(tmp_path: Path, loss: str, architecture: str) -> None:
    (tmp_path / "text.txt").write_text(TEXTS["nine lines of four words"], encoding="utf-8")
    words = f"train-w2v --pretokenized --sample 0 --dim 8 --epochs 20 --lr 0.3 --loss {loss} --architecture {architecture}"
    assert finished_or_said(tmp_path / "run", *words.split(), "--corpus", str(tmp_path / "text.txt"))
    logged = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    losses = [each["train_loss_epoch"] for each in logged if "train_loss_epoch" in each]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("name", SPLITS)
def test_a_tiny_tagger_is_trained_or_refused(tmp_path: Path, name: str, every: int) -> None:
    for split, content in zip(("train", "valid", "test"), SPLITS[name], strict=True):
        (tmp_path / f"{split}.conll").write_text(content, encoding="utf-8")
    refused = name in ("nothing to learn", "no validation", "no test", "no training")
    for number, row in enumerate(pairwise(TRAINING)[[*SPLITS].index(name) % every :: every]):
        options = [word for option, value in row.items() for word in (f"--{option}", value)]
        given = ["train-ner", "--data", str(tmp_path), "--vectors", "none", "--hidden-size", "4", *options]
        results = finished_or_said(tmp_path / str(number), *given)
        nothing = "0" in (row["limit-train-batches"], row["max-steps"])  # 0 epochs are as many as suit the data
        assert (results is None) == (nothing or refused), row


def test_vectors_that_know_no_word_are_told(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.conll").write_text(PLACE, encoding="utf-8")
    (tmp_path / "v.txt").write_text("1 2\nслово 0.5 0.25\n", encoding="utf-8")
    words = "train-ner --hidden-size 4 --max-epochs 1 --threads 1 --data {0} --vectors {0}/v.txt --run {0}/run"
    result = CliRunner().invoke(cli.main, words.format(tmp_path).split())
    assert result.exit_code == 0, result.output
    assert "vectors: they contain no word of the training data" in result.output
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "finished"
