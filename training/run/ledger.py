"""Keeping the ledger (training/run/ledger_file.py says what it is) while a run is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

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

    def __init__(self, run: Run, every: int = 1, *, writes: bool = True) -> None:
        self.run, self.every, self.writes = run, every, writes
        lines = read_jsonl(run.path / LEDGER)  # those of a resumed run, cut back to its checkpoint
        self.chain = str(lines[-1].get("chain")) if lines else START
        self._gradients: Mapping[str, str] = {}

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
        if task.automatic_optimization and self._due(trainer, task):
            self._gradients = task.ledger_digests()

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self._due(trainer, task):
            return
        if not task.automatic_optimization:
            self._gradients = task.ledger_digests()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        line: dict[str, Any] = {"epoch": trainer.current_epoch, "batch": batch_idx, "step": trainer.global_step}
        ids = task.batch_ids(batch)
        line["ids"] = ids_digest(trainer.batch_indices if ids is None else ids)
        line["loss"] = float(loss).hex() if loss is not None else None
        line["gradients"] = self._gradients
        self._gradients = {}
        self._write(line)

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if self._watches(task) and trainer.fitting and not trainer.sanity_checking:
            self._write({"epoch": trainer.current_epoch, "step": trainer.global_step, "weights": task.weights_digest()})

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        if self._watches(task):
            self._write({"end": True, "step": trainer.global_step, "weights": task.weights_digest()})

    def _due(self, trainer: TrainerView, task: Task) -> bool:
        return trainer.total_batches % self.every == 0 and self._watches(task)

    def _watches(self, task: Task) -> bool:
        """Whether this process takes part: the one that writes, and where each has a part of the weights all of them."""
        return self.writes or not task.cuts_batches

    def _write(self, line: dict[str, Any]) -> None:
        if not self.writes:
            return
        self.chain = chained(self.chain, line)
        append_line(self.run.path / LEDGER, {**line, "chain": self.chain})


def ids_digest(ids: Any) -> str | None:
    """16 hexadecimal digits that stand for what is in a batch.

    Args:
        ids: what ``Task.batch_ids`` gives; or the indices of a batch's items, which a sampler of the user's may make of any
            plain values.

    Returns:
        The digest; None where nothing is known, or what is known is written otherwise in each process.
    """
    if ids is None:
        return None
    array = ids.cpu().numpy() if isinstance(ids, torch.Tensor) else _whole_numbers(ids)
    if array is None:
        text = _as_text(ids)
        return None if text is None else _digest(text.encode())
    return _digest(np.ascontiguousarray(array).astype("<i8").tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _whole_numbers(ids: Any) -> Any:
    """An array of whole numbers, as it is given or of a list of them; None for other values."""
    try:
        array = np.asarray(ids)
    except (ValueError, TypeError, RuntimeError):  # lists of several lengths, tensors on a device
        return None
    return array if array.dtype.kind in "iu" and (array.ndim < 2 or array is ids) else None


def _as_text(value: Any) -> str | None:
    """Plain values as they are written; None where an object among them is not plain."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        parts = [_as_text(each) for each in value]
        return None if None in parts else f"[{', '.join(map(str, parts))}]"
    return repr(value) if isinstance(value, str | bytes | int | float | complex | None) else None
