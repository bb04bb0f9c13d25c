"""Hundreds of kills at random on users' programs, those of examples/: killed again and again, resumed, compared.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/proof/soak_own.py --kills 200

Half of the kills come at a random time, half in a random call of a hook: a training batch's end, a validation batch's, a
saving of the state. One of six is SIGTERM, the others are SIGKILL. Resumed runs are killed, too, up to five times in all.

Then the same on Lightning 2.6, for the programs that ``LIGHTNING`` names, with its classes in the place of ours, used as its
documentation recommends: seed_everything(workers=True), deterministic=True, a checkpoint every fifth step with save_last,
fit(ckpt_path="last"). There the weights alone are compared. ``--lightning-kills 0`` leaves it out.

Prints a table, and writes the same as JSON; exit code 1 if a run of ours ended otherwise than the undisturbed one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import record
from tests.running import Kill, KillAt, begin, results, set_config, start
from training.digest import weights_sha256

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS: dict[str, tuple[str, ...]] = {
    "digits": ("--epochs", "3"),
    "gan": ("--epochs", "4", "--points", "960"),
    "autoencoder": ("--epochs", "6", "--waves", "500"),
    "transformer": ("--steps", "24", "--sums", "250", "--validate-every", "7"),
}
HOOKS = {"on_train_batch_end": 60, "on_validation_batch_end": 12, "on_save_checkpoint": 12}
"""Where kills hit, and up to which call: each program has as many or fewer."""
AT_A_TIME = "at a random time"


@dataclass
class Program:
    """How a program is begun in a folder, or resumed there; what it leaves; what two undisturbed runs left."""

    name: str
    begin: Callable[[Path, Kill | None, random.Random | None], int]
    outcome: Callable[[Path], Any]
    whole: Any = None
    again: Any = None
    seconds: float = 0.0


@dataclass
class Found:
    """What the trials of a program showed."""

    kills: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    repeats: bool = False
    """Whether it gives the same bits when nothing happens to it."""
    runs: int = 0
    faults: list[str] = field(default_factory=list)


# -- samebits --------------------------------------------------------------------------------------------------------


def ours(name: str) -> Program:
    """A program of examples/, as it stands there."""
    run = Path("runs") / name / "version_0"

    def begun(folder: Path, kill: Kill | None, draw: random.Random | None) -> int:
        resume = ["--resume", str(run)] if (folder / run).exists() else []
        every = draw.choice(["1", "2", "5", "never"]) if draw else "5"  # how often it saves is its own affair
        settings = {"checkpoint_every": every, **({"limit_train_batches": 20} if name == "digits" else {})}
        file = ROOT / "examples" / f"{name}.py"
        return begin(file, folder, *PROGRAMS[name], *resume, kill=kill, first=lambda: set_config(settings))

    return Program(name, begun, lambda folder: results(folder / run))


# -- Lightning -------------------------------------------------------------------------------------------------------


def lightning(name: str) -> Program:
    """The program's classes and data, trained by Lightning."""

    def begun(folder: Path, kill: Kill | None, draw: random.Random | None) -> int:
        return start(folder, lambda: LIGHTNING[name](kill))

    def outcome(folder: Path) -> str | None:
        """None where it has not come to its end, though with exit code 0: so it ends after SIGTERM."""
        weights = folder / "weights"
        return weights.read_text() if weights.exists() else None

    return Program(f"{name}, Lightning", begun, outcome)


def on_lightning(name: str) -> dict[str, Any]:
    """What the program defines, with Lightning's classes under the names that it imports."""
    import lightning.pytorch as pl

    names = ("EarlyStopping", "LearningRateMonitor", "ModelCheckpoint")
    stand_in: Any = types.ModuleType("training")
    stand_in.__dict__.update({each: getattr(pl.callbacks, each) for each in names})
    stand_in.__dict__.update(Task=pl.LightningModule, Trainer=pl.Trainer, TrainConfig=None, experiment=None)
    with mock.patch.dict(sys.modules, {"training": stand_in}):
        return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def lightning_fit(
    kill: Kill | None, model: Callable[[], Any], callbacks: list[Any], epochs: int, train: Any, val: Any
) -> None:
    """Train, or go on from the last checkpoint here; the digest of the weights is left in a file."""
    import lightning.pytorch as pl

    class Killed(pl.Callback):
        """Sends the signal, from Lightning's hooks as from ours."""

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    pl.seed_everything(0, workers=True, verbose=False)
    callbacks.append(pl.callbacks.ModelCheckpoint(".", filename="{step}", every_n_train_steps=5, save_last=True))
    if kill is not None:
        killed: Any = Killed()
        setattr(killed, kill.hook, KillAt(kill).called)
        callbacks.append(killed)
    trainer = pl.Trainer(
        max_epochs=epochs, deterministic=True, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks,
    )  # fmt: skip
    task = model()
    trainer.fit(task, train, val, ckpt_path="last")
    Path("weights").write_text(weights_sha256(task))


def lightning_digits(kill: Kill | None) -> None:
    from torch.utils.data import DataLoader

    made = on_lightning("digits")
    train = DataLoader(made["digits"](640, seed=1), 32, shuffle=True, num_workers=2, collate_fn=made["augmented"])
    val = DataLoader(made["digits"](500, seed=2), 100)
    lightning_fit(kill, made["Classifier"], [made["EarlyStopping"]("val_loss", patience=3)], 3, train, val)


def lightning_autoencoder(kill: Kill | None) -> None:
    from torch.utils.data import DataLoader

    made = on_lightning("autoencoder")
    train = DataLoader(made["waves"](500, seed=1), batch_size=50, shuffle=True)
    val = DataLoader(made["waves"](300, seed=2), batch_size=100)
    lightning_fit(kill, made["Autoencoder"], [made["EarlyStopping"]("val_loss", patience=4)], 6, train, val)


