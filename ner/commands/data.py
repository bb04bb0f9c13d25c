"""``data check``, ``data repair`` and ``data convert``, and with them the other commands about labeled files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ner.commands.columns import columns
from ner.commands.no_effect import warn_of_forms
from ner.commands.spans import spans
from ner.commands.suspects import suspects
from training.commands.help import Group
from training.commands.start import check_outside
from training.commands.terminal import LongJob, echo, styled, warn
from training.visible import to_json

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.group(cls=Group, short_help="Check, repair, convert or download data.")
def data() -> None:
    """Download, check, repair and convert data, and find wrong labels."""


@data.command(
    "check",
    short_help="Report problems in labeled files.",
    epilog="\b\nExample:\n  python cli.py data check data/sample/train.conll data/sample/test.conll",
)
@click.argument("files", type=click.Path(), nargs=-1, required=True)
@click.option("--vectors", "vectors_file", metavar="FILE", help="Count the words that have no vector in this file.")
@columns
@spans
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    files: tuple[str, ...],
    vectors_file: str | None,
    word_column: int | None,
    tag_column: int | None,
    misaligned: str,
    overlapping: str,
    as_json: bool,
) -> None:
    """Check labeled files for mixed schemes, overlap and odd characters; the exit code is 1 if there are errors.

    A folder stands for its train, valid and test files. Nothing is changed; to mend tags, use data repair.
    """
    from ner.corpus.alignment import SpanRules
    from ner.corpus.brat import is_folder
    from ner.corpus.check import data_check
    from ner.corpus.conll import Columns
    from ner.corpus.splits import find_splits
    from training.run.inputs import check_no_stream

    for name in files:
        check_no_stream(name)  # each file is read several times
    paths = [
        path
        for name in files
        for path in (find_splits(name) if Path(name).is_dir() and not is_folder(name) else [Path(name)])
    ]
    has_vector = _vector_test(vectors_file) if vectors_file else None
    asked, rules = Columns.asked(word_column, tag_column), SpanRules(misaligned, overlapping)
    warn_of_forms(paths)
    found = data_check(paths, has_vector, columns=asked, rules=rules, progress=LongJob())
    if as_json:
        click.echo(to_json(found.to_dict(), indent=2))
    else:
        for line in found.to_text().splitlines():
            level = line.partition(":")[0]
            echo(*([styled(level, COLORS[level], bold=True), line[len(level) :]] if level in COLORS else [line]))
    click.get_current_context().exit(0 if found.ok else 1)


def _vector_test(file: str) -> Callable[[str], bool] | None:
    """Whether a word has a vector."""
    from ner.vectors.views import Views, vector_test
    from word2vec.vectors.load import load

    return vector_test(Views([load(file, LongJob(), warn)]))


@data.command(
    "repair",
    short_help="Write a copy with well-formed tags.",
    epilog="\b\nExample:\n  python cli.py data repair broken.conll mended.conll",
)
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--scheme", help="Tagging scheme to write.  [default: that of SOURCE]")
@columns
def repair(source: str, target: str, scheme: str | None, word_column: int | None, tag_column: int | None) -> None:
    """Write SOURCE to TARGET with well-formed tags, and report how many were changed and why.

    The repair is conlleval's reading. An entity begins at B- and S-, and at an I- or E- that cannot continue what precedes
    it. It ends where another begins, after E- and S-, and before O.
    """
    from ner.corpus.conll import Columns
    from ner.corpus.repair import repair_file

    check_outside("TARGET", target)
    click.echo(repair_file(source, target, scheme, Columns.asked(word_column, tag_column)).to_text())


@data.command(
    "convert",
    short_help="Convert CoNLL, JSON lines and BRAT.",
    epilog="\b\nExample:\n  python cli.py data convert data/sample/test.conll converted.jsonl",
)
@click.argument("source", type=click.Path(), metavar="IN")
@click.argument("target", type=click.Path(), metavar="OUT")
@click.option("--to", "form", type=click.Choice(["conll", "jsonl", "brat"]), help="Form of OUT.  [default: by its suffix]")
@click.option("--scheme", help="Tagging scheme of the columns to write.  [default: that of IN; IOB2 for spans]")
@columns
@spans
def convert(
    source: str,
    target: str,
    form: str | None,
    scheme: str | None,
    word_column: int | None,
    tag_column: int | None,
    misaligned: str,
    overlapping: str,
) -> None:
    """Write labeled data in another form: CoNLL columns, JSON lines with spans, or BRAT's .txt and .ann.

    IN may be any of these, Label Studio's JSON export, or a folder of BRAT pairs. Sentences and documents are kept.
    """
    from ner.corpus.alignment import SpanRules
    from ner.corpus.conll import Columns
    from ner.corpus.convert import convert_file

    asked, rules = Columns.asked(word_column, tag_column), SpanRules(misaligned, overlapping)
    check_outside("OUT", target)
    done = convert_file(source, target, form, scheme=scheme, columns=asked, rules=rules)
    warn_of_forms([source], done.form)
    click.echo(done.to_text())


data.add_command(suspects)
