"""``runs list``: a table of all runs; ``runs card``: one of them in short."""

from __future__ import annotations

import os
from pathlib import Path

import click

from training.commands.door import kinds
from training.commands.help import Group
from training.commands.terminal import echo, styled, table, warn
from training.errors import ConfigError
from training.leftovers import sweep
from training.run.kinds import commands_of
from training.run.run_list import list_runs
from training.visible import one_line, shortened, to_json

STATUS_COLORS = {"finished": "green", "failed": "red", "killed": "red", "unreadable": "red", "changed": "red"}
ROOT = "runs"  # where the commands put runs
LONGEST = 60  # characters of the settings that are shown


@click.group(cls=Group)
def runs() -> None:
    """List runs, or describe one."""


@runs.command("list", short_help="List all runs and groups.", epilog="\b\nExample:\n  python cli.py runs list")
@click.option("--root", type=click.Path(), default=ROOT, show_default=True, help="Folder that holds the runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_all(root: str, as_json: bool) -> None:
    """List all runs and groups: status, scores, level of determinism, digest of the weights, settings.

    Only settings that differ from the defaults are shown. A group's F1 is the median of its finished runs.
    """
    _check_root(root)
    for folder in (Path(root), *Path(root).glob("*/")):
        sweep(folder)
    rows = list_runs(Path(root), kinds())
    if as_json:
        click.echo(to_json(rows, indent=2))
        return
    if not rows:
        click.echo(f"no runs in {root}; {commands_of(kinds(), 'and')} make some")
        return
    shown = [{**row, "settings": shortened(row["settings"], LONGEST)} for row in rows]
    columns = [name for name in shown[0] if any(row[name] for row in shown)]  # others say nothing of these runs
    lines = table(columns, [[row[name] for name in columns] for row in shown])
    click.echo(lines[0])
    for row, line in zip(rows, lines[1:], strict=True):
        status = one_line(row["status"])
        color = STATUS_COLORS.get(status.split(" ")[0])
        before, found, after = line.partition(f"  {status}")
        echo(before, "  ", styled(status, color), after) if color and found else echo(line)


def _check_root(root: str) -> None:
    """ConfigError for what is no folder; but for that of all runs, which is not there before the first run."""
    there = os.path.lexists(root)
    if not os.path.isdir(root) and (there or root != ROOT):
        raise ConfigError(f"--root: expected a folder that holds runs, got {'a file' if there else 'nothing'}: {root}")


@runs.command("card", short_help="Print a model card.", epilog="\b\nExample:\n  python cli.py runs card runs/ner/version_0")
@click.argument("run", type=click.Path())
def print_card(run: str) -> None:
    """Describe a finished run, or a group of runs, as Markdown: data, scores, errors, how to verify it.

    All of it is from the manifest. What that does not say is listed as not known.
    """
    from training.run.card import read_card

    kind = kinds().get
    found = read_card(Path(run), lambda name: each.card_function() if (each := kind(name)) else None, warn)
    for line in found.to_markdown().splitlines():
        echo(line)
