"""What a logger is, and the folders of those that write files."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.files import next_version


class Logger:
    """Base class; implement ``log_metrics`` at least; give it to a Trainer.

    It is called at these moments, as in Lightning: ``log_hyperparams``, ``log_graph`` and ``save`` before a fit, a
    validation, a test or a prediction; ``log_metrics`` and ``save`` when metrics are due; ``after_save_checkpoint`` when a
    ModelCheckpoint has written a file; ``finalize`` with "success" at the end, "failed" after an error, and "aborted" after
    a stop that is resumed exactly.

    With ``state_dict`` and ``load_state_dict`` a logger can go back, when a fit is resumed, to what it had written when the
    checkpoint was taken. A logger without them writes the later lines twice.

    Example:
        >>> from training import Logger
        >>> class Printed(Logger):
        ...     name, version = "printed", 0
        ...     def log_metrics(self, metrics, step=None):
        ...         print(step, metrics)

    Source: Lightning 2.6's ``Logger``.
    """

    @property
    def name(self) -> str | None:
        """The experiment's name."""
        return None

    @property
    def version(self) -> int | str | None:
        """Which of the experiments of this name it is."""
        return None

    @property
    def root_dir(self) -> str | None:
        """The folder of all versions; None for a logger that writes no files."""
        return None

    @property
    def log_dir(self) -> str | None:
        """The folder of this version; None for a logger that writes no files."""
        return None

    @property
    def save_dir(self) -> str | None:
        """The folder of all experiments; None for a logger that writes no files."""
        return None

    @property
    def group_separator(self) -> str:
        """What stands between a group and a name in it."""
        return "/"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take scalars by name, at a step."""
        raise NotImplementedError(f"{type(self).__name__} has no log_metrics")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Take the hyperparameters, a dict or a Namespace."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Take the model."""

    def save(self) -> None:
        """Bring out what was logged."""

    def finalize(self, status: str) -> None:
        """The end: "success", "failed" or "aborted". Saves."""
        self.save()

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """A ModelCheckpoint has written a file."""


class FolderLogger(Logger):
    """A logger that writes into ``save_dir/name/version_N``."""

    def __init__(self, save_dir: str | Path, name: str | None, version: int | str | None, prefix: str) -> None:
        self._save_dir, self._name, self._version, self._prefix = os.fspath(save_dir), name or "", version, prefix

    @property
    def name(self) -> str:
        """The experiment's name, "" for none."""
        return self._name

    @property
    def version(self) -> int | str:
        """That which was given; else the next one, whose folder is made when it is first asked for."""
        while self._version is None:
            folder = next_version(Path(self.root_dir))
            with suppress(FileExistsError):  # another one has taken it meanwhile
                folder.mkdir(parents=True)
                self._version = int(folder.name.removeprefix("version_"))
        return self._version

    @property
    def save_dir(self) -> str:
        """The folder of all experiments."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """The folder of this name's versions."""
        return os.path.join(self._save_dir, self._name)

    @property
    def log_dir(self) -> str:
        """The folder of this version, ``version_N`` where the version is a number."""
        return os.path.join(self.root_dir, self.version if isinstance(self.version, str) else f"version_{self.version}")

    def _named(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Plain numbers by their full names."""
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
        return {f"{self._prefix}-{name}": value for name, value in plain.items()} if self._prefix else plain


def as_dict(params: Any) -> dict[str, Any]:
    """Hyperparameters as a dict: they may be a Namespace, or None."""
    return {} if params is None else dict(vars(params) if isinstance(params, Namespace) else params)
