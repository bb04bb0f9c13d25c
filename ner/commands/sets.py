"""--sets and --sets-from: sets of readings with a stated coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from training.commands.options import Share
from training.commands.terminal import warn
from training.errors import ConfigError

if TYPE_CHECKING:
    from ner.corpus.alignment import SpanRules
    from ner.corpus.conll import Columns
    from ner.tagging.tagger import TrainedTagger


class _Coverage(Share):
    """A share; which ones are a coverage, and in what steps, the tagger says in a line of its own."""

    def _describe_range(self) -> str:
        """The range for a help."""
        return "0.5<=x<=0.99"


def sets_options(says: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command --sets, with this help, and --sets-from."""
    source = click.option(
        "--sets-from", type=click.Path(), metavar="FILE",
        help="Calibrate the sets on this labeled file.  [default: the validation data of the training]",
    )  # fmt: skip
    coverage = click.option("--sets", "coverage", type=_Coverage(), metavar="C", help=says)
    return lambda command: coverage(source(command))


def calibrate(
    tagger: TrainedTagger, coverage: float | None, source: str | None, columns: Columns, rules: SpanRules | None
) -> None:
    """Calibrate the sets on the labeled file ``source``, if it is given. ConfigError without a coverage."""
    from ner.tagging.gold import calibrate_sets

    if source is None:
        return
    if coverage is None:
        raise ConfigError("--sets-from: expected --sets with it, such as --sets 0.9, got none")
    warn(str(calibrate_sets(tagger, source, columns, lambda line: warn(f"warning: {line}"), rules)))
