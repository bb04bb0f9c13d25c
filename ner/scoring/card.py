"""What a tagger's card says beside what all cards say: sizes of the splits, types, errors by kind, calibration."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ner.corpus.conll import Sentence, entities_by_type
from ner.scoring.errors import KINDS, MEANING
from ner.scoring.report import Evaluation
from training.run.card import Described, Sections, by_type, cell, counts, in_all, number
from training.visible import markdown_table

SPLITS, ERRORS, CALIBRATION, TEMPERATURE = "splits", "errors", "calibration", "confidence_temperature"
SPLIT_NAMES = ("train", "valid", "test")


def split_sizes(sentences: Sequence[Sentence]) -> dict[str, Any]:
    """How many sentences and words a split has, and how many entities of each type; for the manifest."""
    entities = entities_by_type(sentences)
    words = sum(len(sentence.words) for sentence in sentences)
    return {"sentences": len(sentences), "words": words, "entities": dict(sorted(entities.items()))}


def error_counts(found: Evaluation) -> dict[str, dict[str, int]]:
    """Errors of the test by kind and type, but for zeros; for the manifest."""
    return {kind: {name: n for name, n in row.items() if n} for kind, row in found.by_kind().items()}


def add(manifests: Sequence[Described], sections: Sections) -> None:
    """Add to a card what is known of taggers' runs alone."""
    _splits(manifests, sections)
    _errors(manifests, sections)
    _calibration(manifests, sections)


def _splits(manifests: Sequence[Described], sections: Sections) -> None:
    shared = in_all(manifests, SPLITS)
    found: dict[str, dict[str, Any]] = {}
    for name in SPLIT_NAMES:
        split = shared.get(name) if isinstance(shared, Mapping) else None
        sizes = counts({key: split.get(key) for key in ("sentences", "words")}) if isinstance(split, Mapping) else None
        entities = counts(split.get("entities")) if isinstance(split, Mapping) else None
        if sizes is not None and entities is not None:
            found[name] = {**sizes, "entities": entities}
    rows = [(name, f"{each['sentences']:,}", f"{each['words']:,}") for name, each in found.items()]
    lines = [
        *markdown_table(("split", "sentences", "words"), rows),
        "",
        *by_type("entities of", [(name, each["entities"]) for name, each in found.items()]),
    ]
    sections.add(
        SPLITS, "Sizes and types", found, lines, "the sizes of the splits and their types: an earlier version kept none"
    )


def _errors(manifests: Sequence[Described], sections: Sections) -> None:
    runs = [_errors_of(each) for each in manifests]
    known = [run for run in runs if run is not None]
    if len(known) < len(runs):
        sections.unknown.append("errors by kind: a run was not tested, or is of a version that did not keep them")
        return
    total = {kind: {t: sum(run[kind].get(t, 0) for run in known) for t in _types(known, kind)} for kind in KINDS}
    lines = by_type("kind", [(f"{kind}: {MEANING[kind]}", row) for kind, row in total.items()])
    over = f"all {len(known)} seeds together, " if len(known) > 1 else ""
    sections.add(ERRORS, "Errors by kind", total, [*lines, "", f"On the test file, {over}with strict scoring."])


def _errors_of(described: Described) -> dict[str, dict[str, int]] | None:
    found = described.get(ERRORS)
    rows = {kind: counts(found.get(kind)) for kind in KINDS} if isinstance(found, Mapping) else {}
    known = {kind: row for kind, row in rows.items() if row is not None}
    return known if len(known) == len(KINDS) else None


def _types(runs: Sequence[Mapping[str, Mapping[str, int]]], kind: str) -> list[str]:
    return sorted({name for run in runs for name in run[kind]})


def _calibration(manifests: Sequence[Described], sections: Sections) -> None:
    sections.unknown.append("how well calibrated its confidences are on the test file")
    temperatures = [t for each in manifests if (t := number(each.get(TEMPERATURE))) is not None]
    if len(temperatures) < len(manifests):
        sections.unknown.append("how well calibrated its confidences are: there was no validation to calibrate them on")
        return
    facts: dict[str, Any] = {"temperature": temperatures}
    lines = [
        f"Confidences are divided by a temperature, fitted on the validation file: {', '.join(map(cell, temperatures))}."
    ]
    fits = [_fit_of(each) for each in manifests]
    known = [fit for fit in fits if fit is not None]
    if len(known) == len(fits):
        facts["fits"] = known
        before, after = (statistics.fmean(fit[name] for fit in known) for name in ("before", "after"))
        entities = ", ".join(f"{fit['entities']:,.0f}" for fit in known)
        if all(fit["before"] for fit in known):
            lines.append(f"Log loss of the entities found there ({entities}): {before:.4f} without it, {after:.4f} with it.")
        else:
            lines.append(f"Entities found there: {entities}; where they are too few to fit a temperature, it is 1.")
    else:
        sections.unknown.append("the log loss of the confidences: a run is of a version that did not keep it")
    sections.add(CALIBRATION, "Calibration", facts, lines)


def _fit_of(described: Described) -> dict[str, float] | None:
    found = described.get(CALIBRATION)
    values = (
        {name: number(found.get(name)) for name in ("entities", "before", "after")} if isinstance(found, Mapping) else {}
    )
    known = {name: value for name, value in values.items() if value is not None}
    return known if len(known) == 3 else None
