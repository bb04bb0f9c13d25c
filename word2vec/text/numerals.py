"""Decimal numbers in a line of bytes, told from the words beside them."""

from __future__ import annotations

import re
from itertools import takewhile

_DECIMAL = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def is_decimal(text: bytes) -> bool:
    """Whether the bytes are one decimal number; not nan, inf, 1_000 or other things that Python's float takes."""
    return _DECIMAL.fullmatch(text) is not None


def decimals_at_end(line: bytes) -> int:
    """How many numbers, one space between, the line ends in after the first field, which must be a word."""
    return sum(1 for _ in takewhile(is_decimal, reversed(line.split(b" ")[1:])))
