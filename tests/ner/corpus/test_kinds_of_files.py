"""Any CoNLL-like columns and any label set: checked, trained on, evaluated and tagged by the commands as they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

import cli
from ner.tagging.tagger import TrainedTagger

Row = Callable[[str, str], str]
TEXT = [("Ada", "B-PER"), ("Marlow", "I-PER"), ("flew", "O"), ("to", "O"), ("Oslo", "B-LOC"), (".", "O")]
MORE = [("Ünsal", "B-PER"), ("won", "O"), ("in", "O"), ("New", "B-LOC"), ("York", "I-LOC")]
TINY = "--vectors none --max-epochs 1 --hidden-size 4 --word-dim 4 --batch-size 4 --threads 1 --quiet"
LETTERS = {
    "IOB1": {"B": "I"},
    "IOBES": {"Ada": "B", "Marlow": "E", "Oslo": "S", "Ünsal": "S", "New": "B", "York": "E"},
    "BILOU": {"Ada": "B", "Marlow": "L", "Oslo": "U", "Ünsal": "U", "New": "B", "York": "L"},
}


class Kind(NamedTuple):
    """How a data set writes itself: its files' names, a row, what stands before a sentence and a file, bytes, options."""

    names: tuple[str, str, str] = ("train.txt", "dev.txt", "test.txt")
    row: Row = lambda word, tag: f"{word} {tag}"
    comment: str = ""
    begins: str = ""
    encoding: str = "utf-8"
    end: str = "\n"
    options: str = ""
    types: tuple[str, ...] = ("LOC", "PER")


def scheme(name: str) -> Row:
    """Rows whose tags are in another scheme than IOB2."""

    def row(word: str, tag: str) -> str:
        letter = LETTERS[name].get(word) or LETTERS[name].get(tag[0], tag[0])
        return f"{word} {tag if tag == 'O' else letter + tag[1:]}"

    return row


def renamed(**types: str) -> Row:
    return lambda word, tag: f"{word}\t{tag if tag == 'O' else tag[:2] + types[tag[2:]]}"


KINDS = {
    "two columns, tabs": Kind(row=lambda word, tag: f"{word}\t{tag}"),
    "ten columns": Kind(row=lambda word, tag: " ".join([word, *"abcdefgh", tag])),
    "IOB1": Kind(row=scheme("IOB1")),
    "IOBES": Kind(row=scheme("IOBES")),
    "BILOU": Kind(row=scheme("BILOU")),
    "the tag first": Kind(row=lambda word, tag: f"{tag} {word}", options="--word-column 1 --tag-column 0"),
    "comments, as MultiCoNER": Kind(row=lambda word, tag: f"{word} _ _ {tag}", comment="# id 61a3 domain=en\n"),
    "GermEval 2014": Kind(
        ("NER-de-train.tsv", "NER-de-dev.tsv", "NER-de-test.tsv"),
        lambda word, tag: f"1\t{word}\t{tag}\tO",
        "#\thttp://de.wikipedia.org [2009-10-17]\n",
        options="--word-column 1 --tag-column 2",
    ),
    "German of 2003": Kind(
        ("deu.train", "deu.testa", "deu.testb"),
        lambda word, tag: f"{word} {word} NN I-NC {tag}",
        begins="-DOCSTART- -X- -X- -X- O\n\n",
    ),
    "WNUT 2017": Kind(
        ("wnut17train.conll", "emerging.dev.conll", "emerging.test.conll"),
        renamed(PER="person", LOC="creative-work"),
        types=("creative-work", "person"),
    ),
    "odd names": Kind(row=renamed(PER="PER-PART of", LOC="Ünit/ü:1"), types=("PER-PART of", "Ünit/ü:1")),
    "CRLF and a byte-order mark": Kind(encoding="utf-8-sig", end="\r\n"),
}


def write(kind: Kind, folder: Path) -> None:
    rows = ["".join(kind.row(word, tag) + "\n" for word, tag in sentence) for sentence in (TEXT, MORE)]
    text = kind.begins + "".join(f"{kind.comment}{row}\n" for row in 3 * rows)
    for name in kind.names:
        (folder / name).write_bytes(text.replace("\n", kind.end).encode(kind.encoding))


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_files_goes_through_all_commands(name: str, tmp_path: Path) -> None:
    kind, path = KINDS[name], tmp_path / "run"
    write(kind, tmp_path)
    options = kind.options.split()
    checked = run("data", "check", tmp_path, *options)
    assert checked.exit_code == 0, checked.output
    assert checked.output.count(": 6 sentences, 33 words (11 distinct)") == 3
    trained = run("train-ner", "--data", tmp_path, *options, *TINY.split(), "--run", path)
    assert (trained.exit_code, trained.output) == (0, "")
    tagger = TrainedTagger.load(path)
    assert tuple(sorted(tagger.indexer.types)) == kind.types
    evaluated = run("evaluate", path, tmp_path / kind.names[2], "--html", tmp_path / "report.html")
    assert evaluated.exit_code == 0, evaluated.output
    tagged = run("predict", path, tmp_path / kind.names[2], "--input", "conll")
    assert tagged.exit_code == 0, tagged.output
    words = [line.split() for line in tagged.output.splitlines() if line and not line.startswith(("#", "-DOCSTART-"))]
    assert len(words) == 33
    assert all(row[-1] == "O" or row[-1][1] == "-" or kind.types[0] == "PER-PART of" for row in words)


def test_files_without_an_entity_are_nothing_to_train_on(tmp_path: Path) -> None:
    write(Kind(row=lambda word, tag: f"{word} O"), tmp_path)
    checked = run("data", "check", tmp_path)
    assert checked.exit_code == 0, checked.output
    assert "every tag is O" in checked.output
    trained = run("train-ner", "--data", tmp_path, *TINY.split(), "--run", tmp_path / "run")
    assert trained.exit_code == 2
    assert "nothing to train on: expected tags of entities" in trained.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("row", "encoding", "message"),
    [
        (lambda word, tag: f"{word} {tag}", "latin-1", r"expected UTF-8, got byte 0xdc at byte 1 .* \(iconv -f LATIN1"),
        (lambda word, tag: f"{word} {tag}", "utf-16", r"expected a CoNLL file, got text in UTF-16 .* iconv -f UTF-16"),
        (
            lambda word, tag: f"{word},{tag}",
            "utf-8",
            r"expected a word and its tag in at least 2 columns, separated by tabs",
        ),
        (lambda word, tag: f"{word} {tag[2:] or 'O'}", "utf-8", r"expected O or a tag like B-PER .*, got 'PER' in column 2"),
    ],
    ids=["Latin-1", "UTF-16", "commas", "types without letters"],
)
def test_what_is_none_is_one_line_that_says_what_to_do(row: Row, encoding: str, message: str, tmp_path: Path) -> None:
    write(Kind(row=row, encoding=encoding), tmp_path)
    for words in (["data", "check", tmp_path], ["train-ner", "--data", tmp_path, *TINY.split(), "--run", tmp_path / "run"]):
        result = run(*words)
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.output
        if words[0] == "train-ner":
            assert len(result.output.splitlines()) == 1
        assert re.search(message, result.output), result.output
    assert not (tmp_path / "run").exists()
