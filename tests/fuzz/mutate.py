"""Files made a little wrong: bytes, lines and JSON values are swapped, doubled, dropped, flipped or made strange."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

ODD_TEXT = (
    "",
    " ",
    "\t",
    "\x00",
    "\x1b[2J",
    "\u200b",
    "\u200d\x1b",
    "\u2028",
    "\u0085",
    "\ufeff",
    "\u0301",
    "\u202e",
    "e\u0301\u0302",
    "👨\u200d👩\u200d👧",
    "🇳🇴🇳",
    "ﬁ",
    "İ",
    "ß",
    "ǅ",
    "中文",
    "ｈａｌｆ",
    "अनुच्छेद",
    "\U000e0100",
    "\U0010ffff",
    "\ud7ff",
    "½",
    "²",
    "٣",
    "Ⅷ",
    "-DOCSTART-",
    "#",
    "O",
    "B-",
    "I-PER",
    "B-PER-",
    "S",
    "__proto__",
    "../../etc/passwd",
    "nan",
    "NaN",
    "inf",
    "-Infinity",
    "1e400",
    "9" * 400,
    "0x10",
    "1_000",
    "-1",
    "true",
    "null",
    "{",
    "[" * 200,
    "\\ud800",
    "<script>",
    "%s%n",
    "$(touch x)",
    "\r",
    "a" * 70_000,
)
ODD_BYTES = (
    b"\xff",
    b"\xfe\xff",
    b"\x00" * 8,
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n\r\n",
    b"\n" * 9,
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**31,
    2**63,
    2**70,
    0.5,
    -0.0,
    1e308,
    math.nan,
    math.inf,
    "",
    "x",
    "\ud800",
    "a/b",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"sha256": 3},
    ["O"],
    "none",
    "auto",
    1e-300,
    "9" * 5000,
)


def deep(depth: int = 150) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _slice(rng: Random, length: int) -> tuple[int, int]:
    first = rng.randrange(length + 1)
    return first, min(length, first + rng.choice((0, 1, 2, 4, 16, 100)))


def _flip(rng: Random, data: bytes) -> bytes:
    if not data:
        return b"\x01"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _move(rng: Random, data: bytes) -> bytes:
    """A slice deleted, doubled, or put somewhere else."""
    first, last = _slice(rng, len(data))
    part, rest = data[first:last], data[:first] + data[last:]
    at = rng.randrange(len(rest) + 1)
    return rng.choice((rest, data[:last] + part + data[last:], rest[:at] + part + rest[at:]))


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    odd = rng.choice((rng.choice(ODD_BYTES), rng.choice(ODD_TEXT).encode(), rng.randbytes(rng.randrange(9))))
    return data[:at] + odd + data[at:]


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _encode(rng: Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-16-le"),
            text.encode("latin-1", "replace"),
            b"\xef\xbb\xbf" + data,
            gzip.compress(data, 1, mtime=0),
            gzip.compress(data, 1, mtime=0)[:-5],
            data.replace(b"\n", b"\r\n"),
            data.replace(b"\n", b"\r"),
        )
    )


def _lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(6)
    if how == 0:
        del lines[i]
    elif how == 1:
        lines.insert(j, lines[i])
    elif how == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif how == 3:
        lines[i] = lines[i] + lines[j]
    elif how == 4:
        lines[i] = b""
    else:
        rng.shuffle(lines)
    return b"\n".join(lines)


def _fields(rng: Random, data: bytes) -> bytes:
    """One field of a line dropped, doubled, or replaced by something odd; or the separators changed."""
    lines = data.split(b"\n")
    i = rng.randrange(len(lines))
    separator = b"\t" if b"\t" in lines[i] else b" "
    fields = lines[i].split(separator)
    k = rng.randrange(len(fields))
    how = rng.randrange(4)
    if how == 0:
        del fields[k]
    elif how == 1:
        fields.insert(k, fields[k])
    elif how == 2:
        fields[k] = rng.choice(ODD_TEXT).encode()
    else:
        separator = rng.choice((b" ", b"\t", b"  ", b"\xc2\xa0", b","))
    lines[i] = separator.join(fields)
    return b"\n".join(lines)


PLAIN: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _move,
    _insert,
    _cut,
    _lines,
    _lines,
    _fields,
    _fields,
    _fields,
    _encode,
)


def mutate(rng: Random, data: bytes, kinds: tuple[Callable[[Random, bytes], bytes], ...] = PLAIN) -> bytes:
    """One to four changes."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(kinds)(rng, data)
    return data


def change_value(rng: Random, value: Any) -> Any:
    """A JSON value with one thing in it replaced, dropped, doubled or renamed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value, key=str))
        how = rng.randrange(6)
        rest = {key: each for key, each in value.items() if key != name}
        if how == 0:
            return rest
        if how == 1:
            return {**rest, f"{name}x": value[name]}
        return {**value, name: change_value(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        i, how = rng.randrange(len(value)), rng.randrange(5)
        if how == 0:
            return value[:i] + value[i + 1 :]
        if how == 1:
            return [*value[:i], value[i], *value[i:]]
        return [*value[:i], change_value(rng, value[i]), *value[i + 1 :]]
    return rng.choice((rng.choice(ODD_VALUES), rng.choice(ODD_VALUES), rng.choice(ODD_TEXT), deep()))


def mutate_json(rng: Random, data: bytes) -> bytes:
    """JSON whose values are changed, now and then its bytes too."""
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = change_value(rng, value)
    changed = json.dumps(value).encode()
    return mutate(rng, changed) if rng.random() < 0.15 else changed


def mutate_json_lines(rng: Random, data: bytes) -> bytes:
    """JSON lines of which one or two are changed."""
    lines = data.splitlines()
    for _ in range(rng.choice((1, 2))):
        i = rng.randrange(len(lines))
        try:
            lines[i] = mutate_json(rng, lines[i])
        except ValueError:  # changed before
            lines[i] = mutate(rng, lines[i])
    changed = b"\n".join(lines) + b"\n"
    return mutate(rng, changed) if rng.random() < 0.2 else changed


def odd_text(rng: Random) -> str:
    """A text of words, odd ones, and any characters at all but halves of surrogate pairs."""
    parts = []
    for _ in range(rng.randrange(1, 30)):
        how = rng.randrange(4)
        if how == 0:
            parts.append(rng.choice(ODD_TEXT))
        elif how == 1:
            point = rng.choice((rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x110000)))
            parts.append("" if 0xD800 <= point < 0xE000 else chr(point))
        else:
            parts.append(
                rng.choice((" ", "\n", "", ". ", "Ada", " Oslo", "U.S.", "won't", "3.5%", "e-mail@x.org", "http://a.b/c"))
            )
    return "".join(parts)
