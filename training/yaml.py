"""Plain values as YAML, for files that other programs read; and back from a file of a line for each name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from training.errors import DataError
from training.files import parse_json
from training.visible import encodable, shortened

STRING = r'"(?:[^"\\]|\\.)*"'
NUMBER = r"-?\d+(\.\d+([eE][-+]\d+)?)?"
NO_JSON = {".nan": "NaN", ".inf": "Infinity", "-.inf": "-Infinity"}
PLAIN = {
    **dict.fromkeys(("", "~", "Null", "NULL")),
    **{word: truth for truth, words in ((True, "true yes on"), (False, "false no off")) for each in words.split()
       for word in (each, each.capitalize(), each.upper())},
}  # fmt: skip
"""Words that YAML takes for something else than text."""


def as_yaml(values: Mapping[Any, Any]) -> str:
    """A line for each name, in order; lists and dicts inside of them as JSON. What is not plain stands there as its text.

    Every text is in quotes: YAML takes many words without them for something else.
    """
    return "".join(f"{_flow(str(name))}: {_flow(values[name])}\n" for name in sorted(values, key=str)) or "{}\n"


def _flow(value: Any) -> str:
    if isinstance(value, Enum):
        return _flow(value.name)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(str(key))}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(encodable(str(value)))


def _number(value: float) -> str:
    """YAML 1.1 knows no number such as 1e-05 without a point."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    mantissa, exponent, power = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{exponent}{power}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The values of a file that ``as_yaml`` wrote, or another program in the same form: ``name: value`` on each line.

    Raises:
        DataError: for no file, bytes that are not UTF-8, and a line of another form, by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path}: expected names and values as YAML, got none ({said})") from None
    found: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#") or line.strip() in ("{}", "---"):
            continue
        parts = re.fullmatch(rf"({STRING}|[\w.]+):(?: +(.*?))? *", line)
        name = _name(parts[1]) if parts else ""
        value = _unflow(parts[2] or "") if parts else ...
        if not name or value is ...:
            raise DataError(
                f"{path}:{number}: expected name: value on one line, lists and dicts as JSON, got {shortened(line, 60)!r}"
            )
        if name in found:
            raise DataError(f"{path}:{number}: expected each name once, got {shortened(name, 60)!r} again")
        found[name] = value
    return found


def _name(text: str) -> str:
    """A name; "" for one that YAML reads otherwise."""
    if not text.startswith('"'):
        return "" if text in PLAIN or isinstance(_unflow(text), bool | int | float | None) else text
    try:
        return str(json.loads(text))
    except ValueError:
        return ""


def _unflow(text: str) -> Any:
    """The value; an ellipsis where it is none that stands on a line."""
    if text in PLAIN:
        return PLAIN[text]
    bare = re.sub(STRING, "", text)
    if not all(re.fullmatch(NUMBER, each) for each in re.findall(r"-?\b\d[\w.+-]*", bare)):
        return ...  # a number to JSON, and text to YAML
    try:
        return parse_json(re.sub(rf"{STRING}|-?\.inf|\.nan", lambda found: NO_JSON.get(found[0], found[0]), text))
    except ValueError:
        pass
    if re.fullmatch(r"'(?:[^']|'')*'", text):
        return text[1:-1].replace("''", "'")
    return text if re.fullmatch(r"[A-Za-z_/][^:#{}\[\]\"'|>&*!]*", text) else ...
