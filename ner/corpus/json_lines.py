"""JSON as one record a line, whatever it stood as: JSON lines, a list of records (as Label Studio exports), one object."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from training.errors import DataError
from training.files import distinct
from training.visible import shortened
from word2vec.text.file_kinds import JSON_LIST, JSON_OBJECT, FileKind, decoded

Note = Callable[[int, DataError], None]
_BLANKS = re.compile(r"[ \t\r\n]*")
_STRING_OR_BLANKS = re.compile(r'("(?:[^"\\]|\\.)*")|([,:]?)[ \t\r\n]+')


def one_a_line(
    lines: Iterable[bytes], name: str, kind: FileKind | None, unread: Note | None = None
) -> Iterator[tuple[int, str]]:
    """(line number, JSON text without a line end) of each record of a file.

    A record of a list, or an object over several lines, is given without the blanks between its parts; its numbers stay
    as they are spelled. DataError (file:line) for what is no UTF-8, or no list; ``unread`` hears of the first instead.
    """
    numbered = decoded(lines, name, kind, unread)
    if kind is None or kind.kind not in (JSON_LIST, JSON_OBJECT):
        yield from ((number, text.rstrip("\r\n")) for number, text in numbered)
        return
    text = "".join(text for _, text in numbered)
    try:
        yield from _records(text, kind.kind)
    except RecursionError:
        raise DataError(f"{name}: expected JSON records, got JSON that is nested too deep") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{name}:{error.lineno}: expected {kind.name}, but {error.msg}") from None


def _records(text: str, kind: str) -> Iterator[tuple[int, str]]:
    decoder = json.JSONDecoder(parse_int=whole_number)
    listed = kind == JSON_LIST
    at = _BLANKS.match(text).end() + listed  # type: ignore[union-attr]
    number, counted = 1, 0
    while (at := _after_blanks(text, at)) < len(text):
        if listed and text[at] == "]":
            if (rest := _after_blanks(text, at + 1)) < len(text):
                raise json.JSONDecodeError("more follows the list", text, rest)
            return
        value, end = decoder.raw_decode(text, at)
        number, counted = number + text.count("\n", counted, at), at
        if listed and isinstance(value, str):  # a list that is a record itself: spaCy's ["Ada ran", {"entities": …}]
            yield number, _on_one_line(text)
            return
        yield number, _on_one_line(text[at:end])
        at = _after_blanks(text, end)
        if listed and text[at : at + 1] not in (",", "]"):
            raise json.JSONDecodeError("its end or a comma is missing", text, at)
        at += text[at : at + 1] == ","
    if listed:
        raise json.JSONDecodeError("its end is missing", text, len(text))


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _on_one_line(text: str) -> str:
    """JSON without the blanks between its parts, but one after a comma and a colon."""
    return _STRING_OR_BLANKS.sub(lambda found: found[1] or (found[2] and found[2] + " "), text.strip())


def parse_json_line(line: str, where: str) -> Any:
    """The value of a line; DataError (``where`` is file:line) for what is no JSON, or has a key twice.

    Whole numbers may be of any length.
    """
    try:
        return json.loads(line, parse_int=whole_number, parse_constant=_no_number, object_pairs_hook=distinct)
    except RecursionError:
        raise DataError(f"{where}: expected a JSON object, got JSON that is nested too deep") from None
    except json.JSONDecodeError as error:
        what = f"text that is not JSON at character {error.pos + 1} ({error.msg})"
        raise DataError(f"{where}: expected a JSON object, got {what}") from None
    except ValueError as error:
        raise DataError(f"{where}: expected a JSON object, got {shortened(str(error), 200)}") from None


def whole_number(text: str) -> int | float:
    """A whole number of any length; one that Python's int would refuse is only looked at, never written."""
    return int(text) if len(text) < 1000 else math.inf


def _no_number(name: str) -> float:
    raise ValueError(f"{name}, which is not JSON; write null or a text in its place")


def is_unicode(text: str) -> bool:
    """Not so where JSON names half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_json(value: Any, longest: int = 80) -> str:
    """The beginning of a value as JSON spells it, for messages."""
    return shortened(json.dumps(value), longest)
