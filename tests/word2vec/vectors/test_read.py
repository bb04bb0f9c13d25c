"""Vectors on disk: three formats there and back, with gensim too; every kind of damage is named."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from training import files
from training.errors import DataError
from word2vec.vectors import read as vector_files
from word2vec.vectors.read import FORMATS, read_table
from word2vec.vectors.write import write_table

ODD = ["the", "Москва", "😀👍🏽", "a\u00a0b", "\u2028", "\x85", "x" * 5000, "1.5", "-", "#", '"', "New_York"]
ODD += ["e\u0301", "\ufeffbom", "\r", "\t"]
WORD = st.text(st.characters(exclude_characters=" \n", exclude_categories=["Cs"]), min_size=1, max_size=8)
WORDS = st.lists(WORD, min_size=1, max_size=12, unique=True)


def matrix_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Values of the sizes that training makes, and some that are hard to write."""
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((n, d)).astype(np.float32)
    values *= np.float32(0.3)
    flat = values.reshape(-1)
    hard = np.array([0, -0.0, 1e-7, -12345.678, 1, 3.4e38, 1e-45, 9.9999999], dtype=np.float32)
    flat[: len(hard)] = hard[: len(flat)]
    return values


def same(table: vector_files.Table, words: list[str], matrix: np.ndarray) -> bool:
    return table.words == words and table.matrix.tobytes() == matrix.tobytes() and table.matrix.dtype == np.float32


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
@pytest.mark.parametrize("form", FORMATS)
def test_odd_words_go_there_and_back(tmp_path: Path, form: str, name: str) -> None:
    matrix = matrix_of(len(ODD), 20)
    write_table(tmp_path / name, ODD, matrix, form)
    assert same(read_table(tmp_path / name), ODD, matrix)
    assert same(read_table(tmp_path / name, form), ODD, matrix)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORDS, st.integers(1, 5), st.sampled_from(FORMATS), st.integers(1, 60))
def test_any_words_in_blocks_of_any_size(tmp_path: Path, words: list[str], d: int, form: str, block: int) -> None:
    # Without a header, more control characters than these few make a file binary.
    assume(form != "glove" or sum(character < " " for character in "".join(words)) <= 4)
    matrix = matrix_of(len(words), d)
    write_table(tmp_path / "v", words, matrix, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "_BLOCK", block)
        patch.setattr(vector_files, "_BEGINNING", 30)
        assert same(read_table(tmp_path / "v", form), words, matrix)


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_ours_and_we_read_gensims(tmp_path: Path, binary: bool) -> None:
    words = [word for word in ODD if word != "\r"]  # gensim's binary reader takes it, its text reader strips it
    matrix = matrix_of(len(words), 20)
    write_table(tmp_path / "ours", words, matrix, "binary" if binary else "text")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert theirs.index_to_key == words
    assert theirs.vectors.tobytes() == matrix.tobytes()
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    assert same(read_table(tmp_path / "theirs"), words, matrix)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")  # a leak of gensim
def test_gensim_and_glove(tmp_path: Path) -> None:
    matrix = matrix_of(len(ODD), 20)
    write_table(tmp_path / "ours", ODD, matrix, "glove")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), no_header=True)
    assert theirs.index_to_key == ODD
    assert theirs.vectors.tobytes() == matrix.tobytes()
    theirs.save_word2vec_format(str(tmp_path / "theirs"), write_header=False)
    assert same(read_table(tmp_path / "theirs"), ODD, matrix)


def test_words_with_spaces_that_gensim_wrote(tmp_path: Path) -> None:
    words = ["New York", ". . .", "747", "Boeing 747", "name at x.com"]
    theirs = KeyedVectors(4)
    theirs.add_vectors(words, matrix_of(5, 4))
    for header in (True, False):
        theirs.save_word2vec_format(str(tmp_path / "v"), write_header=header)
        assert same(read_table(tmp_path / "v"), words, matrix_of(5, 4))
    with pytest.raises(DataError, match=r"'New York'.*New_York"):
        write_table(tmp_path / "w", words, matrix_of(5, 4), "binary")


