"""Reading and counting a text: train-w2v's first step beside gensim's build_vocab, taking turns.

Ours writes the words' ids to a file as well, which training then reads; gensim reads the text anew in each epoch.

Example:
  python benchmarks/w2v_reading.py text.txt --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from gensim.models import Word2Vec
from gensim.models.word2vec import LineSentence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from word2vec.text.corpus import encode
from word2vec.text.tokenize import TextRule


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("corpus", help="words separated by spaces")
    command.add_argument("--rounds", type=int, default=3)
    record.add_option(command)
    arguments = command.parse_args()
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, work in (
            ("ours", ours),
            ("ours, two processes", shared),
            ("gensim, LineSentence", sentences),
            ("gensim, corpus_file", corpus_file),
        ):
            began = time.perf_counter()
            words = work(arguments.corpus)
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    for name, taken in seconds.items():
        print(f"{name}: {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})")
    print(f"{words:,} words of {Path(arguments.corpus).stat().st_size:,} bytes")
    rows: record.Rows = {name: {"s": taken} for name, taken in seconds.items()}
    modules, data = ("word2vec/text/*.py",), [arguments.corpus]
    record.write(arguments.record, "reading", rows, modules=modules, threads=1, data=data)


def ours(path: str, processes: int = 1) -> int:
    with tempfile.TemporaryDirectory() as folder:
        rule = TextRule(tokenize=False)
        return encode([path], Path(folder) / "ids", rule, min_count=5, processes=processes)[1].read


def shared(path: str) -> int:
    return ours(path, processes=2)


def sentences(path: str) -> int:
    model = Word2Vec(min_count=5)
    model.build_vocab(LineSentence(path))
    return int(model.corpus_total_words)


def corpus_file(path: str) -> int:
    model = Word2Vec(min_count=5)
    model.build_vocab(corpus_file=path)
    return int(model.corpus_total_words)


if __name__ == "__main__":
    main()
