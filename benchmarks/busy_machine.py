"""What OpenMP's ways to wait cost on a quiet machine and gain on a busy one: words a second, taking turns.

    python benchmarks/busy_machine.py [--work tagger w2v predict] [--places quiet busy quota] [--turns 15] [--seconds 1]

Each setting is a process of its own. All are begun first; then one at a time works for a turn of so many seconds while the
others sleep, in another order each round, so that all meet the same load. What it does in the first ``--settle`` seconds of
a turn does not count: "as installed", which is what the commands choose, looks every half second what others use.

The places: *quiet*, the machine as it is; *busy*, with ``--neighbors`` processes that burn a core each; *quota*, in a
control group of ``--quota`` cores, where this user may make one. Printed for each setting: words a second (median over the
turns, first and third quartile), their ratio to libgomp's own setting in the same round, and the cores in use; of each
place the cores that all others took. ``--most-others`` waits for, and counts, only turns in which others take less.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402
from training import openmp  # noqa: E402

WORKS = ("tagger", "lecture", "w2v", "predict")
PLACES = ("quiet", "busy", "quota")
LIBGOMPS = "libgomp's own"
SETTINGS: dict[str, dict[str, str]] = {
    LIBGOMPS: {"GOMP_SPINCOUNT": "300000"},  # what it takes where nothing is set
    "40000 spins": {"GOMP_SPINCOUNT": "40000"},
    "5000 spins": {"GOMP_SPINCOUNT": "5000"},
    "2500 spins": {"GOMP_SPINCOUNT": "2500"},
    "1000 spins": {"GOMP_SPINCOUNT": "1000"},
    "400 spins": {"GOMP_SPINCOUNT": "400"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "passive, one thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
    "as installed": {},
}
NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
GROUPS = Path("/sys/fs/cgroup")
Turn = tuple[float, float, float]  # words a second, cores in use, cores that others took


class Clock:
    """Counts words for a turn of so many seconds, says what it found, and waits for the next turn; or ends the process."""

    def __init__(self, settle: float, seconds: float) -> None:
        self.settle, self.seconds = settle, seconds
        self.turn = self.begin = self.used = self.all_used = 0.0
        self.words = 0

    def count(self, words: int) -> None:
        now = time.perf_counter()
        if self.begin:
            self.words += words
            if now - self.begin >= self.seconds:
                self.say(now - self.begin)
                self.wait()
        elif not self.turn:
            print("ready", flush=True)
            self.wait()
        elif now - self.turn >= self.settle:
            self.words, self.begin = 0, now
            self.used, self.all_used = time.process_time(), used_by_all()

    def say(self, wall: float) -> None:
        cores, all_cores = (time.process_time() - self.used) / wall, (used_by_all() - self.all_used) / wall
        print(json.dumps([self.words / wall, cores, all_cores - cores]), flush=True)

    def wait(self) -> None:
        if not sys.stdin.readline():
            os._exit(0)  # what a run does at its end takes no part
        self.turn, self.begin = time.perf_counter(), 0.0


def used_by_all() -> float:
    """The time that the cores of the affinity mask were not idle since the machine began, s."""
    return openmp.busy_seconds() or 0.0


def work(kind: str, folder: Path, clock: Clock) -> None:
    """What a worker does: it trains or predicts until the clock ends it."""
    if kind == "predict":
        _predict(folder, clock)
    else:
        train(kind, folder / str(time.monotonic_ns()), clock)


def train(kind: str, path: Path, clock: Clock | None) -> None:
    """Train on the sample, to the end or until the clock ends it."""
    from ner.config import PRESETS, TaggerConfig
    from ner.train import train_tagger
    from training.loop.callback import Callback
    from training.run.experiment import RunOptions
    from word2vec.config import Word2VecConfig
    from word2vec.train import train_word2vec

    class Counter(Callback):
        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if clock:
                clock.count(task.units(batch))

    epochs = 1_000_000 if clock else 1
    options = RunOptions(path=str(path), callbacks=(Counter(),))
    settings: dict[str, Any] = {"max_epochs": epochs, "checkpoint_every": "never", "progress": False}
    if kind == "w2v":
        text = path.parent / "text.txt"
        if not text.is_file():
            text.write_bytes((ROOT / "data/sample/text.txt").read_bytes() * 40)
        train_word2vec(Word2VecConfig.from_dict({"corpus": [str(text)], **settings}), options)
    else:
        preset = PRESETS["lecture" if kind == "lecture" else "default"]
        data = {"data": str(ROOT / "data/sample"), "vectors": "none"}
        train_tagger(TaggerConfig.from_dict({**preset, **data, **settings}), options)


def _predict(folder: Path, clock: Clock) -> None:
    import torch

    from ner.tagging.tagger import TrainedTagger
    from training.determinism.waiting import considerate
    from word2vec.text.tokenize import split

    tagger = TrainedTagger.load(folder / "run")
    lines = (ROOT / "data/sample/text.txt").read_text(encoding="utf-8").splitlines()
    sentences = [words for words in map(split, lines[:128]) if words]
    with considerate(torch.get_num_threads()):  # as the command has it
        while True:
            tagger.predict(sentences)
            clock.count(sum(map(len, sentences)))


@contextmanager
def place(name: str, neighbors: int, quota: float) -> Iterator[Path | None]:
    """A busy machine, or a control group: the file that takes the processes that are to be in it."""
    if name == "quota":
        with _control_group(quota) as group:
            yield group / "cgroup.procs"
        return
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbors * (name == "busy"))]
    try:
        yield None
    finally:
        for each in burning:
            each.kill()
            each.wait()


@contextmanager
def _control_group(quota: float) -> Iterator[Path]:
    """A control group of so many cores, in cgroup v1 or v2."""
    first = (GROUPS / "cpu/cpu.cfs_quota_us").is_file() or (GROUPS / "cpu/tasks").is_file()
    group = (GROUPS / "cpu" if first else GROUPS) / f"samebits-{os.getpid()}"
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_quota_us").write_text(f"{int(quota * 100_000)}")
        else:
            (group / "cpu.max").write_text(f"{int(quota * 100_000)} 100000")
        yield group
    finally:
        group.rmdir()


@contextmanager
def worker(
    kind: str, folder: Path, given: argparse.Namespace, name: str, group: Path | None
) -> Iterator[subprocess.Popen[str]]:
    """A process with this setting, in this control group, that works when it gets a line and answers with a turn."""
    environment = {key: value for key, value in os.environ.items() if key not in NAMES} | SETTINGS[name]

    def enter() -> None:
        if group is not None:
            group.write_text(f"{os.getpid()}")

    command = [sys.executable, __file__, "--worker", kind, str(folder)]
    command += ["--settle", str(given.settle), "--seconds", str(given.seconds)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    process = subprocess.Popen(command, env=environment, preexec_fn=enter, **pipes)
    try:
        assert process.stdout
        while line := process.stdout.readline():
            if line == "ready\n":
                break
        yield process
    finally:
        process.kill()
        process.wait()


def turn(process: subprocess.Popen[str]) -> Turn:
    """What a process gets through in a turn."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    rate, cores, others = json.loads(process.stdout.readline())
    return rate, cores, others


