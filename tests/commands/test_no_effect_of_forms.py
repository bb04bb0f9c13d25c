"""Options about columns, typed for files of spans, are named in a warning, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from training.errors import ConfigError

COLUMNS = {"a.conll": "Ada B-PER\nran O\n\n"}
JSON = {"a.jsonl": '{"text": "Ada ran", "spans": [{"start": 0, "end": 3, "label": "PER"}]}\n'}
LIST = {"a.json": '[{"text": "Ada ran", "spans": [{"start": 0, "end": 3, "label": "PER"}]}]\n'}
BRAT = {"a.txt": "Ada ran\n", "a.ann": "T1\tPER 0 3\tAda\n"}
OF_ALL = ["--misaligned", "--overlapping"]
OF_COLUMNS = ["--word-column 0", "--tag-column -1", "--word-column 0 --tag-column 1"]
OF_SPANS = ["--misaligned skip", "--overlapping first", "--misaligned expand --overlapping outermost"]


def said_of(folder: Path, command: str, files: dict[str, str], typed: str, more: str = "") -> list[str]:
    """The warnings of a ``data`` command on the first of the files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    words = [*command.split(), str(folder / next(iter(files))), *([str(folder / more)] if more else []), *typed.split()]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code in (0, 1), result.output
    return [line for line in result.stderr.splitlines() if "no effect" in line]


def named(typed: str, why: str) -> list[str]:
    """A warning for each option that is among the words."""
    return [f"warning: {word} has no effect, because {why}" for word in typed.split() if word.startswith("--")]


@pytest.mark.parametrize("typed", OF_COLUMNS)
@pytest.mark.parametrize("files", [JSON, LIST, BRAT], ids=["lines", "list", "brat"])
@pytest.mark.parametrize(("command", "more"), [("data check", ""), ("data convert", "out.conll")])
def test_columns_of_spans(tmp_path: Path, command: str, more: str, files: dict[str, str], typed: str) -> None:
    assert sorted(said_of(tmp_path, command, files, typed, more)) == sorted(named(typed, "no file has columns"))


@pytest.mark.parametrize("typed", OF_SPANS)
@pytest.mark.parametrize(("command", "more"), [("data check", ""), ("data convert", "out.jsonl")])
def test_rules_for_spans_of_columns(tmp_path: Path, command: str, more: str, typed: str) -> None:
    assert sorted(said_of(tmp_path, command, COLUMNS, typed, more)) == sorted(
        named(typed, "columns have no spans of characters")
    )


@pytest.mark.parametrize(
    ("files", "typed"), [*((COLUMNS, each) for each in OF_COLUMNS), *((JSON, each) for each in OF_SPANS)]
)
@pytest.mark.parametrize(("command", "more"), [("data check", ""), ("data convert", "out.conll")])
def test_what_has_an_effect_is_not_named(tmp_path: Path, command: str, more: str, files: dict[str, str], typed: str) -> None:
    assert said_of(tmp_path, command, files, typed, more) == []


@pytest.mark.parametrize(("target", "expected"), [("out.conll", False), ("out.jsonl", True), ("out.ann", True)])
def test_a_scheme_needs_tags(tmp_path: Path, target: str, expected: bool) -> None:
    form = {"out.jsonl": "jsonl", "out.ann": "brat"}.get(target)
    assert said_of(tmp_path, "data convert", COLUMNS, "--scheme IOBES", target) == (
        [f"warning: --scheme has no effect, because {form} has no tags"] if expected else []
    )


def test_of_several_files_one_of_its_form_is_enough(tmp_path: Path) -> None:
    (tmp_path / "b.conll").write_text(COLUMNS["a.conll"])
    assert said_of(tmp_path, "data check", JSON, "--word-column 0 --misaligned skip", "b.conll") == []


@pytest.mark.parametrize("source", [JSON, BRAT], ids=["lines", "brat"])
@pytest.mark.parametrize(
    ("target", "form", "idle"), [("out.jsonl", "jsonl", ["--overlapping"]), ("out.ann", "brat", OF_ALL)]
)
def test_spans_that_are_written_as_spans(
    tmp_path: Path, source: dict[str, str], target: str, form: str, idle: list[str]
) -> None:
    said = said_of(tmp_path, "data convert", source, "--misaligned skip --overlapping first", target)
    assert sorted(said) == [f"warning: {each} has no effect, because {form} can hold such spans" for each in idle]


@pytest.mark.parametrize(
    ("files", "typed", "idle"),
    [
        (JSON, "--word-column 0 --tag-column 1", ["--word-column", "--tag-column"]),
        (JSON, "--misaligned skip --overlapping first", []),
        (COLUMNS, "--misaligned skip --overlapping first", ["--misaligned", "--overlapping"]),
        (COLUMNS, "--word-column 0", []),
    ],
)
def test_training(tmp_path: Path, files: dict[str, str], typed: str, idle: list[str]) -> None:
    (name, text), *_ = files.items()
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}{Path(name).suffix}").write_text(text)
    words = ["train-ner", "--data", str(tmp_path), "--vectors", str(tmp_path / "nowhere"), *typed.split()]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 2, done.output
    said = [line.split()[1] for line in done.stderr.splitlines() if "no effect" in line]
    assert said == idle
    assert "no effect" not in CliRunner().invoke(cli.main, [*words, "--quiet"]).stderr


TEXT = {"a.txt": "Ada ran.\n"}
TOKENS = {"a.jsonl": '{"text": "Ada ran."}\n'}


@pytest.mark.parametrize(
    ("files", "typed", "idle"),
    [
        (TEXT, "--word-column 0", ["--word-column"]),
        (TOKENS, "--word-column 0", ["--word-column"]),
        (COLUMNS, "--word-column 0", []),
        (COLUMNS, "--tag-column 1", ["--tag-column"]),
        (COLUMNS, "--pretokenized", ["--pretokenized"]),
        (TEXT, "--pretokenized", []),
        (TOKENS, "--pretokenized", []),
        (TEXT, "--color always", []),
        (TEXT, "--color always --format html", ["--color"]),
        (COLUMNS, "--color always", ["--color"]),
        (COLUMNS, "--color always --format text", []),
        (COLUMNS, "--color never", []),
    ],
)
def test_what_predict_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], typed: str, idle: list[str]
) -> None:
    """Before the tagger is read; the options are those of the first file's form where none is named."""

    def enough(*_: object) -> None:
        raise ConfigError("enough")

    monkeypatch.setattr("ner.tagging.tagger.TrainedTagger.load", enough)
    (name, text), *_ = files.items()
    (tmp_path / name).write_text(text)
    done = CliRunner().invoke(cli.main, ["predict", "run", str(tmp_path / name), *typed.split()])
    assert [line.split()[1] for line in done.stderr.splitlines() if "no effect" in line] == idle
    assert done.stderr.endswith("error: enough\n")


def test_a_stream_may_be_of_any_form(monkeypatch: pytest.MonkeyPatch) -> None:
    def enough(*_: object) -> None:
        raise ConfigError("enough")

    monkeypatch.setattr("ner.tagging.tagger.TrainedTagger.load", enough)
    done = CliRunner().invoke(cli.main, "predict run - --word-column 1 --pretokenized".split(), input="Ada\n")
    assert done.stderr == "error: enough\n"
