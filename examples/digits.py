"""A classifier of digits that this program draws: Dropout, random augmentation, a DataLoader with workers."""

import argparse
import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from training import EarlyStopping, Task, TrainConfig, Trainer, experiment

DIGITS = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71244", "75757", "75717")  # three bits a row
GLYPHS = torch.tensor([[[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in digit] for digit in DIGITS]).float()


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """Noisy images (8, 8) of digits; ``augment`` changes each a little whenever it is read."""

    def __init__(self, size: int, seed: int, augment: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(10, (size,), generator=generator)
        noise = 0.2 * torch.randn(size, 8, 8, generator=generator)
        self.images = F.pad(GLYPHS[self.labels], (2, 3, 1, 2)) + noise
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        if self.augment:
            image = image.roll((random.randint(-1, 1), random.randint(-1, 1)), dims=(0, 1))
            image = image * np.random.uniform(0.8, 1.2) + 0.1 * torch.randn(8, 8)
        return image, self.labels[index]


class Classifier(Task):
    """Images (B, 8, 8) to scores (B, 10)."""

    def __init__(self, hidden: int = 128, lr: float = 0.005) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 10))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net(images)
        return scores

    def loss(self, batch: list[Tensor], name: str) -> Tensor:
        images, labels = batch
        scores = self(images)
        loss = F.cross_entropy(scores, labels)
        self.log(f"{name}_loss", loss, prog_bar=True)
        self.log(f"{name}_accuracy", (scores.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.loss(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=2000, help="how many to train on")
    parser.add_argument("--workers", type=int, default=2, help="processes that load data")
    parser.add_argument("--checkpoint-every", default="50", help="steps, or minutes as in 5m")
    parser.add_argument("--root", default="runs", help="where runs are kept")
    parser.add_argument("--resume", default="", metavar="RUN", help="go on with this run")
    given = parser.parse_args()

    train = DataLoader(Digits(given.images, seed=1, augment=True), batch_size=32, shuffle=True, num_workers=given.workers)
    val, test = (DataLoader(Digits(500, seed), batch_size=100) for seed in (2, 3))
    config = TrainConfig(
        max_epochs=given.epochs, deterministic=True, log_every_n_steps=10, checkpoint_every=given.checkpoint_every
    )
    with experiment("digits", config, root=given.root, resume=given.resume) as run:
        model = Classifier()
        trainer = Trainer(run, callbacks=[EarlyStopping("val_loss", patience=3)])
        trainer.fit(model, train, val)
        trainer.test(model, test)


if __name__ == "__main__":
    main()
