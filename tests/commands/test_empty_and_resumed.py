"""Options that would have no effect are refused: empty texts, and what begins a run where one is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from training.commands.help import Option
from training.config import TrainConfig
from training.run.groups import open_group


def commands(group: click.Group, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands, with the words that call them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, *words, name)
        elif found is not None:
            yield (*words, name), found


TEXTS = [
    (words, param.opts[0])
    for words, command in commands(cli.main)
    for param in command.params
    if isinstance(param, click.Option) and not param.is_flag and not getattr(param, "empty", False)
]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, words)
    return result.exit_code, result.stderr


def test_there_are_such_options() -> None:
    assert (("train-ner",), "--config") in TEXTS
    assert (("evaluate",), "--html") in TEXTS
    assert (("data", "check"), "--vectors") in TEXTS
    assert not any(option == "--teacher" for _, option in TEXTS)  # a setting, which an empty text resets


@pytest.mark.parametrize(("words", "option"), TEXTS, ids=[" ".join((*words, option)) for words, option in TEXTS])
def test_an_empty_text_is_no_option_left_out(words: tuple[str, ...], option: str) -> None:
    others: list[str] = []
    for param in dict(commands(cli.main))[words].params:
        if isinstance(param, click.Argument):
            others.append(param.type.choices[0] if isinstance(param.type, click.Choice) else "x")
        elif param.required and param.opts[0] != option:
            others += [param.opts[0], "x"]
    code, said = run(*words, *others, option, "")
    assert code == 2
    assert option in said
    assert len(said.splitlines()) <= 4


RESUMED = [
    (command, what, option)
    for command in ("train-ner", "train-w2v", "train-lm")
    for what in ("run", "group")
    for option in (
        "--config",
        "--run",
        *(["--preset"] if command == "train-ner" else []),
        *(["--lr"] if what == "group" else []),
    )
]


@pytest.mark.parametrize(("command", "what", "option"), RESUMED)
def test_what_a_resumed_run_keeps_is_not_taken_silently(tmp_path: Path, command: str, what: str, option: str) -> None:
    kind = command.removeprefix("train-")
    place = open_group(kind, TrainConfig(), 2, "", str(tmp_path)) if what == "group" else tmp_path / "run"
    value = {"--preset": "lecture", "--lr": "0.5"}.get(option, str(tmp_path / "none"))
    code, said = run(command, "--resume", str(place), option, value)
    assert code == 2
    assert said.startswith(f"error: {option}: {place} keeps its ")
    assert said.count("\n") == 1


def test_options_know_whether_they_may_be_empty() -> None:
    assert Option(["--a"], empty=True).empty
    assert not Option(["--a"]).empty


@pytest.mark.parametrize("command", ["train-ner --train none.conll --valid none --test none", "train-w2v --corpus none.txt"])
def test_a_group_of_which_nothing_could_begin_leaves_no_folder(tmp_path: Path, command: str) -> None:
    place = tmp_path / "group"
    code, said = run(*command.split(), "--seeds", "2", "--run", str(place))
    assert code == 2
    assert "none" in said
    assert not place.exists()
