"""Two taggers side by side: groups of runs by their seeds, single runs by their test sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ner.corpus.conll import Columns, read_conll
from ner.corpus.scheme import Span, scheme_named
from ner.scoring.errors import strict_spans
from ner.seeds.significance import Counts, permutation_test, randomization_test
from training.errors import DataError
from training.files import inside
from training.run import seal
from training.run.folder import read_manifest
from training.run.groups import Group, Summary


@dataclass(frozen=True)
class Difference:
    """One metric of two groups; ``p`` over seeds is None where a group has a single run."""

    metric: str
    first: Summary
    second: Summary
    p: float | None


def compare_groups(first: Group, second: Group) -> list[Difference]:
    """Each metric that both have, with the permutation test over seeds."""
    a, b = first.summaries(), second.summaries()
    found = []
    for name in sorted(set(a) & set(b)):
        values = [[each[name] for each in group.metrics.values()] for group in (first, second)]
        p = permutation_test(*values) if min(map(len, values)) > 1 else None
        found.append(Difference(name, a[name], b[name], p))
    return found


def compare_sentences(first: Path, second: Path) -> float:
    """The p-value of the difference in strict F1 of two runs on one test set (ner/seeds/significance.py).

    Each run is read in the scheme that it was trained in. DataError where their predictions.conll do not hold the same
    sentences with the same gold entities.
    """
    ours, theirs = (_predictions(run) for run in (first, second))
    if ours[0] != theirs[0]:
        raise DataError(f"{first} and {second}: expected the same test sentences and gold entities, got different ones")
    return randomization_test(ours[1], theirs[1])


def _predictions(run: Path) -> tuple[list[tuple[Sequence[str], list[Span]]], Counts]:
    """Each sentence's (words, gold entities), and its strict counts of right, predicted and gold ones, (S, 3)."""
    described = read_manifest(run)
    seal.check(run, described, ["predictions.conll"])
    path, scheme = inside(run, "predictions.conll"), scheme_named(str(described["config"].get("scheme")))
    sentences = read_conll(path, columns=Columns(word=0, tag=1))
    gold = strict_spans([s.tags for s in sentences], scheme)
    predicted = strict_spans([s.tags for s in read_conll(path)], scheme)
    rows = [(len(set(g) & set(p)), len(p), len(g)) for g, p in zip(gold, predicted, strict=True)]
    given: list[tuple[Sequence[str], list[Span]]] = [(s.words, g) for s, g in zip(sentences, gold, strict=True)]
    return given, np.array(rows, dtype=np.int64).reshape(-1, 3)


def as_rows(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Plain values, for JSON."""
    return [{"metric": d.metric, "first": d.first.to_dict(), "second": d.second.to_dict(), "p": d.p} for d in differences]
