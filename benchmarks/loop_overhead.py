"""What the training loop itself costs: the same small steps in a bare loop, on ours and on Lightning.

    python benchmarks/loop_overhead.py [--steps 3000] [--rounds 7]

The task is a linear layer on a batch of its own, about 100 µs a step; no validation, no logger, no checkpoints, no progress
bar. The three take turns, in another order each round. A round's time is the median step's, without the first 200 steps:
what other processes take away hits few steps. Printed: the median and the range over the rounds, and the overhead over the
bare loop of the same round.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lightning.pytorch as pl

from benchmarks import record
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

WARM_UP = 200
BATCH = torch.linspace(-1, 1, 64 * 32).reshape(64, 32)


class Model(nn.Module):
    """Two layers."""

    def build(self, logs: bool) -> None:
        self.logs = logs
        self.layers = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.layers(batch).square().mean()
        if self.logs:
            self.log("loss", loss, batch_size=64)  # type: ignore[operator]
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class OurModel(Model, Task):
    """On ours."""


class LightningModel(Model, pl.LightningModule):
    """On Lightning."""


class Loader:
    """The same batch, ``n`` times."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Tensor:
        if i >= self.n:
            raise IndexError
        return BATCH


def clock(times: list[float]) -> Callable[..., None]:
    """A hook that notes when it is called."""
    return lambda *arguments, **named: times.append(time.perf_counter())


def bare(n: int, logs: bool) -> list[float]:
    """No trainer."""
    model = Model()
    model.build(logs=False)
    times: list[float] = []
    optimizer = model.configure_optimizers()
    for i in range(n):
        loss = model.training_step(BATCH, i)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter())
    return times


def ours(n: int, logs: bool) -> list[float]:
    """Our Trainer."""
    times: list[float] = []
    model = OurModel()
    model.build(logs)
    callback = type("Clock", (Callback,), {"on_train_batch_end": clock(times)})()
    trainer = Trainer(TrainConfig(device="cpu", max_epochs=1, progress=False), callbacks=[callback], logger=False)
    trainer.fit(model, FixedBatches(Loader(n)))  # type: ignore[arg-type]
    return times


def lightning(n: int, logs: bool) -> list[float]:
    """Lightning's, as lean as its switches allow without losing the hooks."""
    times: list[float] = []
    model = LightningModel()
    model.build(logs)
    callback = type("Clock", (pl.Callback,), {"on_train_batch_end": clock(times)})()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    trainer.fit(model, Loader(n))
    return times


def per_step(times: list[float]) -> float:
    """Microseconds of the median step, after the warm-up."""
    return 1e6 * statistics.median(b - a for a, b in pairwise(times[WARM_UP:]))


def spread(values: list[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):7.1f} ({min(values):.1f} to {max(values):.1f})"


def measure(steps: int, rounds: int, logs: bool) -> dict[str, record.Figure]:
    """Print the table; what is over the bare loop, and the share."""
    kinds: dict[str, Callable[[int, bool], list[float]]] = {"bare loop": bare, "ours": ours, "Lightning": lightning}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for i in range(rounds):
        names = list(kinds)
        for name in names[i % 3 :] + names[: i % 3]:
            found[name].append(per_step(kinds[name](steps + WARM_UP, logs)))
    over: dict[str, list[float]] = {
        name: [a - b for a, b in zip(found[name], found["bare loop"], strict=True)] for name in ("ours", "Lightning")
    }
    what = "loss logged each step" if logs else "nothing logged"
    print(f"µs a step, {what}; {rounds} rounds of {steps} steps, one thread")
    for name, values in found.items():
        print(f"  {name:10} {spread(values)}" + (f"   over bare {spread(over[name])}" if name in over else ""))
    share = statistics.median(over["ours"]) / statistics.median(over["Lightning"])
    print(f"  ours' overhead is {100 * share:.1f} % of Lightning's")
    return {"ours": over["ours"], "Lightning": over["Lightning"], "ours, % of Lightning's": 100 * share}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    record.add_option(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(f"torch {torch.__version__}, lightning {version('lightning')}, Python {sys.version.split()[0]}")
    found = {
        name: measure(given.steps, given.rounds, logs) for name, logs in (("nothing logged", False), ("loss logged", True))
    }
    record.write(given.record, "loop", found, modules=record.LOOP, threads=1)


if __name__ == "__main__":
    main()
