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
_SIGNED_POWERS = _INT_POWERS.astype(np.int64)


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


_FOUR_DIGITS = np.array([f"{i:04d}".encode() for i in range(10000)]).view("<u4")
_UNITS = np.array([f"{i}.".encode() for i in range(10)]).view("<u2")
_MOST = 16  # decimals that are tried
_LOWEST = -160  # no exponent of a float32 is as low
_ENOUGH = np.array([next((k for k in range(1, _MOST) if 10.0**-k <= 2.0 ** (e - 24)), _MOST) for e in range(_LOWEST, 140)])
"""By the exponent e of |x| < 2^e: so many decimals that the next of these numbers lies nearer to x than another float32."""


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
    size[slow] = 0

    negative = np.signbit(flat)
    ends = np.cumsum(decimals + negative + 3)  # a sign, a digit, the point, the decimals, a space
    begin = ends - decimals - 3
    units = size.astype(np.int64)
    groups = int(-(-decimals.max(initial=1) // 4))  # of four digits, in the widest fraction
    fraction = (mantissa - units * _SIGNED_POWERS[decimals]) * _SIGNED_POWERS[4 * groups - decimals]
    text = np.empty(int(ends[-1]) + 4 * groups, dtype=np.uint8)
    pairs = np.ndarray((len(text) - 1,), "<u2", text, strides=(1,))
    fours = np.ndarray((len(text) - 3,), "<u4", text, strides=(1,))
    # All groups of all numbers are written, the last ones first: what goes beyond a number's end is then written over by
    # those behind it, whose own groups of the same place come later, and whose earlier ones are still to come.
    for group in range(groups - 1, -1, -1):
        left = fraction // 10000
        fours[begin + (2 + 4 * group)] = _FOUR_DIGITS[fraction - left * 10000]
        fraction = left
    pairs[begin] = _UNITS[units]
    text[begin[negative] - 1] = ord("-")
    text[ends - 1] = ord(" ")

    line_ends = ends[d - 1 :: d].tolist()
    data = text.tobytes()
    rows = [data[a : b - 1] for a, b in zip([0, *line_ends], line_ends, strict=False)]
    for i in np.flatnonzero(slow.reshape(n, d).any(axis=1)).tolist():
        rows[i] = b" ".join(str(value).encode() for value in matrix[i])
    return rows


def _fewest_decimals(size: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """For |x|: the least k in 1…16 and the M with float32(M / 10^k) = |x|; k = 0 where |x| is not 0, nor in [1e-6, 10)."""
    outside = ~((size < 10) & ((size >= 1e-6) | (size == 0)))
    size = np.where(outside, 0.0, size)
    part, exponent = np.frexp(size)
    decimals = _ENOUGH[exponent - _LOWEST]
    mantissa = np.rint(size * _POWERS[decimals])

    def fits(those: Ints, k: Ints) -> tuple[npt.NDArray[np.float64], Mask]:
        """The M of ``those`` with k decimals, and which of them read back as the same."""
        scaled = np.rint(size[those] * _POWERS[k])
        return scaled, (scaled / _POWERS[k]).astype(np.float32) == size[those]

    more = np.flatnonzero(part == 0.5)  # a power of two: the float32 below it is nearer than the one above
    while len(more := more[~fits(more, decimals[more])[1]]):
        decimals[more] += 1
        mantissa[more] = fits(more, decimals[more])[0]
    power = _POWERS[decimals - 1]
    fewer = np.flatnonzero((np.rint(size * power) / power).astype(np.float32) == size)
    while len(fewer):
        scaled, same = fits(fewer, decimals[fewer] - 1)
        fewer = fewer[same]
        decimals[fewer] -= 1
        mantissa[fewer] = scaled[same]
        fewer = fewer[decimals[fewer] > 1]
    decimals[outside] = 0
    return decimals, mantissa.astype(np.int64)
