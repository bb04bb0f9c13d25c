"""What all commands that train have in common: the options of a run that are not settings, and the way back to one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.bar import is_first, say
from training.commands.door import kinds
from training.commands.help import Option, is_typed
from training.config import COMMON, RUN, TrainConfig
from training.errors import CheckpointError, ConfigError, ReproducibilityError
from training.files import LARGEST_JSON, inside
from training.run.inputs import check_paths

if TYPE_CHECKING:
    from training.run.experiment import RunOptions


@dataclass(frozen=True)
class RunFlags:
    """The options of a run that are not settings of the experiment, as typed."""

    file: str | None
    path: str
    resume: str
    allow_changes: bool
    voice: str


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a run; it gets them as ``flags``."""

    @functools.wraps(command)
    def with_flags(file: str | None, path: str, resume: str, allow_changes: bool, voice: str | None, **typed: Any) -> Any:
        return command(flags=RunFlags(file, path, resume, allow_changes, voice or "plain"), **typed)

    common: Any = functools.partial(click.option, cls=Option, section=COMMON)
    other: Any = functools.partial(click.option, cls=Option, section=RUN)
    folder = "Folder to write the run to.  [default: the next version_N in the folder of its kind, such as runs/ner]"
    decorated = with_flags
    for add in (
        other("--json-log", "voice", flag_value="json", help="Write the log as JSON, one object a line."),
        other("--quiet", "voice", flag_value="quiet", help="Print nothing but errors."),
        other("--allow-changes", is_flag=True, help="Resume even if data, settings, code or versions have changed."),
        common("--resume", default="", metavar="RUN", help="Resume this run, or group of runs, from its last checkpoint."),
        common("--run", "path", default="", metavar="DIR", help=folder),
        other("--config", "file", metavar="FILE", help="Read options from a config.json; options typed here override it."),
    ):
        decorated = add(decorated)
    return decorated


def run_settings(flags: RunFlags, progress: bool) -> RunOptions:
    """The flags as the library takes them."""
    from training.commands.progress import voice
    from training.run.experiment import RunOptions

    tell, callbacks, progressing = voice(flags.voice if is_first() else "quiet", progress and is_first())
    options = RunOptions(
        path=flags.path,
        argv=tuple(sys.argv[1:]),
        resume=flags.resume,
        allow_changes=flags.allow_changes,
        callbacks=callbacks,
        tell=tell,
        progress=progressing,
    )
    return options.restarted()


def begin_processes(config: TrainConfig, flags: RunFlags) -> None:
    """``launch.begin``, with its line where the flags leave one; a new run's paths are looked at first."""
    from training.parallel import launch

    if not flags.resume:
        check_paths(config)
        if flags.path:
            check_outside("--run", flags.path)
    else:
        _check_kept(config, flags.resume)
    launch.begin(config, say if flags.voice == "plain" else lambda line: None)


def check_outside(option: str, target: str) -> None:
    """ConfigError for a target within a run, or within a group that it is no run of: it would break the seal."""
    path = Path(target)
    for above in path.absolute().parents:
        of_group = option == "--run" and above == path.absolute().parent and path.name.startswith("seed_")
        if (above / "manifest.json").is_file() or ((above / "group.json").is_file() and not of_group):
            what = (
                "a folder outside of other runs"
                if option == "--run"
                else "a place outside of runs, whose seal it would break"
            )
            raise ConfigError(f"{option}: expected {what}, got {path}, which is within {above}")


def _check_kept(config: TrainConfig, resumed: str) -> None:
    """ReproducibilityError for settings of a finished run that are not its own: they would have no effect."""
    from training.run.experiment import other_settings
    from training.run.folder import Run, has_finished

    run = Run.reopen(Path(resumed))
    if has_finished(run.manifest) and (other := other_settings(run, config)):
        raise ReproducibilityError(
            f"{run.path}: the run is finished, with other settings ({'; '.join(other)}); leave them out, or train a new run"
        )


def check_resumed(run: str) -> None:
    """ConfigError for what begins a run or a group, where one is resumed: it would have no effect."""
    context = click.get_current_context()
    for name, option, what in (
        ("file", "--config", "settings"), ("preset", "--preset", "settings"), ("path", "--run", "folder")
    ):  # fmt: skip
        if is_typed(context, name):
            raise ConfigError(f"{option}: {run} keeps its {what}; leave {option} out to resume it")


def resumed_config(flags: RunFlags, kind: str) -> str | None:
    """The file that settings are read from: that of a resumed run stands in its own folder.

    CheckpointError where the run is of another kind: the message names the command that made it.
    """
    from training.run.experiment import reopen
    from training.run.folder import Run

    if not flags.resume:
        return flags.file
    check_resumed(flags.resume)
    found = Run.reopen(Path(flags.resume)).manifest["kind"]
    other = kinds().get(str(found))
    if found != kind and other is not None:
        raise CheckpointError(f"{flags.resume}: expected a run of kind {kind}, got {found}; resume it with {other.command}")
    return str(inside(reopen(flags.resume, kind).path, "config.json", largest=LARGEST_JSON))
