"""The commands that look at data and at word vectors: ``data`` and ``vectors``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from training.commands.options import whole
from training.commands.terminal import LongJob, echo, styled, warn
from training.files import check_not_read
from training.run.folder import check_beside
from training.visible import one_line, to_json
from word2vec.vectors.vectors import WordVectors, rule_path

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.group()
def data() -> None:
    """Get data, and look at it before training."""


@data.command(epilog="\b\nExample:\n  python cli.py data fetch glove --to data")
@click.argument("name", type=click.Choice(["glove", "text8"]))
@click.option("--to", "folder", type=click.Path(), default="data", show_default=True, help="The folder to put it in.")
def fetch(name: str, folder: str) -> None:
    """Download GloVe's vectors or the text8 corpus, checked and unpacked."""
    from word2vec.fetch import fetch as get

    for path in get(name, Path(folder), progress=LongJob(), tell=lambda line: click.echo(line, err=True)):
        click.echo(str(path))


def columns_of(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the word and the tag stand."""
    for name, default in (("tag", -1), ("word", 0)):
        help = f"Column of the {name}, from 0, or from the end if negative."
        command = click.option(f"--{name}-column", type=whole(), default=default, show_default=True, help=help)(command)
    return command


@data.command("check", epilog="\b\nExample:\n  python cli.py data check data/sample/train.conll data/sample/test.conll")
@click.argument("files", type=click.Path(), nargs=-1, required=True)
@click.option("--vectors", "vectors_file", metavar="FILE", help="Count the words that these word vectors lack.")
@columns_of
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(files: tuple[str, ...], vectors_file: str | None, word_column: int, tag_column: int, as_json: bool) -> None:
    """Look for what is wrong with labeled files: schemes, overlap, odd characters; ends with 1 if something is.

    A folder stands for its train, valid and test files. Nothing is changed: see data repair.
    """
    from ner.corpus.check import data_check
    from ner.corpus.conll import Columns
    from ner.corpus.splits import find_splits
    from ner.vectors.views import Views, vector_test

    paths = [path for name in files for path in (find_splits(name) if Path(name).is_dir() else [Path(name)])]
    has_vector = vector_test(Views([_load(vectors_file)])) if vectors_file else None
    found = data_check(paths, has_vector, columns=Columns(word_column, tag_column), progress=LongJob())
    if as_json:
        click.echo(to_json(found.to_dict(), indent=2))
    else:
        for line in found.to_text().splitlines():
            level = line.partition(":")[0]
            echo(*([styled(level, COLORS[level], bold=True), line[len(level) :]] if level in COLORS else [line]))
    click.get_current_context().exit(0 if found.ok else 1)


@data.command("repair", epilog="\b\nExample:\n  python cli.py data repair broken.conll mended.conll")
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--scheme", help="Write the tags in this scheme.  [default: that of SOURCE]")
@columns_of
def repair(source: str, target: str, scheme: str | None, word_column: int, tag_column: int) -> None:
    """Write SOURCE to TARGET with well-formed tags, and say how many were changed, and why.

    There is one policy, conlleval's reading: an entity begins at B- and S-, and at an I- or E- that cannot go on with what
    stands before it; it ends where another begins, after E- and S-, and before O.
    """
    from ner.corpus.conll import Columns
    from ner.corpus.repair import repair_file

    click.echo(repair_file(source, target, scheme, Columns(word_column, tag_column)).to_text())


@click.group()
def vectors() -> None:
    """Look into word vectors, score and convert them."""


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors nearest runs/w2v/version_0/vectors.bin city")
@click.argument("file", type=click.Path())
@click.argument("word")
@click.option("-k", type=whole(1), default=10, show_default=True, help="How many.")
def nearest(file: str, word: str, k: int) -> None:
    """The words nearest to WORD, by cosine."""
    _print_neighbors(_load(file).nearest(word, k))


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors analogy runs/w2v/version_0/vectors.bin he him she")
@click.argument("file", type=click.Path())
@click.argument("a")
@click.argument("b")
@click.argument("c")
@click.option("-k", type=whole(1), default=10, show_default=True, help="How many.")
def analogy(file: str, a: str, b: str, c: str, k: int) -> None:
    """What is to C as B is to A."""
    _print_neighbors(_load(file).analogy(a, b, c, k))


@vectors.command("evaluate", epilog="\b\nExample:\n  python cli.py vectors evaluate vectors.bin EN-WS-353-ALL.txt")
@click.argument("file", type=click.Path())
@click.argument("sets", type=click.Path(), nargs=-1, required=True)
@click.option(
    "--restrict", type=whole(1), default=None, help="Only the first so many words, as is usual for analogies (30000)."
)
def evaluate_vectors(file: str, sets: tuple[str, ...], restrict: int | None) -> None:
    """Score vectors on sets of word similarity or analogies; how many questions could be asked is shown."""
    from word2vec.vectors.evaluate import evaluate as score
    from word2vec.vectors.evaluate import read_set

    loaded, job = _load(file), LongJob()
    for path in sets:
        progress = partial(job, f"answering {path}")
        click.echo(score(loaded, read_set(path), restrict=restrict, progress=progress).to_text())


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors convert vectors.bin vectors.txt")
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "binary", "glove"]), default=None,
              help="What is written.  [default: binary for a name in .bin, else text]")  # fmt: skip
@click.option("--skip-undecodable", is_flag=True, help="Leave out words that are not UTF-8, and say how many.")
def convert(source: str, target: str, form: str | None, skip_undecodable: bool) -> None:
    """Write vectors in another format: word2vec text or binary, or GloVe's text."""
    check_not_read("TARGET", target, [source])
    form = form or ("binary" if target.endswith((".bin", ".bin.gz")) else "text")
    _load(source, skip_undecodable).save(target, form, partial(LongJob(), f"writing {target}"))


def _load(file: str, skip_undecodable: bool = False) -> WordVectors:
    job = LongJob()
    check_beside([Path(file), rule_path(file)], warn)

    def show(done: int, total: int) -> None:
        job(f"reading {file}", done, total)

    loaded = WordVectors.load(file, progress=show, skip_undecodable=skip_undecodable)
    if loaded.undecodable:
        click.echo(one_line(f"{file}: {loaded.undecodable:,} words are not UTF-8 and were left out"), err=True)
    if loaded.repeated:
        said = f"{file}: {loaded.repeated:,} words stood there twice; the first vector of each was taken"
        click.echo(one_line(said), err=True)
    return loaded


def _print_neighbors(found: list[tuple[str, float]]) -> None:
    for word, cosine in found:
        click.echo(f"{cosine:.4f}\t{word}")
