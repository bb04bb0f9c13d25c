"""A classifier of digits that this program draws: Dropout, random augmentation, a DataLoader with workers."""

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training import EarlyStopping, Task, TrainConfig, Trainer, experiment

DIGITS = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71244", "75757", "75717")  # three bits a row
GLYPHS = torch.tensor([[[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in digit] for digit in DIGITS]).float()


def digits(count: int, seed: int) -> TensorDataset:
    """Noisy images (count, 8, 8) of digits, and which digits they are."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    return TensorDataset(F.pad(GLYPHS[labels], (2, 3, 1, 2)) + 0.2 * torch.randn(count, 8, 8, generator=generator), labels)


def augmented(items: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """A batch whose images are each moved, made brighter or darker, and noisier."""
    moved = [image.roll(tuple(np.random.randint(-1, 2, 2)), (0, 1)) * np.random.uniform(0.8, 1.2) for image, _ in items]
    return [torch.stack(moved) + 0.1 * torch.randn(len(items), 8, 8), torch.stack([label for _, label in items])]


class Classifier(Task):
    """Images (B, 8, 8) to scores (B, 10)."""

    def __init__(self, hidden: int = 128, lr: float = 0.005) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int, name: str = "train") -> Tensor:
        scores, labels = self.net(batch[0]), batch[1]
        loss, accuracy = F.cross_entropy(scores, labels), (scores.argmax(1) == labels).float().mean()
        self.log_dict({f"{name}_loss": loss, f"{name}_accuracy": accuracy}, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.training_step(batch, batch_idx, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in {"--epochs": 5, "--workers": 2, "--resume": ""}.items():
        parser.add_argument(option, type=type(default), default=default)
    given = parser.parse_args()
    train = DataLoader(digits(2000, seed=1), 32, shuffle=True, num_workers=given.workers, collate_fn=augmented)
    config = TrainConfig(max_epochs=given.epochs, deterministic=True, log_every_n_steps=10, checkpoint_every="50")
    with experiment("digits", config, resume=given.resume) as run:
        trainer = Trainer(run, callbacks=[EarlyStopping("val_loss", patience=3)])
        trainer.fit(Classifier(), train, DataLoader(digits(500, seed=2), 100))
