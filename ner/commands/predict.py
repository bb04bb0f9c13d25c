"""The commands that use a trained tagger: ``predict`` and ``export``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from training.commands.options import Share, columns_of_file, whole
from training.commands.terminal import LongJob, warn
from training.config import MOST_THREADS
from training.determinism.threads import use_threads
from training.errors import ConfigError
from training.files import atomic_path, check_not_read
from training.visible import encodable, one_line


@click.command(
    epilog='\b\nExample:\n  echo "Ada Marlow flew to Oslo." | python cli.py predict runs/ner/version_0 --format jsonl'
)
@click.argument("run", type=click.Path(), metavar="RUN|BUNDLE")
@click.argument("sources", type=click.Path(), nargs=-1, metavar="[FILE|-]...")
@click.option("--input", "form", type=click.Choice(["auto", "text", "sentences", "conll", "jsonl"]), default="auto",
              show_default=True, help="text: a paragraph a line; sentences: one a line; auto: by the content.")  # fmt: skip
@click.option("--pretokenized", "split_words", is_flag=True, help="The words of the text are apart by white space already.")
@click.option("--key", metavar="NAME", help="The entry of a JSON line that holds the text, or a list of words."
              "  [default: text, or else tokens]")  # fmt: skip
@click.option("--key-out", metavar="NAME", help="The entry of a JSON line that holds all that is found."
              "  [default: entities, tags and file beside the line's own]")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["text", "conll", "jsonl", "html"]), default=None,
              help="What is written.  [default: CoNLL and JSON lines as they came, else text]")  # fmt: skip
@columns_of_file
@click.option("--threshold", type=Share(), default=0.0, show_default=True,
              help="Only entities that the tagger is at least so sure of.")  # fmt: skip
@click.option("--to", "target", type=click.Path(), metavar="FILE", help="Write to a file, whole or not at all.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
              help="Colors in text; auto: on a terminal, where NO_COLOR is not set.")  # fmt: skip
@click.option(
    "--threads", type=whole(0, MOST_THREADS), default=0, show_default=True, help="CPU threads; 0 for one per core."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", show_default=True, help="Where to compute."
)
def predict(
    run: str,
    sources: tuple[str, ...],
    form: str,
    split_words: bool,
    key: str | None,
    key_out: str | None,
    output: str | None,
    word_column: int | None,
    tag_column: int | None,
    threshold: float,
    target: str | None,
    color: str,
    threads: int,
    device: str,
) -> None:
    """Tag text, CoNLL files or JSON lines with a trained run, or a bundle that export made of it.

    Reads standard input where no file is named, and writes as it reads. Each entity comes with its type, the characters
    that it stands at, and its confidence: the probability of exactly this span.
    """
    from ner.predict import predict_stream
    from ner.tagging.tagger import TrainedTagger

    if threads:
        use_threads(threads)
    if target is not None:
        check_not_read("--to", target, sources)
    colored = color == "always" or (color == "auto" and target is None and _colors())
    tagger = TrainedTagger.load(run, device, warn)
    pieces = predict_stream(
        tagger,
        sources or "-",
        form,
        output,
        threshold=threshold,
        key=key,
        key_out=key_out,
        split_words=split_words,
        color=colored,
        terminal=target is None and sys.stdout.isatty(),
        columns=tagger.columns_with(word_column, tag_column),
        warn=lambda line: click.echo(one_line(f"warning: {line}"), err=True),
        progress=None if target is None and sys.stdout.isatty() else LongJob(),  # a bar between the lines would disturb
    )
    if target is None:
        _write_out(pieces)
    else:
        _write_file(target, pieces)


def _colors() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write_out(pieces: Iterator[str]) -> None:
    """To standard output, in UTF-8 whatever the terminal says, each piece as soon as it is there."""
    for piece in pieces:
        sys.stdout.buffer.write(encodable(piece).encode())
        sys.stdout.buffer.flush()


def _write_file(target: str, pieces: Iterator[str]) -> None:
    try:
        with atomic_path(target) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(map(encodable, pieces))
    except OSError as error:
        raise ConfigError(f"--to: {target} cannot be written: {error.strerror}; give another file") from None


@click.command(epilog="\b\nExample:\n  python cli.py export runs/ner/version_0 runs/tagger")
@click.argument("run", type=click.Path())
@click.argument("folder", type=click.Path())
def export(run: str, folder: str) -> None:
    """Write a finished run's tagger to a new FOLDER, to be used anywhere: no training data, no vectors' file, no pickles.

    predict and evaluate take the folder in place of the run, and refuse it where any of its bytes has changed.
    """
    from ner.tagging.bundle import export as export_run

    path = export_run(run, folder, warn)
    size = sum(each.stat().st_size for each in path.iterdir())
    click.echo(one_line(f"exported: {Path(path)} ({size / 1e6:,.1f} MB)"))
