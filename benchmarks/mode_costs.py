"""What the promises cost: the same short runs plain and with each of them, taking turns.

    python benchmarks/mode_costs.py [--work tagger lecture w2v] [--data data/sample] [--rounds 5]

One thread but where two are named; training alone is timed (no reading, no test), in processor time and in wall time. A
round runs every mode once, in another order each time, and gives each mode's ratio to the plain run of the same round
(--any-threads on two threads: to the plain run on two). Printed: median, minimum and maximum over the rounds. Then, from one
more run of each work, the share of processor time inside the randomness functions and inside the ledger, as a wrapper around
them sees it: steadier than the ratios where other processes are at work. With --rounds 0 only these shares are measured.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.config import PRESETS, TaggerConfig
from ner.train import train_tagger
from training import randomness
from training.determinism import portable
from training.loop.callback import Callback
from training.run.experiment import RunOptions
from training.run.ledger import Ledger
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec

PLAIN: dict[str, Any] = {"ledger_every": 0, "checkpoint_every": "never", "deterministic": False}
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "--deterministic": {"deterministic": True},
    "ledger, every step": {"ledger_every": 1},
    "ledger, as by default": {"ledger_every": None},
    "checkpoint every 50 steps": {"checkpoint_every": "50"},
    "--any-threads": {"any_threads": True},
    "--portable": {"portable": True},  # in a process of its own, started with its settings
    "two threads": {"threads": 2},
    "two threads, --any-threads": {"threads": 2, "any_threads": True},
}
BESIDE = {"two threads, --any-threads": "two threads"}  # what a mode is a ratio to, where that is not the plain run
DRAWS = "stream words words32 permutation unit below uniform keep_mask".split()
WRITES = "on_before_optimizer_step on_train_batch_end on_validation_end on_train_end".split()


class Stopwatch(Callback):
    """Times training, validations included."""

    def on_train_start(self, trainer: Any, task: Any) -> None:
        self.began = time.process_time(), time.perf_counter()

    def on_train_end(self, trainer: Any, task: Any) -> None:
        self.cpu, self.wall = time.process_time() - self.began[0], time.perf_counter() - self.began[1]


class Share:
    """Processor time inside wrapped functions; a wrapped function that another one calls counts once."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if self.depth:
                return function(*arguments, **named)
            self.depth, began = 1, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.depth, self.seconds = 0, self.seconds + time.thread_time() - began

        return timed


@contextmanager
def watched(random: Share, ledger: Share) -> Iterator[None]:
    """Every module's view of the randomness functions, and the ledger's hooks, wrapped."""
    replaced: list[tuple[Any, str, Any]] = []
    for name in DRAWS:
        original = getattr(randomness, name)
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is original:
                replaced.append((module, name, original))
    replaced += [(Ledger, name, getattr(Ledger, name)) for name in WRITES]
    for owner, name, original in replaced:
        setattr(owner, name, (ledger if owner is Ledger else random).wrap(original))
    try:
        yield
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)


def measure(work: str, settings: dict[str, Any], arguments: argparse.Namespace, folder: Path) -> Stopwatch:
    """One run of a work."""
    watch = Stopwatch()
    if settings.get("portable") and not portable.is_set():
        command = [sys.executable, __file__, "--data", arguments.data, "--text", arguments.text, "--child", work]
        command += ["--repeat", str(arguments.repeat), "--epochs", str(arguments.epochs)]
        done = subprocess.run(command, env={**os.environ, **portable.SETTINGS}, stdout=subprocess.PIPE, check=True)
        watch.cpu, watch.wall = json.loads(done.stdout.splitlines()[-1])
        return watch
    options = RunOptions(path=str(folder / f"{time.monotonic_ns()}"), callbacks=(watch,))
    settings = {"threads": 1, "device": "cpu", "progress": False, **PLAIN, **settings}
    if settings["ledger_every"] is None:
        del settings["ledger_every"]
    if work == "w2v":
        text = folder / "text.txt"
        if not text.is_file():
            text.write_bytes(Path(arguments.text).read_bytes() * arguments.repeat)
        train_word2vec(Word2VecConfig.from_dict({"corpus": [str(text)], "max_epochs": 1, **settings}), options)
    else:
        preset = {**PRESETS["lecture" if work == "lecture" else "default"], "max_epochs": arguments.epochs}
        train_tagger(TaggerConfig.from_dict({"data": arguments.data, "vectors": "none", **preset, **settings}), options)
    return watch


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=("tagger", "lecture", "w2v"), default=["tagger", "lecture", "w2v"])
    parser.add_argument("--data", default="data/sample", help="a folder of CoNLL files")
    parser.add_argument("--text", default="data/sample/text.txt")
    parser.add_argument("--repeat", type=int, default=4, help="how often the text is repeated")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the tagger")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("tagger", "lecture", "w2v"), help=argparse.SUPPRESS)
    record.add_option(parser)
    arguments = parser.parse_args()
    rows: dict[str, dict[str, record.Figure]] = {}
    if arguments.child:
        portable.begin(own=True)  # as the commands do; its settings are in the environment
        with tempfile.TemporaryDirectory(prefix="samebits-costs-") as place:
            measure(arguments.child, {}, arguments, Path(place))  # warms up
            watch = measure(arguments.child, {"portable": True}, arguments, Path(place))
        print(json.dumps([watch.cpu, watch.wall]))
        return
    for work in arguments.work:
        with tempfile.TemporaryDirectory(prefix="samebits-costs-") as place:
            folder = Path(place)
            if arguments.rounds:
                measure(work, {}, arguments, folder)  # warms up
            times: dict[str, list[Stopwatch]] = {name: [] for name in MODES}
            for i in range(arguments.rounds):
                names = list(MODES)[i % len(MODES) :] + list(MODES)[: i % len(MODES)]
                for name in names:
                    times[name].append(measure(work, MODES[name], arguments, folder))
            plain = times["plain"]
            typical = f", plain {statistics.median(each.cpu for each in plain):.2f} s of processor time" if plain else ""
            print(f"{work}{typical}", flush=True)
            for name, found in times.items() if plain else ():
                beside = times[BESIDE.get(name, "plain")]
                cpu = [a.cpu / b.cpu for a, b in zip(found, beside, strict=True)]
                wall = [a.wall / b.wall for a, b in zip(found, beside, strict=True)]
                print(f"  {name:27s} processor {spread(cpu)}   wall {spread(wall)}")
                rows.setdefault(name, {}).update({work: cpu, f"{work}, wall time": wall})
            for name in ("ledger, every step", "ledger, as by default"):
                random, ledger = Share(), Share()
                with watched(random, ledger):
                    whole = measure(work, MODES[name], arguments, folder).cpu
                shares = f"randomness {random.seconds / whole:.2%}, ledger {ledger.seconds / whole:.2%}"
                print(f"  {name}: {shares} of {whole:.2f} s", flush=True)
                for part, seconds in (("randomness", random.seconds), ("ledger", ledger.seconds)):
                    rows.setdefault(f"share of {part}, {name}", {})[work] = seconds / whole
    modules = (*record.TAGGER, *record.WORDS, *record.RUN, *record.PORTABLE)
    data = [arguments.data, arguments.text]
    record.write(arguments.record, "modes", rows, modules=modules, threads=1, data=data)


if __name__ == "__main__":
    main()
