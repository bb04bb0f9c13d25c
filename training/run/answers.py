"""What a repetition of a run answers to ``ask``, and whether the ledger proves that the answers are the run's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.callbacks.watch import Watch, Watched
from training.errors import ConfigError, DataError
from training.files import append_line, inside
from training.loop.task import Task
from training.loop.view import TrainerView
from training.run.folder import LEDGER, read_jsonl

Place = tuple[int, int, int]
"""Epoch, batch and step of a line of the ledger."""
END = 2**62  # in the place of the epoch: after all of them
ANSWERS = ".answers.jsonl"  # after the name of the repetition's folder


class Answers(Watch):
    """Writes what was watched, as text, beside the repetition's folder.

    ``apart``: the repetition is a process of its own, which a name that the model does not have ends without more words.
    """

    def __init__(self, names: Sequence[str], first: int, last: int | None, folder: str, *, apart: bool = False) -> None:
        super().__init__(names, first, last, self._write)
        self.apart = apart
        self.path = Path(f"{folder}{ANSWERS}")

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        try:
            super().on_fit_start(trainer, task)
        except ConfigError as error:
            append_line(self.path, {"error": str(error)})
            if self.apart:
                raise SystemExit(0) from None
            raise

    def _write(self, watched: Watched) -> None:
        line = {"epoch": watched.epoch, "batch": watched.batch, "step": watched.step, "lines": watched.lines()}
        append_line(self.path, line)


@dataclass(frozen=True)
class Answer:
    """What one batch had, and what of the ledger proves it."""

    epoch: int
    batch: int
    step: int
    lines: list[str]
    proof: Proof | None
    """None where the run's ledger has no line of this batch or of a later one."""


@dataclass(frozen=True)
class Proof:
    """A line of the repetition's ledger, which binds every batch before it, beside the run's."""

    place: Place
    chain: str
    own: bool
    """Whether the run's ledger has the same chain there."""


def read_answers(folder: str, run: Path) -> list[Answer]:
    """The answers of the repetition in ``folder``, each with its proof from the ledger of ``run``.

    ConfigError where it refused what was asked; DataError where it gave none.
    """
    path = Path(f"{folder}{ANSWERS}")
    lines = read_jsonl(path) if path.is_file() else []
    for line in lines:
        if "error" in line:
            raise ConfigError(str(line["error"]))
    if not lines:
        raise DataError(f"{run}: expected batches of the steps that were asked for, got none")
    own = _chains(run)
    proofs = [Proof(place, chain, own[place] == chain) for place, chain in _chains(Path(folder)).items() if place in own]
    answers = []
    for line in lines:
        after = (each for each in proofs if each.place[:2] >= (line["epoch"], line["batch"]))
        answers.append(Answer(line["epoch"], line["batch"], line["step"], line["lines"], next(after, None)))
    return answers


def last_step(run: Path) -> int | None:
    """The run's last step, as its ledger says; None where it kept none."""
    return max((step for _, _, step in _chains(run)), default=None)


def proved_at(run: Path, step: int | None) -> int | None:
    """The step to repeat the run to, so that its ledger proves all up to ``step``; None for its end."""
    steps = [at for epoch, _, at in _chains(run) if epoch < END and step is not None and at >= step]
    return min(steps, default=None)


def _chains(run: Path) -> dict[Place, str]:
    """The chain at each batch of the ledger, in order, and at its end."""
    path = inside(run, LEDGER)
    lines = read_jsonl(path) if path.is_file() else []
    return {place: str(line.get("chain")) for line in lines if (place := _place(line)) is not None}


def _place(line: dict[str, Any]) -> Place | None:
    """None for the weights at a validation, and for what a ledger of ours does not have."""
    epoch, batch = (END, 0) if "end" in line else (line.get("epoch"), line.get("batch"))
    place = epoch, batch, line.get("step")
    return place if all(type(each) is int for each in place) else None  # type: ignore[return-value]
