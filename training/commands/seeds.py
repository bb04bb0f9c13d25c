"""``--seeds``: the same experiment with several seeds, for every command that trains."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.commands.door import Terminated, kinds
from training.commands.help import Option
from training.commands.options import check_none_typed, whole
from training.commands.start import RunFlags, check_resumed, run_settings
from training.config import COMMON, TrainConfig
from training.errors import CheckpointError, ConfigError, DataError, Preempted, SamebitsError, StreamError
from training.openmp import cores
from training.run.groups import MOST_SEEDS, Group, is_group, kind_of, open_group, run_group, started_in
from training.visible import aligned, counted, one_line

if TYPE_CHECKING:
    from training.run.experiment import RunOptions


def seeds_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --seeds and --jobs; it gets them as ``seeds``."""

    @functools.wraps(command)
    def with_seeds(seeds: int | None, jobs: int, **typed: Any) -> Any:
        return command(seeds=Seeds(seeds, jobs), **typed)

    option: Any = functools.partial(click.option, cls=Option, section=COMMON)
    jobs = option(
        "--jobs", type=whole(1), default=1, show_default=True, help="With --seeds, train this many of them in parallel."
    )  # fmt: skip
    seeds = option(
        "--seeds", type=whole(1, MOST_SEEDS), metavar="N",
        help="Train this many seeds, counting up from --seed, and summarize them.",
    )  # fmt: skip
    decorated: Callable[..., Any] = seeds(jobs(with_seeds))
    return decorated


@dataclass(frozen=True)
class Seeds:
    """The number of seeds, None for a single run, and how many of them run at a time."""

    number: int | None
    jobs: int

    def goes_on(self, kind: str, flags: RunFlags, typed: Mapping[str, Any]) -> bool:
        """Go on with the group that --resume names; False where it names none. ConfigError for what does not go together."""
        from training.parallel import launch

        resume = Path(flags.resume) if flags.resume else None
        group = resume if resume and is_group(resume) else None
        if self.number is None and self.jobs > 1 and group is None:
            raise ConfigError("jobs: expected --seeds N, too, or --resume of a group of runs; a single run has one job")
        if resume and self.number is not None:
            raise ConfigError(f"seeds: {resume} keeps the seeds that it began with; leave --seeds out to resume it")
        if group is None:
            return False
        if typed["devices"] > 1 or launch.is_started():
            raise ConfigError(f"devices: {group} is a group, whose runs have one process each; give --jobs")
        if (found := kind_of(group)) not in (kind, "") and found in kinds():
            command = kinds()[found].command
            raise CheckpointError(f"{group}: expected runs of kind {kind}, got {found}; resume it with {command}")
        check_resumed(flags.resume)
        shown = {"progress"}  # which is no matter of the runs
        check_none_typed(kinds()[kind].config_class(), typed.keys() - shown, flags.resume)
        train_group(kind, group, self.jobs, run_settings(replace(flags, path="", resume=""), typed["progress"]))
        return True

    def check(self, config: TrainConfig) -> None:
        """ConfigError for settings that runs of a group cannot have."""
        from training.parallel import launch

        if self.number is None:
            return
        if config.devices > 1 or launch.is_started():
            raise ConfigError(
                "seeds: expected one process for each run of a group, got several; give --jobs in place of them"
            )
        if config.reads_stdin(config.to_dict()):
            raise ConfigError(
                "seeds: expected files, which every run can read, got standard input (-), which can be read only once"
            )

    def train(self, kind: str, config: TrainConfig, path: str, options: RunOptions) -> None:
        """A new group, in ``path`` or the next ``runs/KIND/group_N``."""
        folder = open_group(kind, share_cores(config, self.jobs), self.number or 1, path, options.root)
        try:
            train_group(kind, folder, self.jobs, options)
        except (ConfigError, DataError):
            if not any(folder.glob("seed_*")):  # as of a single run, nothing is left where nothing has begun
                shutil.rmtree(folder)
            raise


def train_group(kind: str, folder: Path, jobs: int, options: RunOptions) -> None:
    """Train what is left of a group of runs of that kind, ``jobs`` at a time, and print the summary."""
    from training.commands.side_by_side import side_by_side, to_go_on

    options = replace(options, folder=started_in(folder))

    def train(config: TrainConfig, run: Path, started: bool) -> None:
        options.tell(one_line(f"seed {config.seed}: {run}"))
        path, resume = ("", str(run)) if started else (str(run), "")
        # A seed that has begun knows where; it may have been told of other paths, too.
        kinds()[kind].train_function()(
            config, replace(options, path=path, resume=resume, folder="" if started else options.folder)
        )

    try:
        if jobs > 1:
            side_by_side(folder, jobs, options, kind)
        finish = kinds()[kind].group_function()
        group = run_group(folder, kinds()[kind].config_class(), train, lambda done: finish(done, options.tell))
    except Terminated as stopped:  # between two runs, or before one listens
        raise to_go_on(Preempted(f"stopped between two runs: {stopped}"), folder, kind) from None
    except SamebitsError as error:
        if error.run or isinstance(error, StreamError):
            to_go_on(error, folder, kind)
        raise
    for line in summary_lines(group):
        options.tell(line)
    options.tell(f"seal: SHA-256 {group.seal}")
    options.tell(one_line(f"finished: {folder}"))


def share_cores(config: TrainConfig, jobs: int) -> TrainConfig:
    """A group's settings: for runs side by side a share of the cores each, where no number of threads is asked for."""
    return config if config.threads or jobs == 1 else replace(config, threads=max(1, cores() // jobs))


def summary_lines(group: Group) -> Iterable[str]:
    """A table: each metric's median, mean, deviation, minimum and maximum over the seeds."""
    rows: list[tuple[str, ...]] = [(counted(len(group.metrics), "seed"), "median", "mean", "dev", "min", "max")]
    for name, found in group.summaries().items():
        values = (found.median, found.mean, found.deviation, found.minimum, found.maximum)
        rows.append((name, *(f"{value:.4f}" for value in values)))
    return aligned(rows, numbers=True)
