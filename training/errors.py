"""The errors that the library raises on purpose. Each message is one line: expected, got, where, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class SamebitsError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class ConfigError(SamebitsError):
    """A setting is unknown, of the wrong type, out of range, or contradicts another."""

    exit_code = 2


class DataError(SamebitsError):
    """An input file is missing, damaged or not of the form that was expected."""

    exit_code = 2


class CheckpointError(SamebitsError):
    """A checkpoint or a run folder cannot be used."""


class NonFiniteError(SamebitsError):
    """A loss or a gradient is NaN or infinite (see training/nonfinite.py)."""

    batch: Any = None
    """The batch that it came up in."""
    ids: Any = None
    """The task's ``batch_ids`` of it."""
    path: Path | None = None
    """The file that keeps the batch and the weights that it met."""


class ReproducibilityError(SamebitsError):
    """A promise of equal bits cannot be kept, or was not."""


class Preempted(SamebitsError):
    """The run was stopped by a signal or its time limit, with an exact checkpoint on disk."""

    exit_code = 75
    run = ""
    """The run's folder."""
