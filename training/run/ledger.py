"""Keeping the ledger (training/run/ledger_file.py says what it is) while a run is trained."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from training.digest import checksum, weights_sha256
from training.errors import DataError
from training.files import append_line
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.run.folder import LEDGER, Run, read_jsonl
from training.run.ledger_file import START, chained


class Ledger(Callback):
    """Writes ledger.jsonl: a line for each training batch, one for the weights at each validation and at the end."""

    last = True

    def __init__(self, run: Run, every: int = 1) -> None:
        self.run, self.every = run, every
        lines = read_jsonl(run.path / LEDGER)  # those of a resumed run, cut back to its checkpoint
        self.chain = str(lines[-1].get("chain")) if lines else START
        self._gradients: dict[str, str] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"chain": self.chain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.chain == START:
            return  # a new run, which begins with another run's state
        if state["chain"] != self.chain:
            raise DataError(
                f"{self.run.path / LEDGER}: expected the lines that the checkpoint was written after, got others: "
                "the file was changed"
            )

    def on_before_optimizer_step(self, trainer: TrainerView, task: Task, optimizer: Any) -> None:
        if task.automatic_optimization and self._due(trainer):
            self._gradients = _checksums(task)

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
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

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if trainer.fitting and not trainer.sanity_checking:
            self._write({"epoch": trainer.current_epoch, "step": trainer.global_step, "weights": weights_sha256(task)})

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        self._write({"end": True, "step": trainer.global_step, "weights": weights_sha256(task)})

    def _due(self, trainer: TrainerView) -> bool:
        return trainer.total_batches % self.every == 0

    def _write(self, line: dict[str, Any]) -> None:
        self.chain = chained(self.chain, line)
        append_line(self.run.path / LEDGER, {**line, "chain": self.chain})


def _checksums(task: Task) -> dict[str, str]:
    return {name: f"{checksum(tensor):016x}" for name, tensor in task.ledger_tensors().items()}


def _ids(ids: Any) -> str | None:
    if ids is None:
        return None
    array = ids.cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
    return hashlib.sha256(np.ascontiguousarray(array).astype("<i8").tobytes()).hexdigest()[:16]
