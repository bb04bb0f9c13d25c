"""The runs of a group side by side, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from training.commands.door import kinds
from training.errors import Preempted, SamebitsError
from training.files import inside, open_inside
from training.run.environment import ROOT
from training.run.experiment import RunOptions
from training.run.groups import seeds_of
from training.visible import one_line


def to_go_on(error: SamebitsError, folder: Path, kind: str) -> SamebitsError:
    """The error, with the group of runs of that kind as what can go on."""
    error.run, error.kind = str(folder), kind
    return error


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


def side_by_side(folder: Path, jobs: int, options: RunOptions, kind: str) -> None:
    """Train the seeds in processes of their own; Preempted if one was stopped, or this process is told to stop."""
    children, command = Children(), kinds()[kind].command  # here: the context of a command is that of its thread

    def one(seed: int) -> int:
        run = inside(folder, f"seed_{seed}")
        with open_inside(folder, f"seed_{seed}.log", "a") as log:
            options.tell(one_line(f"seed {seed}: begun, {log.name}"))
            code = children.run(_command(command, folder, seed, options.allow_changes), log, options.folder)
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
    _judge(folder, dict(zip(seeds_of(folder), codes, strict=True)), kind)


_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # told to stop before the run could go on from where it is


def _command(name: str, folder: Path, seed: int, allow_changes: bool) -> list[str]:
    """What begins a seed's run, or goes on with it."""
    run = inside(folder, f"seed_{seed}").absolute()
    command = [sys.executable, str(ROOT / "cli.py"), name, "--no-progress"]
    if (run / "manifest.json").is_file():
        return [*command, "--resume", str(run), *(["--allow-changes"] if allow_changes else [])]
    return [*command, "--config", str((folder / "config.json").absolute()), "--seed", str(seed), "--run", str(run)]


def _ending(code: int | None) -> str:
    if code is None:
        return "not begun"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code else "finished"


def _judge(folder: Path, codes: Mapping[int, int], kind: str) -> None:
    """Preempted where runs were stopped or killed, and can go on; the error of the first that failed by itself."""
    failed = [seed for seed, code in codes.items() if code > 0 and code != Preempted.exit_code]
    if failed:
        error = SamebitsError(f"seed {failed[0]} failed: see {folder / f'seed_{failed[0]}.log'}")
        error.exit_code = codes[failed[0]]
        raise to_go_on(error, folder, kind) if error.exit_code == SamebitsError.exit_code else error
    killed = {seed: signal.Signals(-code).name for seed, code in codes.items() if code < 0}
    if killed:
        seed, name = next(iter(killed.items()))
        why = "; this happens when memory runs out: try fewer --jobs" if name == "SIGKILL" else ""
        raise to_go_on(
            Preempted(f"{len(killed)} of {len(codes)} seeds were killed (seed {seed} by {name}{why})"), folder, kind
        )
    stopped = sum(code == Preempted.exit_code for code in codes.values())
    if stopped:
        raise to_go_on(Preempted(f"{stopped} of {len(codes)} seeds were stopped"), folder, kind)
