"""``predict``: a trained tagger on text."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from ner.commands.columns import columns_of_file
from ner.commands.computing import compute_with, computing
from ner.commands.no_effect import warn_of_inputs
from ner.commands.sets import calibrate, sets_options
from training.commands.help import Command
from training.commands.options import Share
from training.commands.start import check_outside
from training.commands.terminal import LongJob, colors, warn
from training.errors import ConfigError
from training.files import atomic_path, check_new_file
from training.visible import encodable


@click.command(
    short_help="Tag text or files.",
    cls=Command,
    epilog='\b\nExample:\n  echo "Ada Marlow flew to Oslo." | python cli.py predict runs/ner/version_0 --format jsonl',
)
@click.argument("run", type=click.Path(), metavar="RUN|GROUP|BUNDLE")
@click.argument("sources", type=click.Path(), nargs=-1, metavar="[FILE|-]...")
@click.option("--input", "form", type=click.Choice(["auto", "text", "sentences", "conll", "jsonl"]), default="auto",
              show_default=True,
              help="Form of the input: text has a paragraph per line, sentences a sentence; auto detects it.")  # fmt: skip
@click.option("--pretokenized", "split_words", is_flag=True, help="Split the text into words at white space.")
@click.option("--key", metavar="NAME", help="Key of the text, or of the list of words, in each JSON line; implies --input "
              "jsonl.  [default: text, or else tokens]")  # fmt: skip
@click.option("--key-out", metavar="NAME", help="Key to write the result under in each JSON line."
              "  [default: entities, tags and file, added to the line's own keys]")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["text", "conll", "jsonl", "html"]), default=None,
              help="Form of the output.  [default: that of the input for CoNLL and JSON lines, else text]")  # fmt: skip
@columns_of_file
@click.option("--threshold", type=Share(), default=0.0, show_default=True,
              help="Report only entities with at least this confidence.")  # fmt: skip
@sets_options(
    "For each place, also give a set of readings that contains the right one with this probability, in steps of 0.01."
)
@click.option(
    "--to",
    "target",
    type=click.Path(),
    metavar="FILE",
    help="Write to this new file, completely or not at all, instead of standard output.",
)
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
              help="Color the text; auto does so on a terminal, unless NO_COLOR is set.")  # fmt: skip
@computing
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
    coverage: float | None,
    sets_from: str | None,
    target: str | None,
    color: str,
    threads: int,
    device: str,
) -> None:
    """Tag text, CoNLL, JSON lines or BRAT files with a trained run, a group of runs or an exported bundle.

    Reads standard input if no file is given, and writes while it reads. Each entity has its type, its character offsets
    and its confidence, the probability of exactly this span.
    """
    from ner.predict import predict_stream
    from ner.tagging.tagger import TrainedTagger

    compute_with(threads)
    if target is not None:
        check_new_file("--to", target)
        check_outside("--to", target)
    form = _form_with_key(form, key)
    _check_columns(form, word_column, tag_column)
    warn_of_inputs(sources, form, output)
    colored = color == "always" or (color == "auto" and target is None and colors())
    tagger = TrainedTagger.load(run, device, warn)
    columns = tagger.columns_with(word_column, tag_column)
    calibrate(tagger, coverage, sets_from, columns, None)
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
        columns=columns,
        sets=coverage,
        warn=lambda line: warn(f"warning: {line}"),
        progress=None if target is None and sys.stdout.isatty() else LongJob(),  # a bar between the lines would disturb
    )
    if target is None:
        _write_out(pieces)
    else:
        _write_file(target, pieces)


def _form_with_key(form: str, key: str | None) -> str:
    """The form of the input: who names a key has JSON lines, since no other form has keys. ConfigError for other forms."""
    if key is None:
        return form
    if form not in ("auto", "jsonl"):
        raise ConfigError(f"--key: expected JSON lines (--input jsonl), whose entries have keys, got --input {form}")
    return "jsonl"


def _check_columns(form: str, word_column: int | None, tag_column: int | None) -> None:
    """ConfigError for columns of an input whose named form has none."""
    for option, column in (("--word-column", word_column), ("--tag-column", tag_column)):
        if column is not None and form not in ("auto", "conll"):
            raise ConfigError(f"{option}: expected columns to read (--input conll), got --input {form}")


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
