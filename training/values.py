"""Whether a setting's value is one of its field: its type, that it is a finite number, and how small or large it may be.

All of it is read off the dataclass, so that the command line, a config.json and Python are checked alike.
"""

from __future__ import annotations

import json
import math
import os
import re
import string
import types
import typing
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

from training.errors import ConfigError
from training.visible import shortened

if typing.TYPE_CHECKING:
    from torch import Tensor

LARGEST_WHOLE = 2**63 - 1  # what a tensor, a checkpoint and a JSON reader elsewhere can hold
LARGEST_FLOAT = (2 - 2**-23) * 2.0**127  # of float32, which weights are computed in
SHOWN = 60
MAX_SEED = 2**32 - 1
_types: dict[type, dict[str, Any]] = {}


def check_seed(seed: int) -> int:
    """Return ``seed`` if it lies in 0 … 2³²−1 (as in Lightning's seed_everything), else raise ConfigError."""
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed: expected an integer from 0 to {MAX_SEED}, got {seed}")
    return seed


def field_types(config: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    if config not in _types:
        _types[config] = typing.get_type_hints(config)
    return _types[config]


def checked(value: Any, hint: Any, item: Field[Any], where: str) -> Any:
    """``value`` as the field's type, within its range. ConfigError, beginning with ``where``, says what was expected."""
    found = typed(value, hint, where)
    if isinstance(found, int | float) and not isinstance(found, bool):
        _check_range(found, item.metadata, where)
    choices = item.metadata.get("choices")
    if choices and found not in choices:
        raise ConfigError(f"{where}: expected one of {', '.join(choices)}, got {shown(found, repr)}")
    return found


def argument(value: Any, hint: Any, where: str, *, infinite: bool = False, **allowed: float) -> Any:
    """An argument of Python's as ``checked`` has a field; ``allowed``: ``least``, ``most``, ``above``, ``below``.

    Scalars of NumPy and torch count as the numbers that they hold; with ``infinite`` so does infinity.
    """
    plain = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    if infinite and isinstance(plain, float) and math.isinf(plain):
        return plain
    found = typed(plain, hint, where)
    if found is not None:
        _check_range(found, allowed, where)
    return found


def template_fault(template: str) -> str:
    """What is wrong with a template of metrics' names, as ``str.format`` reads it, whatever their values; "" if nothing."""
    try:
        fields = [(name, form or "") for _, name, form, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        return str(error)
    for name, form in fields:
        if not name:
            return "a metric's name is missing"
        if name.isdigit():
            return f"{name} is no metric's name"
        if "{" not in form and not any(_formats(value, form) for value in (0, 0.0, "")):
            return f"{form!r} is no format of numbers"
    return ""


def _formats(value: object, form: str) -> bool:
    if re.search(r"\d{4}", form):  # a width that makes no file's name
        return False
    try:
        format(value, form)
    except ValueError:
        return False
    return True


def odd_sentence(words: Any) -> str:
    """The first sentence that is no list of words, or its first word that is no text, for a message; "" if there is none."""
    if not _is_list(words):
        return shown(words)
    for sentence in words:
        if not _is_list(sentence):
            return shown(sentence)
        for word in sentence:
            if not isinstance(word, str):
                return f"{shown(word)} as a word"
    return ""


def _is_list(value: Any) -> bool:
    """Whether the value has items in an order, as a list, a tuple and an array of NumPy's have, and is no text."""
    ordered = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    return ordered and not isinstance(value, str | bytes | Mapping)


def loss_fault(loss: Tensor) -> str:
    """Why a loss has no gradients, for a message."""
    if loss.numel() != 1:
        return f"expected a loss of one number, got a tensor of shape {tuple(loss.shape)}; return its mean or its sum"
    return (
        f"expected a loss that depends on weights which are trained, got one of {loss.dtype} without a gradient: detached, "
        "computed under no_grad, or of frozen weights alone"
    )


def _text(value: str, where: str) -> str:
    """Text that may become a file's name: without the null character and halves of surrogate pairs."""
    try:
        if b"\0" not in os.fsencode(value):
            return value
    except UnicodeEncodeError:
        pass
    raise ConfigError(f"{where}: expected text of Unicode characters but the null character, got {shown(value)}")


def typed(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type: an int may stand for a float, a list for a tuple; nothing else is converted."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in options:
        if kind is type(None) and value is None:
            return None
        if kind is bool and isinstance(value, bool):
            return value
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return _whole(value, where)
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return _finite(value, where)
        if kind is str and isinstance(value, str):
            return _text(value, where)
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            inner = typing.get_args(kind)[0]
            return tuple(typed(each, inner, where) for each in value)
    names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in options)
    raise ConfigError(f"{where}: expected {names}, got {shown(value)}")


def _whole(value: int, where: str) -> int:
    if abs(value) > LARGEST_WHOLE:
        raise ConfigError(f"{where}: expected a whole number from -2^63+1 to 2^63-1, got {shown(value)}")
    return int(value)


def _finite(value: int | float, where: str) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, got {value}")
    if abs(value) > LARGEST_FLOAT:
        most = f"{LARGEST_FLOAT:.3g}"
        raise ConfigError(f"{where}: expected a number that float32 can hold, from -{most} to {most}, got {shown(value)}")
    return float(value)


def _check_range(value: int | float, allowed: Mapping[str, Any], where: str) -> None:
    least, most, above, below = (allowed.get(name) for name in ("least", "most", "above", "below"))
    outside = (
        (least is not None and value < least)
        or (most is not None and value > most)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )
    if outside:
        raise ConfigError(f"{where}: expected {range_text(allowed)}, got {shown(value)}")
    if allowed.get("batches") and value > 1 and value % 1 != 0:
        raise ConfigError(f"{where}: expected {range_text(allowed)}, got {shown(value)}")


def range_text(allowed: Mapping[str, Any]) -> str:
    """A field's range in words."""
    least, most, above, below = (allowed.get(name) for name in ("least", "most", "above", "below"))
    if allowed.get("batches"):
        return "a share from 0.0 to 1.0, or a whole number of batches"
    if least == -1 and most is None:
        return "0 or more, or -1 for no limit"
    if most is None and below is None:
        return f"more than {above}" if above is not None else f"{least} or more"
    if above is not None and below is not None:
        return f"a number between {above} and {below}"
    low = f"from {least} " if least is not None else f"more than {above} and " if above is not None else ""
    return f"a number {low}" + (f"to {most}" if below is None else f"to below {below}")


def shown(value: Any, form: Any = None) -> str:
    """A value for a message: as JSON has it where it can, else as Python has it; cut short."""
    if isinstance(value, int) and abs(value) > 10**SHOWN:  # Python refuses to write out some thousand digits
        return "a number of more than 60 digits"
    plain = value is None or type(value) in (bool, int, float, str, list, dict)
    try:
        text = form(value) if form else json.dumps(value) if plain else repr(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return shortened(text, SHOWN)
