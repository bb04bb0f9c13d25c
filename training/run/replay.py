"""Running a run again, from its manifest or from one of its checkpoints, in a place of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoint
from training.checkpoint import ResumeStore
from training.errors import CheckpointError, ConfigError, DataError
from training.files import atomic_write, inside, open_inside, sha256_file
from training.run.folder import LEDGER, METRICS, Run, read_manifest, status_of
from training.run.kinds import Kinds, commands_of
from training.run.lock import check_free
from training.run.manifest import check_described
from training.run.places import looked_for, start_folder
from training.values import shown
from training.visible import listed

# Settings in which a repetition differs: it writes no checkpoints, has no time limit, and is told what was found out then.
REPEATED = ("max_time", "checkpoint_every", "keep_checkpoints", "threads", "device", "devices", "max_restarts", "progress")
_WHOLE = "verify without --from repeats the whole run"


def repeatable(run: Path, kinds: Kinds, *, allow_changes: bool = False) -> dict[str, Any]:
    """The manifest of a run that can be repeated here. DataError where it cannot, before any work is done; CheckpointError
    where a process is still working on it.

    Inputs must be there, and be what they were unless ``allow_changes``.
    """
    described = read_manifest(run)
    kind = kinds.get(described["kind"])
    if kind is None and "script" not in described:
        known = commands_of(kinds, "or")
        raise DataError(f"{run}: expected a run of {known}, to run it again, got one of kind {shown(described['kind'])}")
    if described["status"] != "finished":
        check_free(run)
        unfinished = DataError(f"{run}: expected a finished run, got one that is {status_of(run, described)}; let it finish")
        unfinished.run, unfinished.kind = str(run), described["kind"]
        raise unfinished
    if kind is not None and kind.config_class().reads_stdin(described["config"]):
        raise DataError(f"{run}: its text came from stdin and was not kept, so that it cannot be run again")
    check_described(described, run)
    gone, changed, folder = [], [], start_folder(run, described)
    for name, each in described["inputs"].items():
        path = folder / each["path"]
        if not os.path.isfile(path):
            gone.append(f"{name} ({each['path']})")
        elif path.stat().st_size != each.get("bytes") or sha256_file(path) != each["sha256"]:
            changed.append(f"{name} ({path})")
    if gone:
        raise DataError(
            f"{run}: inputs are gone: {listed(gone, 10)}; put them back to run it again ({looked_for(run, described)})"
        )
    if changed and not allow_changes:
        raise DataError(
            f"{run}: inputs have changed: {', '.join(changed)}; restore them, or see the effect with verify --allow-changes"
        )
    return described


def repeated_settings(described: dict[str, Any], devices: int = 1) -> dict[str, Any]:
    """The run's settings as a repetition takes them: its device and its number of threads, whatever chose them then."""
    return {**described["config"], **place_settings(described, devices)}


def place_settings(described: dict[str, Any], devices: int = 1) -> dict[str, Any]:
    """Of these settings, those in which a repetition, in so many processes, may differ from the run."""
    environment = described.get("environment", {})
    return {
        "max_time": "",
        "checkpoint_every": "never",
        "keep_checkpoints": False,
        "devices": devices,
        "max_restarts": 0,
        "threads": environment.get("threads", described["config"]["threads"]),
        "device": str(environment.get("device", described["config"]["device"])).partition(":")[0],
    }


@dataclass(frozen=True)
class Start:
    """A copy of a run as it was at ``step``, to be resumed."""

    path: Path
    step: int


def prepare(run: Path, described: dict[str, Any], target: Path, step: int, tell: Callable[[str], None]) -> Start:
    """Copy what is needed to go on from the newest good kept checkpoint at or before ``step``, into the new ``target``.

    CheckpointError where the run kept none, saying which there are; ConfigError where ``target`` exists.
    """
    start = prepare_if_kept(run, described, target, step, tell)
    if start is None:
        steps = ResumeStore(inside(run, "checkpoints"), keep=True).steps(lambda line: None)
        raise CheckpointError(f"{run}: {_none(step, sorted({found for found, _ in steps}))}")
    return start


def prepare_if_kept(
    run: Path, described: dict[str, Any], target: Path, step: int, tell: Callable[[str], None]
) -> Start | None:
    """As ``prepare``, but None, and nothing copied, where the run kept no good checkpoint at or before ``step``."""
    store = ResumeStore(inside(run, "checkpoints"), keep=True)
    chosen = None
    for found, path in store.steps(tell):
        if found <= step:
            fault = checkpoint.verify(path)
            if not fault:
                chosen = found, path
                break
            tell(f"{path}: {fault}; trying the one before it")
    if chosen is None:
        return None
    _copy(run, described, target, chosen[1])
    return Start(target, chosen[0])


def _none(step: int, steps: list[int]) -> str:
    if not steps:
        return f"it kept no checkpoints (train with --keep-checkpoints to have some); {_WHOLE}"
    there = listed([str(each) for each in steps], 20)
    return f"expected a good checkpoint at or before step {step}, got those at {there}; {_WHOLE}"


def _copy(run: Path, described: dict[str, Any], target: Path, source: Path) -> None:
    try:
        (target / "checkpoints").mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"--to: the folder {target} cannot be made ({error.strerror}); give another") from None
    for name in (source.name, *_best_weights(source)):
        for each in (name, checkpoint.digest_path(Path(name)).name):
            _copy_file(run, target, f"checkpoints/{each}")
    for name in (METRICS, LEDGER):
        _copy_file(run, target, name)
    # Of its inputs, code and environment it says nothing: they are those that it will go on with.
    settings = repeated_settings(described)
    atomic_write(target / "config.json", json.dumps(settings, indent=2) + "\n")
    begun = described.get("begun", "")
    Run(target, {"kind": described["kind"], "config": settings, "status": "stopped", "begun": begun}).write_manifest()


def _best_weights(source: Path) -> list[str]:
    """The files, beside a checkpoint, of the best weights so far: they may be from before it, and its state names them."""
    callbacks = checkpoint.load(source).get("callbacks")
    states = callbacks.values() if isinstance(callbacks, dict) else []
    names = [name for state in states if isinstance(state, dict) and (name := state.get("best_model_path"))]
    return sorted({checkpoint.named(source.parent, name, f"{source}: best_model_path").name for name in names})


def _copy_file(run: Path, target: Path, name: str) -> None:
    """Copy a file of the run, if it is there."""
    if inside(run, name).is_file():
        with open_inside(run, name, "rb") as stream, open_inside(target, name, "wb") as copy:
            shutil.copyfileobj(stream, copy)
