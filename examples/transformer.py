"""A transformer that learns to add, letter by letter: accumulated gradients, bf16, clipping, a data set that streams."""

import argparse
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from training import LearningRateMonitor, Task, TrainConfig, Trainer, experiment

LETTERS = "0123456789+=."
SUM = 12  # letters of a sum: "17+85=102..."


class Sums(IterableDataset[Tensor]):
    """Sums (SUM,) as letters, drawn from Python's generator. ``state_dict`` lets a resume begin in the middle."""

    def __init__(self, count: int) -> None:
        self.count, self.drawn, self.begin = count, 0, 0

    def __iter__(self) -> Iterator[Tensor]:
        self.drawn, self.begin = self.begin, 0
        while self.drawn < self.count:
            self.drawn += 1
            a, b = random.randrange(100), random.randrange(100)
            yield torch.tensor([LETTERS.index(letter) for letter in f"{a}+{b}={a + b}".ljust(SUM, ".")])

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.begin = state["drawn"]


class Transformer(Task):
    """Letters (B, T) to scores of the next ones (B, T, letters). Source: Vaswani et al. 2017; layers as in GPT-2."""

    def __init__(self, dim: int = 32, heads: int = 2, layers: int = 2, lr: float = 0.003, warm_up: int = 20) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.letters, self.places = nn.Embedding(len(LETTERS), dim), nn.Embedding(SUM, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(dim, len(LETTERS))

    def forward(self, letters: Tensor) -> Tensor:
        length = letters.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=letters.device)
        hidden = self.letters(letters) + self.places.weight[:length]
        scores: Tensor = self.out(self.layers(hidden, mask=mask, is_causal=True))
        return scores

    def loss(self, batch: Tensor, name: str) -> Tensor:
        loss = F.cross_entropy(self(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        self.log(f"{name}_loss", loss, prog_bar=True)
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.loss(batch, "train")

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.loss(batch, "val")

    def configure_optimizers(self) -> tuple[list[Any], list[Any]]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.hparams.warm_up))
        return [optimizer], [{"scheduler": warm_up, "interval": "step"}]


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sums", type=int, default=4000, help="how many make an epoch")
    parser.add_argument("--validate-every", type=int, default=100, help="batches")
    parser.add_argument("--checkpoint-every", default="50", help="steps, or minutes as in 5m")
    parser.add_argument("--root", default="runs", help="where runs are kept")
    parser.add_argument("--resume", default="", metavar="RUN", help="resume this run")
    given = parser.parse_args()

    train, val = DataLoader(Sums(given.sums), batch_size=16), DataLoader(Sums(160), batch_size=80)
    config = TrainConfig(
        max_steps=given.steps, max_epochs=-1, accumulate_grad_batches=2, precision="bf16-mixed", gradient_clip_val=1.0,
        val_check_interval=given.validate_every, check_val_every_n_epoch=None, deterministic=True, log_every_n_steps=10,
        checkpoint_every=given.checkpoint_every,
    )  # fmt: skip
    with experiment("transformer", config, root=given.root, resume=given.resume) as run:
        Trainer(run, callbacks=[LearningRateMonitor()]).fit(Transformer(), train, val)


if __name__ == "__main__":
    main()
