"""The word vectors in a bundle: vectors.json, which has the words, and vectors.bin; and how its JSON is read."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ner.vectors.views import Views
from training.errors import DataError
from training.files import parse_json
from training.visible import shortened
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

WITH_VECTORS = ("vectors.json", "vectors.bin")
LARGEST_JSON = 1 << 30


def size_of(path: Path) -> int | None:
    """The bytes of a plain file; None for anything else, a link or a device among them."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def load_json(path: Path) -> Any:
    """The values of a JSON file. DataError for what is none, and for what is no plain file."""
    size = size_of(path)
    if size is None or size > LARGEST_JSON:
        raise DataError(f"{path}: expected JSON, got {'no plain file' if size is None else f'{size} bytes'}")
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # bad JSON or bad UTF-8
        raise DataError(f"{path}: expected JSON, got {shortened(str(error), 200)}") from None


def read_vectors(folder: Path, affixes: bool) -> Views:
    """The word vectors of a bundle, view by view. DataError where its files are not what is written there."""
    path = folder / "vectors.json"
    index = load_json(path)
    if not isinstance(index, list) or not index or not all(map(_is_view, index)):
        raise DataError(f"{path}: expected a dimension, a text rule and words for each view, got something else")
    data = (folder / "vectors.bin").read_bytes()
    cuts = np.cumsum([view["dim"] * len(view["words"]) for view in index])
    numbers = np.frombuffer(data, "<f4", len(data) // 4).astype(np.float32)
    if 4 * cuts[-1] != len(data) or not np.isfinite(numbers).all():
        raise DataError(f"{folder / 'vectors.bin'}: expected {cuts[-1]} finite numbers, as vectors.json says")
    views = []
    for view, part in zip(index, np.split(numbers, cuts[:-1]), strict=True):
        rule = None if view["rule"] is None else TextRule.from_dict(view["rule"], str(path))
        views.append(WordVectors(view["words"], torch.from_numpy(part.reshape(-1, view["dim"])), rule))
    return Views(views, affixes=affixes)


def _is_view(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"dim", "rule", "words"}:
        return False
    words = entry["words"]
    plain = isinstance(words, list) and len(words) > 0 and all(isinstance(word, str) for word in words)
    ruled = entry["rule"] is None or isinstance(entry["rule"], dict)
    return plain and ruled and type(entry["dim"]) is int and 0 < entry["dim"] < 1 << 20
