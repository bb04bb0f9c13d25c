"""``ask``: what a finished run's steps had of what was not logged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.commands import repeat
from training.commands.diff import report
from training.commands.door import kinds
from training.commands.help import Command
from training.commands.terminal import warn
from training.errors import ConfigError
from training.leftovers import temporary_folder
from training.run import seal
from training.run.compare import Comparison, compare
from training.run.groups import is_group, seeds_of
from training.visible import one_line, short_digest

if TYPE_CHECKING:
    from training.run.answers import Answer
    from training.run.script import Repetition, Script


WHOLE = 2**30  # characters: what was in a batch is told in full


@click.command(
    cls=Command,
    epilog="\b\nExample:\n  python cli.py ask runs/ner/version_0 --steps 4:5 --watch batch --watch linear.bias.grad",
)
@click.argument("run", type=click.Path())
@click.option(
    "--steps", required=True, metavar="FIRST:LAST", help="Optimizer steps to ask about, counted from 1, or a single one."
)
@click.option("--watch", multiple=True, required=True, metavar="NAME",
              help="Value to print for each batch. May be repeated.")  # fmt: skip
@click.option("--script", default="", metavar="FILE", help="The program that made the run; it is run again.")
def ask(run: str, steps: str, watch: tuple[str, ...], script: str) -> None:
    """Print values of a finished run's steps that were not logged.

    Repeats the run from the nearest kept checkpoint, or from its start, in a temporary folder. The ledger proves batch by
    batch that the values are the run's own. If the repetition differs from the ledger, the command says where and exits
    with 1.

    NAME is batch (its content), loss, gradient_norm (before clipping), a parameter (before the step), a parameter with
    .grad (before clipping), or a module (its return value). The end of a name is enough. A tensor may have indices:
    'linear.weight[0:2,5]'. A tensor of up to 8 elements is printed in full, a larger one as size, norm, mean and range,
    each with the SHA-256 of its bits.
    """
    from training.determinism import portable
    from training.run import replay
    from training.run.answers import last_step

    source = Path(run)
    if is_group(source):
        one = source / f"seed_{seeds_of(source)[0]}"
        raise ConfigError(f"ask: {run} is a group: expected one of its runs, such as {one}")
    described = replay.repeatable(source, kinds())
    program = repeat.named_program(source, described, script)
    first, last = _span(steps, last_step(source))
    portable.begin(described["config"].get("portable", False))
    files = seal.faults(source, described)
    with temporary_folder("samebits-ask-") as scratch:
        again = scratch / "run"
        begin = _prepare(source, described, again, first, is_own=program is not None)
        asked = _asked(source, described, again, watch, (first, last), program, resume=begin > 0)
        answers, complete = _answers(source, described, program, asked)
        found = compare(source, again, partial=not complete, repeated=True, without=replay.REPEATED, kinds=kinds())
    for answer in answers:
        _show(answer)
    _conclude(source, answers, Comparison([*files, *found.results], found.causes))


def _span(steps: str, last: int | None) -> tuple[int, int | None]:
    """The first and the last step; ConfigError for what is not that, or beyond the run's ``last`` one."""
    match = re.fullmatch("([0-9]{,18})(:?)([0-9]{,18})", steps)
    end = "" if last is None else f" to {last}"
    if match is None or not steps.strip(":"):
        raise ConfigError(f"--steps: expected a step, or FIRST:LAST, from 1{end}, got {steps!r}")
    first = int(match[1] or 1)
    final = int(match[3]) if match[3] else last if match[2] else first
    if first < 1 or (final is not None and final < first) or (last is not None and final is not None and final > last):
        raise ConfigError(f"--steps: expected steps from 1{end}, the first one first, got {steps}")
    return first, final


def _prepare(source: Path, described: dict[str, Any], again: Path, first: int, *, is_own: bool) -> int:
    """Copy the newest kept checkpoint before the steps, if there is one; the step that it is of."""
    from training.run import replay

    # Where several batches make a step, a checkpoint may be of the middle of them.
    several = is_own or described["config"].get("accumulate_grad_batches", 1) != 1
    start = replay.prepare_if_kept(source, described, again, first - (2 if several else 1), warn)
    if start is None:
        return 0
    click.echo(f"repeated from the checkpoint at step {start.step}")
    return start.step


def _asked(
    source: Path,
    described: dict[str, Any],
    again: Path,
    watch: tuple[str, ...],
    span: tuple[int, int | None],
    program: Script | None,
    *,
    resume: bool,
) -> Repetition:
    from training.run import replay
    from training.run.answers import proved_at
    from training.run.script import Repetition

    number = 0 if program is None else program.number
    settings = replay.place_settings(described)
    stop = proved_at(source, span[1])
    return Repetition(number, str(again.absolute()), settings, resume, stop, watch, *span)


def _answers(
    source: Path, described: dict[str, Any], program: Script | None, asked: Repetition
) -> tuple[list[Answer], bool]:
    """Make the run again, as far as it is asked about; and whether that was to its end."""
    from training.run.answers import Answers, read_answers
    from training.run.places import start_folder

    folder = str(start_folder(source, described))
    if program is None:
        watch = Answers(asked.watch, asked.first, asked.until, asked.folder)
        complete = repeat.repeat(described, folder, asked, [watch], tell=lambda line: None, ends=True)
    else:
        complete = repeat.run_again(program, described, folder, asked)
    return read_answers(asked.folder, source), complete


def _show(answer: Answer) -> None:
    """The batch, with what of the ledger proves it: its own line, or the next one that there is."""
    proof = answer.proof
    if proof is None:
        said = "no line in the run's ledger"
    else:
        there = "" if proof.place[:2] == (answer.epoch, answer.batch) else f" at step {proof.place[2]}"
        said = f"as in the run's ledger{there}, {short_digest(proof.chain)}"
        said = said if proof.own else f"not {said}"
    click.echo(f"step {answer.step} (epoch {answer.epoch}, batch {answer.batch}): {said}")
    for line in answer.lines:
        click.echo(one_line(f"  {line}", longest=WHOLE))


def _conclude(source: Path, answers: list[Answer], comparison: Comparison) -> None:
    """Say whether these are the run's own numbers; exit code 1 where they are not."""
    if not comparison.same_bits:
        click.echo("nothing proves that these are the run's own numbers:")
        report(comparison, "")
    elif any(answer.proof is None for answer in answers):
        warn(f"{source}: nothing proves that these are its own numbers: its ledger has no line of these steps")
    else:
        click.echo("these are the run's own numbers: its ledger and that of the repetition agree")
