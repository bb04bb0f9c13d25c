"""A program as a user writes one: a small classifier with Dropout. What it does is said on its command line."""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

import torch
from torch import Tensor, nn

from training import Callback, FixedBatches, Task, TrainConfig, Trainer, experiment, seed_everything


class Classifier(Task):
    """Which of two halves a point is in."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))

    def shared(self, batch: Tensor, name: str) -> Tensor:
        loss = nn.functional.cross_entropy(self.net(batch), (batch[:, 0] > 0).long())
        self.log(f"{name}_loss", loss)
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.shared(batch + 0.1 * torch.randn(batch.shape), "train")

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.shared(batch, "val")

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.shared(batch, "test")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class KillAt(Callback):
    """Sends itself a signal after so many batches."""

    def __init__(self, batches: int, number: int) -> None:
        self.left, self.number = batches, number

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bare", action="store_true", help="no experiment around the Trainer")
    parser.add_argument("--resume", default="")
    parser.add_argument("--last", action="store_true", help="resume the newest run")
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    angles = torch.arange(24) * 0.26
    data = FixedBatches(list(torch.stack([angles.cos(), angles.sin()], 1).split(4)))
    callbacks = [KillAt(given.kill_at, given.signal)] if given.kill_at else []
    if given.bare:
        seed_everything(3)
        trainer = Trainer(
            max_epochs=given.epochs, accelerator="cpu", deterministic=True, callbacks=callbacks, val_check_interval=0.5,
            enable_progress_bar=False,
        )  # fmt: skip
        task = Classifier()
        trainer.fit(task, data, data, ckpt_path="last" if given.last else None)
        trainer.test(task, data, verbose=False)
        return
    config = TrainConfig(
        seed=3, max_epochs=given.epochs, device="cpu", deterministic=True, checkpoint_every="2", val_check_interval=0.5,
        keep_checkpoints=True, progress=False,
    )  # fmt: skip
    with experiment("half", config, resume=given.resume) as run:
        trainer = Trainer(run, callbacks=callbacks)
        task = Classifier()
        trainer.fit(task, data, data)
        trainer.test(task, data, verbose=False)


if __name__ == "__main__":
    main()
