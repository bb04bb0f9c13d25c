"""Making a run again, for commands that compare it or ask it: here, in several processes, or by the program that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.bar import is_first
from training.commands.door import kinds
from training.errors import ConfigError, DataError, Preempted, SamebitsError

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.loop.callback import Callback
    from training.run.script import Repetition, Script


def named_program(source: Path, described: dict[str, Any], named: str, *, allow_changes: bool = False) -> Script | None:
    """The user's program that made the run, as --script names it; None where a command made it."""
    from training.run.script import check_script

    if "script" not in described:
        if named:
            raise ConfigError(f"--script: {source} was made by a command; leave it out")
        return None
    return check_script(source, described, named, allow_changes=allow_changes)


def run_again(program: Script, described: dict[str, Any], folder: str, asked: Repetition) -> bool:
    """Have the program make the run again; whether it came to its end, which ``asked.last`` may forestall."""
    from training.run import script

    code = script.run_again(program, described.get("argv", [])[1:], folder, asked)
    return _is_complete(code, asked, str(program.path))


def repeat_together(described: dict[str, Any], asked: Repetition) -> bool:
    """Have several processes make the run again, each with this command; whether it came to its end."""
    from training.parallel import launch
    from training.run.script import REPEAT

    code = launch.start(_config(described, asked), {REPEAT: asked.to_json()})
    if code == Preempted.exit_code and asked.last is None:
        raise Preempted("the repetition is not complete, run verify again")
    return _is_complete(code, asked, "the processes")


def _is_complete(code: int, asked: Repetition, who: str) -> bool:
    if not Path(asked.folder, "manifest.json").is_file():
        raise DataError(f"{who}: expected it to repeat the run, got exit code {code} and no run")
    if code == Preempted.exit_code and asked.last is not None:
        return False
    if code:
        click.echo(f"error: the repetition ended early, with exit code {code}", err=True)
    return True


def _config(described: dict[str, Any], asked: Repetition) -> TrainConfig:
    kind = kinds()[described["kind"]]
    return kind.config_class().from_dict({**described["config"], **asked.settings}, "manifest.json: config")


def say_as_repeated(line: str) -> None:
    """What the repetition says, but for its own seal: the one to be quoted is that of the run."""
    if is_first() and not line.startswith("seal: "):
        click.echo(line)


def repeat(
    described: dict[str, Any],
    folder: str,
    asked: Repetition,
    callbacks: Sequence[Callback] = (),
    tell: Callable[[str], None] = say_as_repeated,
    *,
    ends: bool = False,
) -> bool:
    """Train the settings of ``described`` anew; whether it came to its end, which ``asked.last`` may forestall.

    An error of the training ends the repetition only, since what it wrote until then is compared all the same; with ``ends``
    it is raised.
    """
    from training.commands.progress import progress_bar
    from training.run.experiment import RunOptions
    from training.run.preemption import StopAt

    stop = StopAt(asked.last) if asked.last is not None else None
    path, resume = ("", asked.folder) if asked.resume else (asked.folder, "")
    options = RunOptions(
        path=path, resume=resume, folder=folder, tell=tell,
        callbacks=(progress_bar(), *callbacks, *([stop] if stop else [])),
    )  # fmt: skip
    try:
        kinds()[described["kind"]].train_function()(_config(described, asked), options)
    except Preempted as stopped:
        if stop is None or not stop.done:
            command = click.get_current_context().info_name
            more = Preempted(f"{stopped}; the repetition is not complete, run {command} again")
            more.silent = stopped.silent
            raise more from None
        return False
    except SamebitsError as error:
        if ends or not Path(asked.folder, "manifest.json").is_file():
            error.run = ""  # there is nothing to go on with
            raise
        if is_first():
            click.echo(f"error: the repetition ended early: {error}", err=True)
    return True