def wait_for_quiet(most: float) -> None:
    """Until others take less than so many cores."""
    while math.isfinite(most):
        before, began = used_by_all(), time.perf_counter()
        time.sleep(0.3)
        if used_by_all() - before <= most * (time.perf_counter() - began):
            return


def table(kind: str, where: str, folder: Path, given: argparse.Namespace) -> dict[str, dict[str, record.Figure]]:
    """The rounds of one work in one place, and what came of each setting."""
    rounds: list[dict[str, Turn]] = []
    burnt = given.neighbors if where == "busy" else 0
    with ExitStack() as stack:
        group = stack.enter_context(place(where, given.neighbors, given.quota))
        workers = {name: stack.enter_context(worker(kind, folder, given, name, group)) for name in given.settings}
        for i in range(-1, given.turns):  # the first warms up
            shift, found = i % len(given.settings), {}
            for name in given.settings[shift:] + given.settings[:shift]:
                wait_for_quiet(given.most_others + burnt)
                found[name] = turn(workers[name])
            rounds.append(found)
    kept = [found for found in rounds[1:] if max(others for _, _, others in found.values()) - burnt <= given.most_others]
    others = [others for found in kept for _, _, others in found.values()]
    taken = f"others took {statistics.median(others):.2f} cores, " if kept else ""
    print(f"{kind}, {where}: {len(kept)} of {given.turns} rounds, {taken}load {os.getloadavg()[0]:.1f}", flush=True)
    rows: dict[str, dict[str, record.Figure]] = {}
    for name in given.settings if len(kept) > 1 else ():
        rates = [found[name][0] for found in kept]
        ratio = statistics.median(found[name][0] / found[given.settings[0]][0] for found in kept)
        low, middle, high = statistics.quantiles(rates, n=4)
        cores = statistics.median(found[name][1] for found in kept)
        print(
            f"  {name:20s} {f'{middle:9,.0f} ({low:,.0f} to {high:,.0f})':34s} {ratio:6.2f} times   {cores:.2f} cores",
            flush=True,
        )
        rows[f"{kind}, {name}"] = {where: rates, f"{where}, of libgomp's own": ratio}
    return rows


def main() -> None:
    """Measure and print, or be one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=WORKS, default=["tagger", "w2v", "predict"])
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn, which ends with a step")
    parser.add_argument("--settle", type=float, default=1.5, help="seconds of a turn before that")
    parser.add_argument("--most-others", type=float, default=math.inf, metavar="CORES")
    parser.add_argument("--neighbors", type=int, default=1, help="processes that burn a core, where it is busy")
    parser.add_argument("--quota", type=float, default=1.5, help="cores of the control group")
    parser.add_argument("--worker", nargs=2, metavar=("WORK", "FOLDER"), help=argparse.SUPPRESS)
    record.add_option(parser)
    given = parser.parse_args()
    if given.worker:
        work(given.worker[0], Path(given.worker[1]), Clock(given.settle, given.seconds))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what burns a core ends, too
    with tempfile.TemporaryDirectory(prefix="samebits-busy-") as made:
        folder = Path(made)
        if "predict" in given.work:
            train("tagger", folder / "run", None)
        rows: dict[str, dict[str, record.Figure]] = {}
        for kind in given.work:
            for where in given.places:
                for name, cells in table(kind, where, folder, given).items():
                    rows.setdefault(name, {}).update(cells)
    modules = ("training/openmp.py", *record.TAGGER, *record.WORDS)
    record.write(given.record, "busy", rows, modules=modules, threads=2)


if __name__ == "__main__":
    main()
