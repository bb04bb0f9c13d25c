"""The same experiment with several seeds: a folder of runs, taken up where it was left.

A group's folder holds ``config.json`` (the settings, with the first seed), ``group.json`` (the seeds), a run ``seed_S`` for
each, and when all have finished ``summary.json``. A group of one is a single run.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from training.config import ConfigT, TrainConfig
from training.errors import ConfigError, DataError
from training.files import (
    LARGEST_JSON,
    atomic_write,
    check_new,
    exists_already,
    folder_to_be,
    inside,
    read_json,
    sha256_file,
    with_next_number,
)
from training.run import seal
from training.run.folder import check_finished, read_manifest
from training.run.manifest import as_text, differences, plain
from training.run.tensorboard import EVENTS
from training.values import check_seed, shown
from training.visible import shortened

MOST_SEEDS = 10_000
SUMMARY, ENSEMBLE = "summary.json", "ensemble.json"
FILES = "config.json", "group.json", ENSEMBLE
PAGES = "pages"
"""TensorBoard's pages of a group as a whole. Commands make them anew from its runs, so that no seal holds them."""
Train = Callable[[ConfigT, Path, bool], None]
"""Trains one seed's run: its settings, its folder, and whether it goes on with what is there."""


@dataclass(frozen=True)
class Summary:
    """Some values in short; ``deviation`` is the sample's standard deviation, 0 for a single value."""

    n: int
    median: float
    mean: float
    deviation: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """DataError for no values."""
        if not values:
            raise DataError("expected at least one value to sum up, got none")
        deviation = _finite_or_inf(statistics.stdev, values) if len(values) > 1 else 0.0
        mean = _finite_or_inf(statistics.fmean, values)
        return cls(len(values), statistics.median(values), mean, deviation, min(values), max(values))

    def to_dict(self) -> dict[str, float]:
        """Plain numbers."""
        return asdict(self)


def _finite_or_inf(function: Callable[[Sequence[float]], float], values: Sequence[float]) -> float:
    try:
        return function(values)
    except OverflowError:  # their sum, or that of their squares, is beyond what a float holds
        return math.inf


@dataclass(frozen=True)
class Group:
    """Runs of one experiment: metrics by seed."""

    path: Path
    metrics: dict[int, dict[str, float]]
    seal: str = ""
    """Of a finished group: one digest of its settings, its seeds and the seals of its runs."""

    def summaries(self) -> dict[str, Summary]:
        """Each metric that all runs have."""
        shared = set.intersection(*(set(found) for found in self.metrics.values())) if self.metrics else set()
        return {name: Summary.of([found[name] for found in self.metrics.values()]) for name in sorted(shared)}


def is_group(path: Path) -> bool:
    """Whether the folder is a group's."""
    return (path / "group.json").is_file()


def group_with(run: Path) -> Path | None:
    """The folder of the group that a run is one of; None where it stands alone."""
    run = Path(os.path.abspath(run))
    try:
        return run.parent if is_group(run.parent) and run.name in {f"seed_{n}" for n in seeds_of(run.parent)} else None
    except DataError:
        return None


def kind_of(folder: Path) -> str:
    """The kind of a group's runs; "" where neither it nor a run of it says that."""
    named = read_json(folder, "group.json").get("of") if seeds_of(folder) else ""
    if isinstance(named, str) and named:
        return named
    begun = [
        run for seed in seeds_of(folder) if (run := inside(folder, f"seed_{seed}")) and (run / "manifest.json").is_file()
    ]
    return str(read_manifest(begun[0])["kind"]) if begun else ""


