"""Hundreds of kills at random on runs of several processes: resumed by another number of them each time, compared.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/proof/soak_processes.py --kills 300

A run of 1, 2 or 4 processes is disturbed at a random time: SIGKILL to one or to all, SIGTERM or SIGSTOP to one. The others
must end in time, with exit code 75. Then any of 1, 2 or 4 processes go on, and are disturbed, too, up to five times in all.
What comes out must be what one process makes that nothing happens to. ``--whole-sums`` has gradients added by all_reduce
in place of the tree, to see that the comparison would notice.

Prints a table, and writes the same as JSON; exit code 1 if a run ended otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks import record
from tests import processes, running
from tests.processes import Started
from tests.proof import trials
from tests.training.parallel.test_processes import fit
from training.config import TrainConfig
from training.parallel.group import Group
from training.parallel.group import _exchange as exchange
from training.run.experiment import RunOptions

WORLDS = (1, 2, 4)
KINDS = {"SIGKILL to one": 50, "SIGKILL to all": 25, "SIGTERM to one": 15, "SIGSTOP to one": 10}
"""What is done to the processes, and how often of a hundred times."""
TOLD = {0, 75, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL}
"""Exit codes that are right; -SIGTERM is that of a process which has not begun yet."""
PATIENCE = 300
"""Seconds until the others must have ended: many, since on a busy machine a process waits long for its turn."""


@dataclass
class Program:
    """How a run is begun, or resumed; what an undisturbed one leaves, and how long it takes."""

    name: str
    act: Callable[[str, bool], Callable[[], object]]
    whole: Any = None
    seconds: float = 0.0


@dataclass
class Found:
    """What the trials of a program showed."""

    kinds: Counter[str] = field(default_factory=Counter)
    worlds: Counter[str] = field(default_factory=Counter)
    """How many processes were disturbed, and how many went on."""
    runs: int = 0
    slowest: float = 0.0
    """Seconds until the others had ended, at most."""
    faults: list[str] = field(default_factory=list)


def library(config: TrainConfig) -> Callable[[str, bool], Callable[[], object]]:
    """A run of the tagger or of word vectors."""

    def act(run: str, resume: bool) -> Callable[[], object]:
        options = RunOptions(path="" if resume else run, resume=run if resume else "", tell=print)
        return lambda: trials.train(config, options)

    return act


def own(run: str, resume: bool) -> Callable[[], object]:
    """A run of a program of a user's own."""
    return fit(run, resume, checkpoint_every="3", max_epochs=12)


def programs(inputs: Path) -> list[Program]:
    """The tagger as by default and with all it has, word vectors by columns, and a program of a user's own."""
    every = {"shards": 4, "checkpoint_every": "3"}
    return [
        Program("tagger", library(trials.tagger(inputs, accumulate_grad_batches=1, patience=0, **every))),
        Program("tagger with all", library(trials.tagger(inputs, characters="lstm", char_hidden=8, decoder="crf", **every))),
        Program("skip-gram", library(trials.word2vec(inputs, **every))),
        Program("own program", own),
    ]


def outcome(run: Path) -> dict[str, Any]:
    """What must not differ: results, and the digests of all files that a repetition makes again."""
    return {**running.results(run), "outputs": running.manifest(run)["outputs"]}


def measure(program: Program, folder: Path) -> None:
    """Run it undisturbed."""
    place, started = folder / program.name, time.monotonic()
    place.mkdir()
    ended = processes.run(place, 1, program.act("run", False))
    assert ended[0].code == 0, f"{program.name}: {ended}"
    program.seconds, program.whole = time.monotonic() - started, outcome(place / "run")


def has_met(started: Started) -> bool:
    """Whether all processes have come together."""
    if started.store is None or len(started.pids) == 1:
        return len(started.pids) == 1
    return bool(started.store.check([f"samebits/0/beat/{rank}" for rank in range(len(started.pids))]))


def disturb(started: Started, draw: random.Random, found: Found) -> tuple[str, list[running.Done]]:
    """Do something to the processes; what it was, and how all ended."""
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    world = len(started.pids)
    if not has_met(started):
        kind = "SIGKILL to all"  # as the launcher does with those that wait in vain
    number, rank = signal.Signals[kind.split()[0]], draw.randrange(world)
    if number == signal.SIGSTOP and world == 1:
        kind, number = "SIGKILL to all", signal.SIGKILL
    begin = time.monotonic()
    for each in range(world) if kind == "SIGKILL to all" else [rank]:
        started.signal(number, each)
    ended = started.wait(PATIENCE, without=[rank] if number == signal.SIGSTOP else [])
    found.slowest = max(found.slowest, time.monotonic() - begin)
    found.kinds[kind] += 1
    return f"{kind} of {world}, number {rank}", ended