def test_glove_words_with_spaces_go_there_and_back(tmp_path: Path) -> None:
    words = ["a", ". . .", "at name@domain.com", "• x"]
    write_table(tmp_path / "v", words, matrix_of(4, 3), "glove")
    assert same(read_table(tmp_path / "v"), words, matrix_of(4, 3))


TEXTS = {
    "as word2vec.c writes it": b"2 3\n</s> 0.1 0.2 0.3 \nb 1.5 -2 3e-1 \n",
    "no header": b"</s> 0.1 0.2 0.3\nb 1.5 -2 3e-1\n",
    "no last line end": b"</s> 0.1 0.2 0.3\nb 1.5 -2 3e-1",
    "CRLF": b"2 3\r\n</s> 0.1 0.2 0.3\r\nb 1.5 -2 3e-1\r\n",
    "byte order mark": b"\xef\xbb\xbf2 3\n</s> 0.1 0.2 0.3\nb 1.5 -2 3e-1\n",
    "blank lines at the end": b"</s> 0.1 0.2 0.3\nb 1.5 -2 3e-1\n\n \r\n\n",
    "a word twice": b"</s> 0.1 0.2 0.3\nb 1.5 -2 3e-1\n</s> 7 8 9\nb 1 2 3\n",
}


@pytest.mark.parametrize("block", [1, 5, 1 << 18])
@pytest.mark.parametrize("kind", TEXTS)
def test_kinds_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, block: int) -> None:
    (tmp_path / "v").write_bytes(TEXTS[kind])
    monkeypatch.setattr(vector_files, "_BLOCK", block)
    table = read_table(tmp_path / "v")
    assert same(table, ["</s>", "b"], np.array([[0.1, 0.2, 0.3], [1.5, -2, 0.3]], dtype=np.float32))
    assert table.repeated == 2 * (kind == "a word twice")


def test_binary_with_and_without_line_ends(tmp_path: Path) -> None:
    matrix = matrix_of(2, 10)
    for end in (b"", b"\n"):
        entries = [b"a " + matrix[0].tobytes() + end, "я ".encode() + matrix[1].tobytes() + end]
        (tmp_path / "v").write_bytes(b"2 10\n" + b"".join(entries))
        assert same(read_table(tmp_path / "v"), ["a", "я"], matrix)


def test_binary_is_told_from_text_whatever_its_bytes(tmp_path: Path) -> None:
    for seed in range(60):
        write_table(tmp_path / "v", ["a", "bc"], matrix_of(2, 40, seed)[:, 8:], "binary")
        assert read_table(tmp_path / "v").words == ["a", "bc"]


