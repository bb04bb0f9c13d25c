"""train-ner --seeds, and compare: one experiment with several seeds, and two of them side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO

import click

from ner.config import TaggerConfig
from ner.seeds.groups import (
    Group,
    as_rows,
    check_group,
    compare_groups,
    compare_sentences,
    is_group,
    read_group,
    run_group,
    seeds_of,
    started_in,
    tested_on,
)
from ner.seeds.significance import Summary
from training.commands.door import Terminated
from training.commands.terminal import warn
from training.errors import Preempted, SamebitsError, StreamError
from training.files import inside, open_inside
from training.run.experiment import RunOptions
from training.visible import one_line


def train_group(folder: Path, jobs: int, options: RunOptions) -> None:
    """Train what is left of a group, ``jobs`` runs at a time, and print the summary."""
    from ner.train import train_tagger

    options = replace(options, folder=started_in(folder))

    def train(config: TaggerConfig, run: Path, started: bool) -> None:
        options.tell(one_line(f"seed {config.seed}: {run}"))
        path, resume = ("", str(run)) if started else (str(run), "")
        # A seed that has begun knows where; it may have been told of other paths, too.
        train_tagger(config, replace(options, path=path, resume=resume, folder="" if started else options.folder))

    try:
        if jobs > 1:
            _side_by_side(folder, jobs, options)
        group = run_group(folder, train)
    except Terminated as stopped:  # between two runs, or before one listens
        raise _to_go_on(Preempted(f"stopped between two runs: {stopped}"), folder) from None
    except SamebitsError as error:
        if error.run or isinstance(error, StreamError):
            _to_go_on(error, folder)
        raise
    for line in summary_lines(group):
        options.tell(line)
    options.tell(f"seal: SHA-256 {group.seal}")
    options.tell(one_line(f"finished: {folder}"))


def _to_go_on(error: SamebitsError, folder: Path) -> SamebitsError:
    """The error, with the group as what can go on."""
    error.run = str(folder)
    return error


def share_cores(config: TaggerConfig, jobs: int) -> TaggerConfig:
    """A group's settings: for runs side by side a share of the cores each, where no number of threads is asked for."""
    return config if config.threads or jobs == 1 else replace(config, threads=max(1, (os.cpu_count() or 1) // jobs))


class Children:
    """Processes that are begun in several threads, and all stopped by one call: none that is begun meanwhile goes on."""

    def __init__(self) -> None:
        self.stopping = False
        self._begun: list[subprocess.Popen[bytes]] = []

    def run(self, command: Sequence[str], log: IO[str], folder: str = "") -> int | None:
        """Begin one and wait for its end: its exit code, or minus the signal that killed it; None if all are to stop."""
        if self.stopping:
            return None
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder or None)
        self._begun.append(child)
        if self.stopping:  # told so between the look above and the entry in the list
            _stop(child)
        return child.wait()

    def stop(self) -> None:
        """Stop those that are there, and begin no more. Signal handlers may call it: it takes no lock."""
        self.stopping = True
        for child in list(self._begun):
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()


def _side_by_side(folder: Path, jobs: int, options: RunOptions) -> None:
    """Train the seeds in processes of their own; Preempted if one was stopped, or this process is told to stop."""
    children = Children()

    def one(seed: int) -> int:
        run = inside(folder, f"seed_{seed}")
        with open_inside(folder, f"seed_{seed}.log", "a") as log:
            options.tell(one_line(f"seed {seed}: begun, {log.name}"))
            code = children.run(_command(folder, seed, options.allow_changes), log, options.folder)
        options.tell(one_line(f"seed {seed}: {_ending(code)}, {run}"))
        return Preempted.exit_code if code is None or (children.stopping and code in _TERMINATED) else code

    before = {number: signal.signal(number, lambda *_: children.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ThreadPoolExecutor(jobs) as pool:
            try:
                codes = list(pool.map(one, seeds_of(folder)))
            except BaseException:
                children.stop()
                raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _judge(folder, dict(zip(seeds_of(folder), codes, strict=True)))


_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # told to stop before the run could go on from where it is


def _command(folder: Path, seed: int, allow_changes: bool) -> list[str]:
    """What begins a seed's run, or goes on with it."""
    run = inside(folder, f"seed_{seed}").absolute()
    command = [sys.executable, str(Path(__file__).resolve().parents[2] / "cli.py"), "train-ner", "--no-progress"]
    if (run / "manifest.json").is_file():
        return [*command, "--resume", str(run), *(["--allow-changes"] if allow_changes else [])]
    return [*command, "--config", str((folder / "config.json").absolute()), "--seed", str(seed), "--run", str(run)]


def _ending(code: int | None) -> str:
    if code is None:
        return "not begun"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code else "finished"


def _judge(folder: Path, codes: Mapping[int, int]) -> None:
    """Preempted where runs were stopped or killed, and can go on; the error of the first that failed by itself."""
    failed = [seed for seed, code in codes.items() if code > 0 and code != Preempted.exit_code]
    if failed:
        error = SamebitsError(f"seed {failed[0]} failed: see {folder / f'seed_{failed[0]}.log'}")
        error.exit_code = codes[failed[0]]
        raise _to_go_on(error, folder) if error.exit_code == SamebitsError.exit_code else error
    killed = {seed: signal.Signals(-code).name for seed, code in codes.items() if code < 0}
    if killed:
        seed, name = next(iter(killed.items()))
        why = "; the system does so where memory runs out: try fewer --jobs" if name == "SIGKILL" else ""
        raise _to_go_on(Preempted(f"{len(killed)} of {len(codes)} seeds were killed (seed {seed} by {name}{why})"), folder)
    stopped = sum(code == Preempted.exit_code for code in codes.values())
    if stopped:
        raise _to_go_on(Preempted(f"{stopped} of {len(codes)} seeds were stopped"), folder)


def summary_lines(group: Group) -> Iterable[str]:
    """A table: each metric's median, mean, deviation, minimum and maximum over the seeds."""
    yield f"{'metric':24} {'median':>8} {'mean':>8} {'dev':>8} {'min':>8} {'max':>8}   {len(group.metrics)} seeds"
    for name, found in group.summaries().items():
        values = (found.median, found.mean, found.deviation, found.minimum, found.maximum)
        yield f"{name:24} " + " ".join(f"{value:8.4f}" for value in values)


@click.command(epilog="\b\nExample:\n  python cli.py compare runs/ner/group_0 runs/ner/group_1")
@click.argument("first", type=click.Path(), metavar="GROUP_A")
@click.argument("second", type=click.Path(), metavar="GROUP_B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Compare two groups of runs (train-ner --seeds), or two runs, with a significance test.

    Groups: a permutation test of the difference in means over the seeds, exact for few of them. Two single runs on the same
    test set: approximate randomization over its sentences (Yeh 2000), for strict F1.
    """
    paths = Path(first), Path(second)
    groups = [read_group(path) for path in paths]
    for path in filter(is_group, paths):
        check_group(path, warn)
    rows = compare_groups(*groups)
    over_sentences = None if any(map(is_group, paths)) else compare_sentences(*paths)
    if as_json:
        click.echo(json.dumps({"metrics": as_rows(rows), "p_over_sentences": over_sentences}, indent=2))
        return
    for letter, name, group in (("A", first, groups[0]), ("B", second, groups[1])):
        click.echo(one_line(f"{letter}: {name} ({_runs(group)})"))
    click.echo(f"{'metric':24} {'A':>26} {'B':>26} {'B - A':>8} {'p':>7}")
    for row in rows:
        p = "" if row.p is None else f"{row.p:7.4f}"
        change = row.second.median - row.first.median
        click.echo(f"{one_line(row.metric):24} {_short(row.first):>26} {_short(row.second):>26} {change:+8.4f} {p}".rstrip())
    if tested_on(groups[0]) != tested_on(groups[1]):
        click.echo("A and B were tested on different files: their scores say nothing about which is better")
    if over_sentences is not None:
        click.echo(f"test_f1: p = {over_sentences:.4f}, randomization over the test sentences")
    elif all(row.p is None for row in rows):
        click.echo("no test: it takes two groups of at least two seeds, or two single runs")
    else:
        click.echo("medians (minimum to maximum); p: two-sided permutation test of the means over the seeds")


def _runs(group: Group) -> str:
    n = len(group.metrics)
    return f"{n} seeds" if n > 1 else "one run"


def _short(found: Summary) -> str:
    if found.n == 1:
        return f"{found.median:.4f}"
    return f"{found.median:.4f} ({found.minimum:.4f}-{found.maximum:.4f})"
