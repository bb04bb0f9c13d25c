"""Comparing runs: whether one was repeated bit for bit, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import checkpoint
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.files import inside
from training.run import ledger_file, seal, stored_weights
from training.run.folder import LEDGER, METRICS, has_finished, read_jsonl, read_manifest, status_of
from training.run.kinds import Kinds
from training.run.manifest import differences, plain

# In the manifest but no part of what a run is: when and where it ran, how it was called, and what came out.
INCIDENTAL = (
    "argv", "seconds", "status", "outputs", "files", "unsealed", "format", "seal", "weights_sha256", "metrics",
    "changes", "folder", "begun", "script",
)  # fmt: skip
# Entries of a manifest that a repetition need not make again: what it began with is told as a cause where it differs, what
# went on around it repeats no more than the time of day does, and its files and weights are compared by themselves.
NOT_REPEATED = (
    "config", "inputs", "code", "environment", "argv", "seconds", "folder", "begun", "changes", "format", "seal", "outputs",
    "files", "unsealed", "weights_sha256", "script",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common. ``results`` differ in bits; ``causes`` are what could have made them differ."""

    results: list[str]
    causes: list[str]

    @property
    def same_bits(self) -> bool:
        """Whether weights, metrics, ledgers and outputs are equal."""
        return not self.results


def compare(
    first: Path,
    second: Path,
    *,
    partial: bool = False,
    repeated: bool = False,
    without: Collection[str] = (),
    kinds: Kinds | None = None,
) -> Comparison:
    """Compare two runs' folders: results step by step, and inputs, settings, code and environment.

    A finished run must be what its seal says; where it is not, that is a result that differs. With ``partial`` the second
    run was left early, and is compared as far as it goes. With ``repeated`` it is the first one's repetition: all that the
    first one says of its results must have come out again, and who had it repeated has looked at the seal. ``without``
    names settings in which they may differ; ``kinds`` knows what more in a manifest is no cause but a result. DataError
    where one is no run's folder.
    """
    a, b = read_manifest(first), read_manifest(second)
    pages = [name for each in (kinds or {}).values() for name in each.pages if _other_code(a, b)]
    results = [] if repeated else [*_seals(first, a), *_seals(second, b)]
    results += [*_ledgers(first, second, partial), *_metrics(first, second, partial)]
    if not partial:
        results += [*_weights(first, second, a, b), *_outputs(a, b, repeated, pages)]
    if repeated:
        results += _not_repeated(first, second, a, b, partial)
    a, b = (_completed(each, kinds or {}) for each in (a, b))
    came_out = [name for each in (kinds or {}).values() for name in each.results]
    not_yet = [name for name in a if partial and name not in b]  # a run that was left early has not come to these
    not_yet += [name for name in b if repeated and name not in a and _other_code(a, b)]  # nor an earlier version
    return Comparison(
        results,
        [
            *_causes(a, b, without, (*INCIDENTAL, *came_out, *not_yet)),
            *([] if partial else _pages(a, b, pages)),
            *_changes(first, a),
            *_changes(second, b),
        ],
    )


def _completed(described: Mapping[str, Any], kinds: Kinds) -> dict[str, Any]:
    """The manifest; a setting that the run's version did not have yet has its default."""
    kind = kinds.get(described["kind"])
    config_class = TrainConfig if kind is None else kind.config_class()
    return {**described, "config": config_class.completed(described["config"])}


def _seals(run: Path, described: dict[str, Any]) -> list[str]:
    return seal.faults(run, described) if has_finished(described) else []


def _ledgers(first: Path, second: Path, partial: bool) -> Iterator[str]:
    paths = [inside(run, LEDGER) for run in (first, second)]
    there = [path.is_file() for path in paths]
    if any(there) and not all(there):
        yield f"{first if there[1] else second}: it has no ledger to compare"
    if not all(there):
        return
    for path in paths:
        broken = ledger_file.first_break(path)
        if broken is not None:
            yield f"{path}:{broken}: the ledger's chain is broken here: the file was changed"
    yield from ledger_file.compare(paths[0], paths[1], partial)


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
            yield f"{run} is {status_of(run, described)}, and has no final weights"
    if x is None or y is None or x == y:
        return
    yield f"weights: {plain(x)} and {plain(y)}"
    paths = [inside(run, seal.MODEL) for run in (first, second)]
    if not any(map(checkpoint.verify, paths)):
        yield f"weights that differ: {', '.join(stored_weights.differing(*paths))}"


