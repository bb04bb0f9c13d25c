"""Types that look like tags, are called as the report's own rows, or stand outside the training split alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ner.config import TaggerConfig
from ner.corpus.check import data_check
from ner.corpus.conll import Sentence
from ner.corpus.dataset import read_dataset
from ner.corpus.scheme import doubtful_types
from ner.scoring.metrics import AVERAGES, report
from ner.scoring.report import evaluation
from ner.train import train_tagger
from training.errors import DataError
from training.run.experiment import RunOptions


@pytest.mark.parametrize("kind", ["O", "B", "S", "U", "PER|B-ORG", "B-PER|I-ORG", "PER,I-LOC", "PER;B-X", "I-PER", "A/B-C"])
def test_a_type_that_looks_like_a_tag_is_warned_of(kind: str, tmp_path: Path) -> None:
    assert len(doubtful_types(["PER", kind])) == 1
    path = tmp_path / "train.conll"
    path.write_text(f"Ann B-PER\nsaw O\nBob B-{kind}\n\n")
    found = [each for each in data_check([path]).findings if each.kind == "types"]
    assert any(repr(kind) in each.text and each.level == "warning" for each in found)


def test_ordinary_types_are_not() -> None:
    assert doubtful_types(["PER", "creative-work", "E-mail", "", "a|b", "LOC/GPE", "_", "MISC"]) == []


@pytest.mark.parametrize("kind", [*AVERAGES, "_", "all", "MICRO AVG", "x avg", "missed", "spurious", "micro avg (type)"])
@pytest.mark.parametrize("reading", ["strict", "conlleval"])
def test_no_type_is_written_over_by_the_reports_own_rows(kind: str, reading: str) -> None:
    gold = [[f"B-{kind}", "O", "B-PER", f"B-{kind}", "B"], ["B-micro avg", "O", "B", "B", "O"]]
    wrong = [[f"B-{kind}", "O", "O", "O", "O"], ["B-micro avg", "O", "B", "B", "O"]]
    table = getattr(report(gold, wrong, "IOB2"), reading)
    types = {name: cells for name, cells in table.items() if name not in AVERAGES}
    assert len(types) == (3 if kind == "micro avg" else 4)
    assert sum(cells["support"] for cells in types.values()) == table["micro avg"]["support"] == 7
    assert table["micro avg"]["recall"] == pytest.approx(4 / 7)
    assert types[f"{kind} (type)" if kind in AVERAGES or kind == "_" else kind]["support"] in (2, 3)
    shown = evaluation([Sentence(("w",) * 5, tuple(row)) for row in gold], wrong, "IOB2", len, len).to_text()  # type: ignore[arg-type]
    assert kind in shown


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_type_that_training_lacks_is_counted_and_has_a_way_on(split: str, tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("Ann B-PER\nsaw O\n\n")
    (tmp_path / f"{split}.txt").write_text("Ann B-PER\nsaw O\n\nOslo B-LOC\nand O\nRome B-LOC\n\nX B-ODD\n")
    with pytest.raises(DataError) as caught:
        read_dataset(TaggerConfig(data=str(tmp_path)))
    message = str(caught.value)
    assert f"{split}.txt:4" in message
    assert "LOC (2 entities, first" in message
    assert "ODD (1 entity, first" in message
    assert "put such sentences into the training file" in message


def test_no_test_is_no_report_of_zeros(small_data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = TaggerConfig(data=str(small_data), limit_test_batches=0, limit_train_batches=2, max_epochs=1, hidden_size=8)
    run = train_tagger(config, RunOptions(path=str(tmp_path / "run"), root=str(tmp_path), tell=said.append))
    assert not list(run.glob("test_report.*"))
    assert not (run / "predictions.conll").exists()
    assert any("test: not run" in line for line in said)
