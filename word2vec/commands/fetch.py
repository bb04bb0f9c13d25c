"""``data fetch``: public vectors and text."""

from __future__ import annotations

from pathlib import Path

import click

from training.commands.help import Command
from training.commands.terminal import LongJob


@click.command(
    cls=Command, short_help="Download GloVe or text8.", epilog="\b\nExample:\n  python cli.py data fetch glove --to data"
)
@click.argument("name", type=click.Choice(["glove", "text8"]))
@click.option("--to", "folder", type=click.Path(), default="data", show_default=True, help="Folder to write the files to.")
def fetch(name: str, folder: str) -> None:
    """Download, check and unpack the GloVe vectors or the text8 corpus."""
    from word2vec.fetch import fetch as get

    for path in get(name, Path(folder), progress=LongJob(), tell=lambda line: click.echo(line, err=True)):
        click.echo(str(path))