LIGHTNING = {"digits": lightning_digits, "autoencoder": lightning_autoencoder}


# -- trying ----------------------------------------------------------------------------------------------------------


def measure(program: Program, folder: Path) -> None:
    """Run it undisturbed, twice."""
    outcomes = []
    for name in ("whole", "again"):
        place, started = folder / f"{program.name} {name}", time.monotonic()
        place.mkdir()
        code = ended(program.begin(place, None, None))
        assert code == 0, f"{program.name}: {(place / 'said.txt').read_text()}"
        program.seconds = time.monotonic() - started
        outcomes.append(program.outcome(place))
    program.whole, program.again = outcomes


def ended(child: int, seconds: float | None = None) -> int | None:
    """A process's exit code; None where it has not ended after so many seconds."""
    if seconds is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def disturbed(program: Program, folder: Path, draw: random.Random, found: Found) -> None:
    """One run: killed up to five times, resumed until it is finished, compared."""
    folder.mkdir()
    kills, story = draw.randint(1, 5), list[str]()
    while True:
        kill, place = None, AT_A_TIME
        number = signal.SIGTERM if draw.random() < 1 / 6 else signal.SIGKILL
        after = draw.uniform(0.0, 1.05 * program.seconds)
        if kills > 0 and draw.random() < 0.5:
            place = draw.choice(sorted(HOOKS))
            kill = Kill(draw.randint(1, HOOKS[place] if not story else HOOKS[place] // 2), number, place)
        child = program.begin(folder, kill, draw)
        code = ended(child, after) if kills > 0 and kill is None else ended(child)
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
            code = ended(child)
        outcome = program.outcome(folder) if code == 0 else None
        if kills <= 0 or outcome is not None or code not in (0, -signal.SIGKILL, -signal.SIGTERM, 75):
            break
        kills -= 1
        found.kills[place] += 1
        found.signals[number.name] += 1
        story.append(str(kill or f"{number.name} after {after:.3f} s"))
    found.runs += 1
    if code != 0:
        found.faults.append(f"{'; '.join(story)}: exit code {code}: {(folder / 'said.txt').read_text()[-500:]}")
    elif outcome != program.whole:
        found.faults.append(f"{'; '.join(story)}: other bits")


def try_all(programs: list[Program], folder: Path, kills: int, seed: int) -> dict[str, Found]:
    """Kill until so many kills have hit, the programs by turns."""
    found = {program.name: Found() for program in programs}
    for program in programs if kills else []:
        measure(program, folder)
        found[program.name].repeats = program.again == program.whole
    number = 0
    while sum(each.kills.total() for each in found.values()) < kills:
        program = programs[number % len(programs)]
        place = folder / f"trial-{number}"
        disturbed(program, place, random.Random(f"{seed} {number}"), found[program.name])
        shutil.rmtree(place)
        number += 1
    return found


def table(found: dict[str, Found]) -> str:
    """What was found, as Markdown."""
    lines = ["| | " + " | ".join(found) + " |", "| --- |" + " ---: |" * len(found)]
    rows: list[tuple[str, Callable[[Found], int]]] = [
        *((f"kills {place}" if place == AT_A_TIME else f"kills in {place}", lambda each, place=place: each.kills[place])
          for place in (AT_A_TIME, *HOOKS)),
        ("all kills", lambda each: each.kills.total()),
        ("of them SIGTERM", lambda each: each.signals["SIGTERM"]),
        ("undisturbed runs with the same bits, of 2", lambda each: 1 + each.repeats),
        ("runs that were resumed to their end", lambda each: each.runs),
        ("of them not the same bits", lambda each: len(each.faults)),
    ]  # fmt: skip
    return "\n".join(
        [*lines, *(f"| {name} | " + " | ".join(str(of(each)) for each in found.values()) + " |" for name, of in rows)]
    )


def main() -> int:
    """The trials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="how many kills in all, at least")
    parser.add_argument("--lightning-kills", type=int, default=40, help="how many on Lightning")
    parser.add_argument("--seed", type=int, default=0, help="of when and where to kill")
    parser.add_argument("--json", type=Path, default=None, help="write the counts there, too")
    record.add_option(parser)
    given = parser.parse_args()
    if given.lightning_kills:
        importlib.import_module("lightning.pytorch")  # once, and not in each process
    with tempfile.TemporaryDirectory(prefix="samebits-soak-") as name:
        (Path(name) / "ours").mkdir()
        (Path(name) / "lightning").mkdir()
        mine = try_all([ours(each) for each in PROGRAMS], Path(name) / "ours", given.kills, given.seed)
        theirs = try_all(
            [lightning(each) for each in LIGHTNING], Path(name) / "lightning", given.lightning_kills, given.seed
        )
    found = {**mine, **(theirs if given.lightning_kills else {})}
    print(table(found))
    modules, rows = (*record.RUN, "examples/*.py"), record.rows_of(table(found))
    record.write(given.record, "own-kills", rows, modules=modules, threads=1, note=f"Seed {given.seed}.")
    for each, of in found.items():
        for fault in of.faults:
            print(f"{each}: {fault}", file=sys.stderr)
    if given.json:
        counts = {each: {**vars(of), "kills": dict(of.kills), "signals": dict(of.signals)} for each, of in found.items()}
        given.json.write_text(json.dumps({"seed": given.seed, "results": counts}, indent=1) + "\n")
    return 1 if any(each.faults or not each.repeats for each in mine.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
