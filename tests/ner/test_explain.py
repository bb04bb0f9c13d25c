"""What looks wrong with a training is said with its most likely reason, by made cases; where all is well nothing is said."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from ner import TaggerConfig, evaluation, train_tagger
from ner.corpus.conll import Sentence
from ner.corpus.dataset import Dataset
from ner.corpus.splits import Splits
from ner.explain import FAR, NO_VECTORS, Trained, explain
from ner.schedule import RATE
from ner.scoring.report import Evaluation
from ner.vectors.views import Coverage
from training.run.experiment import RunOptions

WELL = [{"train_loss_epoch": 1 / (n + 1), "val_f1": 0.1 * n, "train_f1": 0.1 * n + 0.05} for n in range(8)]
WELL.append({**WELL[-1], "train_loss_epoch": 0.1})
COVERED = Coverage(90, 5, 5, 0.95, ())


def sentences(count: int, *, seed: int = 1, words: int = 900, types: tuple[str, ...] = ("PER", "LOC")) -> list[Sentence]:
    """Random sentences of 8 words, one entity each."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        tags = ["O"] * 8
        tags[rng.randrange(8)] = f"S-{types[number % len(types)]}"
        made.append(Sentence(tuple(f"w{rng.randrange(words)}" for _ in tags), tuple(tags)))
    return made


def graded(gold: list[Sentence], without: tuple[str, ...]) -> Evaluation:
    """A test in which all is right, but for the types that are not predicted."""
    predicted = [["O" if tag[2:] in without else tag for tag in sentence.tags] for sentence in gold]
    return evaluation(gold, predicted, "IOBES", seen=lambda word: True)


def seen(**changes: Any) -> Trained:
    """A training in which all is well, but for ``changes``: of what is seen, of settings, of data."""
    splits: Any = {"train": sentences(400), "valid": sentences(80, seed=2), "test": sentences(80, seed=3)}
    splits |= {name: changes.pop(name) for name in list(changes) if name in splits}
    repaired = changes.pop("repaired", 0)
    dataset = Dataset(**splits, paths=Splits(*[Path("x")] * 3), source_scheme="IOB2", repaired=repaired)
    names = {each.name for each in dataclasses.fields(TaggerConfig)}
    given = {name: changes.pop(name) for name in list(changes) if name in names}
    config = TaggerConfig(**{"lr": RATE, **given})
    found = changes.pop("found", None) or graded(splits["test"], changes.pop("without", ()))
    facts: dict[str, Any] = {"coverage": COVERED, "steps": 1000, "metrics": WELL, **changes}
    return Trained(config, dataset, found=found, **facts)


