"""TensorBoardLogger: metrics and hyperparameters for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import ConfigError
from training.files import atomic_write
from training.loggers.logger import FolderLogger, as_dict
from training.run.tensorboard import Board
from training.yaml import as_yaml


class TensorBoardLogger(FolderLogger):
    """Writes TensorBoard's files, and ``hparams.yaml``, into ``save_dir/name/version_N``.

    In a fit that is resumed with the same ``version``, TensorBoard's files are cut back to what the checkpoint knows, and
    curves continue without duplicate points; a new version begins new curves.

    Args:
        save_dir: the folder of all experiments.
        name: the experiment's name; None or "" for no folder of that name.
        version: a number, or a text that is the folder's name; None is the next number.
        log_graph: False; ``logger.experiment.add_graph(model, inputs)`` shows a graph.
        default_hp_metric: show hyperparameters without metrics beside ``hp_metric``, -1; else they are not shown.
        prefix: comes before each name, with a dash.
        sub_dir: a folder inside of the version's; ``~`` and variables such as ``$HOME`` are filled in.
        kwargs: for torch's SummaryWriter, such as ``flush_secs``.

    Raises:
        ConfigError: for ``log_graph=True``.

    Example:
        >>> from training import TensorBoardLogger
        >>> logger = TensorBoardLogger("runs", name="digits", version="first")
        >>> logger.log_dir
        'runs/digits/first'

    ``experiment`` is torch's SummaryWriter, for images, histograms and whatever else it takes.

    Source: Lightning 2.6's ``TensorBoardLogger``.
    """

    NAME_HPARAMS_FILE = "hparams.yaml"

    def __init__(
        self,
        save_dir: str | Path,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        if log_graph:
            raise ConfigError(
                "TensorBoardLogger: log_graph: expected False; call logger.experiment.add_graph(model, inputs) to show it"
            )
        super().__init__(save_dir, name, version, prefix)
        self.sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self.default_hp_metric, self._kwargs = default_hp_metric, kwargs
        self.hparams: dict[str, Any] = {}
        self._board: Board | None = None

    @property
    def log_dir(self) -> str:
        """The folder of this version, or ``sub_dir`` in it."""
        folder = super().log_dir if self.sub_dir is None else os.path.join(super().log_dir, self.sub_dir)
        return os.path.expanduser(os.path.expandvars(folder))

    @property
    def board(self) -> Board:
        """The door to TensorBoard."""
        if self._board is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._board = Board(Path(self.log_dir), **self._kwargs)
        return self._board

    @property
    def experiment(self) -> Any:
        """torch's SummaryWriter."""
        return self.board.writer

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take scalars by name, or dicts of them: curves in one picture."""
        for name, value in self._named(metrics).items():
            if isinstance(value, dict):
                self.experiment.add_scalars(name, value, step)
            else:
                self.board.scalar(name, value, step)

    def log_hyperparams(
        self, params: Any, metrics: Mapping[str, float] | float | None = None, step: int | None = None, **kwargs: Any
    ) -> None:
        """Take hyperparameters, a dict or a Namespace, and show them beside ``metrics``."""
        self.hparams.update(as_dict(params))
        if metrics is None:
            metrics = {"hp_metric": -1} if self.default_hp_metric else {}
        shown = dict(metrics) if isinstance(metrics, Mapping) else {"hp_metric": metrics}
        if shown:
            self.board.hyperparameters(flat(as_dict(params)), self._named(shown), step, prefix="")

    def save(self) -> None:
        """Bring it out; ``hparams.yaml`` once, where there is a folder."""
        if self._board is not None:
            self._board.flush()
        path = Path(self.log_dir) / self.NAME_HPARAMS_FILE
        if path.parent.is_dir() and not path.is_file():
            atomic_write(path, as_yaml(self.hparams))

    def finalize(self, status: str) -> None:
        """Close the files; what is logged afterwards opens new ones."""
        if self._board is not None:
            self._board.close()
        if status == "success":
            self.save()

    # -- resume -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The files' sizes."""
        return {"sizes": {} if self._board is None else self._board.sizes()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut the files back, where they are those that the checkpoint knows; what it does not know is hidden."""
        if Path(self.log_dir).is_dir():
            self.board.take_up({str(name): int(size) for name, size in state["sizes"].items()}, int(state["next_step"]))


def flat(params: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested dicts, Namespaces and lists of them as one dict: ``{"a": {"b": 1}}`` is ``{"a/b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        full = f"{before}{name}"
        if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            value = dict(enumerate(value))
        value = as_dict(value) if hasattr(value, "__dict__") and type(value).__name__ == "Namespace" else value
        found |= flat(value, f"{full}/") if isinstance(value, Mapping) else {full: value}
    return found
