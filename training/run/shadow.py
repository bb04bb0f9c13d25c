"""The run of a process that does not write it: as a Run, but nothing of it stays."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.leftovers import temporary_folder
from training.run.folder import Run


class _Silent:
    """In place of TensorBoard's board and writer: takes whatever they take."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self if name == "writer" else lambda *arguments, **named: None


class Shadow(Run):
    """A temporary folder, for what code writes beside the run's own files; those are written by process 0 alone."""

    def __init__(self, path: Path, described: dict[str, Any], kept_at: Path) -> None:
        super().__init__(path, described)
        self._kept_at = kept_at

    @property
    def kept_at(self) -> Path:
        """Where process 0 keeps the run."""
        return self._kept_at

    @property
    def board(self) -> Any:
        """Shows nothing."""
        return _Silent()

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Nothing is written."""

    def log_timings(self, values: Mapping[str, float], step: int) -> None:
        """Nothing is written."""

    def write_manifest(self) -> None:
        """Nothing is written."""

    def finish(self, weights_sha256: str, metrics: Mapping[str, float]) -> str:
        """The run is finished in memory; there is no seal."""
        self.manifest |= {"weights_sha256": weights_sha256, "metrics": dict(metrics), "status": "finished"}
        return ""

    def take_again(self) -> None:
        """Nothing is read anew."""

    def cut_back(self, sizes: Mapping[str, int], next_step: int) -> None:
        """There is nothing to cut."""

    def position(self) -> dict[str, int]:
        """There are no growing files."""
        return {}


def shadow(kind: str, config: TrainConfig, facts: Mapping[str, Any], kept_at: Path) -> Shadow:
    """The shadow of the run at that place. Its folder goes when the program ends: a fit may be followed by a test."""
    described = {"kind": kind, "status": "running", "argv": [], "config": config.to_dict(), "inputs": {}, **facts}
    kept = ExitStack()
    folder = kept.enter_context(temporary_folder("samebits-process-"))
    atexit.register(kept.close)
    return Shadow(folder, described, kept_at)
