"""Text for people: characters that a terminal obeys, or that UTF-8 cannot hold, are shown escaped, and long text is cut.

A name that is not UTF-8 comes from the system with half surrogates in place of its bytes (PEP 383): byte E9 is shown as
``\\xe9``, as a shell's ``$'…'`` takes it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

LONGEST = 1000  # characters of a line of error
_TAIL = 350
# Controls (C0 but tab and line end, DEL, C1), marks that turn the direction of writing, line ends of Unicode, surrogates.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with what a terminal obeys, or UTF-8 cannot hold, as ``\\x1b`` or ``\\u202e``; tabs and line ends stay."""
    return _HIDDEN.sub(_escape, text)


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped, and nothing else."""
    return _SURROGATE.sub(_escape, text)


def one_line(text: str, longest: int = LONGEST) -> str:
    """``visible`` text of one line, the middle of one that is too long left out."""
    if len(text) > 4 * longest:  # escapes need not be made for what is left out
        text = _cut(text, 4 * longest)
    return _cut(visible(text).replace("\n", "\\n"), longest)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    tail = longest * _TAIL // LONGEST
    left_out = f" … ({len(text) - longest:,} characters left out) … "
    return text[: longest - tail] + left_out + text[-tail:]


def shortened(text: str, longest: int, mark: str = "…") -> str:
    """The text, or as much of its beginning as makes ``longest`` characters with the mark behind it."""
    return text if len(text) <= longest else text[: longest - len(mark)] + mark


def short_digest(digest: str) -> str:
    """The first 12 hexadecimal digits, which tell digests apart."""
    return shortened(digest, 13)


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 sentence", "2,000 sentences"."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(things: Sequence[str], most: int, rest: str = " and ") -> str:
    """ "a, b, c", of more than ``most`` things "a, b and 2,000 more"."""
    return ", ".join(things[:most]) + (f"{rest}{len(things) - most:,} more" if len(things) > most else "")


def aligned(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """The rows' cells in columns two spaces apart, at the left; with ``numbers`` all but the first at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    put = [str.ljust, *[str.rjust if numbers else str.ljust] * (len(widths) - 1)]
    return ["  ".join(map(_put, put, row, widths)).rstrip() for row in rows]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, the first column at the left, the others at the right; cells are escaped already."""
    head = ["|".join(["", *header, ""]), "|---" + "|---:" * (len(header) - 1) + "|"]
    return [*head, *("|".join(["", *row, ""]) for row in rows)]


def _put(place: Callable[[str, int], str], cell: str, width: int) -> str:
    return place(cell, width)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x20 else f"\\u{number:04x}"


def shell_words(words: list[str]) -> str:
    """Words as they are typed in a shell, in one line whatever they hold."""
    return " ".join(_shell_word(word) for word in words)


def _shell_word(word: str) -> str:
    if not _HIDDEN.search(word) and "\n" not in word and "\t" not in word:
        return shlex.quote(word)
    raw = word.encode("utf-8", "surrogateescape" if not re.search("[\ud800-\udc7f\udd00-\udfff]", word) else "replace")
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in raw) + "'"


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that UTF-8 can hold: other characters as they are, but for half surrogates, where all are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return json.dumps(value, indent=indent) if _SURROGATE.search(text) else text
