"""Looking at what came out: ``evaluate``, and ``runs list``."""

from __future__ import annotations

from pathlib import Path

import click

from ner.config import TaggerConfig
from ner.seeds.run_list import list_runs
from training.commands.options import columns_of_file, whole
from training.commands.terminal import LongJob, echo, styled, table, warn
from training.errors import ConfigError
from training.files import atomic_write, check_not_read
from training.leftovers import sweep
from training.visible import one_line, shortened, to_json
from word2vec.config import Word2VecConfig

DEFAULTS = {"ner": TaggerConfig(), "w2v": Word2VecConfig()}
STATUS_COLORS = {"finished": "green", "failed": "red", "unreadable": "red", "changed": "red"}


@click.command(epilog="\b\nExample:\n  python cli.py evaluate runs/ner/version_0 data/sample/test.conll --html report.html")
@click.argument("run", type=click.Path())
@click.argument("file", type=click.Path())
@columns_of_file
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--html", "html", type=click.Path(), metavar="FILE", help="Write a page with all sentences marked, too.")
@click.option("--worst", type=whole(0), default=10, show_default=True, help="Show so many of the worst sentences.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", show_default=True, help="Where to compute."
)
def evaluate(
    run: str,
    file: str,
    word_column: int | None,
    tag_column: int | None,
    as_json: bool,
    html: str | None,
    worst: int,
    device: str,
) -> None:
    """Score a trained run on any labeled file, and show where it is wrong.

    By seqeval's strict reading and by conlleval's, for each type; for words that training saw or not; errors by kind;
    confusion between types; the worst sentences.
    """
    from ner.predict import evaluate_file
    from ner.scoring.html import page
    from ner.tagging.tagger import TrainedTagger

    if html:
        check_not_read("--html", html, [file])
    if html and not Path(html).absolute().parent.is_dir():
        raise ConfigError(f"--html: expected a file in a folder that is there, got {html}")
    tagger = TrainedTagger.load(run, device, warn)
    columns = tagger.columns_with(word_column, tag_column)
    found = evaluate_file(tagger, file, LongJob(), columns, lambda line: click.echo(one_line(f"warning: {line}"), err=True))
    if html:
        try:
            atomic_write(html, page(found, "Evaluation", {"run": run, "file": file}))
        except OSError as error:
            raise ConfigError(f"--html: {html} cannot be written: {error.strerror}; give another file") from None
        click.echo(one_line(f"written: {html}"), err=True)
    click.echo(to_json(found.to_dict(worst), indent=2) if as_json else found.to_text(worst))


@click.group()
def runs() -> None:
    """The runs that there are."""


@runs.command("list", epilog="\b\nExample:\n  python cli.py runs list")
@click.option("--root", type=click.Path(), default="runs", show_default=True, help="The folder of all runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_all(root: str, as_json: bool) -> None:
    """A table of all runs, and of groups of them: status, settings, F1, level of determinism, digest of the weights.

    Settings are those that are not the defaults. A group's F1 is the median of its finished runs.
    """
    for folder in (Path(root), *Path(root).glob("*/")):
        sweep(folder)
    rows = list_runs(Path(root), DEFAULTS)
    if as_json:
        click.echo(to_json(rows, indent=2))
        return
    if not rows:
        click.echo(f"no runs in {root}; train-w2v and train-ner make some")
        return
    shown = [{**row, "settings": shortened(row["settings"], 60)} for row in rows]
    lines = table(list(shown[0]), [list(row.values()) for row in shown])
    click.echo(lines[0])
    for row, line in zip(rows, lines[1:], strict=True):
        status = one_line(row["status"])
        color = STATUS_COLORS.get(status.split(" ")[0])
        before, found, after = line.partition(f"  {status}")
        echo(before, "  ", styled(status, color), after) if color and found else echo(line)
