"""Comparing runs: whether one was repeated bit for bit, and in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import ledger
from training.manifest import differences
from training.run import LEDGER, METRICS, read_jsonl, read_manifest

# In the manifest but no part of what a run is: when and where it ran, and how it was called.
INCIDENTAL = ("argv", "seconds", "status", "outputs", "weights_sha256", "metrics")


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common. ``results`` differ in bits; ``causes`` are what could have made them differ."""

    results: list[str]
    causes: list[str]

    @property
    def same_bits(self) -> bool:
        """Whether weights, metrics and ledgers are equal."""
        return not self.results


def compare(first: Path, second: Path) -> Comparison:
    """Compare two runs' folders: results step by step, and inputs, settings, code and environment.

    DataError where one is no run's folder.
    """
    a, b = read_manifest(first), read_manifest(second)
    results = [*_ledgers(first, second), *_metrics(first, second), *_weights(a, b)]
    kept_a, kept_b = ({k: v for k, v in m.items() if k not in INCIDENTAL} for m in (a, b))
    causes = [
        f"{name}: {_short(x)} and {_short(y)}" for name, x, y in differences(kept_a, kept_b) if not name.endswith(".path")
    ]
    return Comparison(results, causes)


def _ledgers(first: Path, second: Path) -> Iterator[str]:
    paths = [run / LEDGER for run in (first, second)]
    if not all(path.is_file() for path in paths):
        return
    for path in paths:
        broken = ledger.first_break(path)
        if broken is not None:
            yield f"{path}:{broken}: the ledger's chain is broken here: the file was changed"
            return
    yield from ledger.compare(*paths)


def _metrics(first: Path, second: Path) -> Iterator[str]:
    a, b = read_jsonl(first / METRICS), read_jsonl(second / METRICS)
    for x, y in zip(a, b, strict=False):
        if x != y:
            names = [f"{name} {x.get(name)} and {y.get(name)}" for name in sorted({*x, *y}) if x.get(name) != y.get(name)]
            yield f"metrics first differ at step {x.get('step')}: {', '.join(names)}"
            return
    if len(a) != len(b):
        yield f"metrics: {len(a)} lines and {len(b)}; they agree as far as both go"


def _weights(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    x, y = a.get("weights_sha256"), b.get("weights_sha256")
    if x != y:
        yield f"weights: {_short(x)} and {_short(y)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def list_runs(root: Path) -> list[dict[str, Any]]:
    """One row for each run below ``root``, by kind and number: name, status, best F1, level, threads, digest."""
    rows = []
    for path in sorted(root.glob("*/*/manifest.json"), key=lambda p: (p.parts[-3], _number(p.parts[-2]), p.parts[-2])):
        described = read_manifest(path.parent)
        metrics = described.get("metrics", {})
        environment = described.get("environment", {})
        rows.append(
            {
                "run": str(path.parent),
                "status": described["status"],
                "test F1": f"{metrics['test_f1']:.4f}" if "test_f1" in metrics else "",
                "level": environment.get("level", ""),
                "threads": str(environment.get("threads", "")),
                "weights": described.get("weights_sha256", "")[:12],
            }
        )
    return rows


def _number(name: str) -> int:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1
