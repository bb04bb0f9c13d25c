"""A program for test_processes.py: trains a large vocabulary by one process, then by four, each with little memory.

python -m tests.word2vec.limited FOLDER

It is an interpreter of its own, whose memory is as it was begun: what a process has freed before is not counted anew.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

from tests import processes
from training.errors import SamebitsError
from training.run.experiment import RunOptions
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec
from word2vec.vectors import decimals

WORDS, DIM = 60_000, 256
"""So that the two tables are 123 MB."""
MORE = 150 << 20
"""Bytes that a process may take beside what it begins with: two tables and what else a step needs are more."""


def main(place: Path) -> None:
    text = place / "text.txt"
    text.write_text("".join(" ".join(f"w{10 * i + j}" for j in range(10)) + "\n" for i in range(WORDS // 10)))
    config = Word2VecConfig(
        corpus=(str(text),), tokenize=False, min_count=1, sample=0.0, dim=DIM, max_epochs=1, limit_train_batches=3,
        shards=4, threads=1, checkpoint_every="2", progress=False,
    )  # fmt: skip
    decimals.format_rows = lambda matrix: [b"0"] * len(matrix)  # which would take most of the time

    def act(world: int) -> None:
        begun = int(re.findall(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (begun + MORE, begun + MORE))
        try:
            train_word2vec(config, RunOptions(path=str(place / f"by-{world}")))
        except SamebitsError as error:
            print(error)
            raise SystemExit(error.exit_code) from None

    found = {world: processes.run(place, world, lambda world=world: act(world)) for world in (1, 4)}  # type: ignore[misc]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
