"""What looks wrong with word vectors is said once with its most likely reason; where all is well nothing is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from training.run.experiment import RunOptions
from word2vec import Word2VecConfig, train_word2vec
from word2vec.explain import Trained, explain

WELL = Trained(Word2VecConfig(), 5000, 300_000, 290_000, 15_000, 0.4, [5.0, 4.0, 3.9])
FLAT = [5.0, 5.1, 5.2]
NO_FALL = "The loss did not fall: it was 5 in the first epoch, and 5.2 in the last"
FEW = "Only 7 words have a vector"
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "loss, rate high": ({"losses": FLAT, "lr": 40.0}, NO_FALL, "--lr 40 is too high"),
    "loss, rate low": ({"losses": FLAT, "lr": 1e-6}, NO_FALL, "--lr 1e-06 is so low"),
    "loss, sample": ({"losses": FLAT, "kept": 0.001, "sample": 1e-9}, NO_FALL, "--sample 1e-09 drops 99.9 % of the words"),
    "loss, nothing": ({"losses": FLAT}, NO_FALL, "do not predict each other"),
    "few words, min count": ({"vocabulary": 7, "words": 900, "min_count": 50}, FEW, "--min-count 50 leaves out 99.7 % of"),
    "few words, limit": ({"vocabulary": 7, "words": 9000, "max_vocab": 7}, FEW, "--max-vocab 7 leaves out 97.0 % of"),
    "few words, little text": ({"vocabulary": 7, "read": 90, "words": 80}, FEW, "the text has 90 words, read in 3 epochs"),
    "few words, no text": ({"vocabulary": 7}, FEW, "are few distinct ones: are they labels"),
    "one word a line": ({"sentences": 250_000}, "Few words had another one in their window", "a sentence has 1.2 words"),
    "min count": ({"words": 100_000}, "Only 33.3 % of the text's words were trained on", "--min-count 2 leaves out 66.7 %"),
    "sample": ({"kept": 0.01, "sample": 1e-8}, "Only 1 % of the words were trained on in an epoch", "--sample 1e-08 drops"),
}


def seen(**changes: Any) -> Trained:
    """A training in which all is well, but for ``changes`` of what is seen or of settings."""
    own = {each.name for each in dataclasses.fields(Trained)}
    settings = {name: value for name, value in changes.items() if name not in own}
    facts = {name: value for name, value in changes.items() if name in own}
    return dataclasses.replace(WELL, config=dataclasses.replace(WELL.config, **settings), **facts)


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_once_with_its_reason(case: str) -> None:
    changes, sign, reason = CASES[case]
    (line,) = explain(seen(**changes))
    assert line.startswith(sign)
    assert reason in line
    assert "\n" not in line
    assert len(line) < 400


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"losses": [5.0]}, {"losses": []}, {"losses": [5.0, 5.1, 4.9]}, {"kept": 1.0, "sample": 0.0},
        {"read": 400, "words": 390, "sentences": 40, "vocabulary": 60}, {"words": 160_000}, {"lr": 40.0},
        {"losses": FLAT, "fast_dev_run": 1},
    ],
)  # fmt: skip
def test_where_all_is_well_nothing_is_said(changes: dict[str, Any]) -> None:
    assert explain(seen(**changes)) == []


TEXTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "one word a line": ("".join(f"w{i % 70}\n" for i in range(900)) + "w1 w2\n", {}, "a sentence has 1.0 words"),
    "one line": ("the cat saw the dog and the dog saw the cat\n", {}, "the text has 11 words, read in 2 epochs"),
    "few words": ("a b c d e f g\n" * 2000, {}, "are few distinct ones"),
    "rare words": (
        " ".join(f"w{i}" for i in range(400)) + "\n" + "the of and\n" * 20, {"min_count": 5}, "--min-count 5 leaves out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_run_says_it_in_the_terminal(name: str, tmp_path: Path) -> None:
    text, changes, reason = TEXTS[name]
    (tmp_path / "text.txt").write_text(text)
    told: list[str] = []
    config = Word2VecConfig(
        corpus=(str(tmp_path / "text.txt"),), dim=4, max_epochs=2, sample=0.0, threads=1, progress=False, **changes
    )
    train_word2vec(config, RunOptions(path=str(tmp_path / "run"), tell=told.append))
    (said,) = [line for line in told if line.startswith("warning: ")]
    assert reason in said


def test_of_the_sample_nothing_is_said(small_text: Path, tmp_path: Path) -> None:
    told: list[str] = []
    config = Word2VecConfig(corpus=(str(small_text),), dim=8, max_epochs=2, threads=1, progress=False)
    train_word2vec(config, RunOptions(path=str(tmp_path / "run"), tell=told.append))
    assert not [line for line in told if line.startswith("warning")]
