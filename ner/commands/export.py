"""``export``: a run's tagger as a folder that needs nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from training.commands.help import Command
from training.commands.start import check_outside
from training.commands.terminal import warn
from training.visible import one_line


@click.command(
    cls=Command,
    short_help="Write a tagger as a bundle.",
    epilog="\b\nExample:\n  python cli.py export runs/ner/version_0 runs/tagger",
)
@click.argument("run", type=click.Path(), metavar="RUN|GROUP")
@click.argument("folder", type=click.Path())
def export(run: str, folder: str) -> None:
    """Write the tagger of a finished run, or group of runs, to a new FOLDER that works anywhere.

    The folder needs no training data and no vector files, and contains no pickles. predict and evaluate accept it in place
    of the run, and refuse it if any of its bytes has changed.
    """
    from ner.tagging.bundle import export as export_run
    from ner.tagging.group import export_group
    from training.run.groups import is_group

    check_outside("FOLDER", folder)
    path = (export_group if is_group(Path(run)) else export_run)(run, folder, warn)
    size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    click.echo(one_line(f"exported: {Path(path)} ({size / 1e6:,.1f} MB)"))
