"""Readers, tokenizers and writers: eight times the input is about eight times the work, not sixty-four times."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import word2vec.text.corpus
import word2vec.vectors.read
from ner.corpus.alignment import SpanRules
from ner.corpus.check import data_check
from ner.corpus.conll import Columns, Sentence, iter_conll, write_conll
from ner.corpus.cut import cut_text
from ner.corpus.labeled import read_labeled
from ner.corpus.repair import repair_file
from ner.corpus.scheme import Span, allowed_transitions, labels_of
from ner.model.crf import CRF, MANY, _mixing
from ner.scoring.errors import judge
from ner.scoring.html import page
from ner.scoring.report import Evaluation, evaluation
from ner.tagging.readers import Lines, read_passages
from tests.work import Work, within, work_of
from training import settings_file
from training.errors import DataError
from training.run import ledger_file
from training.run.folder import read_jsonl
from word2vec.text.encodings import guess
from word2vec.text.tokenize import TextRule, sentences, split, tokenize
from word2vec.text.vocab import Vocab
from word2vec.vectors import decimals
from word2vec.vectors.evaluate import read_set
from word2vec.vectors.read import read_table
from word2vec.vectors.write import write_table

Call = Callable[[], object]
ONE = 24  # so many units of input, and eight times as many
MOST = 1.75  # times as much again is no square's


def passages(form: str, text: str) -> object:
    return list(read_passages(Lines(io.BytesIO(text.encode()), "f"), form, Columns()))


class Drops(io.BytesIO):
    """A stream that gives a few bytes at a time, as a pipe does."""

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(64)


def file(folder: Path, text: str | bytes) -> Path:
    path = folder / "input"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def spans(path: Path) -> None:
    """Spans by a rule, and all that is wrong with them."""
    read_labeled(path, rules=SpanRules("expand", "outermost"))
    read_labeled(path, problems=[])


def nested(folder: Path, n: int) -> Call:
    """Spans in spans, some within words, all in one over the document."""
    labels = [[16 * i + a, 16 * i + b, "A"] for i in range(n) for a, b in ((0, 10), (4, 10), (2, 12), (11, 14))]
    whole = {"text": "Ada Marlow ran. " * n, "label": [*labels, [0, 16 * n, "B"]], "tokens": 3}
    return partial(spans, file(folder, json.dumps([whole], indent=1)))


def annotated(folder: Path, n: int) -> Call:
    (folder / "a.txt").write_text("Ada Marlow ran.\n" * n, encoding="utf-8")
    lines = (f"T{i}\tA {16 * i} {16 * i + 10}\tAda Marlow\n" for i in range(n))
    (folder / "a.ann").write_text("".join(lines), encoding="utf-8")
    return partial(spans, folder / "a.txt")


def matrix(words: int, dimensions: int) -> np.ndarray:
    return (np.arange(words * dimensions, dtype=np.float32) / 7).reshape(words, dimensions)


def vectors(folder: Path, words: int, dimensions: int, form: str) -> Call:
    path = folder / "vectors"
    write_table(path, [f"w{i}" for i in range(words)], matrix(words, dimensions), form)
    return lambda: read_table(path)


def vectors_written(folder: Path, words: int, dimensions: int, form: str) -> Call:
    names, values = [f"w{i}" for i in range(words)], matrix(words, dimensions)
    return lambda: write_table(folder / "vectors", names, values, form)


def corpus(folder: Path, text: str, tokenized: bool) -> Call:
    source = [str(file(folder, text))]
    return lambda: word2vec.text.corpus.encode(source, folder / "ids", TextRule(tokenize=tokenized), min_count=1)


def repaired(folder: Path, n: int) -> Call:
    source, target = file(folder, "# c\n\nAda I-X\nwon O\n\n" * n), folder / "out"
    target.unlink(missing_ok=True)
    return lambda: repair_file(source, target)


def judged(n: int, length: int = 2) -> Evaluation:
    """Sentences with entities that were found, missed, and made up; with a large ``length`` one sentence of that many."""
    gold = (("B-X", "O", "B-Y", "I-Y", "O") * length)[: 5 * length]
    found = (("B-X", "O", "B-X", "O", "B-Y") * length)[: 5 * length]
    words = tuple(f"w{i % 50}" for i in range(5 * length))
    return evaluation([Sentence(words, tuple(gold), i) for i in range(n)], [list(found)] * n, "IOB2", lambda word: True)


def reported(found: Evaluation) -> Call:
    return lambda: (found.to_text(), found.to_dict(), page(found, "t", {}))


def ledger(folder: Path, n: int) -> Call:
    previous, lines = ledger_file.START, []
    for step in range(n):
        line = {"epoch": 0, "batch": step, "step": step, "loss": "0x1p0", "gradients": {"w": "ab"}}
        previous = ledger_file.chained(previous, line)
        lines.append(json.dumps({**line, "chain": previous}) + "\n")
    path = file(folder, "".join(lines))
    return lambda: (ledger_file.first_break(path), list(ledger_file.compare(path, path)), read_jsonl(path))


def numbers(n: int) -> Call:
    """Decimals of all kinds, read and written."""
    texts = [("0.125", "-1.5", "3e-5", "12345.6789012345678", "7")[i % 5] for i in range(n)]
    data = " ".join(texts).encode()
    ends = np.cumsum([len(text) + 1 for text in texts]) - 1
    starts = ends - np.array([len(text) for text in texts])
    return lambda: (decimals.parse(data + b"\0" * 16, starts, ends), decimals.format_rows(matrix(n, 2)))


def settings(folder: Path, n: int) -> Call:
    path = file(folder, json.dumps({f"o{i}": [i, {"a": "b"}] for i in range(n)}, indent=1))
    return lambda: settings_file.read(path)


def vocabulary(folder: Path, n: int) -> Call:
    Vocab(tuple(f"w{i}" for i in range(n)), np.arange(n, 0, -1)).save(folder / "vocab")
    return lambda: Vocab.load(folder / "vocab")


CASES: dict[str, Callable[[Path, int], Call]] = {
    "sentences of a line": lambda folder, n: partial(sentences, tokenize("Go on. " * n)),
    "ends before openers": lambda folder, n: partial(sentences, tokenize("a ! ( " * n)),
    "tokens": lambda folder, n: lambda: tokenize("Ada's U.S. flew -- to Oslo. " * n),
    "a long word": lambda folder, n: lambda: split("aB3-" * n + "x"),
    "addresses": lambda folder, n: lambda: split("http://" + ")." * n + " a@" + "b." * n),
    "blank lines in a text": lambda folder, n: lambda: cut_text("Ada won\n\n\n" * n),
    "words apart by blanks": lambda folder, n: lambda: cut_text("Ada won " * n, split_words=True),
    "a long line": lambda folder, n: lambda: list(Lines(Drops(b"x" * 64 * n), "f")),
    "text": lambda folder, n: lambda: passages("text", "Ada won.\n" * n),
    "JSON lines": lambda folder, n: lambda: passages("jsonl", '{"text": "Ada won."}\n\n' * n),
    "words in JSON": lambda folder, n: lambda: passages("jsonl", json.dumps({"tokens": ["Ada", "won"] * n})),
    "blank JSON lines": lambda folder, n: lambda: passages("jsonl", "\n" * 8 * n),
    "CoNLL": lambda folder, n: lambda: passages("conll", "# c\n\nAda O\nwon O\n\n" * n),
    "CoNLL, one sentence": lambda folder, n: lambda: passages("conll", "Ada O\n" * n),
    "comments": lambda folder, n: lambda: passages("conll", "# c\n" * n + "Ada O\n"),
    "CoNLL, labeled": lambda folder, n: lambda: list(iter_conll([b"Ada B-X\n", b"\n"] * n, "f")),
    "CoNLL, written": lambda folder, n: lambda: write_conll(io.StringIO(), [Sentence(("a", "b"), ("O", "O"))] * n),
    "a check": lambda folder, n: partial(data_check, [file(folder, "".join(f"Ada B-X\nw{i} O\n\n" for i in range(n)))]),
    "repair": repaired,
    "spans": lambda folder, n: partial(spans, file(folder, '{"text": "Ada won", "label": [[0, 3, "A"]]}\n' * (n // 2 or 1))),
    "spans of a document": lambda folder, n: nested(folder, n // 4 or 1),
    "BRAT": lambda folder, n: annotated(folder, n // 2 or 1),
    "vectors": lambda folder, n: vectors(folder, n, 5, "text"),
    "vectors, long": lambda folder, n: vectors(folder, 2, 5 * n, "glove"),
    "vectors, binary": lambda folder, n: vectors(folder, n, 5, "binary"),
    "vectors, binary and long": lambda folder, n: vectors(folder, 2, 400 * n, "binary"),
    "vectors, written": lambda folder, n: vectors_written(folder, n, 5, "text"),
    "vectors, written long": lambda folder, n: vectors_written(folder, 2, 40 * n, "glove"),
    "decimals": lambda folder, n: numbers(10 * n),
    "a similarity set": lambda folder, n: partial(read_set, file(folder, "old\tnew\t1.5\n" * n)),
    "analogies": lambda folder, n: partial(read_set, file(folder, ": one\na b c d\n" * n)),
    "analogies of a section": lambda folder, n: partial(read_set, file(folder, ": one\n" + "a b c d\n" * n)),
    "a corpus": lambda folder, n: corpus(folder, "Ada won. " * n, True),
    "a corpus of one word": lambda folder, n: corpus(folder, "a b\n" + "ab" * 1000 * n, False),
    "a vocabulary": vocabulary,
    "an encoding": lambda folder, n: partial(guess, "Müller won\n".encode("latin1") * (n // 4)),
    "settings": settings,
    "errors": lambda folder, n: lambda: judged(n // 2 or 1),
    "errors of one sentence": lambda folder, n: lambda: judged(1, n // 4),
    "pairs of entities": lambda folder, n: (
        lambda: judge([Span("X", 3 * i, 3 * i + 2) for i in range(n)], [Span("Y", 3 * i + 1, 3 * i + 3) for i in range(n)])
    ),
    "entities alone": lambda folder, n: (
        lambda: judge([Span("X", 3 * i, 3 * i + 1) for i in range(n)], [Span("Y", 3 * i + 1, 3 * i + 3) for i in range(n)])
    ),
    "the report": lambda folder, n: reported(judged(n // 4)),
    "the report of one sentence": lambda folder, n: reported(judged(1, n // 2)),
    "a ledger": lambda folder, n: ledger(folder, n // 2),
    "metrics": lambda folder, n: partial(read_jsonl, file(folder, '{"step": 1, "loss": 0.5}\n' * n)),
}


def works(make: Callable[[int], Call]) -> tuple[Work, Work]:
    make(4)()  # what is made once
    return work_of(make(ONE)), work_of(make(8 * ONE))


def is_linear(small: Work, large: Work) -> bool:
    return all(b <= 8 * MOST * max(a, floor) for a, b, floor in zip(small, large, (20, 2000), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_eight_times_the_input_is_about_eight_times_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    small, large = works(partial(CASES[name], tmp_path))
    assert is_linear(small, large), (small, large)


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in blocks is read in many of them."""
    for module, names in ((word2vec.text.corpus, ("PIECE", "CHUNK")), (word2vec.vectors.read, ("_BLOCK", "_BEGINNING"))):
        for name in names:
            monkeypatch.setattr(module, name, 1 << 8)


