"""``train-ner``: options → config → one library call; with --seeds one for each run of a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ner.config import KIND, PRESETS, TaggerConfig
from training.commands.door import Terminated
from training.commands.help import Command, Option
from training.commands.options import config_options, make_config, whole
from training.commands.start import RunFlags, resumed_config, run_options, run_settings
from training.config import COMMON
from training.errors import ConfigError, Preempted, SamebitsError, StreamError
from training.openmp import cores
from training.run.groups import MOST_SEEDS, Group, is_group, open_group, run_group, started_in
from training.visible import aligned, counted, one_line

if TYPE_CHECKING:
    from training.kept_settings import KeptSettings
    from training.run.experiment import RunOptions


@click.command(cls=Command, epilog="\b\nExample:\n  python cli.py train-ner --data data/sample --deterministic")
@click.option(
    "--preset", cls=Option, section=COMMON, type=click.Choice(sorted(PRESETS)), default="default", show_default=True,
    help="Set of defaults to begin with; options typed here override it.",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, section=COMMON, type=whole(1, MOST_SEEDS), metavar="N",
    help="Train this many seeds, counting up from --seed, and summarize them.",
)  # fmt: skip
@click.option(
    "--jobs", cls=Option, section=COMMON, type=whole(1), default=1, show_default=True,
    help="Run this many seeds in parallel.",
)  # fmt: skip
@config_options(TaggerConfig)
@run_options
def train_ner(preset: str, seeds: int | None, jobs: int, flags: RunFlags, **typed: Any) -> None:
    """Train a tagger, test it and write a report. With --seeds, train a group of runs, in runs/ner/group_N."""
    from training.determinism import portable
    from training.parallel import launch

    resume = Path(flags.resume) if flags.resume else None
    if seeds is None and jobs > 1 and not (resume and is_group(resume)):
        raise ConfigError("jobs: expected --seeds N, too, or --resume of a group of runs; a single run has one job")
    if resume and seeds is not None:
        raise ConfigError(f"seeds: {resume} keeps the seeds that it began with; leave --seeds out to resume it")
    if resume and is_group(resume):
        if typed["devices"] > 1 or launch.is_started():
            raise ConfigError(f"devices: {resume} is a group, whose runs have one process each; give --jobs")
        options = run_settings(replace(flags, path="", resume=""), typed["progress"])
        train_group(resume, jobs, options)
        return
    file = resumed_config(flags, KIND)
    config = make_config(TaggerConfig, typed, file, PRESETS[preset], None if flags.resume else _kept_settings)
    if seeds is not None and (config.devices > 1 or launch.is_started()):
        raise ConfigError("seeds: expected one process for each run of a group, got several; give --jobs in place of them")
    portable.begin(config.portable)
    launch.begin(config)
    options = run_settings(flags, config.progress)
    if seeds is not None:
        train_group(open_group(KIND, share_cores(config, jobs), seeds, flags.path, options.root), jobs, options)
        return
    from ner.train import train_tagger

    options.tell(one_line(f"finished: {train_tagger(config, options)}"))


def _kept_settings(start: str) -> KeptSettings:
    """The settings that stay as the start has them; what reads them is imported only where there is one."""
    from ner.start.start import kept_settings

    return kept_settings(start)


def train_group(folder: Path, jobs: int, options: RunOptions) -> None:
    """Train what is left of a group, ``jobs`` runs at a time, and print the summary."""
    from ner.commands.side_by_side import side_by_side, to_go_on
    from ner.train import train_tagger

    options = replace(options, folder=started_in(folder))

    def train(config: TaggerConfig, run: Path, started: bool) -> None:
        options.tell(one_line(f"seed {config.seed}: {run}"))
        path, resume = ("", str(run)) if started else (str(run), "")
        # A seed that has begun knows where; it may have been told of other paths, too.
        train_tagger(config, replace(options, path=path, resume=resume, folder="" if started else options.folder))

    try:
        if jobs > 1:
            side_by_side(folder, jobs, options)
        group = run_group(folder, TaggerConfig, train)
    except Terminated as stopped:  # between two runs, or before one listens
        raise to_go_on(Preempted(f"stopped between two runs: {stopped}"), folder) from None
    except SamebitsError as error:
        if error.run or isinstance(error, StreamError):
            to_go_on(error, folder)
        raise
    for line in summary_lines(group):
        options.tell(line)
    options.tell(f"seal: SHA-256 {group.seal}")
    options.tell(one_line(f"finished: {folder}"))


def share_cores(config: TaggerConfig, jobs: int) -> TaggerConfig:
    """A group's settings: for runs side by side a share of the cores each, where no number of threads is asked for."""
    return config if config.threads or jobs == 1 else replace(config, threads=max(1, cores() // jobs))


def summary_lines(group: Group) -> Iterable[str]:
    """A table: each metric's median, mean, deviation, minimum and maximum over the seeds."""
    rows: list[tuple[str, ...]] = [(counted(len(group.metrics), "seed"), "median", "mean", "dev", "min", "max")]
    for name, found in group.summaries().items():
        values = (found.median, found.mean, found.deviation, found.minimum, found.maximum)
        rows.append((name, *(f"{value:.4f}" for value in values)))
    return aligned(rows, numbers=True)
