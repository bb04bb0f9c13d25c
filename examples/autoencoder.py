"""An autoencoder of waves: batch norm, a scheduler that waits for a plateau, early stopping, the best checkpoint."""

import argparse
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training import EarlyStopping, LearningRateMonitor, ModelCheckpoint, Task, TrainConfig, Trainer, experiment

LENGTH, CODE = 32, 3


def waves(count: int, seed: int) -> TensorDataset:
    """Noisy sine waves (count, LENGTH) of random frequency, phase and height."""
    generator = torch.Generator().manual_seed(seed)
    frequency, phase, height = torch.rand(3, count, 1, generator=generator)
    time = torch.linspace(0, 2 * math.pi, LENGTH)
    wave = (0.5 + height) * torch.sin((1 + frequency) * time + 2 * math.pi * phase)
    return TensorDataset(wave + 0.05 * torch.randn(count, LENGTH, generator=generator))


class Autoencoder(Task):
    """Waves (B, LENGTH) to codes (B, CODE), and back."""

    def __init__(self, hidden: int = 64, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(
            nn.Linear(LENGTH, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.05), nn.Linear(hidden, CODE)
        )
        self.decoder = nn.Sequential(nn.Linear(CODE, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, LENGTH))

    def forward(self, waves: Tensor) -> Tensor:
        codes: Tensor = self.encoder(waves)
        return codes

    def loss(self, batch: list[Tensor], name: str) -> Tensor:
        (waves,) = batch
        loss = F.mse_loss(self.decoder(self(waves)), waves)
        self.log(f"{name}_loss", loss, prog_bar=True)
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.loss(batch, "test")

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--waves", type=int, default=1000, help="how many to train on")
    parser.add_argument("--checkpoint-every", default="50", help="steps, or minutes as in 5m")
    parser.add_argument("--root", default="runs", help="where runs are kept")
    parser.add_argument("--resume", default="", metavar="RUN", help="resume this run")
    given = parser.parse_args()

    train = DataLoader(waves(given.waves, seed=1), batch_size=50, shuffle=True)
    val, test = (DataLoader(waves(300, seed), batch_size=100) for seed in (2, 3))
    config = TrainConfig(
        max_epochs=given.epochs, deterministic=True, log_every_n_steps=10, checkpoint_every=given.checkpoint_every
    )
    with experiment("autoencoder", config, root=given.root, resume=given.resume) as run:
        callbacks = [
            EarlyStopping("val_loss", patience=4),
            ModelCheckpoint(monitor="val_loss", filename="{epoch}-{val_loss:.4f}"),
            LearningRateMonitor(),
        ]
        trainer = Trainer(run, callbacks=callbacks)
        trainer.fit(Autoencoder(), train, val)
        trainer.test(dataloaders=test, ckpt_path="best")


if __name__ == "__main__":
    main()
