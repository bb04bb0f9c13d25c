from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import word2vec.text.corpus as corpus_module
from training.errors import ConfigError, DataError
from word2vec.text.corpus import Corpus, encode
from word2vec.text.tokenize import TextRule, pretokenized
from word2vec.text.vocab import Vocab

PLAIN = TextRule(tokenize=False)


def decoded(vocab: Vocab, corpus: Corpus) -> list[list[str]]:
    """The sentences of an encoded corpus as words."""
    found: list[list[str]] = [[]]
    for i in corpus.ids().tolist():
        if i == len(vocab):
            found.append([])
        else:
            found[-1].append(vocab.words[i])
    assert found.pop() == []  # the last sentence is ended, too
    return found


def encoded(folder: Path, text: bytes, rule: TextRule = PLAIN, min_count: int = 1) -> list[list[str]]:
    (folder / "text.txt").write_bytes(text)
    return decoded(*encode([str(folder / "text.txt")], folder / "ids", rule, min_count=min_count))


def test_lines_become_sentences(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b a\n\n   \nc a\nd", encoding="utf-8")
    vocab, corpus = encode([str(tmp_path / "text.txt")], tmp_path / "ids", PLAIN, min_count=1)
    assert vocab.words == ("a", "b", "c", "d")
    assert decoded(vocab, corpus) == [["a", "b", "a"], ["c", "a"], ["d"]]
    assert (corpus.read, corpus.words, corpus.sentences, corpus.tokens) == (6, 6, 3, 9)
    assert corpus.sha256 == hashlib.sha256((tmp_path / "ids").read_bytes()).hexdigest()
    assert Corpus.load(tmp_path / "ids") == corpus
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids", "ids.json", "text.txt"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_source_without_a_word_is_named(tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "PARCEL", 64)
    texts = {"a": "Ada ran\n" * 40, "empty": "", "blanks": " \n\t \n" * 200, "mark": "\ufeff", "b": "Bo"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    said: list[str] = []
    sources = [str(tmp_path / name) for name in (*texts, "empty")]
    encode(sources, tmp_path / "ids", PLAIN, min_count=1, processes=processes, warn=said.append)
    without = [f"warning: {tmp_path / name}: expected text, got no word" for name in ("empty", "blanks", "mark")]
    assert [line for line in said if "no word" in line] == without


def test_rare_words_and_emptied_sentences_disappear(tmp_path: Path) -> None:
    assert encoded(tmp_path, b"x a y a\nz\nb\nz2 b\n", min_count=2) == [["a", "a"], ["b"], ["b"]]


def test_crlf_byte_order_mark_and_no_final_newline(tmp_path: Path) -> None:
    assert encoded(tmp_path, b"\xef\xbb\xbfa b\r\n\r\nb\tc\r\nd") == [["a", "b"], ["b", "c"], ["d"]]


def test_the_rule_is_applied(tmp_path: Path) -> None:
    rule = TextRule(tokenize=True, lowercase=True, digits="zero")
    text = b"He paid $1,250 (in 1996). They didn't.\n"
    expected = [["he", "paid", "$", "0,000", "(", "in", "0000", ")", "."], ["they", "did", "n't", "."]]
    assert encoded(tmp_path, text, rule) == expected


def test_several_sources_in_order(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"a b")  # no final newline: the sentence still ends with the file
    (tmp_path / "two").write_bytes(b"c\n")
    assert decoded(*encode([str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "ids", PLAIN, min_count=1)) == [
        ["a", "b"],
        ["c"],
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_text_is_told_by_its_bytes(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert encoded(tmp_path, pack("я и ты\nи\n".encode())) == [["я", "и", "ты"], ["и"]]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_archive_is_an_error(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(bytes(range(65, 91)) * 400)
    with pytest.raises(DataError, match=r"expected a whole (gzip|bzip2|xz) file"):
        encoded(tmp_path, packed[:-12])


def test_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b\na\n")))
    seen: list[tuple[int, int]] = []
    result = encode(["-"], tmp_path / "ids", PLAIN, min_count=1, progress=lambda *at: seen.append(at))
    assert decoded(*result) == [["a", "b"], ["a"]]
    assert seen == [(6, 0)]
    assert not sys.stdin.closed


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(["a", "bb", "слово", "🙂"]), max_size=9), min_size=1, max_size=5), st.integers(1, 9)
)
def test_pieces_do_not_show(tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], piece: int) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    text = "\n".join(" ".join(line) for line in lines).encode()
    if len({word for line in lines for word in line}) < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "PIECE", piece)
        patch.setattr(corpus_module, "CHUNK", piece)
        patch.setattr(corpus_module, "PARCEL", piece)
        assert encoded(folder, text) == [line for line in lines if line]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_are_split_as_pretokenized_text_is(text: str) -> None:
    assert [word.decode() for word in text.encode().split()] == pretokenized(text)


def test_one_very_long_line_is_one_sentence(tmp_path: Path) -> None:
    (words,) = encoded(tmp_path, b"one two three " * 300_000)
    assert len(words) == 900_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"good\nb\xe4d line\n", r"text\.txt:2: expected UTF-8, got byte 0xe4 at byte 2 of the line"),
        (b"\n \n", "expected text, got no word"),
    ],
)
def test_unreadable_text_is_an_error(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoded(tmp_path, text)
    assert not list(tmp_path.glob("*ids*"))


def test_missing_file_folder_and_too_few_words(tmp_path: Path) -> None:
    for source in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match=r"expected text, (cannot read it: No such file|got a folder)"):
            encode([str(source)], tmp_path / "ids", PLAIN, min_count=1)
    with pytest.raises(ConfigError, match="min_count"):
        encoded(tmp_path, b"a b c a", min_count=2)


def test_a_cut_file_of_ids_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a b")
    _, corpus = encode([str(tmp_path / "text")], tmp_path / "ids", PLAIN, min_count=1)
    (tmp_path / "ids").write_bytes(b"1234")
    with pytest.raises(DataError, match="another size"):
        corpus.ids()
    (tmp_path / "ids.json").unlink()
    with pytest.raises(DataError, match="cannot read the description"):
        Corpus.load(tmp_path / "ids")


def test_the_file_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a b")
    ids = encode([str(tmp_path / "text")], tmp_path / "ids", PLAIN, min_count=1)[1].ids()
    assert isinstance(ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1
