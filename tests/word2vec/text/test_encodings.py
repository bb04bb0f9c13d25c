"""Encodings: a text of any language in any encoding of it is named so that the advice gives the text back."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from shutil import which

import pytest

from tests.word2vec.text.languages import LANGUAGES, SHORT
from word2vec.text.encodings import MOST_NAMES, SHIFTED, WIDE, advice, encoding_of, guess
from word2vec.text.file_kinds import OTHER, decide


def cases(table: dict[str, tuple[str, str]]) -> Iterator[tuple[str, bytes, str]]:
    for text in table.values():
        yield from ((text[1], text[1].encode(encoding), encoding) for encoding in text[0].split())


def gives(data: bytes, name: str, text: str) -> bool:
    try:
        return data.decode(name) == text
    except UnicodeDecodeError:
        return False


def test_a_sentence_leaves_no_doubt() -> None:
    found = [(text, data, encoding, guess(data)) for text, data, encoding in cases(LANGUAGES)]
    assert len(found) > 90
    for text, data, encoding, names in found:
        assert len(names) == 1, (text, encoding, names)
        assert gives(data, names[0], text), (text, encoding, names)
        assert encoding_of(data) == ""
        assert f"(iconv -f {names[0]} -t UTF-8 FILE > NEW)" in advice(names)
        assert advice(names).startswith("it seems to be ")


def test_of_a_few_letters_several_are_named_and_the_right_one_is_among_them() -> None:
    doubts = 0
    for text, data, encoding in cases(SHORT):
        names = guess(data)
        assert 0 < len(names) <= MOST_NAMES
        assert any(gives(data, name, text) for name in names), (text, encoding, names)
        doubts += len(names) > 1
        assert advice(names).startswith("it may be " if len(names) > 1 else "it seems to be ")
    assert doubts > 5


@pytest.mark.skipif(which("iconv") is None, reason="there is no iconv here")
def test_iconv_knows_the_names() -> None:
    by_name = {guess(data)[0]: (text, data) for text, data, _ in cases(LANGUAGES)}
    assert len(by_name) > 20
    for name, (text, data) in by_name.items():
        done = subprocess.run(["iconv", "-f", name, "-t", "UTF-8"], input=data, capture_output=True, check=True)
        assert done.stdout.decode() == text, name


def test_bytes_that_are_no_words_are_not_given_a_name() -> None:
    drawn = random.Random(1)
    for _ in range(20):
        data = bytes(drawn.randrange(32, 256) for _ in range(300))
        assert guess(data) == ()
    assert "file -i FILE" in advice(())


def test_lines_in_another_encoding_in_a_file_of_utf8_are_told_as_such() -> None:
    text = "Der Müller und die Müllerin größten. "
    assert guess(3 * text.encode() + "groß".encode("latin1")) == ("UTF-8",)
    assert "UTF-8 elsewhere" in advice(("UTF-8",))


@pytest.mark.parametrize("encoding", WIDE)
def test_two_and_four_bytes_a_character_are_told_without_a_mark(encoding: str) -> None:
    for text in (text for _, text in LANGUAGES.values()):
        wide = (f"{text}\n" * 2).encode(encoding)
        assert encoding_of(wide) == encoding, text


@pytest.mark.parametrize(("encoding", "language"), list(zip(SHIFTED, ("Japanese", "Korean"), strict=True)))
def test_seven_bits_with_shifts_are_no_text(encoding: str, language: str) -> None:
    found = decide(f"{LANGUAGES[language][1]}\n".encode(encoding), whole=True)
    assert (found.kind, found.name) == (OTHER, f"text in {encoding.upper()}")
    assert found.remedy == f"convert it: iconv -f {encoding.upper()} -t UTF-8 FILE > NEW"


def test_a_long_line_is_looked_at_where_it_is_not_ascii() -> None:
    for text, data, _ in cases({name: LANGUAGES[name] for name in ("Polish", "Chinese", "Korean")}):
        names = guess(b"so it goes on and on " * 3000 + (data + b" ") * 100)
        assert len(names) == 1
        assert gives(data, names[0], text)
