"""The commands that look at data and at word vectors: ``data`` and ``vectors``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli_terminal import LongJob
from word2vec.vectors import WordVectors


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


@data.command("check", epilog="\b\nExample:\n  python cli.py data check data/sample/train.conll data/sample/test.conll")
@click.argument("files", type=click.Path(), nargs=-1, required=True)
@click.option("--vectors", "vectors_file", metavar="FILE", help="Count the words that these word vectors lack.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(files: tuple[str, ...], vectors_file: str | None, as_json: bool) -> None:
    """Look for what is wrong with labelled files: schemes, overlap, odd characters; ends with 1 if something is."""
    from ner.data_check import data_check
    from ner.embeddings import find

    known = WordVectors.load(vectors_file) if vectors_file else None
    has_vector = None if known is None else lambda word: find(known, word) is not None
    found = data_check(files, has_vector)
    click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found.to_text())
    click.get_current_context().exit(0 if found.ok else 1)


@click.group()
def vectors() -> None:
    """Look into word vectors, score and convert them."""


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors nearest runs/w2v/version_0/vectors.bin city")
@click.argument("file", type=click.Path())
@click.argument("word")
@click.option("-k", default=10, show_default=True, help="How many.")
def nearest(file: str, word: str, k: int) -> None:
    """The words nearest to WORD, by cosine."""
    _print_neighbours(_load(file).nearest(word, k))


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors analogy runs/w2v/version_0/vectors.bin he him she")
@click.argument("file", type=click.Path())
@click.argument("a")
@click.argument("b")
@click.argument("c")
@click.option("-k", default=10, show_default=True, help="How many.")
def analogy(file: str, a: str, b: str, c: str, k: int) -> None:
    """What is to C as B is to A."""
    _print_neighbours(_load(file).analogy(a, b, c, k))


@vectors.command("evaluate", epilog="\b\nExample:\n  python cli.py vectors evaluate vectors.bin EN-WS-353-ALL.txt")
@click.argument("file", type=click.Path())
@click.argument("sets", type=click.Path(), nargs=-1, required=True)
@click.option("--restrict", type=int, default=None, help="Only the first so many words, as is usual for analogies (30000).")
def evaluate_vectors(file: str, sets: tuple[str, ...], restrict: int | None) -> None:
    """Score vectors on sets of word similarity or analogies; how many questions could be asked is shown."""
    from word2vec.evaluate import evaluate as score
    from word2vec.evaluate import read_set

    loaded = _load(file)
    for path in sets:
        click.echo(score(loaded, read_set(path), restrict=restrict).to_text())


@vectors.command(epilog="\b\nExample:\n  python cli.py vectors convert vectors.bin vectors.txt")
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--format", "form", type=click.Choice(["text", "binary", "glove"]), default=None,
              help="What is written.  [default: binary for a name in .bin, else text]")  # fmt: skip
def convert(source: str, target: str, form: str | None) -> None:
    """Write vectors in another format: word2vec text or binary, or GloVe's text."""
    form = form or ("binary" if target.endswith((".bin", ".bin.gz")) else "text")
    _load(source).save(target, form)


def _load(file: str) -> WordVectors:
    job = LongJob()
    loaded = WordVectors.load(file, progress=lambda done, total: job(f"reading {file}", done, total))
    if loaded.repeated:
        click.echo(f"{file}: {loaded.repeated:,} words stood there twice; the first vector of each was taken", err=True)
    return loaded


def _print_neighbours(found: list[tuple[str, float]]) -> None:
    for word, cosine in found:
        click.echo(f"{cosine:.4f}\t{word}")
