"""Decimal numbers in text ↔ float32, many at once with NumPy.

``parse`` gives the bits of ``np.float32(float(text))`` for each number. A number of up to 17 digits is an integer M over
a power of ten; where M ≤ 2^53 both are exact doubles, so that their quotient is the correctly rounded double (Clinger,
"How to read floating point numbers accurately", PLDI 1990, the fast path). Eight digits are converted at a time inside a
64-bit word (Lemire, "Quickly parsing eight digits", 2018). What does not fit (exponents, integers, ten and more) goes
through Python's float one by one.

``format_rows`` writes the fewest decimals that read back as the same float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from word2vec.text.numerals import is_decimal

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Words64 = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

_PAD = 16  # bytes that must follow the last number, so that reading 16 digits at once stays inside the buffer
_POWERS = np.array([10.0**k for k in range(17)])
_INT_POWERS = np.array([10**k for k in range(17)], dtype=np.uint64)


class NotANumber(ValueError):
    """The number at ``index`` is none; ``text`` is what stands there."""

    def __init__(self, index: int, text: bytes) -> None:
        super().__init__(f"number {index} is {text!r}")
        self.index = index
        self.text = text


def parse(data: bytes, starts: Ints, ends: Ints) -> Floats:
    """The float32 values of the numbers ``data[starts[i]:ends[i]]``, all of them in the same bits as float would give.

    ``data`` must go on for 16 bytes after the last number. Raises NotANumber for the first that is no number or that is
    too large for float32.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    windows = np.ndarray(shape=(len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    negative = buffer[starts] == ord("-")
    first = starts + negative
    decimals = ends - first - 2  # the fast form is one digit, a point and 1 to 16 digits
    fast = (buffer[first + 1] == ord(".")) & (decimals >= 1) & (decimals <= 16)
    units = buffer[first] - np.uint8(ord("0"))  # wraps around below "0"
    fast &= units <= 9
    decimals = np.where(fast, decimals, 1)

    shown = np.minimum(decimals, 8)
    mantissa, digits_only = _eight_digits(windows, first + 2, shown)
    fast &= digits_only
    mantissa += units * _INT_POWERS[shown]
    long = np.flatnonzero(decimals > 8)
    if len(long):
        rest, digits_only = _eight_digits(windows, first[long] + 10, decimals[long] - 8)
        mantissa[long] = mantissa[long] * _INT_POWERS[decimals[long] - 8] + rest
        fast[long] &= digits_only & (mantissa[long] <= 2**53)

    values = mantissa.astype(np.float64) / _POWERS[decimals]
    np.negative(values, out=values, where=negative)
    result: Floats = values.astype(np.float32)
    for i in np.flatnonzero(~fast).tolist():
        result[i] = _slow(data[starts[i] : ends[i]], i)
    return result


def _eight_digits(windows: Words64, at: Ints, count: Ints) -> tuple[Words64, Mask]:
    """The integers that ``count`` (1 to 8) digits from ``at`` on spell, and whether these bytes are digits at all."""
    word = windows[at] ^ np.uint64(0x3030303030303030)  # a digit is now its value
    word <<= (8 * (8 - count)).astype(np.uint64)  # what stands after the digits leaves; zeros stand before them
    is_digits = ((word + np.uint64(0x7676767676767676)) | word) & np.uint64(0x8080808080808080) == 0  # no byte above 9
    word *= np.uint64(10 * 2**8 + 1)
    word >>= np.uint64(8)
    word &= np.uint64(0x00FF00FF00FF00FF)
    word *= np.uint64(100 * 2**16 + 1)
    word >>= np.uint64(16)
    word &= np.uint64(0x0000FFFF0000FFFF)
    word *= np.uint64(10000 * 2**32 + 1)
    word >>= np.uint64(32)
    return word, is_digits


def _slow(text: bytes, index: int) -> float:
    if not is_decimal(text):
        raise NotANumber(index, text)
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.float32(float(text)))
    if not finite:
        raise NotANumber(index, text)
    return float(text)


_FOUR_DIGITS = np.array([f"{i:04d}".encode() for i in range(10000)]).view(np.uint8).reshape(-1, 4)
_MOST = 16  # decimals that are tried


def format_rows(matrix: Floats) -> list[bytes]:
    """Each row of a float32 matrix (n, d) as text: numbers in the fewest decimals that read back as the same bits.

    Numbers are separated by one space. A row that holds a number outside [1e-6, 10) is written as NumPy writes floats, with
    the fewest digits too. Finite numbers only.
    """
    n, d = matrix.shape
    flat = matrix.reshape(-1)
    size = np.abs(flat).astype(np.float64)
    decimals, mantissa = _fewest_decimals(size)
    slow = decimals == 0
    size[slow] = mantissa[slow] = 0

    places = 4 * int(-(-decimals.max(initial=4) // 4))  # digits in the widest fraction, in whole groups of four
    units = size.astype(np.int64)
    fraction = mantissa - units * _INT_POWERS.astype(np.int64)[decimals]
    text = np.empty((n * d, 3 + places + 1), dtype=np.uint8)
    text[:, 0] = ord("-")
    text[:, 1] = units + ord("0")
    text[:, 2] = ord(".")
    for end in range(3 + places, 3, -4):
        left = fraction // 10000
        text[:, end - 4 : end] = _FOUR_DIGITS[fraction - left * 10000]
        fraction = left
    text[:, -1] = ord(" ")
    kept = np.ones(text.shape, dtype=np.bool_)
    kept[:, 0] = np.signbit(flat)
    kept[:, 3 : 3 + places] = np.arange(places) >= (places - decimals)[:, None]
    kept.reshape(n, -1)[:, -1] = False  # no space after the last number of a row

    line_ends = np.cumsum(np.count_nonzero(kept.reshape(n, -1), axis=1)).tolist()
    data = text[kept].tobytes()
    rows = [data[a:b] for a, b in zip([0, *line_ends], line_ends, strict=False)]
    for i in np.flatnonzero(slow.reshape(n, d).any(axis=1)).tolist():
        rows[i] = b" ".join(str(value).encode() for value in matrix[i])
    return rows


def _fewest_decimals(size: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """For |x|: the least k in 1…16 and the M with float32(M / 10^k) = |x|; k = 0 where there is none or |x| ≥ 10."""
    decimals = np.zeros(len(size), dtype=np.int64)
    mantissa = np.zeros(len(size), dtype=np.int64)

    def keep(todo: Ints, k: int) -> Mask:
        """Note k for those in ``todo`` that k decimals hold, and say which these are."""
        wanted = size[todo]
        scaled = np.rint(wanted * 10.0**k)
        same: Mask = (scaled / 10.0**k).astype(np.float32) == wanted
        found = todo[same]
        decimals[found] = k
        mantissa[found] = scaled[same]
        return same

    todo = np.flatnonzero((size < 10) & ((size >= 1e-6) | (size == 0)))
    six = keep(todo, 6)  # parts numbers as people write them from those as they come out of training
    few, many = todo[six], todo[~six]
    for k in range(5, 0, -1):
        few = few[keep(few, k)]
    for k in range(7, _MOST + 1):
        many = many[~keep(many, k)]
    return decimals, mantissa
