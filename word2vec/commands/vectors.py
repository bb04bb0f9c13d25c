"""The commands that look into word vectors."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.commands.help import Group
from training.commands.options import whole
from training.commands.start import check_outside
from training.commands.terminal import LongJob, warn
from training.errors import ConfigError
from training.files import check_new_file, exists_already
from training.run.groups import is_group

if TYPE_CHECKING:
    from word2vec.vectors.vectors import WordVectors


@click.group(cls=Group)
def vectors() -> None:
    """Explore, score and convert word vectors."""


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors nearest runs/w2v/version_0 city")
@click.argument("file", type=click.Path(), metavar="FILE_OR_RUN_OR_GROUP")
@click.argument("word")
@click.option("-k", type=whole(1), default=10, show_default=True, help="Number of words to print.")
def nearest(file: str, word: str, k: int) -> None:
    """Print the words nearest to WORD, by cosine.

    For a group of runs (train-w2v --seeds), each line has the number of runs in which the word is among the nearest, the
    mean, minimum and maximum of its cosine over all runs, and the word.
    """
    if not is_group(Path(file)):
        _print_neighbors(_load(file).nearest(word, k))
        return
    from word2vec.vectors import stability as agreement

    runs = agreement.load_group(Path(file), LongJob(), warn)
    for each in agreement.nearest(runs, word, k):
        click.echo(f"{each.seeds} of {len(runs)}\t{each.mean:.4f}\t{each.least:.4f} to {each.most:.4f}\t{each.word}")


@vectors.command(
    short_help="Print how far a group's seeds agree.",
    epilog="\b\nExample:\n  python cli.py vectors stability runs/w2v/group_0",
)
@click.argument("group", type=click.Path())
@click.option("-k", type=whole(1), default=10, show_default=True, help="Number of nearest words to compare.")
def stability(group: str, k: int) -> None:
    """Print how far the seeds of a GROUP agree on the nearest words, by word frequency.

    TensorBoard's text page shows the table, too. In a frequency band of more than 1,000 words, 1,000 are sampled.
    """
    from word2vec.vectors import stability as agreement

    found = agreement.stability(Path(group), k, LongJob(), warn)
    click.echo(found.to_text())
    agreement.show(Path(group), found)


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors analogy runs/w2v/version_0 he his she")
@click.argument("file", type=click.Path(), metavar="FILE_OR_RUN")
@click.argument("a")
@click.argument("b")
@click.argument("c")
@click.option("-k", type=whole(1), default=10, show_default=True, help="Number of words to print.")
def analogy(file: str, a: str, b: str, c: str, k: int) -> None:
    """Print the words that are to C as B is to A."""
    _print_neighbors(_load(file).analogy(a, b, c, k))


@vectors.command(
    "evaluate",
    short_help="Score vectors on similarities or analogies.",
    epilog="\b\nExample:\n  python cli.py vectors evaluate vectors.bin EN-WS-353-ALL.txt",
)
@click.argument("file", type=click.Path(), metavar="FILE_OR_RUN")
@click.argument("sets", type=click.Path(), nargs=-1, required=True)
@click.option(
    "--restrict",
    type=whole(1),
    default=None,
    help="Use only this many of the most frequent words; 30000 is usual for analogies.",
)
def evaluate_vectors(file: str, sets: tuple[str, ...], restrict: int | None) -> None:
    """Score vectors on sets of word similarities or analogies, and report how many questions they cover."""
    from word2vec.vectors.evaluate import evaluate as score
    from word2vec.vectors.evaluate import read_set

    loaded, job = _load(file), LongJob()
    for path in sets:
        progress = partial(job, f"answering {path}")
        click.echo(score(loaded, read_set(path), restrict=restrict, progress=progress).to_text())


@vectors.command(
    short_help="Convert word2vec's and GloVe's formats.",
    epilog="\b\nExample:\n  python cli.py vectors convert runs/w2v/version_0 vectors.bin",
)
@click.argument("source", type=click.Path(), metavar="FILE_OR_RUN")
@click.argument("target", type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "binary", "glove"]), default=None,
              help="Format to write.  [default: binary for a name that ends in .bin or .bin.gz, else text]")  # fmt: skip
@click.option("--skip-undecodable", is_flag=True, help="Skip words that are not UTF-8, and report how many.")
def convert(source: str, target: str, form: str | None, skip_undecodable: bool) -> None:
    """Convert vectors to another format: word2vec's text or binary, or GloVe's text."""
    from word2vec.vectors.vectors import read_rule, rule_path

    check_new_file("TARGET", target)
    check_outside("TARGET", target)
    form = form or ("binary" if target.endswith((".bin", ".bin.gz")) else "text")
    loaded = _load(source, skip_undecodable)
    if os.path.lexists(rule_path(target)) and read_rule(target) != loaded.rule:
        raise exists_already("TARGET", rule_path(target))  # of other vectors there, with another suffix
    try:
        loaded.save(target, form, partial(LongJob(), f"writing {target}"))
    except OSError as error:
        raise ConfigError(f"TARGET: {target} cannot be written: {error.strerror}; give another file") from None


def _load(file: str, skip_undecodable: bool = False) -> WordVectors:
    from word2vec.vectors.load import load

    return load(file, LongJob(), warn, skip_undecodable)


def _print_neighbors(found: list[tuple[str, float]]) -> None:
    for word, cosine in found:
        click.echo(f"{cosine:.4f}\t{word}")
