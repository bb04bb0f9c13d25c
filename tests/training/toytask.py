"""A small task for the trainer's tests: a line fitted to a few points; no words in it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer
from training.loop.view import TrainerView
from training.randomness import permutation, uniform

POINTS = torch.arange(60, dtype=torch.float32).reshape(20, 3).sub(30).div(32)


class Shuffled:
    """20 points in another order each epoch, in batches of ``size``; a pure function of the epoch."""

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def plan(self, epoch: int) -> list[Tensor]:
        order = torch.from_numpy(permutation(len(POINTS), 0, "order", epoch))
        return list(POINTS[order].split(self.size))


class Line(Task):
    """Fits weights to a plane; dropout by a pure function; logs in steps and epochs."""

    def __init__(self, optimizer: str = "adam", schedule: str = "") -> None:
        super().__init__()
        self.optimizer, self.schedule = optimizer, schedule
        self.layer, self.out = nn.Linear(3, 4), nn.Linear(4, 1)
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.copy_(uniform(tuple(p.shape), -0.5, 0.5, 0, "init", i))

    def loss(self, batch: Tensor) -> Tensor:
        loss: Tensor = (self.out(torch.tanh(self.layer(batch))).squeeze(1) - batch.sum(1)).square().mean()
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        loss = self.loss(batch * (1 + 0.01 * float(uniform((1,), 0, 1, 0, "noise", self.current_epoch, batch_idx))))
        self.log("loss", loss, batch_size=len(batch), on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self.loss(batch), batch_size=len(batch), on_step=True, on_epoch=True)

    def test_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("test", self.loss(batch), batch_size=len(batch))

    def predict_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        predicted: Tensor = self.out(torch.tanh(self.layer(batch))).squeeze(1)
        return predicted

    def configure_optimizers(self) -> Any:
        made = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.optimizer](self.parameters(), lr=0.05)
        if self.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(made, factor=0.5, patience=0, threshold=0.3)
            return {"optimizer": made, "lr_scheduler": {"scheduler": plateau, "monitor": "val"}}
        if self.schedule == "step":
            step = torch.optim.lr_scheduler.StepLR(made, 3, 0.75)
            return {"optimizer": made, "lr_scheduler": {"scheduler": step, "interval": "step"}}
        return made


class Kept:
    """A logger that keeps what it gets."""

    version = 3

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, dict(metrics)))


class Position(Callback):
    """Keeps in each state how much was logged when it was taken."""

    def __init__(self, logger: Kept) -> None:
        self.logger = logger

    def on_save_checkpoint(self, trainer: TrainerView, task: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["logged"] = len(self.logger.lines)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from disk."""
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    loaded: dict[str, Any] = torch.load(stream, weights_only=True)
    return loaded


class Left(Exception):
    """A fit was left at a boundary."""


class LeaveAt:
    """A ``keep_going`` that leaves a fit at its boundary number ``nth``, -1 for never, with the state of that moment."""

    def __init__(self, nth: int, taken: Callable[[dict[str, Any]], dict[str, Any]] = copy.deepcopy) -> None:
        self.nth, self.taken = nth, taken
        self.boundaries = 0
        """How many were passed."""
        self.state: dict[str, Any] | None = None

    def __call__(self, trainer: Trainer) -> None:
        if self.boundaries == self.nth:
            self.state = self.taken(trainer.state())
            raise Left
        self.boundaries += 1


def trainer(*callbacks: Callback, logger: Kept | None = None, checkpoint_dir: Any = None, **settings: Any) -> Trainer:
    """A Trainer on the CPU."""
    config = TrainConfig(device="cpu", **{"max_epochs": 2, "log_every_n_steps": 1, "progress": False, **settings})
    return Trainer(config, callbacks=callbacks, logger=logger or False, checkpoint_dir=checkpoint_dir)


def fixed(n: int = 4) -> FixedBatches:
    """``n`` batches of 3 points."""
    return FixedBatches(list(POINTS.split(3))[:n])