def rests(n: int) -> None:
    """The fault of a splitter that copies what is left at each end."""
    tokens = list(range(n))
    while tokens:
        tokens = tokens[1:]


def joins(n: int) -> None:
    """The fault of a reader that adds to what it has."""
    text = b""
    for _ in range(n):
        text = text + b"go on "


def pairs(n: int) -> None:
    """The fault of a report that looks at all beside all."""
    for i in range(n):
        for _ in range(i):
            pass


FAULTS: dict[str, Callable[[int], object]] = {
    "the rest is copied": rests,
    "the whole is joined": joins,
    "all are looked at beside all": pairs,
    "in one expression": lambda n: functools.reduce(lambda rest, i: rest[1:], range(n), "go on " * n),
    "lists in lists": lambda n: [list(range(i)) for i in range(n)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_work_that_grows_with_the_square_is_seen(name: str) -> None:
    assert not is_linear(*works(lambda n: partial(FAULTS[name], n)))


SCANS: dict[str, Callable[[int], Call]] = {
    "tokens": lambda n: lambda: tokenize("Ada's U.S. flew -- to Oslo. " * n),
    "a long word": lambda n: lambda: split("aB3-" * n + "x"),
    "addresses": lambda n: lambda: split("http://" + ")." * n + " a@" + "b." * n),
    "quotes": lambda n: lambda: split("'\"" * n + "a"),
    "numbers": lambda n: lambda: split("1,000." * n),
    "blank lines": lambda n: lambda: cut_text("Ada won\n\n\n" * n),
    "a long sentence's end": lambda n: lambda: sentences(tokenize("a ! ( " * n)),
    "settings": lambda n: lambda: list(settings_file._tokens('{"a": "' + "\\\\" * 8 * n + '", "b": [' + "NaN, " * n)),
    "an encoding": lambda n: lambda: guess("Müller".encode("latin1") * n),
}


@pytest.mark.parametrize("name", SCANS)
def test_what_regular_expressions_scan_grows_with_the_input(name: str) -> None:
    """They count nothing. 20,000 units take a moment, or with the square minutes."""
    with within(20):
        SCANS[name](20_000)()


def test_what_takes_too_long_is_stopped() -> None:
    with pytest.raises(AssertionError, match="CPU time"), within(0.2):
        re.fullmatch("(a|a)*b", "a" * 40)


class Searched(bytearray):
    """Counts the bytes that a search looks at."""

    looked_at = 0

    def find(self, part: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(part, start)
        Searched.looked_at += (len(self) if found < 0 else found) - start
        return found


def test_a_binary_file_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the header is wrong, so that a vector is longer than what is read at a time."""
    small_blocks(monkeypatch)
    monkeypatch.setattr(word2vec.vectors.read, "bytearray", Searched, raising=False)
    path, counts = tmp_path / "v.bin", []
    for n in (100, 800):
        path.write_bytes(b"9 8000\n" + b"w" * 64 * n)
        Searched.looked_at = 0
        with pytest.raises(DataError, match="is it whole"):
            read_table(path, "binary")
        counts.append(Searched.looked_at)
    assert 0 < counts[1] <= 8 * MOST * counts[0]


def test_a_crf_of_many_types_is_set_up_without_asking_for_each_pair_of_labels() -> None:
    labels = labels_of([f"T{i}" for i in range(MANY)], "IOBES")
    small, large = works(lambda n: partial(allowed_transitions, labels_of([f"T{i}" for i in range(n)], "IOBES"), "IOBES"))
    assert large.lines <= 8 * MOST * small.lines  # the bytes of its table grow with the square
    with within(60):
        allowed = allowed_transitions(labels, "IOBES")
        crf = CRF(len(labels), allowed, seed=1)
    few = allowed_transitions(labels[:9], "IOBES")
    assert (allowed.pairs[:9, :9] == few.pairs).all()
    assert _mixing(torch.from_numpy(few.pairs)) <= crf._steps_to_mix < 8
