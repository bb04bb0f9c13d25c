"""A text that several processes number: the same ids, vocabulary and errors as from one; what ends with what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import DataError, SamebitsError
from word2vec import TextRule, encode
from word2vec.text import corpus as corpus_module
from word2vec.text import numbering
from word2vec.text.numbering import Piece, Readers, Words, numbered

RULES = [
    TextRule(tokenize=False), TextRule(), TextRule(lowercase=True, digits="zero"),
    TextRule(tokenize=False, lowercase=True),
]  # fmt: skip
WORDS = st.sampled_from(["a", "b", "B", "Mr.", "don't", "U.S.", "7", "19", "слово", "Слово", "🙂", "\u00e9", "e\u0301", "."])
LINES = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=12)


def read(folder: Path, sources: list[str], rule: TextRule, processes: int) -> tuple[object, ...]:
    """All that comes of a text."""
    vocab, corpus = encode(sources, folder / f"ids{processes}", rule, min_count=1, processes=processes)
    return vocab.words, vocab.counts.tolist(), corpus.moved("").sha256, corpus.read, corpus.sentences


@settings(deadline=None, max_examples=12)
@given(st.lists(LINES, min_size=1, max_size=3), st.sampled_from(RULES), st.integers(1, 60), st.integers(2, 3))
def test_any_number_of_processes_gives_what_one_gives(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], rule: TextRule, parcel: int, processes: int
) -> None:
    folder = tmp_path_factory.mktemp("text")
    texts[0].append("two words")
    sources = [str(folder / f"text{i}") for i in range(len(texts))]
    for source, lines in zip(sources, texts, strict=True):
        Path(source).write_text("\n".join(lines), encoding="utf-8")
    whole = read(folder, sources, rule, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "PARCEL", parcel)
        assert read(folder, sources, rule, 1) == whole
        assert read(folder, sources, rule, processes) == whole
    assert sorted(path.name for path in folder.iterdir() if path.name.endswith(".part")) == []


@settings(deadline=None)
@given(st.lists(LINES, min_size=1, max_size=5), st.sampled_from(RULES))
def test_parcels_that_are_merged_are_numbered_as_one(parcels: list[list[str]], rule: TextRule) -> None:
    whole = Words(rule)
    for lines in parcels:
        found = numbered(rule, [Piece(line.encode(), True) for line in lines])
        for word in found.words:
            whole.numbers.setdefault(word, len(whole.numbers) + 1)
    assert list(whole.numbers) == numbered(rule, [Piece(line.encode(), True) for lines in parcels for line in lines]).words


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_error_of_the_text_is_told(processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the second file, which was looked at while the first was being numbered, is no text at all."""
    monkeypatch.setattr(corpus_module, "PARCEL", 30)
    monkeypatch.setattr(corpus_module, "PIECE", 16)
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_bytes(b"good line\n" * 8 + b"b\xe4d line\n" + b"w\xf6rse line\n")
    second.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with pytest.raises(DataError, match=r"first\.txt:9: expected UTF-8, got byte 0xe4 at byte 2 of the line"):
        encode([str(first), str(second)], tmp_path / "ids", TextRule(), min_count=1, processes=processes)
    first.write_bytes(b"good line\n" * 8)
    with pytest.raises(DataError, match=r"second\.txt"):
        encode([str(first), str(second)], tmp_path / "ids", TextRule(), min_count=1, processes=processes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.txt", "second.txt"]


@pytest.mark.parametrize("parcel", [10, 25, 1 << 20])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("bad", [[0], [1], [7], [18, 19], [3, 4, 5, 17]])
def test_of_wrong_lines_anywhere_the_first_is_told(
    bad: list[int], processes: int, parcel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever parcels they are in, and before the next file is looked at."""
    monkeypatch.setattr(corpus_module, "PARCEL", parcel)
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_bytes(b"".join(b"b\xe4d line\n" if i in bad else b"good line\n" for i in range(20)))
    second.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with pytest.raises(DataError, match=rf"first\.txt:{bad[0] + 1}: expected UTF-8"):
        encode([str(first), str(second)], tmp_path / "ids", TextRule(), min_count=1, processes=processes)


def test_processes_that_cannot_start_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(corpus_module, "PARCEL", 4)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    (tmp_path / "text").write_text("a b a b\n" * 9)
    with pytest.raises(SamebitsError, match=r"one of 2 processes could not be started: Resource temporarily unavailable; "):
        encode([str(tmp_path / "text")], tmp_path / "ids", TextRule(), min_count=1, processes=2)


def test_a_process_that_begins_while_the_others_are_ended_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, start = threading.Event(), threading.Event(), subprocess.Popen
    readers = Readers(TextRule(tokenize=False), 1)

    def slowly(*arguments: Any, **named: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return start(*arguments, **named)

    monkeypatch.setattr(subprocess, "Popen", slowly)
    readers.submit([Piece(b"a", True)])
    assert begun.wait(60)
    closing = threading.Thread(target=readers.close)
    closing.start()
    go_on.set()
    closing.join(60)
    assert not closing.is_alive()
    assert [child.poll() is not None for child in readers.children] == [True]


def test_a_short_text_is_read_without_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    (tmp_path / "text").write_text("a b a b\n")
    assert encode([str(tmp_path / "text")], tmp_path / "ids", TextRule(), min_count=1, processes=4)[1].read == 4


def test_a_process_that_is_killed_is_named_and_none_is_left() -> None:
    readers = Readers(TextRule(tokenize=False), 2)
    readers.executor._max_workers = 1  # the process that is killed is asked again
    try:
        assert readers.submit([Piece(b"b a b", True)]).result().words == ["b", "a"]
        for child in readers.children:
            os.kill(child.pid, signal.SIGKILL)
        lost = r"one of 2 processes was killed by signal 9; free some memory, or read with"
        with pytest.raises(SamebitsError, match=lost):
            readers.submit([Piece(b"a", True)] * 100_000).result()
    finally:
        readers.close()
    assert all(child.poll() is not None for child in readers.children)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Killed, it cannot say so: its pipes are closed."""
    ready = tmp_path / "ready"
    program = (
        "import os, pathlib, sys, time\n"
        "from word2vec.text.numbering import Piece, Readers\n"
        "from word2vec import TextRule\n"
        "readers = Readers(TextRule(tokenize=False), 1)\n"
        "readers.submit([Piece(b'a', True)]).result()\n"
        f"pathlib.Path({str(ready)!r} + 'x').write_text(str(readers.children[0].pid))\n"
        f"os.rename({str(ready)!r} + 'x', {str(ready)!r})\n"
        "time.sleep(300)\n"
    )
    root = Path(numbering.__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as parent:
        while not ready.exists():
            assert parent.poll() is None
            time.sleep(0.02)
        parent.kill()
    child = int(ready.read_text())
    for _ in range(3000):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {child} still runs")
