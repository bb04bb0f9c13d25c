"""Offsets that count another unit than characters: JavaScript's strings count UTF-16 units, some tools count bytes."""

from __future__ import annotations

from collections.abc import Callable

from ner.corpus.json_lines import in_json

UNITS = (("UTF-16 units", "utf-16-le", 2), ("bytes of UTF-8", "utf-8", 1))
LONGEST = 1 << 16  # characters that are encoded for a hint; further in a text there is none


def other_unit(text: str, start: int, end: int, fits: Callable[[int, int], bool]) -> str:
    """The end of a message on a span that does not fit, where its offsets would fit as counts of another unit.

    Args:
        text: the text.
        start: where the span is said to begin.
        end: where it is said to end.
        fits: whether a span of characters (first included, last excluded) would be right.

    Returns:
        A hint with the unit and the offsets in characters; "" where the unit is not what is wrong.
    """
    head = text[:end]  # as many characters as take at least ``end`` of any unit, or the whole text
    if end > LONGEST or head.isascii():
        return ""
    for name, encoding, size in UNITS:
        data = head.encode(encoding)
        if not len(head) * size < len(data) >= end * size:
            continue
        try:
            before, inner = data[: start * size].decode(encoding), data[start * size : end * size].decode(encoding)
        except UnicodeDecodeError:  # it would begin or end within a character
            continue
        first, last = len(before), len(before) + len(inner)
        if fits(first, last):
            return f"; the offsets seem to count {name}: in characters it is {first}-{last} {in_json(inner, 60)}"
    return ""
