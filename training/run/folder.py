"""The run folder: settings, metrics, TensorBoard, manifest, checkpoints.

``config.json`` starts the same run again; ``metrics.jsonl`` holds only what repeats (no times), ``timings.jsonl`` the
rest; ``manifest.json`` says "finished" only when everything else is on disk.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from training.files import (
    LARGEST_JSON,
    append_line,
    atomic_folder,
    atomic_write,
    check_new,
    cut,
    exists_already,
    inside,
    open_inside,
    parse_json,
    read_json,
    sync,
    versions,
    with_next_number,
)
from training.leftovers import held, part_of, sweep
from training.loggers.logger import as_dict
from training.run import manifest, seal
from training.run.lock import RunLock, is_held
from training.run.tensorboard import Board
from training.visible import shortened

METRICS, LEDGER = "metrics.jsonl", "ledger.jsonl"
TIMINGS, EVENTS = seal.TIMES
_CHANGED = "the file was changed"


class Run:
    """One run's folder, open for writing. Use ``Run.create`` for a new one, ``Run.take_up`` to go on with one."""

    def __init__(self, path: Path, described: dict[str, Any]) -> None:
        self.path = path
        self.manifest = described
        self.scratch: list[str] = []
        """Patterns of files that are deleted once the run has finished."""
        self.started = time.time()
        self._lock: RunLock | None = None
        self._board: Board | None = None

    @property
    def kept_at(self) -> Path:
        """Where the run is kept: its folder."""
        return self.path

    @classmethod
    def create(
        cls,
        kind: str,
        config: TrainConfig,
        *,
        path: str = "",
        root: str = "runs",
        argv: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Run:
        """A new folder: ``path`` if given (ConfigError where it exists), else the next ``root/kind/version_N``.

        It appears with its settings and its manifest in it, to which ``facts`` are added, and locked; or not at all.
        """
        described = {"kind": kind, "status": "running", "argv": list(argv), "config": config.to_dict(), "inputs": {}}
        described |= facts or {}
        if path:
            return cls._created(Path(path), config, described)
        return with_next_number(Path(root) / kind, "version", lambda folder: cls._created(folder, config, described))

    @classmethod
    def _created(cls, folder: Path, config: TrainConfig, described: dict[str, Any]) -> Run:
        run = cls(part_of(folder), described)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            sweep(folder.parent)
            check_new("run", folder)
            run.path.mkdir()
            with held(run.path):
                run._lock = RunLock(run.path)
                atomic_write(run.path / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
                run.write_manifest()
                atomic_folder(run.path, folder)
            run.path = folder
        except FileExistsError as error:
            raise ConfigError(f"run: expected a folder to put the run in, got the file {error.filename}") from None
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise exists_already("run", folder) from None  # another run took the name meanwhile
            raise ConfigError(f"run: the folder {folder} cannot be made ({error.strerror}); give --run another") from None
        finally:
            if run.path != folder:
                run.unlock()
                shutil.rmtree(run.path, ignore_errors=True)
        return run

    @classmethod
    def reopen(cls, path: Path) -> Run:
        """An existing folder; its manifest is read."""
        return cls(path, read_manifest(path))

    @classmethod
    def take_up(cls, path: Path) -> Run:
        """An existing folder to go on with, locked. CheckpointError where another process works on it or has finished it."""
        run = cls.reopen(path)
        run._lock = RunLock(path)
        run.manifest = read_manifest(path)  # as it is now that no other process can change it
        if run.manifest["status"] == "finished":
            run.unlock()
            raise CheckpointError(f"{path}: another process has just finished this run; there is nothing left to do")
        return run

    def take_again(self) -> None:
        """Lock the finished run once more, to add results to it."""
        self._lock, self._board = RunLock(self.path), None
        self.manifest = read_manifest(self.path)

    def unlock(self) -> None:
        """Let other processes have it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def board(self) -> Board:
        """What TensorBoard shows of this run."""
        if self._board is None:
            self._board = Board(self.path)
        return self._board

    @property
    def log_dir(self) -> str:
        """The run's folder, as Lightning's loggers call it."""
        return str(self.path)

    @property
    def experiment(self) -> Any:
        """TensorBoard's writer, as Lightning's loggers call it: ``trainer.logger.experiment.add_image(…)``."""
        return self.board.writer

    @property
    def name(self) -> str:
        """The kind of the run, as Lightning's loggers call it."""
        return str(self.manifest["kind"])

    @property
    def save_dir(self) -> str:
        """The folder of all runs, as Lightning's loggers call it."""
        return str(self.path.parent.parent)

    def log_hyperparams(self, params: Any, *_: Any) -> None:
        """Keep a program's hyperparameters in the manifest; what is no plain value as it is written out."""
        kept = self.manifest.setdefault("hyperparameters", {})
        for name, value in as_dict(params).items():
            kept[str(name)] = value if isinstance(value, bool | int | float | str | None) else str(value)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """A line of metrics.jsonl, and TensorBoard's scalars."""
        self._append(METRICS, {"step": step, **metrics})
        for name, value in metrics.items():
            self.board.scalar(name, value, step)

    def log_timings(self, values: Mapping[str, float], step: int) -> None:
        """What does not repeat (seconds, rates): a line of timings.jsonl, and TensorBoard's scalars under ``time/``."""
        self._append(TIMINGS, {"step": step, "seconds": round(time.time() - self.started, 3), **values})
        for name, value in values.items():
            self.board.scalar(f"time/{name}", value, step)

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        plain = {k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in line.items()}
        append_line(self.path / name, plain)

    # -- manifest -----------------------------------------------------------------------------------------------------

    def write_manifest(self) -> None:
        """Put manifest.json on disk as it stands."""
        atomic_write(self.path / "manifest.json", manifest.as_text(self.manifest))

    def set_status(self, status: str) -> None:
        """ "running", "stopped", "failed"; "finished" is ``finish``'s."""
        self.manifest["status"] = status
        self.write_manifest()

    def finish(self, weights_sha256: str, metrics: Mapping[str, float]) -> str:
        """Record results and the digests of all files, and last of all that the run is finished; returns the seal.

        NonFiniteError where a result is NaN or infinite: such a run has failed.
        """
        if bad := [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]:
            raise NonFiniteError(f"{self.path}: expected finite results, but {', '.join(bad)}; try a lower learning rate")
        self.close()
        done = {"weights_sha256": weights_sha256, "metrics": dict(metrics), "status": "finished"}
        described = {**self.manifest, **done, "seconds": round(time.time() - self.started, 1)}
        sealed = seal.put_on(self.path, described, self.scratch)
        self.manifest = described
        self.write_manifest()
        return sealed

    def close(self) -> None:
        """Flush and close TensorBoard's files."""
        self.board.close()

    # -- resume -------------------------------------------------------------------------------------------------------

    def position(self) -> dict[str, int]:
        """How far the growing files, TensorBoard's among them, have come: their sizes by name."""
        self.board.flush()
        return {path.name: path.stat().st_size for path in self._growing()}

    def sync(self) -> None:
        """Bring the growing files to the disk, before a checkpoint says how far they have come."""
        self.board.flush()
        for path in self._growing():
            sync(path)

    def cut_back(self, sizes: Mapping[str, int], next_step: int) -> None:
        """Cut the growing files to a checkpoint's ``position``; TensorBoard forgets what came at ``next_step`` and after.

        What stood there of that step and after when the position was taken is written to TensorBoard again, so that
        nothing is lost or doubled, in its files or in a TensorBoard that is looking at them.
        """
        for name in (METRICS, TIMINGS, LEDGER):
            path, size = inside(self.path, name), sizes.get(name, 0)
            found = path.stat().st_size if path.is_file() else 0
            if found < size and name != TIMINGS:
                raise DataError(f"{path}: expected at least {size} bytes, got {found}: it was changed")
            if path.is_file():
                cut(path, size)
        for path in self.path.glob(EVENTS):
            if path.name in sizes:
                cut(inside(self.path, path.name), sizes[path.name])
            else:
                path.unlink()
        self.board.go_back(next_step)

    def _growing(self) -> list[Path]:
        names = [path.name for name in (METRICS, TIMINGS, LEDGER, EVENTS) for path in sorted(self.path.glob(name))]
        return [inside(self.path, name) for name in names]


def newest_finished(folder: Path) -> Path | None:
    """The highest-numbered ``version_N`` whose manifest says "finished"; None where there is none."""
    for path in versions(folder).values():
        if os.path.lexists(path / "manifest.json") and has_finished(read_manifest(path)):
            return path
    return None


def has_finished(described: Mapping[str, Any]) -> bool:
    """Whether a run has finished, by its manifest: also where that was changed to say something else since."""
    return described["status"] == "finished" or seal.is_sealed(described)


def status_of(path: Path, described: Mapping[str, Any]) -> str:
    """A run's status by its manifest, or "killed": it says "running", but no process is working on it any more."""
    return "killed" if described["status"] == "running" and is_held(path) is False else str(described["status"])


def check_finished(path: Path, described: Mapping[str, Any]) -> None:
    """DataError where a run has not finished."""
    if described["status"] != "finished":
        raise DataError(f"{path}: expected a finished run, got one that is {status_of(path, described)}; resume it first")


def read_manifest(path: Path) -> dict[str, Any]:
    """A run folder's manifest; DataError where there is none, or it is not one."""
    file = path / "manifest.json"
    if not path.is_dir():
        raise DataError(f"{path}: expected a run folder, got {'a file' if path.exists() else 'nothing'}")
    try:
        described = read_json(path, file.name)
    except OSError as error:
        raise DataError(f"{path}: expected a run folder with a manifest.json in it, got {error.strerror}") from None
    except ValueError as error:
        where = f"{file}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(file)
        said = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise DataError(
            f"{where}: expected the manifest of a run as JSON, got a damaged file ({said}); restore it"
        ) from None
    if (wrong := manifest.wrong_entry(described)) is not None:
        expected = "expected the manifest of a run"
        raise DataError(f"{file}: {expected}, got JSON whose entry {wrong!r} is missing or of another kind; restore it")
    return dict(described)


def check_beside(files: Sequence[Path], tell: Callable[[str], None]) -> None:
    """DataError for files of a finished run, all in one folder, that are not those that it finished with.

    Any other files may be as they are, in a run's folder as far as they are files. ``tell`` hears where the run has no seal.
    """
    folder = files[0].parent
    if not os.path.lexists(folder / "manifest.json"):
        if all(seal.is_plain(folder / name) for name in ("config.json", METRICS)):
            raise DataError(f"{folder}: expected the run's manifest.json, got none; put it back")
        return
    described = read_manifest(folder)
    for path in files:
        inside(folder, path.name)
    if has_finished(described):
        seal.check(folder, described, [path.name for path in files if path.name in described.get("outputs", {})], tell)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file; [] where it is missing. DataError (file:line) for what is none.

    A last line without its end is left out: the run was killed while it was written, and a resume cuts it off.
    """
    if not inside(path.parent, path.name).is_file():
        return []
    found = []
    with open_inside(path.parent, path.name, errors="replace") as stream:
        for number, line in enumerate(iter(partial(stream.readline, LARGEST_JSON), ""), 1):
            if not line.endswith("\n"):
                if len(line) >= LARGEST_JSON:
                    raise DataError(f"{path}:{number}: expected lines of less than {LARGEST_JSON:,} characters: {_CHANGED}")
                break
            try:
                value = parse_json(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                shown = shortened(line.strip(), 60)
                raise DataError(f"{path}:{number}: expected a JSON object, got {shown!r}: {_CHANGED}")
            found.append(value)
    return found
