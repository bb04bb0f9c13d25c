"""Values that a checkpoint holds beside tensors and plain Python values: NumPy's numbers and arrays, paths, sets and more.

``torch.load(weights_only=True)`` knows none of these. They are written as dicts of plain values under the key KIND, and
are what they were once they are read: a NumPy learning rate goes on in its own precision.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from training.errors import CheckpointError, ConfigError
from training.visible import shortened

KIND = "samebits:kind"
KEYS = (str, int, float, bool, type(None))
PLAIN = (*KEYS, torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device)
DTYPES = re.compile(r"[<>|=]?[biufcSUmM]\d*(\[\w+\])?")  # those without Python objects or fields in them


def encode(value: Any, where: str = "checkpoint") -> Any:
    """``value`` with what needs it written as plain values; ConfigError, with its place, for what can't be stored."""
    try:
        return _encode(value, where)
    except RecursionError:
        raise ConfigError(f"{where}: expected values that do not hold themselves, and are not nested too deep") from None


def _encode(value: Any, where: str) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind in (dict, OrderedDict):
        items = [(key, _encode(item, f"{where}[{key!r}]")) for key, item in value.items()]
        if KIND not in value and all(type(key) in KEYS for key in value):
            return kind(items)
        return {KIND: "dict", "items": [[_encode(key, f"{where}: a key"), item] for key, item in items]}
    if kind in (list, tuple):
        return kind(_encode(item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind in (set, frozenset):
        return {KIND: kind.__name__, "items": [_encode(item, f"{where}: an element") for item in sorted(value, key=repr)]}
    if kind is bytes:
        return value or {KIND: "bytes"}  # of no bytes, torch's reader knows nothing
    if kind is complex:
        return {KIND: "complex", "parts": [value.real, value.imag]}
    if isinstance(value, PurePath):
        return {KIND: "path", "path": str(value)}
    if kind is Namespace:
        return {KIND: "namespace", "items": [[key, _encode(item, f"{where}.{key}")] for key, item in vars(value).items()]}
    if (kind is np.ndarray or isinstance(value, np.generic)) and DTYPES.fullmatch(value.dtype.str):
        shape = list(value.shape) if kind is np.ndarray else None
        return {KIND: "numpy", "dtype": value.dtype.str, "shape": shape, "bytes": _encode(value.tobytes(), where)}
    raise ConfigError(
        f"{where}: expected tensors, numbers, text, paths, or lists, dicts, sets and NumPy arrays of them, got "
        f"{kind.__name__}: a checkpoint is read without running code; keep it in one of these"
    )


def copied(value: Any) -> Any:
    """A value as it is now, which nobody changes any more: users add to tensors, arrays and lists in place.

    Tensors are cut from their graphs. What ``encode`` refuses stays what it is.
    """
    kind = type(value)
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if kind is np.ndarray:
        return value.copy()
    if kind in (dict, OrderedDict):
        return kind((key, copied(each)) for key, each in value.items())
    if kind in (list, tuple, set, frozenset):
        return kind(copied(each) for each in value)
    return value


def decode(value: Any) -> Any:
    """Back from ``encode``; CheckpointError for what it never writes."""
    try:
        return _decode(value)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"expected the values of a checkpoint, got others ({shortened(str(error), 120)})") from None


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if KIND in value:
            return _rebuilt(value)
        for key in value:
            value[key] = _decode(value[key])
        return value
    if isinstance(value, list):
        value[:] = [_decode(item) for item in value]
        return value
    return tuple(_decode(item) for item in value) if type(value) is tuple else value


def _rebuilt(value: dict[str, Any]) -> Any:
    kind = value[KIND]
    if kind == "path":
        return Path(value["path"])
    if kind == "bytes":
        return b""
    if kind == "complex":
        return complex(*value["parts"])
    if kind == "numpy":
        if not DTYPES.fullmatch(value["dtype"]):
            raise ValueError(f"NumPy values of the type {value['dtype']!r}")
        array = np.frombuffer(_decode(value["bytes"]), dtype=np.dtype(value["dtype"]))
        return array[0] if value["shape"] is None else array.reshape(value["shape"]).copy()
    items = [_decode(item) for item in value["items"]]
    if kind == "dict":
        return dict(items)
    if kind == "namespace":
        return Namespace(**dict(items))
    if kind in ("set", "frozenset"):
        return {"set": set, "frozenset": frozenset}[kind](items)
    raise ValueError(f"a value of the kind {kind!r}")
