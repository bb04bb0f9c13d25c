"""Hundreds of kills at random on real runs: each run is killed again and again, resumed, and compared at its end.

    OMP_NUM_THREADS=1 PYTHONPATH=.:tests/proof python tests/proof/soak_kills.py --kills 400

Half of the kills come at a random time, half at a random one of the points that the run reaches; one of six at a random
time is SIGTERM, the others are SIGKILL. Resumed runs are killed too, also while they go back to a checkpoint. Prints a
table of where the kills hit and writes the same as JSON; exit code 1 if any run ended otherwise than the undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import record
from tests.proof import trials
from tests.proof.trials import PHASES, Child, Kill
from training.config import TrainConfig

BEFORE = "before the first checkpoint"
COLUMNS = (BEFORE, *PHASES)


@dataclass
class Variant:
    """Settings, what an undisturbed run of them leaves, and the points that it reaches."""

    name: str
    config: TrainConfig
    outcome: dict[str, Any] = field(default_factory=dict)
    points: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Found:
    """What the trials of a variant showed."""

    hits: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def variants(inputs: Path) -> list[Variant]:
    """The tagger as by default and with all it has, and word2vec in its two forms."""
    return [
        Variant("tagger", trials.tagger(inputs, accumulate_grad_batches=1, patience=0)),
        Variant("tagger with all", trials.tagger(inputs, characters="lstm", char_hidden=8, decoder="crf", lr=8e-3)),
        Variant("word2vec, skip-gram, negative", trials.word2vec(inputs)),
        Variant("word2vec, CBOW, hierarchical", trials.word2vec(inputs, architecture="cbow", loss="hierarchical")),
    ]


def measure(variant: Variant, folder: Path) -> None:
    """Run it undisturbed."""
    run = folder / "whole"
    begin = time.monotonic()
    variant.points = trials.points_of(variant.config, run)
    variant.seconds = time.monotonic() - begin
    variant.outcome = trials.outcome(run)


def random_point(variant: Variant, draw: random.Random, resumed: bool) -> Kill:
    """Any moment of the whole run; of a resumed one, of which only a part is left, the first few times of any point."""
    if resumed:
        name, nth = draw.choice(sorted(set(variant.points))), draw.randint(1, 3)
    else:
        begin = len(variant.points) - 12 if draw.random() < 0.15 else 0  # the last moments are few, and worth more tries
        at = draw.randrange(begin, len(variant.points))
        name = variant.points[at]
        nth = variant.points[: at + 1].count(name)
    return Kill(name, nth, half=name.startswith("append:") and draw.random() < 0.5)


def disturbed(variant: Variant, folder: Path, draw: random.Random, found: Found) -> None:
    """One run: killed up to five times, resumed until it is finished, compared."""
    run, kills, code = folder / "run", draw.randint(1, 5), -1
    story: list[str] = []
    config = variant.config
    while code != 0:
        kill, signal_number, after = None, signal.SIGKILL, 0.0
        if kills > 0 and draw.random() < 0.5:
            kill = random_point(variant, draw, resumed=bool(story))
        elif kills > 0:
            after = draw.uniform(0.0, 1.05 * variant.seconds)
            signal_number = signal.SIGTERM if draw.random() < 1 / 6 else signal.SIGKILL
        child = Child(config, run, kill)
        ended = child.wait_until(after) if kills > 0 and kill is None else child.wait()
        if ended is None:
            os.kill(child.pid, signal_number)
            ended = child.wait()
        code = ended
        if code in (-signal.SIGKILL, -signal.SIGTERM, 75):
            kills -= 1
            early = child.phase in ("training", "validation") and not trials.has_checkpoint(run)
            found.hits[BEFORE if early else child.phase] += 1
            found.signals["SIGKILL" if code == -signal.SIGKILL else "SIGTERM"] += 1
            story.append(f"{kill or f'{signal_number.name} after {after:.3f} s'} ({child.phase})")
        elif code != 0:
            found.faults.append(f"{variant.name}: {'; '.join(story)}: exit code {code}: {child.log.read_text()[-1500:]}")
            return
        if (run / "manifest.json").is_file():  # how often a resumed run saves is its own affair
            config = replace(variant.config, checkpoint_every=draw.choice(["1", "2", "5", "never"]))
    found.runs += 1
    differ = trials.differences(variant.outcome, trials.outcome(run))
    if differ:
        found.faults.append(f"{variant.name}: {'; '.join(story)}: differs in {', '.join(differ)}")


def table(results: dict[str, Found]) -> str:
    """Where the kills hit, as Markdown."""
    lines = ["| kills in | " + " | ".join(results) + " | all |", "| --- |" + " ---: |" * (len(results) + 1)]
    for column in COLUMNS:
        row = [found.hits[column] for found in results.values()]
        lines.append(f"| {column} | " + " | ".join(map(str, [*row, sum(row)])) + " |")
    for label, count in (
        ("all kills", lambda found: found.hits.total()),
        ("of them SIGTERM", lambda found: found.signals["SIGTERM"]),
        ("runs finished and compared", lambda found: found.runs),
        ("runs that differ or failed", lambda found: len(found.faults)),
    ):
        row = [count(found) for found in results.values()]
        lines.append(f"| {label} | " + " | ".join(map(str, [*row, sum(row)])) + " |")
    return "\n".join(lines)


def main() -> int:
    """The trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=400, help="how many kills in all, at least")
    parser.add_argument("--seed", type=int, default=0, help="of when and where to kill")
    parser.add_argument("--json", type=Path, default=None, help="write the counts there too")
    record.add_option(parser)
    given = parser.parse_args()
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each purge
    with tempfile.TemporaryDirectory(prefix="samebits-soak-") as name:
        folder = Path(name)
        trials.small_inputs(folder)
        trials.warm_up(folder)
        tried = variants(folder)
        results = {variant.name: Found() for variant in tried}
        for i, variant in enumerate(tried):
            (folder / str(i)).mkdir()
            measure(variant, folder / str(i))
        number = 0
        while sum(found.hits.total() for found in results.values()) < given.kills:
            variant = tried[number % len(tried)]
            place = folder / f"trial-{number}"
            place.mkdir()
            before = len(results[variant.name].faults)
            disturbed(variant, place, random.Random(f"{given.seed} {number}"), results[variant.name])
            if len(results[variant.name].faults) > before:
                print(results[variant.name].faults[-1], file=sys.stderr, flush=True)
            shutil.rmtree(place)
            number += 1
    print(table(results))
    modules = (*record.RUN, *record.TAGGER, *record.WORDS)
    record.write(
        given.record, "kills", record.rows_of(table(results)), modules=modules, threads=1, note=f"Seed {given.seed}."
    )
    if given.json:
        counts = {
            name: {"hits": dict(f.hits), "signals": dict(f.signals), "runs": f.runs, "faults": f.faults}
            for name, f in results.items()
        }
        given.json.write_text(json.dumps({"kills": given.kills, "seed": given.seed, "results": counts}, indent=1) + "\n")
    return 1 if any(found.faults for found in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
