"""Comparing runs: whether one was repeated bit for bit, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, ledger
from training.config import read_settings
from training.digest import weights_sha256
from training.files import inside, sha256_file
from training.manifest import differences, plain
from training.run import LEDGER, METRICS, read_jsonl, read_manifest

# In the manifest but no part of what a run is: when and where it ran, how it was called, and what came out.
INCIDENTAL = (
    "argv", "seconds", "status", "outputs", "weights_sha256", "metrics", "confidence_temperature", "changes", "folder",
    "begun",
)  # fmt: skip
MODEL = "checkpoints/model.ckpt"


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common. ``results`` differ in bits; ``causes`` are what could have made them differ."""

    results: list[str]
    causes: list[str]

    @property
    def same_bits(self) -> bool:
        """Whether weights, metrics, ledgers and outputs are equal."""
        return not self.results


def compare(first: Path, second: Path, *, partial: bool = False, without: Collection[str] = ()) -> Comparison:
    """Compare two runs' folders: results step by step, and inputs, settings, code and environment.

    With ``partial`` the second run was left early, and is compared as far as it goes. ``without`` names settings in which
    they may differ. DataError where one is no run's folder.
    """
    a, b = read_manifest(first), read_manifest(second)
    results = [*_ledgers(first, second, partial), *_metrics(first, second, partial)]
    if not partial:
        results += [*_weights(first, second, a, b), *_outputs(a, b)]
    return Comparison(results, [*_causes(a, b, without), *_changes(first, a), *_changes(second, b)])


def _ledgers(first: Path, second: Path, partial: bool) -> Iterator[str]:
    paths = [inside(run, LEDGER) for run in (first, second)]
    there = [path.is_file() for path in paths]
    if any(there) and not all(there):
        yield f"{first if there[1] else second}: it has no ledger to compare"
    if not all(there):
        return
    for path in paths:
        broken = ledger.first_break(path)
        if broken is not None:
            yield f"{path}:{broken}: the ledger's chain is broken here: the file was changed"
    yield from ledger.compare(paths[0], paths[1], partial)


def _metrics(first: Path, second: Path, partial: bool) -> Iterator[str]:
    a, b = read_jsonl(first / METRICS), read_jsonl(second / METRICS)
    for x, y in zip(a, b, strict=False):
        if x != y:
            names = [f"{name} {x.get(name)} and {y.get(name)}" for name in {**x, **y} if x.get(name) != y.get(name)]
            yield f"metrics first differ at step {x.get('step')}: {', '.join(names)}"
            return
    if len(a) < len(b) or (len(a) > len(b) and not partial):
        yield f"metrics: {len(a)} lines and {len(b)}; they agree as far as both go"


def _weights(first: Path, second: Path, a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    x, y = a.get("weights_sha256"), b.get("weights_sha256")
    for run, described, digest in ((first, a, x), (second, b, y)):
        if digest is None:
            yield f"{run} is {described['status']}, and has no final weights"
    if x is None or y is None or x == y:
        return
    yield f"weights: {plain(x)} and {plain(y)}"
    paths = [inside(run, MODEL) for run in (first, second)]
    if not any(map(checkpoint.verify, paths)):
        ours, theirs = map(checkpoint.load_weights, paths)
        names = [n for n in {**ours, **theirs} if n not in ours or n not in theirs or not _equal(ours[n], theirs[n])]
        yield f"weights that differ: {', '.join(names)}"


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal in bits: NaN equals itself, and 0 is not −0."""
    return weights_sha256({"": first}) == weights_sha256({"": second})


def _outputs(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    ours, theirs = a.get("outputs", {}), b.get("outputs", {})
    names = [name for name in ours if name in theirs and ours[name] != theirs[name] and name not in (METRICS, LEDGER)]
    if names:
        yield f"files that differ: {', '.join(names)}"


def _causes(a: dict[str, Any], b: dict[str, Any], without: Collection[str]) -> Iterator[str]:
    a, b = ({name: value for name, value in each.items() if name not in INCIDENTAL} for each in (a, b))
    for name, x, y in differences(a, b):
        if name.endswith((".path", ".bytes")) or name.removeprefix("config.") in without:
            continue
        if name.startswith("inputs.") and not (isinstance(x, str) and isinstance(y, str)):
            yield f"{name}: {'none' if x is None else x['path']} and {'none' if y is None else y['path']}"
        else:
            yield f"{name}: {plain(x)} and {plain(y)}"


def _changes(run: Path, described: dict[str, Any]) -> Iterator[str]:
    """Where a run went on although something had changed."""
    for change in described.get("changes", []):
        yield f"{run} went on at step {change['step']} with changes: {'; '.join(change['changed'])}"


def changed_files(run: Path) -> list[str]:
    """Files of a finished run that are not what its manifest says, a line each."""
    described = read_manifest(run)
    found = []
    for name, digest in described.get("outputs", {}).items():
        path = inside(run, name, f"{run / 'manifest.json'}: outputs")
        if not path.is_file():
            found.append(f"{path}: it is gone")
        elif sha256_file(path) != digest:
            found.append(f"{path}: it was changed after the run had finished")
    model = inside(run, MODEL)
    if model.is_file() and "weights_sha256" in described:
        fault = checkpoint.verify(model)
        if fault:
            found.append(f"{model}: {fault}")
        elif weights_sha256(checkpoint.load_weights(model)) != described["weights_sha256"]:
            found.append(f"{model}: its weights were changed after the run had finished")
    settings = inside(run, "config.json")
    if not settings.is_file():
        found.append(f"{settings}: it is gone")
    else:
        for name, was, now in differences(described["config"], read_settings(settings)):
            found.append(f"{settings}: {name} is {plain(now)}, and was {plain(was)} in the run")
    return found
