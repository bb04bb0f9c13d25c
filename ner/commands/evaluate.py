"""``evaluate``: a trained tagger on a labeled file."""

from __future__ import annotations

import click

from ner.commands.columns import columns_of_file
from ner.commands.computing import compute_with, computing
from ner.commands.no_effect import warn_of_forms
from ner.commands.sets import calibrate, sets_options
from ner.commands.spans import spans
from training.commands.help import Command
from training.commands.options import whole
from training.commands.start import check_outside
from training.commands.terminal import LongJob, warn
from training.errors import ConfigError
from training.files import atomic_write, check_new_file
from training.visible import to_json


@click.command(
    short_help="Score a tagger on a labeled file.",
    cls=Command,
    epilog="\b\nExample:\n  python cli.py evaluate runs/ner/version_0 data/sample/test.conll --html report.html",
)
@click.argument("run", type=click.Path(), metavar="RUN|GROUP|BUNDLE")
@click.argument("file", type=click.Path())
@columns_of_file
@spans
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--html",
    "html",
    type=click.Path(),
    metavar="FILE",
    help="Also write a new HTML page that marks the errors in each sentence.",
)
@click.option(
    "--unknown-types", type=click.Choice(["error", "ignore"]),
    help="Entities of types that the run does not know: refuse them, or read them as O.  [default: they count as missed]",
)  # fmt: skip
@sets_options("Also report how often sets of readings for this probability, in steps of 0.01, contain the right one.")
@click.option("--worst", type=whole(0), default=10, show_default=True, help="Number of worst sentences to show.")
@computing
def evaluate(
    run: str,
    file: str,
    word_column: int | None,
    tag_column: int | None,
    misaligned: str,
    overlapping: str,
    as_json: bool,
    html: str | None,
    unknown_types: str | None,
    coverage: float | None,
    sets_from: str | None,
    worst: int,
    threads: int,
    device: str,
) -> None:
    """Score a trained run, a group of runs or a bundle on a labeled file, and show its errors.

    The report has scores by type in seqeval's strict mode and as conlleval reads, scores by whether training saw the
    words, errors by kind, confusion between types, and the worst sentences.
    """
    from ner.corpus.alignment import SpanRules
    from ner.predict import evaluate_file
    from ner.scoring.html import page
    from ner.tagging.tagger import TrainedTagger

    compute_with(threads)
    if html:
        check_new_file("--html", html)
        check_outside("--html", html)
    tagger = TrainedTagger.load(run, device, warn)
    columns = tagger.columns_with(word_column, tag_column)
    rules = SpanRules(misaligned, overlapping)
    warn_of_forms([file, *([sets_from] if sets_from else [])])
    calibrate(tagger, coverage, sets_from, columns, rules)
    found = evaluate_file(
        tagger, file, LongJob(), columns, lambda line: warn(f"warning: {line}"), rules, unknown_types or "", coverage
    )
    if html:
        try:
            atomic_write(html, page(found, "Evaluation", {"run": run, "file": file}))
        except OSError as error:
            raise ConfigError(f"--html: {html} cannot be written: {error.strerror}; give another file") from None
        warn(f"written: {html}")
    click.echo(to_json(found.to_dict(worst), indent=2) if as_json else found.to_text(worst))
