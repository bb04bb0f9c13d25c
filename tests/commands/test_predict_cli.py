"""predict as a process: it answers while it is being written to, ends with one line, and colors only terminals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from ner.tagging.bundle import MANIFEST, write_bundle
from tests.forked import begin, wait
from tests.ner.small_tagger import saved
from training.run.card import Card

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tagger with random weights."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, saved(3), {}, Card("", "ner", (), ()))
    assert (folder / MANIFEST).is_file()
    return folder


def test_it_answers_line_by_line_and_an_interrupt_ends_it_with_one_line(bundle: Path) -> None:
    """As it is started from a shell, in a new process."""
    words = [sys.executable, "-W", "error", str(ROOT / "cli.py"), "predict", str(bundle), "--threads", "1"]
    process = subprocess.Popen(
        [*words, "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell has its background jobs ignore it
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    for text in ("Ada flew to Oslo.", "Bo won."):
        process.stdin.write(f"{text}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == text  # before the end of the input
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr.read() == b"interrupted\n"
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_a_reader_that_goes_away_ends_it_with_one_line(bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("Ada flew to Oslo.\n" * 20_000)
    ours, theirs = os.pipe()
    with open(os.devnull, "rb") as nothing, open(tmp_path / "errors", "wb") as errors:
        child = begin(
            ["predict", str(bundle), "--threads", "1", str(text)], stdin=nothing.fileno(), stdout=theirs,
            stderr=errors.fileno(), cwd=tmp_path, before=lambda: os.close(ours),
        )  # fmt: skip
    os.close(theirs)
    with open(ours, "rb") as reader:
        assert reader.readline()
    assert wait(child) == 141
    assert (tmp_path / "errors").read_bytes().startswith(b"error: standard output: its reader closed it")


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colors_on_a_terminal_only_and_not_with_no_color(bundle: Path, tmp_path: Path, no_color: str, colored: bool) -> None:
    ours, theirs = pty.openpty()
    source, text = os.pipe()
    os.write(text, b"Ada Marlow flew to Oslo. Bo won in Rome and Oslo.\n")
    os.close(text)
    with open(tmp_path / "errors", "wb") as errors:
        child = begin(
            ["predict", str(bundle), "--threads", "1"], stdin=source, stdout=theirs, stderr=errors.fileno(), cwd=tmp_path,
            before=lambda: os.environ.update(TERM="xterm", NO_COLOR=no_color),
        )  # fmt: skip
    os.close(source)
    os.close(theirs)
    assert wait(child) == 0
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert (b"\x1b[" in shown) == colored
    assert (b"]{" in shown) == (not colored)


def test_a_file_is_written_whole_or_not_at_all(bundle: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("Ada flew to Oslo.\n")
    bad.write_bytes(b"Ada.\n\xff\n")
    out = tmp_path / "out.jsonl"

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli.main, ["predict", str(bundle), *arguments], catch_exceptions=False)
        return result.exit_code, result.output

    assert run(str(good), str(good), "--format", "jsonl", "--to", str(out)) == (0, "")
    assert len(out.read_text().splitlines()) == 2
    code, said = run(str(good), str(bad), "--format", "jsonl", "--to", str(tmp_path / "new"))
    assert (code, said.count("\n")) == (2, 1)
    assert f"{bad}:2: expected UTF-8" in said
    assert {path.name for path in tmp_path.iterdir()} == {"good.txt", "bad.txt", "out.jsonl"}
    code, said = run(str(good), "--to", str(tmp_path / "no" / "out"))
    assert code == 2
    assert "cannot be written" in said


def test_a_source_without_a_word_is_named(bundle: Path, tmp_path: Path) -> None:
    sources = {"good.txt": "Ada.\n", "empty.txt": "", "blank.txt": " \n\t\n", "marked.txt": "\ufeff", "empty.conll": "\n\n",
               "none.jsonl": '{"text": ""}\n', "good.conll": "Ada\n\n"}  # fmt: skip
    for name, text in sources.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        said = CliRunner().invoke(cli.main, ["predict", str(bundle), str(tmp_path / name)], catch_exceptions=False)
        assert said.exit_code == 0
        expected = "" if "good" in name else f"warning: {tmp_path / name}: expected text, got no word\n"
        assert said.stderr == expected


@pytest.mark.parametrize("form", ["auto", "text", "sentences", "conll", "jsonl"])
def test_a_key_is_of_json_lines(bundle: Path, tmp_path: Path, form: str) -> None:
    """Other forms have no keys: none of them is read as if the option were not there."""
    (tmp_path / "text.txt").write_text("Ada flew to Oslo.\n")
    (tmp_path / "words.conll").write_text("Ada O\nflew O\n\n")
    (tmp_path / "good.jsonl").write_text('{"body": "Ada flew to Oslo."}\n')

    def run(name: str) -> tuple[int, str, str]:
        arguments = ["predict", str(bundle), str(tmp_path / name), "--key", "body", "--input", form]
        result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    for name in ("text.txt", "words.conll", "good.jsonl"):
        code, found, said = run(name)
        if form in ("auto", "jsonl"):
            if name == "good.jsonl":
                assert (code, said, json.loads(found)["body"]) == (0, "", "Ada flew to Oslo.")
            else:
                assert (code, found, said.count("\n")) == (2, "", 1)
                assert f"{tmp_path / name}:1: expected a JSON object" in said
        else:
            assert (code, found) == (2, "")
            expected = "expected JSON lines (--input jsonl), whose entries have keys"
            assert said == f"error: --key: {expected}, got --input {form}\n"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--input text --word-column 1", "--word-column: expected columns to read (--input conll), got --input text"),
        ("--input jsonl --tag-column 0", "--tag-column: expected columns to read (--input conll), got --input jsonl"),
        ("--key body --word-column 1", "--word-column: expected columns to read (--input conll), got --input jsonl"),
    ],
)
def test_options_of_another_form_are_refused(bundle: Path, typed: str, expected: str) -> None:
    result = CliRunner().invoke(cli.main, ["predict", str(bundle), *typed.split()], input="Ada\n", catch_exceptions=False)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {expected}\n")


@pytest.mark.parametrize("asked", [None, 1, 3])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_it_computes_with_the_threads_asked_for(
    command: str, asked: int | None, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    monkeypatch.setattr("training.determinism.threads.use_threads", used.append)
    (tmp_path / "a.conll").write_text("Ada B-PER\nwon O\n")
    more = [] if asked is None else ["--threads", f"{asked}"]
    done = CliRunner().invoke(cli.main, [command, str(bundle), str(tmp_path / "a.conll"), *more])
    assert done.exit_code == 0, done.output
    assert used == ([] if asked is None else [asked])


def test_every_command_with_a_device_takes_threads() -> None:
    options = {name: {each.name for each in command.params} for name, command in cli.main.commands.items()}
    assert [name for name, names in options.items() if "device" in names and "threads" not in names] == []
