"""The runs below a folder, and groups of them, a row each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import DataError, SamebitsError
from training.files import inside, read_json
from training.run import seal
from training.run.folder import has_finished, read_manifest, status_of
from training.run.groups import SUMMARY, Summary, group_faults, group_seal, is_group, kind_of, seeds_of
from training.run.kinds import Kinds

# Shown in columns of their own, or no part of the experiment.
LARGEST = 1 << 26  # bytes of a file that is looked at for a row: a list shall not take minutes
ELSEWHERE = ("threads", "deterministic", "any_threads", "portable", "device")


def list_runs(root: Path, kinds: Kinds) -> list[dict[str, str]]:
    """One row for each run and each group in ``root/*/``, by kind and number; what cannot be read is a row that says so."""
    folders = {path.parent for name in ("manifest.json", "group.json") for path in root.glob(f"*/[!.]*/{name}")}
    return [_group_row(p, kinds) if is_group(p) else _run_row(p, kinds) for p in sorted(folders, key=_order)]


def _order(path: Path) -> tuple[str, str, int, str]:
    """By kind, then by name with numbers as numbers."""
    stem, _, digits = path.name.rpartition("_")
    return path.parent.name, stem, int(digits) if digits.isdecimal() else -1, path.name


def _run_row(path: Path, kinds: Kinds) -> dict[str, str]:
    try:
        described = read_manifest(path)
    except DataError:
        return _row(path, "unreadable", kinds)
    metrics, environment = described.get("metrics", {}), described.get("environment", {})
    return _row(
        path,
        _status(path, described),
        kinds,
        _settings(described["config"], described["kind"], kinds),
        {column: f"{metrics[name]:.4f}" for column, name in _scores(kinds).items() if name in metrics},
        level=f"{environment.get('level', '')}{' (not kept)' if described.get('unkept') else ''}",
        threads=str(environment.get("threads", "")),
        weights=described.get("weights_sha256", "")[:12],
    )


def _status(path: Path, described: Mapping[str, Any]) -> str:
    """What the run says, or that it is not what it says: by the manifest, and by files that are not too large to look at."""
    if not has_finished(described):
        return status_of(path, described)
    digests = {**described.get("outputs", {}), **described.get("files", {})}
    names = [name for name in digests if not (path / name).is_file() or (path / name).stat().st_size <= LARGEST]
    try:
        changed = seal.faults(path, described, names)
    except SamebitsError:  # settings or a checkpoint that cannot be read
        return "changed"
    return "changed" if changed else "finished" if "seal" in described else "finished (no seal)"


def _group_row(path: Path, kinds: Kinds) -> dict[str, str]:
    try:
        runs = [inside(path, f"seed_{seed}") for seed in seeds_of(path)]
        if not isinstance(config := read_json(path, "config.json"), dict):
            return _row(path, "unreadable", kinds)
        manifests = {run: read_manifest(run) for run in runs if os.path.lexists(run / "manifest.json")}
    except (DataError, OSError, ValueError):
        return _row(path, "unreadable", kinds)
    begun = list(manifests.values())
    changed = any(_status(run, described) == "changed" for run, described in manifests.items())
    changed = changed or (os.path.lexists(path / SUMMARY) and bool(_group_faults(path)))
    done = [described for described in begun if described["status"] == "finished"]
    levels = {str(described.get("environment", {}).get("level", "")) for described in begun}
    threads = {str(described.get("environment", {}).get("threads", "")) for described in begun}
    kind = kind_of(path) or path.parent.name
    return _row(
        path,
        "changed" if changed else _group_status(path, len(done), len(runs)),
        kinds,
        f"{len(runs)} seeds; {_settings(config, kind, kinds)}".rstrip("; "),
        {
            column: _median([d["metrics"][name] for d in done if name in d.get("metrics", {})])
            for column, name in _scores(kinds).items()
        },
        level=", ".join(sorted(levels)),
        threads=", ".join(sorted(threads)),
    )


def _group_status(path: Path, finished: int, runs: int) -> str:
    if finished < runs or not os.path.lexists(path / SUMMARY):
        return f"{finished} of {runs} finished"
    return "finished" if group_seal(path) else "finished (no seal)"


def _group_faults(path: Path) -> list[str]:
    try:
        return group_faults(path, whole=False)
    except SamebitsError as error:
        return [str(error)]


def _scores(kinds: Kinds) -> dict[str, str]:
    """The columns of scores, and the metrics that stand in them."""
    return {column: name for kind in kinds.values() for column, name in kind.scores.items()}


def _row(
    path: Path, status: str, kinds: Kinds, settings: str = "", scores: Mapping[str, str] | None = None, *,
    level: str = "", threads: str = "", weights: str = "",
) -> dict[str, str]:  # fmt: skip
    shown = dict.fromkeys(_scores(kinds), "") | dict(scores or {})
    environment = {"level": level, "threads": threads, "weights": weights}
    return {"run": str(path), "status": status, **shown, **environment, "settings": settings}


def _median(values: list[float]) -> str:
    if not values:
        return ""
    found = Summary.of(values)
    return f"{found.median:.4f} ({found.minimum:.4f}-{found.maximum:.4f})"


def _settings(config: Mapping[str, Any], kind: str, kinds: Kinds) -> str:
    """The settings that matter and are not the defaults: "name=value", a run's product by the run's name."""
    if kind not in kinds:
        return ""
    usual = kinds[kind].config_class()().settings()
    products = tuple(f"/{name}" for each in kinds.values() for name in each.products)
    return " ".join(
        f"{name}={_plain(value, products)}" for name, value in config.items()
        if name in usual and name not in ELSEWHERE and value != usual[name]
    )  # fmt: skip


def _plain(value: Any, products: tuple[str, ...]) -> str:
    if isinstance(value, list):
        return ",".join(_plain(each, products) for each in value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text.rpartition("/")[0] if text.endswith(products) else text
