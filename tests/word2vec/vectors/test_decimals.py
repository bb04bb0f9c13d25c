"""Decimal text ↔ float32: the same bits as Python's float, and the fewest digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from word2vec.text.numerals import is_decimal
from word2vec.vectors.decimals import Floats, NotANumber, format_rows, parse

FORMATS = ["{:.4f}", "{:.5g}", "{:.9g}", "{:.17g}", "{!r}", "{:e}", "{:.0f}", "{:+.3f}", "{:.12f}", "{:.16f}", "{:.18f}"]
FLOATS = st.one_of(
    st.floats(-9.9, 9.9), st.floats(-1e-3, 1e-3), st.floats(-1e6, 1e6), st.floats(-3.4e38, 3.4e38, allow_nan=False)
)
DIGITS = st.text("0123456789", max_size=18)
SPELLED = st.tuples(st.sampled_from(["", "-", "+"]), DIGITS, st.sampled_from(["", "."]), DIGITS).map("".join)
WRITTEN = st.builds(str.format, st.sampled_from(FORMATS), FLOATS)
NUMBERS = st.one_of(WRITTEN, SPELLED.filter(lambda t: is_decimal(t.encode())))


def parse_all(texts: list[str]) -> Floats:
    """The numbers as one line of text, parsed at once."""
    data = "".join(f" {text}" for text in texts).encode()
    ends = np.cumsum([len(text.encode()) + 1 for text in texts])
    starts = np.append(0, ends[:-1]) + 1
    return parse(data + b"\0" * 16, starts, ends)


@settings(deadline=None, max_examples=300)
@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_parse_gives_the_bits_of_float(texts: list[str]) -> None:
    expected = np.array([float(text) for text in texts]).astype(np.float32)
    assert parse_all(texts).tobytes() == expected.tobytes()


CHOSEN = ["0.5", "-0.0", "9.007199254740993", "0.30000000000000004", "-0.00066023", "7.", ".5", "12.5", "0.1234567890123456"]


@pytest.mark.parametrize("text", CHOSEN)
def test_parse_of_chosen_numbers(text: str) -> None:
    assert parse_all([text]).tobytes() == np.array([float(text)]).astype(np.float32).tobytes()


BAD = [*"- . x 1.2.3 0.1x2 0.12345678x 0.x x.5 1_0 nan -inf 1e ٣ 0.٣ 1e39 0x1p3 --1.5 0,5 /.5 :.5 0./ 0.:".split(), ""]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_finite_number_is_named(text: str) -> None:
    with pytest.raises(NotANumber) as caught:
        parse_all(["0.25", "1.5", text, "2.5", "y"])
    assert (caught.value.index, caught.value.text) == (2, text.encode())


SINGLES = st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), FLOATS)
MATRICES = st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(SINGLES, min_size=d, max_size=d), min_size=1, max_size=8))


@settings(deadline=None, max_examples=300)
@given(MATRICES)
def test_format_reads_back_as_the_same_bits_in_the_fewest_decimals(values: list[list[float]]) -> None:
    matrix = np.array(values).astype(np.float32)
    for row, text in zip(matrix, format_rows(matrix), strict=True):
        numbers = text.decode().split(" ")
        assert np.array([float(number) for number in numbers]).astype(np.float32).tobytes() == row.tobytes()
        if all(size == 0 or 1e-6 <= size < 10 for size in map(abs, row.tolist())):
            for value, number in zip(row, numbers, strict=True):
                fewer = [f"{float(value):.{k}f}" for k in range(1, len(number.split(".")[1]))]
                assert all(np.float32(float(short)) != value for short in fewer)


def test_format_of_chosen_numbers() -> None:
    matrix = np.array([[0.418, -0.0, 1, 9.5], [1e-7, 12.25, 0.1, -3e38]], dtype=np.float32)
    assert format_rows(matrix) == [b"0.418 -0.0 1.0 9.5", b"1e-07 12.25 0.1 -3e+38"]


def test_many_random_bit_patterns_go_there_and_back() -> None:
    bits = np.arange(0, 2**32, 2**32 // 20000, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = np.concatenate([values[np.isfinite(values)], (bits / 2**32).astype(np.float32)])
    texts = [row.decode() for row in format_rows(values[:, None])]
    assert parse_all(texts).tobytes() == values.tobytes()
    assert all(math.isfinite(float(text)) for text in texts)
