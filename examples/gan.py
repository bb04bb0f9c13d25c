"""A GAN that learns points on a ring: two optimizers, stepped by hand."""

import argparse
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from training import Task, TrainConfig, Trainer, experiment

NOISE = 8  # numbers that a point is made of


def ring(points: int, seed: int) -> TensorDataset:
    """Points (points, 2) near eight places on a circle."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.randint(8, (points,), generator=generator) * (math.pi / 4)
    return TensorDataset(torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(points, 2, generator=generator))


def layers(inputs: int, outputs: int) -> nn.Sequential:
    """A small network."""
    return nn.Sequential(
        nn.Linear(inputs, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, outputs)
    )


class GAN(Task):
    """A generator of points, and a discriminator that tells them from real ones. Source: Goodfellow et al. 2014."""

    def __init__(self, lr: float = 0.001) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator, self.discriminator = layers(NOISE, 2), layers(2, 1)

    def forward(self, noise: Tensor) -> Tensor:
        points: Tensor = self.generator(noise)
        return points

    def judged(self, points: Tensor, real: bool) -> Tensor:
        """How far the discriminator is from calling the points real, or made up."""
        scores = self.discriminator(points)
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        (points,) = batch
        generator_optimizer, discriminator_optimizer = self.optimizers()

        self.toggle_optimizer(generator_optimizer)
        loss = self.judged(self(torch.randn(len(points), NOISE, device=self.device)), real=True)
        self.log("generator_loss", loss, prog_bar=True)
        generator_optimizer.zero_grad()
        self.manual_backward(loss)
        generator_optimizer.step()
        self.untoggle_optimizer(generator_optimizer)

        self.toggle_optimizer(discriminator_optimizer)
        made = self(torch.randn(len(points), NOISE, device=self.device)).detach()
        loss = (self.judged(points, real=True) + self.judged(made, real=False)) / 2
        self.log("discriminator_loss", loss, prog_bar=True)
        discriminator_optimizer.zero_grad()
        self.manual_backward(loss)
        discriminator_optimizer.step()
        self.untoggle_optimizer(discriminator_optimizer)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        (points,) = batch
        made = self(torch.randn(len(points), NOISE, device=self.device))
        distance = torch.cdist(made, points).min(1).values.mean()
        self.log("distance", distance, prog_bar=True)  # of a point that is made up to the nearest real one

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        parts = self.generator, self.discriminator
        return [torch.optim.Adam(part.parameters(), lr=self.hparams.lr, betas=(0.5, 0.999)) for part in parts]


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--points", type=int, default=2000, help="how many to train on")
    parser.add_argument("--checkpoint-every", default="50", help="steps, or minutes as in 5m")
    parser.add_argument("--root", default="runs", help="where runs are kept")
    parser.add_argument("--resume", default="", metavar="RUN", help="resume this run")
    given = parser.parse_args()

    train = DataLoader(ring(given.points, seed=1), batch_size=64, shuffle=True)
    val = DataLoader(ring(500, seed=2), batch_size=250)
    config = TrainConfig(
        max_epochs=given.epochs, deterministic=True, log_every_n_steps=10, checkpoint_every=given.checkpoint_every
    )
    with experiment("gan", config, root=given.root, resume=given.resume) as run:
        Trainer(run).fit(GAN(), train, val)


if __name__ == "__main__":
    main()