BINARY = b"2 3\na " + bytes(12) + b"\nb " + bytes(12) + b"\n"
DAMAGED = {
    "empty": (b"", r"v: expected word vectors, got an empty file"),
    "blank": (b"\n \n", r"empty file"),
    "prose": (b"Some text.\nMore of it.\n", r"v:1: expected a word and its numbers.*'Some text.'"),
    "narrow line": (b"a 1.5 2.5\nb 1.5 2.5\nc 1.5\n", r"v:3: expected a word and 2 numbers.*got 1 number in 'c 1.5'"),
    "wide line": (b"a 1.5 2.5\nb 1.5 2.5 3.5\nc 1.5 2.5\n", r"v:2: expected a word and 2 numbers.*got 3 numbers"),
    "two widths": (b"a 1.5 2.5\nb 1.5 2.5 3.5\n", r"v:2: expected a word and 2 numbers"),
    "blank line": (b"a 1.5\n\nb 1.5\n", r"v:2: .*got an empty line"),
    "two spaces": (b"a 1.5 2.5\nb 1.5  2.5\n", r"v:2: expected"),
    "two spaces after the word": (b"a 1.5 2.5\nb  1.5 2.5\n", r"v:2: expected"),
    "no number": (b"a 1.5 2.5\nb 1.5 2.x\n", r"v:2: number 2 of 2: expected a finite decimal number, got '2.x'"),
    "nan": (b"a 1.5 2.5\nb nan 2.5\n", r"v:2: number 1 of 2: .*'nan'"),
    "too large": (b"a 1.5 2.5\nb 1e39 2.5\n", r"v:2: number 1 of 2: .*'1e39'"),
    "not UTF-8": (b"a 1.5 2.5\nb\xff\xfe 1.5 2.5\n", r"v:2: expected a word in UTF-8, got .*byte 2 of the word is 0xff"),
    "no word": (b"a 1.5 2.5\n 1.5 2.5\n", r"v:2: expected a word before the numbers, got none"),
    "fewer words than said": (b"3 2\na 1.5 2.5\nb 1.5 2.5\n", r"v:1: the header says 3 words, the file has 2"),
    "more words than said": (b"1 2\na 1.5 2.5\nb 1.5 2.5\n", r"v:1: the header says 1 words, the file has 2"),
    "other width than said": (b"2 3\na 1.5 2.5\nb 1.5 2.5\n", r"v:2: expected a word and 3 numbers"),
    "only a header": (b"2 3\n", r"the header says 2 words"),
    "nothing said": (b"0 3\n", r"v:1: expected at least one word"),
    "binary cut off": (BINARY[:-8], r"v: the header says 2 words of 3 numbers, the file ends in word 2"),
    "binary with more": (BINARY + b"c", r"v: the header says 2 words of 3 numbers, but more bytes follow"),
    "binary of another width": (BINARY.replace(b"2 3", b"1 9"), r"v: the header says 1 words of 9 numbers, .* word 1"),
    "binary with nan": (BINARY.replace(bytes(12), np.full(3, np.nan, "<f4").tobytes()), r"v: .*NaN or infinity for 'a'"),
    "binary, not UTF-8": (BINARY.replace(b"b ", b"\xff "), r"v: word 2 of 2: expected a word in UTF-8"),
    "gzip cut off": (gzip.compress(b"a 1.5 2.5\n" * 99, mtime=0)[:-9], r"v: expected a whole gzip file, got a damaged"),
    "gzip, other bytes": (b"\x1f\x8bxyz", r"v: expected a whole gzip file, got a damaged"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    content, message = DAMAGED[kind]
    (tmp_path / "v").write_bytes(content)
    for block in (1, 3, 1 << 18):
        monkeypatch.setattr(vector_files, "_BLOCK", block)
        with pytest.raises(DataError, match=message) as caught:
            read_table(tmp_path / "v")
        assert "\n" not in str(caught.value)


def test_missing_files_folders_and_wrong_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: expected word vectors, cannot read it: No such file"):
        read_table(tmp_path / "none.txt")
    with pytest.raises(DataError, match="expected word vectors, got a folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="expected auto, text, binary, glove, got 'xml'"):
        read_table(tmp_path / "v", "xml")
    (tmp_path / "v").write_bytes(b"a 1.5\n")
    with pytest.raises(DataError, match=r"v:1: expected the number of words and of dimensions, got 'a 1.5'"):
        read_table(tmp_path / "v", "binary")


@pytest.mark.parametrize("header", ["-3 2", "3 -2", "+3 2", "99999999999999999999 2", "2 99999999999"])
def test_a_header_that_cannot_be_is_no_vector(tmp_path: Path, header: str) -> None:
    """Two whole numbers alone are a header, also where no file has so many words."""
    (tmp_path / "v").write_text(f"{header}\nAda 1 2\n")
    with pytest.raises(DataError, match=rf"v:1: expected the number of words and of dimensions, got '{re.escape(header)}'"):
        read_table(tmp_path / "v")


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "_LONGEST_LINE", 1000)
    monkeypatch.setattr(vector_files, "_BLOCK", 100)
    (tmp_path / "v").write_bytes(b"a 1.5 " + b"1" * 2000)
    with pytest.raises(DataError, match="v: expected lines of a word and numbers, got a line of more than 1000 bytes"):
        read_table(tmp_path / "v")


def test_progress_counts_the_bytes_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "_BLOCK", 64)
    for name in ("v.txt", "v.txt.gz"):
        write_table(tmp_path / name, [f"w{i}" for i in range(100)], matrix_of(100, 5))
        calls: list[tuple[int, int]] = []
        read_table(tmp_path / name, progress=lambda done, total: calls.append((done, total)))  # noqa: B023
        size = (tmp_path / name).stat().st_size
        assert calls[-1] == (size, size)
        assert all(a <= b for (a, _), (b, _) in itertools.pairwise(calls))


@pytest.mark.parametrize(
    ("words", "form", "message"),
    [
        (["a", ""], "text", "''; expected words without line ends"),
        (["a", "b\nc"], "binary", "expected words without line ends"),
        (["a", "b c"], "text", "cannot hold a word with a space"),
        (["a", "\ud800"], "text", "expected words of Unicode characters"),
        (["a", "b 1.5"], "glove", "could not be read back"),
        (["a", " b"], "glove", "could not be read back"),
        (["a"], "text", "expected a vector for each of 1 words"),
        (["a", "b"], "xml", "expected text, binary, glove, got 'xml'"),
    ],
)
def test_what_would_not_read_back_is_not_written(tmp_path: Path, words: list[str], form: str, message: str) -> None:
    (tmp_path / "v").write_text("old")
    with pytest.raises(DataError, match=message):
        write_table(tmp_path / "v", words, matrix_of(2, 3), form)
    assert [path.name for path in tmp_path.iterdir()] == ["v"]
    assert (tmp_path / "v").read_text() == "old"


def test_values_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN or infinity for 'b'"):
        write_table(tmp_path / "v", ["a", "b"], np.array([[1, 2], [3, np.inf]], dtype=np.float32))


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v").write_text("old")

    def fail(point: str) -> None:
        if point == "rename:v":
            raise OSError("disk")

    monkeypatch.setattr(files, "fault_hook", fail)
    with pytest.raises(OSError, match="disk"):
        write_table(tmp_path / "v", ["a"], matrix_of(1, 3))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("v", "old")]


