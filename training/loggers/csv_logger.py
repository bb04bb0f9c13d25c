"""CSVLogger: metrics as a table in metrics.csv, as Lightning writes it."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

from training.files import atomic_write
from training.loggers.logger import FolderLogger, as_dict
from training.yaml import as_yaml

Row = dict[str, Any]


class CSVLogger(FolderLogger):
    """Writes ``metrics.csv`` and ``hparams.yaml`` into ``save_dir/name/version_N``.

    The table has a column for each name, in order of names, and ``step`` among them. In a fit that is resumed with the same
    ``version`` it is cut back to the lines that the checkpoint knows, so that none is there twice; a new version begins a
    new table with the lines from there on.

    Args:
        save_dir: the folder of all experiments.
        name: the experiment's name; None or "" for no folder of that name.
        version: a number, or a text that is the folder's name; None is the next number.
        prefix: comes before each name, with a dash.
        flush_logs_every_n_steps: the table is also written every N steps; in a fit, each time that metrics are logged.

    Example:
        >>> import tempfile
        >>> from training import CSVLogger
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     logger = CSVLogger(folder, name="digits")
        ...     logger.log_metrics({"loss": 0.5}, step=0)
        ...     logger.log_metrics({"loss": 0.25, "accuracy": 0.75}, step=1)
        ...     logger.save()
        ...     with open(f"{logger.log_dir}/metrics.csv") as table:
        ...         print(logger.version, table.read().split())
        0 ['accuracy,loss,step', ',0.5,0', '0.75,0.25,1']

    Source: Lightning 2.6's ``CSVLogger``.
    """

    NAME_HPARAMS_FILE = "hparams.yaml"
    NAME_METRICS_FILE = "metrics.csv"

    def __init__(
        self,
        save_dir: str | Path,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(save_dir, name, version, prefix)
        self.flush_logs_every_n_steps = flush_logs_every_n_steps
        self.hparams: dict[str, Any] = {}
        self._columns: list[str] = []
        self._rows = 0
        """Lines in the file."""
        self._pending: list[Row] = []
        self._last_step: int | None = None
        self._begun = False
        """Whether the file is this logger's: one that was there before is replaced."""

    @property
    def experiment(self) -> CSVLogger:
        """The logger itself, whose ``log_metrics``, ``save`` and ``metrics_file_path`` are those of Lightning's."""
        return self

    @property
    def metrics_file_path(self) -> str:
        """The table's path."""
        return str(self.path)

    @property
    def path(self) -> Path:
        """The table."""
        return Path(self.log_dir) / self.NAME_METRICS_FILE

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Take hyperparameters, a dict or a Namespace, and write ``hparams.yaml``."""
        self.hparams.update(as_dict(params))
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        atomic_write(Path(self.log_dir) / self.NAME_HPARAMS_FILE, as_yaml(self.hparams))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take scalars by name; without a step their line's number is the step."""
        self._last_step = len(self._pending) if step is None else step
        self._pending.append({**self._named(metrics), "step": self._last_step})
        if (self._last_step + 1) % self.flush_logs_every_n_steps == 0:
            self.save()

    def save(self) -> None:
        """Bring the table up to date."""
        if not self._pending:
            return
        self._begin()
        columns = sorted({*self._columns, *(name for row in self._pending for name in row)})
        if columns != self._columns or not self.path.is_file():
            rows = self._read() if self._rows else []
            self._columns = columns
            atomic_write(self.path, self._lines([*rows, *self._pending], head=True))
        else:
            with open(self.path, "a", encoding="utf-8", newline="") as stream:
                stream.write(self._lines(self._pending))
        self._rows += len(self._pending)
        self._pending = []

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            warnings.warn(f"CSVLogger: {self.path} is there already, and is replaced; give another version", stacklevel=3)
            self.path.unlink()

    def _read(self) -> list[Row]:
        with open(self.path, encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def _lines(self, rows: list[Row], head: bool = False) -> str:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, self._columns, extrasaction="ignore")
        if head:
            writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()

    # -- resume -----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """How many lines there are, all of them on the disk, and the last one's step."""
        self.save()
        return {"rows": self._rows, "last_step": self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Cut the table back to these lines, where it is the one that had them."""
        count, last_step = int(state["rows"]), state["last_step"]
        rows = self._read()[:count] if self.path.is_file() else []
        if not count or len(rows) < count or rows[-1].get("step") != str(last_step):
            return  # another table, or none: it begins with what comes now
        self._begun, self._rows, self._last_step, self._pending = True, count, last_step, []
        self._columns = [name for name in rows[0] if any(row[name] for row in rows)]
        atomic_write(self.path, self._lines(rows, head=True))
