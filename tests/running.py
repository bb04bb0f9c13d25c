"""A user's program in a forked process: as ``python FILE`` runs it, without the time that imports take."""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

import training
from training.config import TrainConfig
from training.loop.callback import Callback
from training.parallel.group import leave
from training.run import script
from training.run.experiment import Experiment


class Done(NamedTuple):
    """How a program ended: its exit code, or minus the signal; and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Kill:
    """A signal that a program gets from itself, in the ``nth`` call of a callback's hook."""

    nth: int
    number: signal.Signals = signal.SIGKILL
    hook: str = "on_train_batch_end"

    def __str__(self) -> str:
        return f"{self.number.name} in {self.hook} {self.nth}"


class KillAt(Callback):
    """Sends it."""

    def __init__(self, kill: Kill) -> None:
        self.kill, self.left = kill, kill.nth
        setattr(self, kill.hook, self.called)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: how many calls are left is the process's own affair."""
        return {}

    def called(self, *arguments: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.kill.number)


@functools.cache
def warm_up() -> None:
    """Import what a run imports late, once here and not in each process: it takes more than a second."""
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
    importlib.import_module("torch.utils.tensorboard")


def start(folder: Path, act: Callable[[], object], said: str = "said.txt") -> int:
    """Call ``act`` in a process forked from this one, in ``folder``; its PID. What it says goes to ``said`` there."""
    warm_up()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.chdir(folder)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        torch.set_num_threads(1)
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than there are processors
        act()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def begin(
    file: Path, folder: Path, *arguments: str, kill: Kill | None = None, first: Callable[[], object] = lambda: None
) -> int:
    """Start a program in ``folder``, after calling ``first``; its PID."""

    def act() -> None:
        first()
        if kill is not None:
            arm(kill)
        sys.argv, script._opened = [str(file), *arguments], 0
        runpy.run_path(str(file), run_name="__main__")

    return start(folder, act)


def program(
    file: Path, folder: Path, *arguments: str, kill: Kill | None = None, first: Callable[[], object] = lambda: None
) -> Done:
    """Run a program to its end."""
    child = begin(file, folder, *arguments, kill=kill, first=first)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Done(code, (folder / "said.txt").read_text())


def set_config(settings: Mapping[str, Any]) -> None:
    """In a process that runs a program: its TrainConfig has these settings, whatever the program says."""

    def made(**named: Any) -> TrainConfig:
        return TrainConfig(**{**named, **settings})

    setattr(training, "TrainConfig", made)  # noqa: B010


def manifest(run: Path) -> dict[str, Any]:
    """What a run says of itself."""
    return dict(json.loads((run / "manifest.json").read_text()))


def results(run: Path) -> dict[str, Any]:
    """What comes out of a run, and must not differ."""
    described = manifest(run)
    files = {name: (run / name).read_text().splitlines() for name in ("metrics.jsonl", "ledger.jsonl")}
    kept = sorted(path.name for path in (run / "checkpoints").glob("*.ckpt"))
    return {**{name: described[name] for name in ("status", "weights_sha256", "metrics")}, **files, "checkpoints": kept}


def arm(kill: Kill) -> None:
    """Put the callback into the run that this process opens."""
    own = Experiment.callbacks

    def callbacks(run: Experiment) -> list[Callback]:
        return [*own(run), KillAt(kill)]

    setattr(Experiment, "callbacks", callbacks)  # noqa: B010