def open_group(kind: str, config: TrainConfig, seeds: int, path: str, root: str) -> Path:
    """A new group's folder, ``path`` or the next ``root/kind/group_N``, with its settings in it or not at all.

    ConfigError where it exists or cannot be made, or ``seeds`` < 1.
    """
    if type(seeds) is not int or not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"seeds: expected a whole number from 1 to {MOST_SEEDS}, got {shown(seeds)}")
    check_seed(config.seed + seeds - 1)
    described = {"kind": "group", "of": kind, "seeds": [config.seed + i for i in range(seeds)], "folder": os.getcwd()}
    if path:
        return _opened(Path(path), config, described)
    return with_next_number(Path(root) / kind, "group", lambda folder: _opened(folder, config, described))


def _opened(folder: Path, config: TrainConfig, described: dict[str, Any]) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        check_new("run", folder)
        with folder_to_be(folder) as part:
            atomic_write(part / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
            atomic_write(part / "group.json", json.dumps(described) + "\n")
    except OSError as error:
        if folder.exists():  # another group took the name meanwhile
            raise exists_already("run", folder) from None
        raise ConfigError(f"run: the folder {folder} cannot be made ({error.strerror}); give --run another") from None
    return folder


def run_group(
    folder: Path, config_class: type[ConfigT], train: Train[ConfigT], finish: Callable[[Path], object] = lambda folder: None
) -> Group:
    """Train the seeds that have not finished, one after the other, then ``finish`` the group and sum all of them up."""
    config = config_class.load(inside(folder, "config.json", largest=LARGEST_JSON))
    for seed in seeds_of(folder):
        run = inside(folder, f"seed_{seed}")
        if not _finished(run):
            train(replace(config, seed=seed), run, (run / "manifest.json").is_file())
    group = read_group(folder)
    finish(folder)
    summary = _summary(group)
    summary["seal"] = seal.of(summary)
    atomic_write(folder / SUMMARY, as_text(summary))
    return replace(group, seal=str(summary["seal"]))


def _summary(group: Group) -> dict[str, Any]:
    """What summary.json says of a group whose runs have all finished, but for its seal."""
    runs = [f"seed_{seed}" for seed in seeds_of(group.path)]
    return {
        "format": seal.FORMAT,
        "seeds": sorted(group.metrics),
        "metrics": {name: found.to_dict() for name, found in group.summaries().items()},
        "files": {name: sha256_file(group.path / name) for name in FILES if seal.is_plain(group.path / name)},
        "runs": {run: read_manifest(group.path / run).get("seal", "") for run in runs},
    }


def group_faults(folder: Path, *, whole: bool = True) -> list[str]:
    """What of a finished group is not as it was when it finished, a line each; with ``whole`` in its runs, too.

    DataError where a run of it is no finished one. A group without a seal is one of an earlier version.
    """
    found, file, summary = [], folder / SUMMARY, _read_summary(folder)
    if summary is None:
        found.append(f"{file}: expected the summary of a finished group, got none; --resume the group to have it")
    elif seal.is_sealed(summary):
        now = _summary(read_group(folder))
        found += [f"{file}: {fault}" for fault in [seal.file_fault(file, summary)] if fault]
        for name, was, is_now in differences({k: v for k, v in summary.items() if k != "seal"}, now):
            found.append(f"{folder}: {name} is {plain(is_now)}, and was {plain(was)} in the group: {seal.CHANGED}")
    if whole:
        for seed in seeds_of(folder):
            found += seal.faults(folder / f"seed_{seed}", read_manifest(folder / f"seed_{seed}"))
        found += group_extras(folder)
    return found


def check_group(folder: Path, tell: Callable[[str], None]) -> None:
    """Before a group's metrics are used: DataError where it is not as it finished; ``tell`` hears where it has no seal."""
    for fault in group_faults(folder, whole=False):
        raise DataError(f"{fault}; restore it, or train again")
    if not group_seal(folder):
        tell(f"{folder}: {seal.NO_SEAL}")


def group_extras(folder: Path) -> list[str]:
    """What stands in a group's folder and is no part of the group, a line each."""
    runs = [f"seed_{seed}" for seed in seeds_of(folder)]
    known = {SUMMARY, *FILES, *runs, *(f"{run}.log" for run in runs)}
    more = sorted(path.name for path in folder.iterdir() if path.name not in known and not path.name.startswith("."))
    return [f"{folder / name}: {seal.ADDED}" for name in more if name != PAGES or not _are_pages(folder / name)]


def pages(folder: Path) -> Path:
    """The folder of a group's own pages of TensorBoard, empty. DataError where something else has its name."""
    path = folder / PAGES
    if os.path.lexists(path) and not _are_pages(path):
        raise DataError(f"{path}: expected TensorBoard's pages of the group, got something else; move it away")
    try:
        path.mkdir(exist_ok=True)
        for file in path.iterdir():
            file.unlink()
    except OSError as error:
        raise DataError(f"{path}: the group's pages cannot be written ({error.strerror})") from None
    return path


def _are_pages(folder: Path) -> bool:
    """Whether it is a folder of TensorBoard's files and nothing else."""
    return S_ISDIR(folder.lstat().st_mode) and all(fnmatch(p.name, EVENTS) and seal.is_plain(p) for p in folder.iterdir())


def group_seal(folder: Path) -> str:
    """The seal of a finished group; "" for one that has none."""
    return str((_read_summary(folder) or {}).get("seal", ""))


def _read_summary(folder: Path) -> dict[str, Any] | None:
    """What a finished group's summary.json says; None where there is none that can be read."""
    try:
        summary = read_json(folder, SUMMARY)
    except (DataError, OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


def started_in(folder: Path) -> str:
    """Where the relative paths of the group's settings begin; "" for here, where that folder is gone or not known."""
    seeds_of(folder)
    started = read_json(folder, "group.json").get("folder", "")
    return started if isinstance(started, str) and os.path.isdir(started) else ""


def seeds_of(folder: Path) -> list[int]:
    """The seeds of a group. DataError where its group.json is not one."""
    try:
        seeds = read_json(folder, "group.json")["seeds"]
        if not seeds or any(type(seed) is not int for seed in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError
        return [check_seed(seed) for seed in seeds]
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        raise DataError(f"{folder / 'group.json'}: expected a group's list of seeds, got something else") from None


def read_group(path: Path, kind: str = "") -> Group:
    """The finished runs of a group, or a single run as a group of one; with ``kind``, of that kind.

    DataError names a run that is none of these.
    """
    runs = [inside(path, f"seed_{seed}") for seed in seeds_of(path)] if is_group(path) else [path]
    metrics: dict[int, dict[str, float]] = {}
    for run in runs:
        described = read_manifest(run)
        check_finished(run, described)
        if kind and described["kind"] != kind:
            raise DataError(f"{run}: expected a run of kind {kind}, got one of kind {shown(described['kind'])}")
        seal.check(run, described, ())
        if type(described.get("config", {}).get("seed")) is not int or "metrics" not in described:
            raise DataError(f"{run}: expected a seed and metrics in its manifest.json, got none")
        for name, value in described["metrics"].items():
            if not abs(value) <= sys.float_info.max:  # a count of a thousand digits is no number to reckon with, either
                raise DataError(
                    f"{run}: expected finite metrics in its manifest.json, got {shortened(str(value), 20)} for {name}"
                )
        metrics[described["config"]["seed"]] = dict(described["metrics"])
    return Group(path, metrics)


def _finished(run: Path) -> bool:
    return (run / "manifest.json").is_file() and read_manifest(run)["status"] == "finished"


def tested_on(group: Group) -> set[str]:
    """The digests of the files that a group's runs were tested on, a text for each of those that differ."""
    runs = [group.path / f"seed_{seed}" for seed in group.metrics] if is_group(group.path) else [group.path]
    inputs = [read_manifest(run).get("inputs", {}) for run in runs]
    names = sorted({name for each in inputs for name in each if name == "test" or name.startswith("set ")})
    return {str([(name, each.get(name, {}).get("sha256")) for name in names]) for each in inputs}
