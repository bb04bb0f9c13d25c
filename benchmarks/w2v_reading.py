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
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gensim.models import Word2Vec
from gensim.models.word2vec import LineSentence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from word2vec.text.corpus import encode
from word2vec.text.tokenize import TextRule


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("corpus", help="words separated by spaces; or prose, with --tokenize")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--tokenize", action="store_true", help="prose, which gensim does not tokenize: ours alone")
    record.add_option(command)
    arguments = command.parse_args()
    what = "prose, " if arguments.tokenize else ""
    sides: dict[str, Callable[[str], int]] = {
        f"{what}ours": partial(ours, tokenize=arguments.tokenize),
        f"{what}ours, two processes": partial(ours, tokenize=arguments.tokenize, processes=2),
        **({} if arguments.tokenize else {"gensim, LineSentence": sentences, "gensim, corpus_file": corpus_file}),
    }
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, work in sides.items():
            began = time.perf_counter()
            words = work(arguments.corpus)
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    for name, taken in seconds.items():
        print(f"{name}: {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})")
    print(f"{words:,} words of {Path(arguments.corpus).stat().st_size:,} bytes")
    rows: record.Rows = {name: {"s": taken} for name, taken in seconds.items()}
    modules, data = ("word2vec/text/*.py",), [arguments.corpus]
    record.write(arguments.record, "reading", rows, modules=modules, threads=1, data=data)


def ours(path: str, tokenize: bool, processes: int = 1) -> int:
    with tempfile.TemporaryDirectory() as folder:
        rule = TextRule(tokenize=tokenize)
        return encode([path], Path(folder) / "ids", rule, min_count=5, processes=processes)[1].read


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
