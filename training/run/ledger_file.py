"""The ledger: one line a step, chained by hash, that says what went in and what came out, bit for bit.

A line holds the digest of the batch's ids (those of the task, or the indices of a DataLoader's items), the loss as the
hexadecimal form of its exact value, and per gradient a checksum that does not depend on the order of summation. ``chain`` is
SHA-256 over the previous line's chain and this line, so that two ledgers with equal last lines are equal throughout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.run.folder import read_jsonl
from training.run.manifest import plain

START = "0" * 64


def chained(previous: str, line: dict[str, Any]) -> str:
    """The chain value of a line after ``previous``."""
    return hashlib.sha256((previous + json.dumps(line, sort_keys=True)).encode()).hexdigest()


def first_break(path: Path) -> int | None:
    """The number (from 1) of the first line whose chain value is wrong; None where the ledger is whole."""
    previous = START
    for number, line in enumerate(read_jsonl(path), 1):
        stated = line.pop("chain", None)
        previous = chained(previous, line)
        if stated != previous:
            return number
    return None


def compare(first: Path, second: Path, partial: bool = False) -> Iterator[str]:
    """What differs at the first step where two ledgers do: where, and which entries; nothing where they agree.

    Lines are compared, in their order, of what both are about: one may be written every step, the other every tenth. A line
    about what only one has is a difference too, unless ``partial`` says that the second ledger ends early.
    """
    a, b = read_jsonl(first), read_jsonl(second)
    shared = set(map(_place, a)) & set(map(_place, b))
    theirs = [line for line in b if _place(line) in shared]
    places = [i for i, line in enumerate(a) if _place(line) in shared][: len(theirs) if partial else None]
    ours = [a[i] for i in places]
    for x, y in zip(ours, theirs, strict=False):
        if _place(x) != _place(y):
            yield f"first difference {_where(x)}: there the other ledger has a line {_where(y)}"
            return
        if different := [name for name in {**x, **y} if name != "chain" and not _same(x, y, name)]:
            yield from _difference(x, y, different)
            return
    expected = places[-1] + 1 if partial and places else 0 if partial else len(a)
    if not len(ours) == len(theirs) == len(b) == expected:
        agree = min(len(ours), len(theirs))
        yield f"the ledgers have {len(a)} lines and {len(b)}; the {agree} of the same steps agree"


def _same(x: dict[str, Any], y: dict[str, Any], name: str) -> bool:
    """Whether both lines have an entry of this name, equal in its kind too: 1 is not 1.0, and not true."""
    return name in x and name in y and json.dumps(x[name], sort_keys=True) == json.dumps(y[name], sort_keys=True)


def _difference(x: dict[str, Any], y: dict[str, Any], different: list[str]) -> Iterator[str]:
    yield f"first difference {_where(x)}"
    for name in different:
        if name != "gradients":
            called = "ids of what is in the batch" if name == "ids" else name
            yield f"{called}: {plain(x.get(name))} and {plain(y.get(name))}"
    ours, theirs = (found if isinstance(found := each.get("gradients"), dict) else {} for each in (x, y))
    if tensors := [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]:
        yield f"gradients that differ: {', '.join(tensors)}"


def _place(line: dict[str, Any]) -> tuple[Any, ...]:
    """What a line is about: a batch, a validation, or the end."""
    counters = (str(line.get(name)) for name in ("epoch", "batch", "step"))  # of a changed file they may be anything
    return *counters, "weights" in line, "end" in line


def _where(line: dict[str, Any]) -> str:
    if "batch" in line:
        return f"at epoch {line.get('epoch')}, batch {line.get('batch')}, step {line.get('step')}"
    when = "at the end" if "end" in line else f"at the validation in epoch {line.get('epoch')}"
    return f"in the weights {when}, after step {line.get('step')}"
