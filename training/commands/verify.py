"""``verify``: whether a run can be repeated bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.commands import repeat
from training.commands.diff import report
from training.commands.door import kinds
from training.commands.help import Command
from training.commands.options import whole
from training.commands.start import check_outside
from training.errors import ConfigError, Preempted
from training.files import check_new
from training.leftovers import temporary_folder
from training.run import seal
from training.run.compare import Comparison, compare
from training.run.folder import read_manifest
from training.run.groups import group_extras, group_faults, group_seal, is_group, seeds_of
from training.visible import one_line

if TYPE_CHECKING:
    from training.run.script import Repetition


@click.command(
    cls=Command,
    short_help="Repeat a run and compare the bits.",
    epilog="\b\nExample:\n  python cli.py verify runs/ner/version_0",
)
@click.argument("run", type=click.Path())
@click.option("--from", "first", type=whole(0), metavar="STEP",
              help="Start from the newest kept checkpoint at or before this step.")  # fmt: skip
@click.option("--to-step", "last", type=whole(1), metavar="STEP", help="Stop after this step.")
@click.option(
    "--to", "path", default="", metavar="DIR", help="Keep the repeated run in this folder.  [default: it is deleted]"
)
@click.option("--allow-changes", is_flag=True, help="Repeat the run even if inputs have changed, to see the effect.")
@click.option("--script", default="", metavar="FILE", help="The program that made the run; it is run again.")
@click.option("--devices", type=whole(1, 1024), default=1, show_default=True,
              help="Repeat the run in this many processes, which must give the same bits.")  # fmt: skip
def verify(run: str, first: int | None, last: int | None, path: str, allow_changes: bool, script: str, devices: int) -> None:
    """Repeat a finished run, or all runs of a group, from its own settings and compare step by step.

    Prints "same bits" and exits with 0. Otherwise names the first step that differs, the first tensors in it, and the
    differences in inputs, code and environment, and exits with 1. The run's files must match its seal, and the repetition
    must give all the results that the run states. With --from, the steps before the checkpoint are not repeated; there the
    command only checks that the ledger is the one that the checkpoint was written with.

    To repeat a run of your own program, name the program with --script. It runs in its own process with the original
    arguments. The program and the modules beside it must be unchanged.
    """
    from training.run.script import repetition

    source, asked = Path(run), repetition()
    if asked is not None:
        _take_part(read_manifest(source), source, asked)
        return
    if is_group(source):
        if first is not None or last is not None or path or script:
            expected = "expected --from, --to-step, --to and --script with one of its runs alone"
            raise ConfigError(f"verify: {run} is a group: {expected}")
        comparison, sealed, span = _verified_group(source, allow_changes, devices), group_seal(source), " in all runs"
    else:
        comparison, span = _verified(source, first, last, path, allow_changes, script, devices)
        sealed = str(read_manifest(source).get("seal", ""))
    if comparison.same_bits:
        click.echo(f"seal: SHA-256 {sealed}" if sealed else one_line(f"{run}: {seal.NO_SEAL}"))
    report(comparison, f"verified: same bits{span}")


def _verified_group(group: Path, allow_changes: bool, devices: int) -> Comparison:
    """What is found wrong in the group's own files, and in each of its runs."""
    results, causes = group_faults(group, whole=False) + group_extras(group), list[str]()
    for seed in seeds_of(group):
        click.echo(one_line(f"seed {seed}: {group / f'seed_{seed}'}"))
        comparison, _ = _verified(group / f"seed_{seed}", None, None, "", allow_changes, "", devices)
        results += comparison.results
        causes += [line for line in comparison.causes if line not in causes]
    return Comparison(results, causes)


def _verified(
    source: Path, first: int | None, last: int | None, path: str, allow_changes: bool, script: str, devices: int
) -> tuple[Comparison, str]:
    """Repeat a run and compare; with which steps were repeated, in words, where not all were."""
    from training.determinism import portable
    from training.run import replay
    from training.run.places import start_folder
    from training.run.script import Repetition

    described = replay.repeatable(source, kinds(), allow_changes=allow_changes)
    program = repeat.named_program(source, described, script, allow_changes=allow_changes)
    portable.begin(described["config"].get("portable", False))  # a program that it starts has them from it
    if first is not None and last is not None and last <= first:
        raise ConfigError(f"--to-step: expected more than --from {first}, got {last}")
    if path:
        check_new("--to", path)
        check_outside("--to", path)
    files = seal.faults(source, described)
    with temporary_folder("samebits-verify-") as scratch:
        again = Path(path) if path else scratch / "run"
        begin = 0
        if first is not None:
            begin = replay.prepare(source, described, again, first, click.echo).step
            click.echo(f"replaying from the checkpoint at step {begin}")
        folder = str(start_folder(source, described))
        asked = Repetition(
            0 if program is None else program.number, str(again.absolute()), replay.place_settings(described, devices),
            first is not None, last,
        )  # fmt: skip
        if program is not None:
            complete = repeat.run_again(program, described, folder, asked)
        elif devices > 1:
            complete = repeat.repeat_together(described, asked)
        else:
            complete = repeat.repeat(described, folder, asked)
        found = compare(source, again, partial=not complete, repeated=True, without=replay.REPEATED, kinds=kinds())
    span = "" if first is None and complete else f", steps {begin + 1} to {last if last and not complete else 'the end'}"
    return Comparison([*files, *found.results], found.causes), span


def _take_part(described: dict[str, Any], source: Path, asked: Repetition) -> None:
    """As one of several processes: repeat the run, and leave the rest to the one that started them."""
    from training.run.places import start_folder

    if not repeat.repeat(described, str(start_folder(source, described)), asked):
        raise SystemExit(Preempted.exit_code)
