"""What commands say of themselves: sections, sentences, the user's own words to go on with, and completion."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from tests.commands.test_cli import ALL
from training.commands.door import resume_command
from training.config import COMMON, RUN, SECTIONS
from training.errors import Preempted

ROOT = Path(__file__).resolve().parents[2]
TRAINING = [kind.command for kind in cli.KINDS.values()]


def help_of(name: str) -> str:
    result = CliRunner().invoke(cli.main, [*name.split(), "--help"], terminal_width=110)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_command_has_its_options_in_sections_the_common_ones_first(name: str) -> None:
    found = [line.removesuffix(":") for line in help_of(name).splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert found == [section for section in SECTIONS if section in found] + ["Example"]
    assert found[0] == COMMON
    common = help_of(name).partition(f"{COMMON}:")[2].partition("\n\n")[0]
    assert all(flag in common for flag in ("--seed", "--deterministic", "--run", "--resume"))
    assert len(re.findall("^  --", common, re.MULTILINE)) <= 12


@pytest.mark.parametrize("kind", cli.KINDS)
def test_each_setting_belongs_to_a_section(kind: str) -> None:
    config = cli.KINDS[kind].config_class()
    assert {item.name for item in dataclasses.fields(config) if item.metadata["section"] not in SECTIONS} == set()
    shown = [getattr(param, "section", RUN) for param in ALL[cli.KINDS[kind].command].params]
    assert set(shown) <= set(SECTIONS)


@pytest.mark.parametrize("name", sorted(ALL))
def test_help_is_written_in_sentences(name: str) -> None:
    helps = [str(ALL[name].help)] + [str(p.help) for p in ALL[name].params if isinstance(p, click.Option)]
    for text in helps:
        sentences = text.partition("  [default")[0].strip()
        assert sentences[0].isupper(), text
        assert sentences.endswith("."), text
        assert not re.search(r"\bso many\b", text), text


@pytest.mark.parametrize("typed", ["samebits", "cli.py", "/opt/same bits/cli.py", "/opt/bin/samebits", "pytest"])
def test_messages_name_what_was_typed(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "argv", [typed])
    monkeypatch.setattr(shutil, "which", lambda name: "samebits")
    begin = {"samebits": "samebits", "/opt/same bits/cli.py": "python '/opt/same bits/cli.py'"}
    begin |= {"/opt/bin/samebits": "/opt/bin/samebits"}
    words = begin.get(typed, "python cli.py")
    assert resume_command("train-ner", "runs/a b") == f"{words} train-ner --resume 'runs/a b'"
    for name in sorted(ALL):
        assert f"{words} {name}" in help_of(name).rpartition("Example:")[2], name


def test_a_stopped_run_is_gone_on_with_by_the_installed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = Preempted("stopped")
    stopped.run, stopped.kind = "runs/w2v/version_0", "w2v"

    def stop(**_: object) -> None:
        raise stopped

    monkeypatch.setattr(ALL["train-w2v"], "callback", stop)
    monkeypatch.setattr(sys, "argv", ["/venv/bin/samebits"])
    monkeypatch.setattr(shutil, "which", lambda name: "/venv/bin/samebits")
    result = CliRunner().invoke(cli.main, ["train-w2v"])
    assert result.exit_code == 75
    assert result.stderr == "stopped\nresume with: samebits train-w2v --resume runs/w2v/version_0\n"


def test_the_installed_command_is_the_script() -> None:
    code = "import sys; sys.argv = ['samebits', '--version']; from cli import start; sys.exit(start())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"samebits, version {cli.VERSION}\n")
    assert "samebits = cli:start" in (ROOT / "setup.cfg").read_text()


@pytest.mark.parametrize(("words", "expected"), [
    ("samebits train-", {"train-lm", "train-ner", "train-w2v"}),
    ("samebits vectors n", {"nearest"}),
    ("samebits train-ner --any", {"--any-threads"}),
    ("samebits train-ner --decoder c", {"crf"}),
])  # fmt: skip
def test_the_shell_completes(words: str, expected: set[str]) -> None:
    """As the documented line sets it up."""
    line = 'eval "$(_SAMEBITS_COMPLETE=bash_source samebits)"'
    assert line in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    settings = {"_SAMEBITS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    found = CliRunner(env=settings).invoke(cli.main, prog_name="samebits")
    assert found.exit_code == 0, found.output
    assert {row.partition(",")[2] for row in found.output.splitlines()} == expected


def test_the_shell_is_told_how_to_complete() -> None:
    found = CliRunner(env={"_SAMEBITS_COMPLETE": "zsh_source"}).invoke(cli.main, prog_name="samebits")
    assert found.exit_code == 0
    assert "#compdef samebits" in found.output


def test_training_knows_no_kind_of_run() -> None:
    """The loop's room names no command that trains, and none of its code is another room's."""
    for path in (ROOT / "training").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not any(command in text for command in TRAINING), path
        assert not re.search(r"""\b(word2vec|corpus|confidence_temperature)\b|["'](ner|w2v)["']""", text), path
