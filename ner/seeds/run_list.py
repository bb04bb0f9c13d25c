"""The runs below a folder, and groups of them, a row each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ner.seeds.groups import SUMMARY, group_faults, is_group, seeds_of
from ner.seeds.significance import Summary
from training.config import TrainConfig
from training.errors import DataError, SamebitsError
from training.files import inside, open_inside, parse_json
from training.run import seal
from training.run.folder import read_manifest

# Shown in columns of their own, or no part of the experiment.
LARGEST = 1 << 26  # bytes of a file that is looked at for a row: a list shall not take minutes
ELSEWHERE = ("threads", "deterministic", "any_threads", "portable", "device")


def list_runs(root: Path, defaults: Mapping[str, TrainConfig]) -> list[dict[str, str]]:
    """One row for each run and each group in ``root/*/``, by kind and number. A run that cannot be read is one that says so.

    ``defaults``: by kind of run, the settings that need not be shown.
    """
    folders = {path.parent for name in ("manifest.json", "group.json") for path in root.glob(f"*/[!.]*/{name}")}
    return [_group_row(p, defaults) if is_group(p) else _run_row(p, defaults) for p in sorted(folders, key=_order)]


def _order(path: Path) -> tuple[str, str, int, str]:
    """By kind, then by name with numbers as numbers."""
    stem, _, digits = path.name.rpartition("_")
    return path.parent.name, stem, int(digits) if digits.isdecimal() else -1, path.name


def _run_row(path: Path, defaults: Mapping[str, TrainConfig]) -> dict[str, str]:
    try:
        described = read_manifest(path)
    except DataError:
        return _row(path, "unreadable")
    metrics, environment = described.get("metrics", {}), described.get("environment", {})
    return _row(
        path,
        _status(path, described),
        _settings(described["config"], defaults.get(str(described.get("kind")))),
        *(f"{metrics[name]:.4f}" if name in metrics else "" for name in ("best_val_f1", "test_f1")),
        level=str(environment.get("level", "")),
        threads=str(environment.get("threads", "")),
        weights=described.get("weights_sha256", "")[:12],
    )


def _status(path: Path, described: Mapping[str, Any]) -> str:
    """What the run says, or that it is not what it says: by the manifest, and by files that are not too large to look at."""
    if described["status"] != "finished" and "seal" not in described:
        return str(described["status"])
    digests = {**described.get("outputs", {}), **described.get("files", {})}
    names = [name for name in digests if not (path / name).is_file() or (path / name).stat().st_size <= LARGEST]
    try:
        changed = seal.faults(path, described, names)
    except SamebitsError:  # settings or a checkpoint that cannot be read
        return "changed"
    return "changed" if changed else "finished" if "seal" in described else "finished (no seal)"


def _group_row(path: Path, defaults: Mapping[str, TrainConfig]) -> dict[str, str]:
    try:
        runs = [inside(path, f"seed_{seed}") for seed in seeds_of(path)]
        with open_inside(path, "config.json") as stream:
            config = parse_json(stream.read())
        begun = [read_manifest(run) for run in runs if (run / "manifest.json").is_file()]
    except (DataError, OSError, ValueError):
        return _row(path, "unreadable")
    changed = any(_status(run, read_manifest(run)) == "changed" for run in runs if (run / "manifest.json").is_file())
    changed = changed or ((path / SUMMARY).is_file() and bool(_group_faults(path)))
    done = [described for described in begun if described["status"] == "finished"]
    levels = {str(described.get("environment", {}).get("level", "")) for described in begun}
    threads = {str(described.get("environment", {}).get("threads", "")) for described in begun}
    return _row(
        path,
        "changed" if changed else "finished" if len(done) == len(runs) else f"{len(done)} of {len(runs)} finished",
        f"{len(runs)} seeds; {_settings(config, defaults.get('ner'))}".rstrip("; "),
        *(_median([d["metrics"][name] for d in done if name in d["metrics"]]) for name in ("best_val_f1", "test_f1")),
        level=", ".join(sorted(levels)),
        threads=", ".join(sorted(threads)),
    )


def _group_faults(path: Path) -> list[str]:
    try:
        return group_faults(path, whole=False)
    except SamebitsError as error:
        return [str(error)]


def _row(
    path: Path, status: str, settings: str = "", best: str = "", test: str = "", *, level: str = "", threads: str = "",
    weights: str = "",
) -> dict[str, str]:  # fmt: skip
    return {
        "run": str(path), "status": status, "best F1": best, "test F1": test, "level": level, "threads": threads,
        "weights": weights, "settings": settings,
    }  # fmt: skip


def _median(values: list[float]) -> str:
    if not values:
        return ""
    found = Summary.of(values)
    return f"{found.median:.4f} ({found.minimum:.4f}-{found.maximum:.4f})"


def _settings(config: Mapping[str, Any], defaults: TrainConfig | None) -> str:
    """The settings that matter and are not the defaults: "name=value", word vectors of a run by the run's name."""
    if defaults is None:
        return ""
    usual = defaults.settings()
    return " ".join(
        f"{name}={_plain(value)}" for name, value in config.items()
        if name in usual and name not in ELSEWHERE and value != usual[name]
    )  # fmt: skip


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_plain, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"/vectors\.(bin|txt)$", "", text)
