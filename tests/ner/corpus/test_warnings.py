"""What is odd but no error is said once, by each command that meets it: words that are numbers, types with blanks."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ner.config import TaggerConfig
from ner.corpus.check import data_check
from ner.corpus.conll import Columns, Sentence
from ner.corpus.scheme import doubtful_types, to_spans
from ner.predict import evaluate_file, predict_stream
from ner.tagging.readers import FORMS
from ner.tagging.tagger import TrainedTagger
from ner.tagging.writers import FORMATS
from ner.train import train_tagger
from tests.ner.small_tagger import tagger
from training.errors import DataError
from training.run.experiment import RunOptions

BLANK = "PER of"
SENTENCES = [
    Sentence(("Ada", "Marlow", "flew", "to", "Oslo", "."), (f"B-{BLANK}", f"E-{BLANK}", "O", "O", "S-LOC", "O")),
    Sentence(("Bo", "won", "in", "Rome", "."), (f"S-{BLANK}", "O", "O", "S-LOC", "O")),
]
TAGGER = tagger(3)


class Read(Exception):
    """Training has read its data and said what is odd."""


def told_by_training(path: Path) -> list[str]:
    """What train-ner says until it makes its network."""
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        if line.startswith("vectors: none"):
            raise Read

    files = {name: str(path) for name in ("train", "valid", "test")}
    with pytest.raises(Read):
        train_tagger(TaggerConfig(vectors="none", hidden_size=4, **files), RunOptions(tell=tell, path=str(path) + ".run"))  # type: ignore[arg-type]
    return said


def told_by_check(path: Path) -> list[str]:
    return [f"warning: {each.text}" for each in data_check([path]).findings if each.level == "warning"]


def told_by_predict(path: Path) -> list[str]:
    said: list[str] = []
    "".join(predict_stream(TAGGER, str(path), "conll", warn=said.append))
    return said


def told_by_evaluate(path: Path) -> list[str]:
    said: list[str] = []
    evaluate_file(TAGGER, str(path), warn=said.append)
    return said


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "data check": told_by_check,
    "train-ner": told_by_training,
    "predict": told_by_predict,
    "evaluate": told_by_evaluate,
}
NUMBERS = {  # words in the first column, tags in the last
    "numbers of documents": [("7001", "Ada", "S-PER"), ("7002", "won", "O"), ("9", "in", "O"), ("7004", "Oslo", "S-LOC")],
    "offsets": [("0-3", "Ada", "S-PER"), ("4-7", "won", "O"), ("8-10", "in", "O"), ("11-15", "Oslo", "S-LOC")],
    "scores": [("0.5", "Ada", "S-PER"), ("0.75", "won", "O"), ("-1", "in", "O"), ("0.25", "Oslo", "S-LOC")],
    "dates": [("1996-08-22", "Ada", "S-PER"), ("1996/08/23", "won", "O"), ("12:30", "in", "O"), ("1,000", "Oslo", "S-LOC")],
    "words": [("Ada", "NNP", "S-PER"), ("won", "VBD", "O"), ("7", "CD", "O"), ("1996", "CD", "O")],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("content", NUMBERS)
def test_a_word_column_of_numbers_is_warned_of(content: str, separator: str, command: str, tmp_path: Path) -> None:
    path = tmp_path / "data.conll"
    rows = "".join(f"{separator.join(row)}\n" for row in NUMBERS[content])
    path.write_text(f"{rows}\n" * 3)
    said = [line for line in COMMANDS[command](path) if "--word-column" in line]
    assert len(said) == (content != "words"), said
    assert all("numbers" in line and str(path) in line and "\n" not in line for line in said)


@pytest.mark.parametrize("command", ["data check", "train-ner"])
def test_a_type_with_a_blank_is_warned_of(command: str, tmp_path: Path) -> None:
    assert len(doubtful_types(["PER", BLANK])) == 1
    path = tmp_path / "data.conll"
    path.write_text("".join("".join(f"{w}\t{t}\n" for w, t in zip(s.words, s.tags, strict=True)) + "\n" for s in SENTENCES))
    said = [line for line in COMMANDS[command](path) if repr(BLANK) in line]
    assert len(said) == 1
    assert said[0].startswith("warning: ")
    assert "--format jsonl" in said[0]


@pytest.fixture(scope="module")
def with_blanks() -> TrainedTagger:
    """A tagger that finds entities of the type with a blank in ``TEXT``."""
    for seed in range(20):
        found = tagger(seed, sentences=SENTENCES)
        if any(span.type == BLANK for span in to_spans(found.tag([TEXT.split()])[0])):
            return found
    raise AssertionError


TEXT = "Ada Marlow flew to Oslo and Bo won in Rome ."
INPUTS = {
    "text": f"{TEXT}\n",
    "sentences": f"{TEXT}\n",
    "conll": "".join(f"{word}\tx\n" for word in TEXT.split()) + "\n",
    "conll by blanks": "".join(f"{word} x\n" for word in TEXT.split()) + "\n",
    "conll of words": "".join(f"{word}\n" for word in TEXT.split()) + "\n",
    "jsonl": json.dumps({"tokens": TEXT.split()}) + "\n",
}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("given", INPUTS)
def test_a_type_with_a_blank_is_written_to_every_form_or_the_form_is_named(
    given: str, output: str, with_blanks: TrainedTagger, tmp_path: Path
) -> None:
    form = given.split()[0]
    assert form in FORMS
    path = tmp_path / "input"
    path.write_text(INPUTS[given])
    pieces = predict_stream(with_blanks, str(path), form, output, columns=Columns(0, None), split_words=True)
    if output == "conll" and given in ("conll by blanks", "conll of words"):
        with pytest.raises(DataError, match=rf"{path}:\d+: expected a tag that .*{BLANK}.*; write --format jsonl instead"):
            "".join(pieces)
        return
    whole = "".join(pieces)
    tags = with_blanks.tag([TEXT.split()])[0]
    count = sum(span.type == BLANK for span in to_spans(tags))
    assert count > 0
    if output == "conll":
        assert [row.split("\t")[-1] for row in whole.split("\n") if row] == tags
    elif output == "jsonl":
        line = json.loads(whole)
        assert sum(entity["type"] == BLANK for entity in line["entities"]) == count
        assert form in ("text", "sentences") or line["tags"] == tags
    elif output == "text":
        assert len(re.findall(rf"\[[^]]+\]\{{{BLANK} \d\.\d\d\}}", whole)) == count
    else:
        assert len(re.findall(rf"<small>{html.escape(BLANK)} ", whole)) == count


def test_what_five_thousand_types_cost_is_said_before_training(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("".join(f"word{i} B-T{i}\n\n" for i in range(5000)))
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        if "the CRF scores" in line:
            raise Read

    files = {name: str(path) for name in ("train", "valid", "test")}
    with pytest.raises(Read):
        train_tagger(TaggerConfig(vectors="none", **files), RunOptions(tell=tell, path=str(tmp_path / "run")))  # type: ignore[arg-type]
    assert said[-1] == (
        "tags: 20,001 labels, so the CRF scores 400,040,001 transitions at every word, and needs about 24.0 GB for them: "
        "steps are slow; --decoder softmax has no transitions"
    )
    assert not (tmp_path / "run").exists()


def test_few_types_or_no_crf_are_told_nothing_of(tmp_path: Path) -> None:
    path = tmp_path / "data.conll"
    path.write_text("".join(f"word{i} B-T{i}\n\n" for i in range(100)))
    assert not any("the CRF scores" in line for line in told_by_training(path))
