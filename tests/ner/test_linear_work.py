"""Readers, tokenizers and writers: eight times the input is about eight times the work, not sixty-four times.

CPU time of this process alone, the least of a few tries, with room for noise.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import word2vec.text.corpus
from ner.corpus.conll import Columns, Sentence, iter_conll, write_conll
from ner.corpus.repair import repair_file
from ner.corpus.scheme import allowed_transitions, labels_of
from ner.model.crf import CRF, MANY, _mixing
from ner.tagging.readers import Lines, cut_text, read_passages
from word2vec.text.tokenize import TextRule, sentences, split, tokenize
from word2vec.vectors.read import read_table
from word2vec.vectors.write import write_table

Work = Callable[[int], Callable[[], object]]


def passages(form: str, text: str) -> object:
    return list(read_passages(Lines(io.BytesIO(text.encode()), "f"), form, Columns()))


class Drops(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe does."""

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(64)


def vectors(folder: Path, words: int, dimensions: int, form: str) -> Callable[[], object]:
    path, names = folder / f"{form}-{words}-{dimensions}", [f"w{i}" for i in range(words)]
    write_table(path, names, np.zeros((words, dimensions), np.float32), form)

    def read_and_write() -> None:
        read_table(path)
        write_table(path, names, np.zeros((words, dimensions), np.float32), form)

    return read_and_write


def corpus(folder: Path, text: str, tokenized: bool) -> Callable[[], object]:
    path = folder / f"text-{len(text)}"
    path.write_text(text)
    return lambda: word2vec.text.corpus.encode([str(path)], folder / "ids", TextRule(tokenize=tokenized), min_count=1)


def repaired(folder: Path, n: int) -> Callable[[], object]:
    source, target = folder / f"{n}.conll", folder / f"{n}.out"
    source.write_text("# c\n\nAda I-X\nwon O\n\n" * n)

    def work() -> None:
        target.unlink(missing_ok=True)
        repair_file(source, target)

    return work


CASES: dict[str, Callable[[Path], Work]] = {
    "sentences of a line": lambda folder: lambda n: partial(sentences, tokenize("Go on. " * n)),
    "ends before openers": lambda folder: lambda n: partial(sentences, tokenize("a ! ( " * n)),
    "tokens": lambda folder: lambda n: lambda: tokenize("Ada's U.S. flew -- to Oslo. " * n),
    "a long word": lambda folder: lambda n: lambda: split("aB3-" * n + "x"),
    "addresses": lambda folder: lambda n: lambda: split("http://" + ")." * n + " a@" + "b." * n),
    "blank lines in a text": lambda folder: lambda n: lambda: cut_text("Ada won\n\n\n" * n),
    "a long line": lambda folder: lambda n: lambda: list(Lines(Drops(b"x" * 64 * n), "f")),
    "text": lambda folder: lambda n: lambda: passages("text", "Ada won.\n" * n),
    "JSON lines": lambda folder: lambda n: lambda: passages("jsonl", '{"text": "Ada won."}\n\n' * n),
    "blank JSON lines": lambda folder: lambda n: lambda: passages("jsonl", "\n" * 8 * n),
    "CoNLL": lambda folder: lambda n: lambda: passages("conll", "# c\n\nAda O\nwon O\n\n" * n),
    "CoNLL, one sentence": lambda folder: lambda n: lambda: passages("conll", "Ada O\n" * n),
    "comments": lambda folder: lambda n: lambda: passages("conll", "# c\n" * n + "Ada O\n"),
    "CoNLL, labeled": lambda folder: lambda n: lambda: list(iter_conll([b"Ada B-X\n", b"\n"] * n, "f")),
    "CoNLL, written": lambda folder: lambda n: lambda: write_conll(io.StringIO(), [Sentence(("a", "b"), ("O", "O"))] * n),
    "repair": lambda folder: lambda n: repaired(folder, n),
    "vectors": lambda folder: lambda n: vectors(folder, n, 5, "text"),
    "vectors, long": lambda folder: lambda n: vectors(folder, 2, 40 * n, "glove"),
    "vectors, binary": lambda folder: lambda n: vectors(folder, n, 5, "binary"),
    "vectors, binary and long": lambda folder: lambda n: vectors(folder, 2, 400 * n, "binary"),
    "a corpus": lambda folder: lambda n: corpus(folder, "Ada won. " * n, True),
    "a corpus of one word": lambda folder: lambda n: corpus(folder, "a b\n" + "ab" * 20 * n, False),
}
MOST_N = {"a long line": 400, "vectors": 400, "vectors, binary": 400}


def least(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize("name", CASES)
def test_eight_times_the_input_is_about_eight_times_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word2vec.text.corpus, "PIECE", 1 << 12)
    case, n = CASES[name](tmp_path), MOST_N.get(name, 250)
    small, large = (least(case(size)) for size in (n, 8 * n))
    assert large < 24 * max(small, 0.0005), (small, large)


def test_a_crf_of_many_types_is_set_up_without_asking_for_each_pair_of_labels() -> None:
    labels = labels_of([f"T{i}" for i in range(MANY)], "IOBES")
    begun = time.process_time()
    allowed = allowed_transitions(labels, "IOBES")
    crf = CRF(len(labels), allowed, seed=1)
    assert time.process_time() - begun < 5
    few = allowed_transitions(labels[:9], "IOBES")
    assert (allowed.pairs[:9, :9] == few.pairs).all()
    assert _mixing(torch.from_numpy(few.pairs)) <= crf._steps_to_mix < 8