def _outputs(a: dict[str, Any], b: dict[str, Any], repeated: bool, pages: Collection[str]) -> Iterator[str]:
    """Files of one alone, or that differ, but for ``pages`` that other code may lay out in another way."""
    ours, theirs = ({name: value for name, value in each.get("outputs", {}).items() if name not in pages} for each in (a, b))
    names = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    if names := [name for name in names if repeated or name not in (METRICS, LEDGER)]:
        yield f"files that differ: {', '.join(names)}"
    if "seal" not in a or "seal" not in b:
        return  # of an earlier version, which gave the digests of fewer files
    for one, other, which in ((ours, theirs, "first"), (theirs, ours, "second")):
        if alone := [name for name in one if name not in other and (repeated or name not in (METRICS, LEDGER))]:
            yield f"files of the {which} alone: {', '.join(alone)}"


def _pages(a: Mapping[str, Any], b: Mapping[str, Any], pages: Collection[str]) -> Iterator[str]:
    """Of ``pages`` those that differ."""
    ours, theirs = a.get("outputs", {}), b.get("outputs", {})
    for name in pages:
        if ours.get(name) != theirs.get(name):
            yield f"{name}: a page of the results above, which the two versions of the code lay out in other ways"


def _not_repeated(first: Path, second: Path, a: dict[str, Any], b: dict[str, Any], partial: bool) -> Iterator[str]:
    """What the first run says of itself, and its repetition does not say."""
    levels = [each.get("environment", {}).get("level") for each in (a, b)]
    if levels[0] != levels[1]:
        yield f"environment.level: {plain(levels[0])}, and {plain(levels[1])} when it was repeated"
    read, again = (
        {name: sorted(each) for name, each in described.get("inputs", {}).items()} for described in (a, b)
    )  # their digests are told as causes
    for name, x, y in differences(read, again):
        yield f"inputs.{name}: {plain(x)}, and {plain(y)} when it was repeated"
    if partial or b["status"] != "finished":
        return
    ours, theirs = ({name: value for name, value in each.items() if name not in NOT_REPEATED} for each in (a, b))
    for name, x, y in differences(ours, theirs):
        if x is None and _other_code(a, b):
            continue  # an earlier version did not state it
        yield f"{name}: {plain(x)}, and {plain(y)} when it was repeated"
    for name in a.get("files", {}):
        if name.endswith(".ckpt") and (fault := _other_weights(inside(first, name), inside(second, name))):
            yield f"{first / name}: {fault}"


def _other_code(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether the runs were made by different versions, as far as they say so."""
    x, y = (each.get("code", {}).get("source_sha256") for each in (a, b))
    return bool(x != y)


def _other_weights(ours: Path, theirs: Path) -> str:
    """What is wrong where a kept checkpoint does not hold the weights that its repetition holds."""
    if ResumeStore.pattern.fullmatch(ours.name):
        return ""  # a repetition writes none: --from goes on from them
    if fault := checkpoint.verify(ours):
        return fault
    if checkpoint.verify(theirs):
        return "the repetition has no such checkpoint"
    same = stored_weights.weights_sha256(ours) == stored_weights.weights_sha256(theirs)
    return "" if same else "its weights are not those of the repetition"


def _causes(a: dict[str, Any], b: dict[str, Any], without: Collection[str], incidental: Collection[str]) -> Iterator[str]:
    a, b = ({name: value for name, value in each.items() if name not in incidental} for each in (a, b))
    for name, x, y in differences(a, b):
        if name.endswith((".path", ".bytes")) or name.removeprefix("config.") in without:
            continue
        if name.startswith("inputs.") and not (isinstance(x, str) and isinstance(y, str)):
            yield f"{name}: {_path(x)} and {_path(y)}"
        else:
            yield f"{name}: {plain(x)} and {plain(y)}"


def _path(entry: Any) -> str:
    """The place of an input; of a changed manifest the entry may be anything."""
    return str(entry["path"]) if isinstance(entry, dict) else plain(entry)


def _changes(run: Path, described: dict[str, Any]) -> Iterator[str]:
    """Where a run went on although something had changed."""
    for change in described.get("changes", []):
        yield f"{run} was resumed at step {change['step']} with changes: {'; '.join(change['changed'])}"
