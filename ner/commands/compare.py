"""``compare``: two groups of runs, or two runs, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ner.config import KIND
from training.commands.help import Command
from training.commands.terminal import LongJob, warn
from training.run.folder import read_manifest
from training.run.groups import Group, Summary, check_group, is_group, read_group, seeds_of, tested_on
from training.visible import aligned, counted, one_line

if TYPE_CHECKING:  # NumPy is imported when it is needed
    from ner.seeds.compare import Difference


@click.command(
    cls=Command,
    short_help="Test whether two runs or groups differ.",
    epilog="\b\nExample:\n  python cli.py compare runs/ner/group_0 runs/ner/group_1",
)
@click.argument("first", type=click.Path(), metavar="GROUP_A")
@click.argument("second", type=click.Path(), metavar="GROUP_B")
@click.argument("sets", type=click.Path(), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Compare two groups of runs (train-ner or train-w2v --seeds), or two runs, with a test of significance.

    For groups: a permutation test of the difference in means over the seeds, exact for few seeds. For two single runs on
    the same test set: approximate randomization over its sentences (Yeh 2000), for strict F1. Runs of word vectors are also
    scored on the SETS of similarities or analogies.
    """
    from ner.seeds.compare import as_rows, compare_groups, compare_sentences

    paths = Path(first), Path(second)
    kind = _kind(paths[0])
    groups = [read_group(path, kind) for path in paths]
    for path in filter(is_group, paths):
        check_group(path, warn)
    if sets:
        groups = _scored(groups, sets)
    rows = compare_groups(*groups)
    over_sentences = None if kind != KIND or any(map(is_group, paths)) else compare_sentences(*paths)
    same_files = tested_on(groups[0]) == tested_on(groups[1])
    if as_json:
        found = {"metrics": as_rows(rows), "p_over_sentences": over_sentences, "same_test_files": same_files}
        click.echo(json.dumps(found, indent=2))
        return
    for letter, name, group in (("A", first, groups[0]), ("B", second, groups[1])):
        click.echo(one_line(f"{letter}: {name} ({_runs(group)})"))
    click.echo("\n".join(_table(rows)))
    if not same_files:
        click.echo("A and B were tested on different files: their scores say nothing about which is better")
    if over_sentences is not None:
        click.echo(f"test_f1: p = {over_sentences:.4f}, randomization over the test sentences")
    elif all(row.p is None for row in rows):
        singles = ", or two single runs" if kind == KIND else ""
        click.echo(f"no test: it takes two groups of at least two seeds{singles}")
    else:
        click.echo("medians (minimum to maximum); p: two-sided permutation test of the means over the seeds")


def _kind(path: Path) -> str:
    """The kind of a run, or of a group's runs."""
    run = path / f"seed_{seeds_of(path)[0]}" if is_group(path) else path
    return str(read_manifest(run)["kind"])


def _scored(groups: Sequence[Group], sets: Sequence[str]) -> list[Group]:
    """The groups with their vectors' scores on sets among the metrics. DataError for runs that have no vectors."""
    from word2vec.vectors.evaluate import check_names, read_set
    from word2vec.vectors.stability import scored

    check_names(sets)
    questions = [read_set(path) for path in sets]
    return [scored(group, questions, LongJob()) for group in groups]


def _runs(group: Group) -> str:
    n = len(group.metrics)
    return counted(n, "seed") if n > 1 else "one run"


def _table(rows: Sequence[Difference]) -> list[str]:
    """The lines of a table, a metric each."""
    cells = [("metric", "A", "B", "B - A", "p")]
    for row in rows:
        change = row.second.median - row.first.median
        p = "" if row.p is None else f"{row.p:.4f}"
        cells.append((one_line(row.metric), _short(row.first), _short(row.second), f"{change:+.4f}", p))
    return aligned(cells, numbers=True)


def _short(found: Summary) -> str:
    if found.n == 1:
        return f"{found.median:.4f}"
    return f"{found.median:.4f} ({found.minimum:.4f}-{found.maximum:.4f})"
