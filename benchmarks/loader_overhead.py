"""What it costs that a DataLoader is read exactly: batches of a data set of one's own, without workers, beside torch's.

    python benchmarks/loader_overhead.py [--rounds 7]

An item is a row of a tensor, alone or with a random number added to it. The two take turns. Printed is the median batch's
time, as the median over the rounds, with least and most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from training.data.loaders import as_batches

WARM_UP = 20
BATCHES = 500


class Rows(Dataset[Tensor]):
    """Rows of 8 numbers; with ``draws`` each has a random number added."""

    def __init__(self, n: int, draws: bool) -> None:
        self.rows, self.draws = torch.linspace(-1, 1, 8 * n).reshape(n, 8), draws

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        return self.rows[i] + torch.rand(()) if self.draws else self.rows[i]


def per_batch(batches: Iterable[Any]) -> float:
    """Microseconds of the median batch, after the warm-up."""
    times = [time.perf_counter()]
    for _ in batches:
        times.append(time.perf_counter())
    return 1e6 * statistics.median(b - a for a, b in zip(times[WARM_UP:], times[WARM_UP + 1 :], strict=False))


def spread(values: list[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(values):6.1f} ({min(values):.1f} to {max(values):.1f})"


def measure(size: int, draws: bool, rounds: int) -> tuple[str, dict[str, record.Figure]]:
    """Print a line: torch's time, ours, and the difference; and return it."""
    loader = DataLoader(Rows(BATCHES * size, draws), batch_size=size)
    source = as_batches(loader, seed=0, purpose="train", tell=print)
    torchs, ours = [], []
    for epoch in range(rounds):
        torchs.append(per_batch(loader))
        ours.append(per_batch(source.plan(epoch)))
    more = [b - a for a, b in zip(torchs, ours, strict=True)]
    what = f"{size} items, {'each draws a number' if draws else 'nothing drawn'}"
    print(f"{what:30} torch {spread(torchs)}   ours {spread(ours)}   more {spread(more)}")
    return what, {"torch's alone, µs": torchs, "more, µs": more}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    record.add_option(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"µs a batch; torch {torch.__version__}, Python {sys.version.split()[0]}")
    found = dict(measure(size, draws, given.rounds) for draws in (False, True) for size in (1, 8))
    modules = ("training/data/*.py", "training/randomness.py")
    record.write(given.record, "loader", found, modules=modules, threads=1)


if __name__ == "__main__":
    main()
