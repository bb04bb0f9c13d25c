"""train-ner --seeds, and compare: one experiment with several seeds, and two of them side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click

from ner.config import TaggerConfig
from ner.groups import (
    Group,
    as_rows,
    compare_groups,
    compare_sentences,
    is_group,
    read_group,
    run_group,
    seeds_of,
    tested_on,
)
from ner.significance import Summary
from training.errors import DataError, Preempted
from training.experiment import RunOptions
from training.files import inside, open_inside


def train_group(folder: Path, jobs: int, options: RunOptions) -> None:
    """Train what is left of a group, ``jobs`` runs at a time, and print the summary."""
    from ner.train import train_tagger

    if jobs > 1:
        _side_by_side(folder, jobs, options)

    def train(config: TaggerConfig, run: Path, started: bool) -> None:
        options.tell(f"seed {config.seed}: {run}")
        train_tagger(config, replace(options, path="" if started else str(run), resume=str(run) if started else ""))

    try:
        group = run_group(folder, train)
    except Preempted as stopped:
        stopped.run = str(folder)
        raise
    for line in summary_lines(group):
        options.tell(line)
    options.tell(f"finished: {folder}")


def share_cores(config: TaggerConfig, jobs: int) -> TaggerConfig:
    """A group's settings: for runs side by side a share of the cores each, where no number of threads is asked for."""
    return config if config.threads or jobs == 1 else replace(config, threads=max(1, (os.cpu_count() or 1) // jobs))


def _side_by_side(folder: Path, jobs: int, options: RunOptions) -> None:
    """Train the seeds in processes of their own; Preempted if one was stopped, or this process is told to stop."""
    children: list[subprocess.Popen[bytes]] = []
    stopping = threading.Event()

    def one(seed: int) -> int:
        if stopping.is_set():
            return Preempted.exit_code
        run = inside(folder, f"seed_{seed}")
        command = [sys.executable, str(Path(__file__).with_name("cli.py")), "train-ner", "--no-progress"]
        if (run / "manifest.json").is_file():
            command += ["--resume", str(run), *(["--allow-changes"] if options.allow_changes else [])]
        else:
            command += ["--config", str(folder / "config.json"), "--seed", str(seed), "--run", str(run)]
        with open_inside(folder, f"seed_{seed}.log", "a") as log:
            options.tell(f"seed {seed}: begun, {log.name}")
            # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
            child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            children.append(child)
            code = child.wait()
        options.tell(f"seed {seed}: {'finished' if code == 0 else f'exit code {code}'}, {run}")
        return Preempted.exit_code if code < 0 and stopping.is_set() else code  # told so before it could listen

    def stop(number: int, frame: object) -> None:
        stopping.set()
        for child in children:
            if child.poll() is None:
                child.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ThreadPoolExecutor(jobs) as pool:
            codes = list(pool.map(one, seeds_of(folder)))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if Preempted.exit_code in codes:
        stopped = Preempted(f"{codes.count(Preempted.exit_code)} of {len(codes)} seeds were stopped")
        stopped.run = str(folder)
        raise stopped
    bad = [seed for seed, code in zip(seeds_of(folder), codes, strict=True) if code]
    if bad:
        raise DataError(f"seed {bad[0]} failed: see {folder / f'seed_{bad[0]}.log'}")


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
    rows = compare_groups(*groups)
    over_sentences = None if any(map(is_group, paths)) else compare_sentences(*paths)
    if as_json:
        click.echo(json.dumps({"metrics": as_rows(rows), "p_over_sentences": over_sentences}, indent=2))
        return
    click.echo(f"A: {first} ({_runs(groups[0])})\nB: {second} ({_runs(groups[1])})")
    click.echo(f"{'metric':24} {'A':>26} {'B':>26} {'B - A':>8} {'p':>7}")
    for row in rows:
        p = "" if row.p is None else f"{row.p:7.4f}"
        change = row.second.median - row.first.median
        click.echo(f"{row.metric:24} {_short(row.first):>26} {_short(row.second):>26} {change:+8.4f} {p}".rstrip())
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
