"""The options that say with what a trained tagger computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from training.commands.options import whole
from training.config import MOST_THREADS

Command = Callable[..., Any]


def computing(command: Command) -> Command:
    """``--threads`` and ``--device``."""
    devices = click.Choice(["auto", "cpu", "cuda"])
    text = "Number of CPU threads; 0 for one per core that the process may use."
    command = click.option("--device", type=devices, default="cpu", show_default=True, help="Device to compute on.")(command)
    return click.option("--threads", type=whole(0, MOST_THREADS), default=0, show_default=True, help=text)(command)


def compute_with(threads: int) -> None:
    """What ``--threads`` asks for, before a tagger is loaded, to the end of the command."""
    from training import openmp
    from training.determinism.threads import use_threads
    from training.determinism.waiting import considerate

    if threads:
        use_threads(threads)
    click.get_current_context().with_resource(considerate(threads or openmp.cores()))