ALL = ("PER", "LOC")
ZERO = [{"train_loss_epoch": 1 / (n + 1), "val_f1": 0.0, "train_f1": 0.0} for n in range(4)]
FLAT = [{"train_loss_epoch": 1.0 + n, "val_f1": 0.3, "train_f1": 0.3} for n in range(4)]
APART = [{"train_loss_epoch": 1 / (n + 1), "val_f1": 0.2, "train_f1": 0.2 * n} for n in range(5)]
NONE = {"metrics": ZERO, "without": ALL}
RARE = sentences(400) + sentences(4, types=("ORG",))
ODD = [dataclasses.replace(s, tags=tuple(t if t == "O" else f"S-{i}" for t in s.tags)) for i, s in enumerate(sentences(400))]
FEW = [dataclasses.replace(s, tags=("O",) * 8) for s in sentences(400)] + sentences(3)
DENSE = [dataclasses.replace(s, tags=("S-PER",) * 4 + ("O",) * 4) for s in sentences(80)]
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "F1, rate high": ({**NONE, "lr": 1.0}, "F1 stayed 0 on valid and test", "--lr 1 is too high for Adam"),
    "F1, rate low": ({**NONE, "lr": 1e-7}, "F1 stayed 0", "--lr 1e-07 is so low"),
    "F1, steps": ({**NONE, "steps": 7}, "F1 stayed 0", "only 7 steps were taken"),
    "F1, word column": ({**NONE, "train": sentences(400, words=30)}, "F1 stayed 0", "--word-column names the wrong"),
    "F1, tag column": ({**NONE, "train": ODD}, "F1 stayed 0", "400 types for 400 entities: --tag-column"),
    "F1, label counts": ({**NONE, "train": FEW}, "F1 stayed 0", "the training data has 3 entities in 3,224 words"),
    "F1, scheme": ({**NONE, "repaired": 90}, "F1 stayed 0", "90 tags broke the scheme IOB2 and were repaired"),
    "F1, coverage": ({**NONE, "coverage": Coverage(1, 0, 99, 0.01, ())}, "F1 stayed 0", "only 1.0 % of the training words"),
    "F1, frozen": ({**NONE, "coverage": None, "freeze_vectors": True}, "F1 stayed 0", "--freeze-vectors freezes random"),
    "F1, dropout": ({**NONE, "dropout": 0.95}, "F1 stayed 0", "--dropout 0.95 hides most"),
    "F1, near 0": ({"metrics": [{**ZERO[0], "val_f1": 0.004}], "without": ALL, "steps": 9}, "F1 stayed below", "9 steps"),
    "F1, nothing": (NONE, "F1 stayed 0", "The run itself shows no reason"),
    "loss, rate": ({"metrics": FLAT, "lr": 0.5}, "The loss did not fall: it was 1 in the first epoch, and 4", "--lr 0.5"),
    "loss, nothing": ({"metrics": FLAT}, "The loss did not fall", "look at the data with data check"),
    "type, rare": (
        {"train": RARE, "test": sentences(90, types=("PER", "LOC", "ORG")), "without": ("ORG",)},
        "Never predicted: ORG (30 in the test)", "the training data has few of its entities: ORG 4",
    ),
    "type, steps": ({"without": ("LOC",), "steps": 9}, "Never predicted: LOC (40 in the test)", "only 9 steps"),
    "valid, labels": ({"metrics": APART, "valid": DENSE}, "F1 is far lower on valid", "12.5 % of train and 50.0 %"),
    "valid, types": (
        {"metrics": APART, "train": sentences(400, types=("PER",) * 9 + ("LOC",))},
        "F1 is far lower", "types are more frequent in valid than in train: LOC",
    ),
    "valid, words": (
        {"metrics": APART, "valid": sentences(80, words=10**6), "coverage": None},
        "F1 is far lower", "% of the words of valid are not in train, and there are no word vectors",
    ),
    "valid, by heart": ({"metrics": APART, "train": sentences(40, words=30)}, "F1 is far lower", "sentences: the tagger"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_once_with_its_reason(case: str) -> None:
    changes, sign, reason = CASES[case]
    lines = explain(seen(**changes))
    assert len(lines) == 1, lines
    assert lines[0].startswith(sign)
    assert reason in lines[0]
    assert "\n" not in lines[0]
    assert len(lines[0]) < 400


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"coverage": None}, {"steps": 5}, {"repaired": 50}, {"lr": 1.0}, {"metrics": []}, {"metrics": WELL[-1:]},
        {"metrics": WELL[:-1], "without": ("LOC",)}, {"metrics": WELL[-1:], "without": ("LOC",)},
        {"train": sentences(20)}, {"train": FEW}, {"metrics": WELL[:2] + FLAT[:1]}, {"fast_dev_run": 1, **NONE},
        {"valid": FEW[:80], "test": FEW[:80], "metrics": ZERO}, {"test": sentences(4), "without": ("LOC",)},
        {"metrics": [{**WELL[-1], "train_f1": WELL[-1]["val_f1"] + FAR - 0.01}]},
    ],
)  # fmt: skip
def test_where_all_is_well_nothing_is_said(changes: dict[str, Any]) -> None:
    assert explain(seen(**changes)) == []


def test_signs_are_said_together() -> None:
    metrics = [{"train_loss_epoch": 2.0 + n, "val_f1": 0.0, "train_f1": 0.9} for n in range(3)]
    lines = explain(seen(metrics=metrics, without=ALL, lr=3.0))
    assert [line.split(" ")[0] for line in lines] == ["The", "F1", "F1"]


@pytest.mark.parametrize("vectors", [False, True])
def test_a_run_says_it_in_the_terminal_and_in_its_report(small_data: Path, tmp_path: Path, vectors: bool) -> None:
    """Trained at a rate that is far too high; with vectors of another language."""
    file = "none"
    if vectors:
        file = str(tmp_path / "vectors.txt")
        Path(file).write_text("2 3\nxqx 1 2 3\nqxq 3 2 1\n")
    told: list[str] = []
    config = TaggerConfig(
        data=str(small_data), vectors=file, hidden_size=4, word_dim=4, max_epochs=1, lr=1.0, progress=False, threads=1,
        decoder="softmax",
    )  # fmt: skip
    run = train_tagger(config, RunOptions(path=str(tmp_path / "run"), tell=told.append))
    (said,) = [line for line in told if "F1 stayed 0" in line]
    assert "--lr 1 is too high" in said
    for name in ("test_report.txt", "test_report.html"):
        report = (run / name).read_text(encoding="utf-8")
        assert report.count("F1 stayed 0 on valid and test") == 1
        assert report.count(NO_VECTORS) == vectors
    assert sum(NO_VECTORS in line for line in told) == vectors
