"""What a run was: its inputs, code, environment and outputs, as plain JSON values; and how two runs differ."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from training.determinism.flags import BITS_ENVIRONMENT
from training.errors import DataError
from training.files import is_inside
from training.run.inputs import Inputs

PACKAGES = ("torch", "numpy", "seqeval", "scikit-learn", "tensorboard", "click")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("cli.py", "training/**/*.py", "word2vec/**/*.py", "ner/**/*.py", "ner/**/*.css", "ner/**/*.js")


_KINDS: dict[str, type | tuple[type, ...]] = {
    "kind": str, "status": str, "config": dict, "inputs": dict, "code": dict, "environment": dict, "outputs": dict,
    "metrics": dict, "weights_sha256": str, "changes": list, "argv": list, "labels": list, "begun": str,
    "seconds": (int, float), "files": dict, "seal": str,
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
    for name, value in described.get("inputs", {}).items():
        if not all(isinstance(value.get(each), str) for each in ("path", "sha256")):
            return f"inputs: {name}"
    for table in ("outputs", "files"):
        for name in described.get(table, {}):
            if not is_inside(name):
                return f"{table}: {name!r}"[:100]
    for change in described.get("changes", []):
        if not isinstance(change, dict) or not all(isinstance(line, str) for line in change.get("changed", [None])):
            return "changes"
    if not isinstance(described.get("environment", {}).get("packages", {}), dict):
        return "environment: packages"
    return None


def describe(inputs: Inputs, device: torch.device, level: str, folder: str = "") -> dict[str, Any]:
    """The manifest's inputs, code, environment, and the folder that relative paths begin in."""
    return {
        "inputs": inputs.described(),
        "code": code(),
        "environment": environment(device, level),
        "folder": folder or os.getcwd(),
    }


def environment(device: torch.device, level: str) -> dict[str, Any]:
    """Everything outside code, settings and data that can change bits."""
    return {
        "level": level,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "torch_build": {
            "cuda": torch.version.cuda,
            "mkl": torch.backends.mkl.is_available(),
            "onednn": torch.backends.mkldnn.is_available(),
            "onednn_enabled": torch.backends.mkldnn.enabled,
            "blas": _config_line("BLAS_INFO"),
        },
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "environment_variables": {name: os.environ[name] for name in BITS_ENVIRONMENT if name in os.environ},
    }


def check_described(described: Mapping[str, Any], run: Path) -> None:
    """DataError where the manifest of ``run`` lacks a part of what ``describe`` puts into it."""
    for name, inner in (("inputs", None), ("code", "source_sha256"), ("environment", "packages")):
        if name not in described or (inner is not None and inner not in described[name]):
            wanted = name if inner is None else f"{name}: {inner}"
            raise DataError(f"{run / 'manifest.json'}: expected what the run began with, got no entry {wanted}")


def code() -> dict[str, Any]:
    """The source's digest, and git's state where there is a checkout."""
    digest = hashlib.sha256()
    for path in sorted(p for pattern in SOURCES for p in ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"source_sha256": digest.hexdigest(), "git_commit": commit, "git_clean": None if commit is None else not changed}


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
        return text[:12] + "…"
    return text if len(text) <= 80 else text[:77] + "..."


def cpu_model() -> str:
    """The CPU's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return str(torch.__version__) if package == "torch" else metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _config_line(key: str) -> str | None:
    found = re.search(rf"\b{key}=(\w+)", torch.__config__.show())
    return found[1] if found else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
