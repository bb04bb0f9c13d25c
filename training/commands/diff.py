"""``diff``: in what two runs differ."""

from __future__ import annotations

from pathlib import Path

import click

from training.commands.door import kinds
from training.commands.help import Command
from training.commands.terminal import warn
from training.run import seal
from training.run.compare import Comparison, compare
from training.run.folder import read_manifest
from training.visible import one_line


@click.command(
    cls=Command,
    short_help="Print how two runs differ.",
    epilog="\b\nExample:\n  python cli.py diff runs/ner/version_0 runs/ner/version_1",
)
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
def diff(first: str, second: str) -> None:
    """Compare two runs: results step by step, inputs, settings, code and environment."""
    runs = Path(first), Path(second)
    found = compare(*runs, kinds=kinds())
    for run in runs:
        described = read_manifest(run)
        if described["status"] == "finished" and not seal.is_sealed(described):
            warn(f"{run}: {seal.NO_SEAL}")
    report(found, "same bits")


def report(comparison: Comparison, same: str) -> None:
    """Print what was found; exit code 1 where bits differ."""
    for line in comparison.results or [same]:
        click.echo(one_line(line))
    for line in comparison.causes:
        click.echo(one_line(f"differs: {line}"))
    if not comparison.same_bits:
        click.get_current_context().exit(1)
