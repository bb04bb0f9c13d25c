"""Plain values as YAML, for files that other programs read; nothing is read from it here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from training.visible import encodable


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
