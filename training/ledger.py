"""The ledger: one line a step, chained by hash, that says what went in and what came out, bit for bit.

A line holds the digest of the batch's ids, the loss as the hexadecimal form of its exact value, and per gradient a
checksum that does not depend on the order of summation. ``chain`` is SHA-256 over the previous line's chain and this
line, so that two ledgers with equal last lines are equal throughout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.callbacks import Callback
from training.digest import checksum, weights_sha256
from training.run import LEDGER, Run, read_jsonl

if TYPE_CHECKING:
    from training.loop import Trainer
    from training.task import Task

START = "0" * 64


class Ledger(Callback):
    """Writes ledger.jsonl: a line for each training batch, one for the weights at each validation and at the end."""

    last = True

    def __init__(self, run: Run, every: int = 1) -> None:
        self.run, self.every = run, every
        self.chain = START
        self._gradients: dict[str, str] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"chain": self.chain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.chain = state["chain"]

    def on_before_optimizer_step(self, trainer: Trainer, task: Task, optimizer: Any) -> None:
        if task.automatic_optimization and self._due(trainer):
            self._gradients = _checksums(task)

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._due(trainer):
            return
        if not task.automatic_optimization:
            self._gradients = _checksums(task)
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        line: dict[str, Any] = {"epoch": trainer.current_epoch, "batch": batch_idx, "step": trainer.global_step}
        line["ids"] = _ids(task.batch_ids(batch))
        line["loss"] = float(loss).hex() if loss is not None else None
        line["gradients"] = self._gradients
        self._gradients = {}
        self._write(line)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if trainer.fitting and not trainer.sanity_checking:
            self._write({"epoch": trainer.current_epoch, "step": trainer.global_step, "weights": weights_sha256(task)})

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._write({"end": True, "step": trainer.global_step, "weights": weights_sha256(task)})

    def _due(self, trainer: Trainer) -> bool:
        return trainer.total_batches % self.every == 0

    def _write(self, line: dict[str, Any]) -> None:
        self.chain = chained(self.chain, line)
        with open(self.run.path / LEDGER, "a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps({**line, "chain": self.chain}) + "\n")


def chained(previous: str, line: dict[str, Any]) -> str:
    """The chain value of a line after ``previous``."""
    return hashlib.sha256((previous + json.dumps(line, sort_keys=True)).encode()).hexdigest()


def first_break(path: Path) -> int | None:
    """The number (from 1) of the first line whose chain value is wrong; None where the ledger is whole."""
    previous = START
    for number, line in enumerate(read_jsonl(path), 1):
        stated = line.pop("chain", None)
        previous = chained(previous, line)
        if stated != previous:
            return number
    return None


def compare(first: Path, second: Path) -> Iterator[str]:
    """What differs at the first line where two ledgers do: the step, and which of its entries; nothing where they agree."""
    a, b = read_jsonl(first), read_jsonl(second)
    for x, y in zip(a, b, strict=False):
        x.pop("chain", None)
        y.pop("chain", None)
        if x == y:
            continue
        yield f"first difference at epoch {x.get('epoch')}, batch {x.get('batch')}, step {x.get('step')}"
        for name in sorted(set(x) | set(y) - {"gradients"}):
            if name != "gradients" and x.get(name) != y.get(name):
                yield f"{name}: {x.get(name)} and {y.get(name)}"
        ours, theirs = x.get("gradients") or {}, y.get("gradients") or {}
        names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        if names:
            yield f"gradients that differ: {', '.join(names)}"
        return
    if len(a) != len(b):
        yield f"one ledger has {len(a)} lines, the other {len(b)}; they agree as far as both go"


def _checksums(task: Task) -> dict[str, str]:
    return {name: f"{checksum(tensor):016x}" for name, tensor in task.ledger_tensors().items()}


def _ids(ids: Any) -> str | None:
    if ids is None:
        return None
    array = ids.cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
    return hashlib.sha256(np.ascontiguousarray(array).astype("<i8").tobytes()).hexdigest()[:16]
