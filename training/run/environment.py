"""What a run is made with, for its manifest: inputs, code, and everything around them that can change bits."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from training.determinism.flags import BITS_ENVIRONMENT
from training.run.inputs import Inputs

PACKAGES = ("torch", "numpy", "seqeval", "scikit-learn", "tensorboard", "click")
ROOT = Path(__file__).resolve().parents[2]


def describe(
    inputs: Inputs, device: torch.device, level: str, folder: str = "", own: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The manifest's inputs, code, environment, and the folder that relative paths begin in.

    ``folder``: where that is, if it is not this one. Paths that were led on from it stand as the settings have them: so the
    run can be used from anywhere, and moved with its data, whichever folder it was resumed in.
    ``own``: the digests of a user's code, by path.
    """
    found = inputs.described()
    if folder:
        found = {name: {**each, "path": each["path"].removeprefix(f"{folder}/")} for name, each in found.items()}
    return {
        "inputs": found,
        "code": {**code(), "own": dict(own)} if own else code(),
        "environment": environment(device, level),
        "folder": folder or os.getcwd(),
    }


def environment(device: torch.device, level: str) -> dict[str, Any]:
    """Everything outside code, settings and data that can change bits."""
    return {
        "level": level,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(),
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


def packages() -> dict[str, str | None]:
    """The versions of the packages that can change bits."""
    return {name: _version(name) for name in PACKAGES}


def sources() -> list[Path]:
    """All of our code: the rooms that stand beside this one, which are the packages with commands, and what joins them."""
    rooms = sorted(path.parents[1] for path in ROOT.glob("*/commands/__init__.py"))
    kinds = ("*.py", "*.css", "*.js")
    return sorted([ROOT / "cli.py", *(path for room in rooms for kind in kinds for path in room.rglob(kind))])


def code() -> dict[str, Any]:
    """The source's digest, and git's state where there is a checkout."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"source_sha256": digest.hexdigest(), "git_commit": commit, "git_clean": None if commit is None else not changed}


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
