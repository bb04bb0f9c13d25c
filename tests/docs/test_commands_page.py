"""docs/commands.md lists every command of the command line once, and docs/README.md every page."""

from __future__ import annotations

import re
from pathlib import Path

import click

import cli

DOCS = Path(__file__).resolve().parents[2] / "docs"
TRAIN = ("train-w2v", "train-ner")


def commands(group: click.Group, before: str = "") -> set[str]:
    """The names of all commands below ``group``, such as "vectors nearest"."""
    found: set[str] = set()
    for name, command in group.commands.items():
        full = f"{before} {name}".strip()
        found |= commands(command, full) if isinstance(command, click.Group) else {full}
    return found


def test_each_command_is_a_row_of_the_page() -> None:
    rows = re.findall(r"^\| `python cli\.py ([^`]*)`", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    there = commands(cli.main)
    named = [next((name for name in there if f"{row} ".startswith(f"{name} ")), row) for row in rows]
    assert sorted(named) == sorted(there)


def test_the_index_has_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= {*re.findall(r"^\| \[[^\]]*\]\(([\w.]+)\)", index, re.MULTILINE)}


def test_each_page_says_first_what_it_is_for() -> None:
    """A title, a blank line, and a sentence that begins with "This page"."""
    for path in sorted(DOCS.glob("*.md")):
        title, blank, first = path.read_text(encoding="utf-8").splitlines()[:3]
        assert title.startswith("# "), path
        assert not blank, path
        assert first.startswith("This page "), path


def test_each_option_of_both_training_commands_is_on_the_page() -> None:
    """But the learning rate, which each command's page explains; of a pair such as --progress, one is enough."""
    both = [{(*each.opts, *each.secondary_opts) for each in cli.main.commands[name].params} for name in TRAIN]
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    missing = [names for names in both[0] & both[1] if not any(re.search(rf"{name}\b", page) for name in names)]
    assert missing == [("--lr",)]
