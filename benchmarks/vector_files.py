"""Writing and reading a file of word vectors, ours beside gensim's KeyedVectors, taking turns.

Both write the same table of random numbers, in each form, and read the file that they wrote.

Example:
  python benchmarks/vector_files.py --words 400000 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gensim.models import KeyedVectors

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from word2vec import WordVectors


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--words", type=int, default=400_000)
    command.add_argument("--dim", type=int, default=100)
    command.add_argument("--rounds", type=int, default=3)
    record.add_option(command)
    arguments = command.parse_args()
    matrix = np.random.default_rng(0).normal(0, 0.3, (arguments.words, arguments.dim)).astype(np.float32)
    words = [f"word{number}" for number in range(arguments.words)]
    ours, theirs = WordVectors(words, torch.from_numpy(matrix)), KeyedVectors(arguments.dim)
    theirs.add_vectors(words, matrix)
    rows: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        works = works_of(ours, theirs, Path(place))
        for _ in range(arguments.rounds):
            for (name, side), work in works.items():
                rows.setdefault(name, {}).setdefault(side, []).append(seconds(work))
    for name, cells in rows.items():
        for side, taken in cells.items():
            print(f"{name}, {side}: {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})")
    shape = f"{arguments.words:,} × {arguments.dim}"
    named: record.Rows = {f"{name}, {shape}": dict(cells) for name, cells in rows.items()}
    record.write(arguments.record, "vector-files", named, modules=("word2vec/vectors/*.py",), threads=1)


def works_of(ours: WordVectors, theirs: KeyedVectors, place: Path) -> dict[tuple[str, str], Callable[[], object]]:
    """What is timed, by what it does and whose it is: files are written before they are read."""
    works: dict[tuple[str, str], Callable[[], object]] = {}
    for form, ending in (("text", "txt"), ("binary", "bin")):
        mine, other, binary = place / f"ours.{ending}", str(place / f"gensim.{ending}"), form == "binary"
        works["write " + form, "ours"] = partial(ours.save, mine, form)
        works["write " + form, "gensim"] = partial(theirs.save_word2vec_format, other, binary=binary)
        works["read " + form, "ours"] = partial(WordVectors.load, mine)
        works["read " + form, "gensim"] = partial(KeyedVectors.load_word2vec_format, other, binary=binary)
    return works


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
