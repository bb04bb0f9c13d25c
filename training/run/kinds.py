"""The kinds of runs: what a manifest's ``kind`` stands for, for commands that list runs or repeat them.

Whoever assembles the commands has the table of them, by name; no module here knows one. A kind names its code, which is
imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import TrainConfig

if TYPE_CHECKING:
    from training.run.card import OfKind
    from training.run.experiment import RunOptions


@dataclass(frozen=True)
class Kind:
    """A kind of run. ``config`` and ``train`` are written ``package.module:name``."""

    command: str
    """The command that makes such a run."""
    config: str
    """The dataclass of its settings."""
    train: str
    """The function that trains it: (settings, RunOptions) → the run's folder."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Metrics for a list of runs, by the column that shows them."""
    results: tuple[str, ...] = ()
    """Entries of its manifest, beside the metrics, that come out of the training."""
    pages: tuple[str, ...] = ()
    """Files that show its other results to a person: other code may lay them out in another way."""
    products: tuple[str, ...] = ()
    """Files of such a run that settings of others name: a list shows the run alone."""

    card: str = ""
    """The function that adds to a card what is known of such runs alone, written as ``train``; "" for none."""
    group: str = ""
    """The function that a group of them ends with: (folder, tell) → nothing, written as ``train``; "" for none."""

    def config_class(self) -> type[TrainConfig]:
        """The dataclass of its settings."""
        return _found(self.config)  # type: ignore[no-any-return]

    def train_function(self) -> Callable[[Any, RunOptions], Path]:
        """The function that trains it."""
        return _found(self.train)  # type: ignore[no-any-return]

    def card_function(self) -> OfKind | None:
        """The function that adds to a card what is known of such runs alone."""
        return _found(self.card) if self.card else None

    def group_function(self) -> Callable[[Path, Callable[[str], None]], object]:
        """The function that a group of such runs ends with, once all have finished."""
        return _found(self.group) if self.group else lambda folder, tell: None


Kinds = Mapping[str, Kind]


def commands_of(kinds: Kinds, last: str) -> str:
    """The commands that make such runs, in words; ``last`` stands before the last of them."""
    *names, name = (each.command for each in kinds.values())
    return f"{', '.join(names)} {last} {name}" if names else name


def _found(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