def test_the_same_vectors_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.txt.gz", "b.txt.gz"):
        write_table(tmp_path / name, ["x", "y"], matrix_of(2, 9))
    assert (tmp_path / "a.txt.gz").read_bytes() == (tmp_path / "b.txt.gz").read_bytes()


@pytest.mark.parametrize("form", ["text", "binary", "glove"])
@pytest.mark.parametrize("bad", [[1], [0], [2, 4], [0, 1, 2, 3], [4]])
def test_words_that_are_not_utf8_are_skipped_and_counted_where_that_is_asked_for(
    tmp_path: Path, form: str, bad: list[int]
) -> None:
    words = [b"caf\xe9%d" % i if i in bad else b"word%d" % i for i in range(5)]
    matrix = np.arange(10, dtype=np.float32).reshape(5, 2)
    rows = [row.tobytes() if form == "binary" else b"%g %g" % tuple(row) for row in matrix]
    path = tmp_path / "w"
    lines = [b"%b %b\n" % pair for pair in zip(words, rows, strict=True)]
    path.write_bytes((b"" if form == "glove" else b"5 2\n") + b"".join(lines))
    with pytest.raises(DataError, match=rf"{'word ' if form == 'binary' else 'w:'}.*--skip-undecodable"):
        read_table(path, form)
    table = read_table(path, form, skip_undecodable=True)
    kept = [i for i in range(5) if i not in bad]
    assert table.words == [f"word{i}" for i in kept]
    assert table.matrix.tolist() == matrix[kept].tolist()
    assert table.undecodable == len(bad)