def trial(program: Program, folder: Path, draw: random.Random, found: Found) -> None:
    """One run: disturbed up to five times, resumed until it is finished, compared."""
    folder.mkdir()
    left, story = draw.randint(1, 5), list[str]()
    try:
        while True:
            world = draw.choice(WORLDS)
            resume = (folder / "run" / "manifest.json").is_file()
            started = processes.start(folder, world, program.act("run", resume), lost=3.0)
            found.worlds[f"{'resumed' if resume else 'begun'} by {world}"] += 1
            after = draw.uniform(0.0, 1.2 * program.seconds) if left else 1e9
            if not started.ends_within(after):
                what, ended = disturb(started, draw, found)
                left -= 1
                story.append(what)
            else:
                ended = started.wait(PATIENCE)
            codes = [done.code for done in ended]
            if not set(codes) <= TOLD or any("Traceback" in done.said for done in ended):
                found.faults.append(f"{'; '.join(story)}: exit codes {codes}: {[done.said[-600:] for done in ended]}")
                return
            if not any(codes):
                break
        found.runs += 1
        if outcome(folder / "run") != program.whole:
            found.faults.append(f"{'; '.join(story)}: other bits")
    except AssertionError as error:
        found.faults.append(f"{'; '.join(story)}: {error}")


def try_all(found: dict[str, Found], given: Any, folder: Path, show: Callable[[], None]) -> None:
    """Disturb until it has happened so many times, the programs by turns."""
    trials.small_inputs(folder, sentences=60)
    wanted = programs(folder)
    for program in wanted:
        measure(program, folder)
        found[program.name] = Found()
    number = 0
    while sum(each.kinds.total() for each in found.values()) < given.kills:
        program = wanted[number % len(wanted)]
        trial(program, folder / f"trial-{number}", random.Random(f"{given.seed} {number}"), found[program.name])
        shutil.rmtree(folder / f"trial-{number}")
        number += 1
        show()


def table(found: dict[str, Found]) -> str:
    """What was found, as Markdown."""
    lines = ["| | " + " | ".join(found) + " | all |", "| --- |" + " ---: |" * (len(found) + 1)]
    worlds = [f"{how} by {world}" for how in ("begun", "resumed") for world in WORLDS]
    rows: list[tuple[str, Callable[[Found], int]]] = [
        *((kind, lambda each, kind=kind: each.kinds[kind]) for kind in KINDS),
        ("all of them", lambda each: each.kinds.total()),
        *((world, lambda each, world=world: each.worlds[world]) for world in worlds),
        ("runs finished and compared", lambda each: each.runs),
        ("runs that differ, fail or hang", lambda each: len(each.faults)),
    ]  # fmt: skip
    for name, of in rows:
        counts = [of(each) for each in found.values()]
        lines.append(f"| {name} | " + " | ".join(map(str, [*counts, sum(counts)])) + " |")
    return "\n".join(lines)


def whole_sums() -> None:
    """Add over the processes in whatever order all_reduce takes."""

    def summed(group: Group, tensors: Any) -> list[Tensor]:
        for each in tensors if group.world > 1 else []:
            with exchange():
                dist.all_reduce(each)
        return list(tensors)

    setattr(Group, "sum", summed)  # noqa: B010


def main() -> int:
    """The trials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="how many in all, at least")
    parser.add_argument("--seed", type=int, default=0, help="of when and what")
    parser.add_argument("--json", type=Path, default=None, help="write the counts there, too")
    parser.add_argument("--whole-sums", action="store_true", help="without the tree: the comparison must notice")
    record.add_option(parser)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    if given.whole_sums:
        whole_sums()
    found: dict[str, Found] = {}

    def show() -> None:
        """Write what is known so far."""
        if given.json:
            counts = {each: {**vars(of), "kinds": dict(of.kinds), "worlds": dict(of.worlds)} for each, of in found.items()}
            given.json.write_text(json.dumps({"seed": given.seed, "results": counts}, indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="samebits-soak-") as name, contextlib.redirect_stdout(io.StringIO()):
        try_all(found, given, Path(name), show)
    print(table(found))
    modules, rows = (*record.PROCESSES, *record.RUN), record.rows_of(table(found))
    record.write(given.record, "process-kills", rows, modules=modules, threads=1, note=f"Seed {given.seed}.")
    for each, of in found.items():
        for fault in of.faults:
            print(f"{each}: {fault}", file=sys.stderr)
    return 1 if any(each.faults for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
