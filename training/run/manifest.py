"""What a manifest.json must hold, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.errors import DataError
from training.files import is_inside
from training.visible import short_digest, shortened

_KINDS: dict[str, type | tuple[type, ...]] = {
    "kind": str, "status": str, "config": dict, "inputs": dict, "code": dict, "environment": dict, "outputs": dict,
    "metrics": dict, "weights_sha256": str, "changes": list, "argv": list, "begun": str,
    "seconds": (int, float), "files": dict, "seal": str, "format": int,
    "unsealed": list, "script": dict, "unkept": list,
}  # fmt: skip
_INSIDE: dict[str, type | tuple[type, ...]] = {"inputs": dict, "outputs": str, "files": str, "metrics": (int, float)}


def wrong_entry(described: Any) -> str | None:
    """The first entry of a manifest that is not of its kind, or that it lacks; None if all are as they should be."""
    if not isinstance(described, dict):
        return "status"
    for name in ("status", "kind", "config"):
        if name not in described:
            return name
    for name, kind in _KINDS.items():
        if name in described and not isinstance(described[name], kind):
            return name
    for name, kind in _INSIDE.items():
        for key, value in described.get(name, {}).items():
            if not isinstance(value, kind):
                return f"{name}: {key}"
    for name, value in described.get("metrics", {}).items():
        if not abs(value) <= sys.float_info.max:  # of a run that has finished all are finite
            return f"metrics: {name}"
    for name, value in described.get("inputs", {}).items():
        if not all(isinstance(value.get(each), str) for each in ("path", "sha256")):
            return f"inputs: {name}"
    for table in ("outputs", "files"):
        for name in described.get(table, {}):
            if not is_inside(name):
                return shortened(f"{table}: {name!r}", 100)
    if not all(isinstance(name, str) for name in described.get("unsealed", [])):
        return "unsealed"
    if not all(isinstance(line, str) for line in described.get("unkept", [])):
        return "unkept"
    if not all(isinstance(word, str) and "\0" not in word for word in described.get("argv", [])):
        return "argv"
    if "script" in described and not all(
        isinstance(described["script"].get(name), kind) for name, kind in (("path", str), ("module", str), ("number", int))
    ):
        return "script"
    own = described.get("code", {}).get("own", {})
    if not isinstance(own, dict) or not all(is_inside(name) and isinstance(value, str) for name, value in own.items()):
        return "code: own"
    for change in described.get("changes", []):
        if not isinstance(change, dict) or type(change.get("step")) is not int:
            return "changes"
        lines = change.get("changed")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            return "changes"
    if not isinstance(described.get("environment", {}).get("packages", {}), dict):
        return "environment: packages"
    return None


def check_described(described: Mapping[str, Any], run: Path) -> None:
    """DataError where the manifest of ``run`` lacks a part of what ``describe`` puts into it."""
    for name, inner in (("inputs", None), ("code", "source_sha256"), ("environment", "packages")):
        if name not in described or (inner is not None and inner not in described[name]):
            wanted = name if inner is None else f"{name}: {inner}"
            raise DataError(f"{run / 'manifest.json'}: expected what the run began with, got no entry {wanted}")


def digest(value: Any) -> str:
    """SHA-256 of plain values, as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def as_text(described: Mapping[str, Any]) -> str:
    """What manifest.json holds, to the byte."""
    return json.dumps(described, indent=2) + "\n"


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value in first, value in second) where two nested dicts differ; None stands for "not there"."""
    for name in sorted(set(first) | set(second)):
        a, b = first.get(name), second.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name}", a, b


def plain(value: Any) -> str:
    """A value for people, digests cut short."""
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    if re.fullmatch("[0-9a-f]{40,}", text):
        return short_digest(text)
    return shortened(text, 80, "...")
