"""A finished run in short, from its manifest alone: for people as Markdown, for machines as plain values.

Nothing is made up. What a manifest does not say, or says in a form that is none of ours, is listed as not known, and so is
what no manifest says. A group of seeds has one card: its scores with their spread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from training.errors import DataError
from training.run import seal
from training.run.folder import read_manifest
from training.run.groups import Group, Summary, check_group, group_seal, group_with, is_group, read_group, seeds_of
from training.visible import counted, listed, markdown_table, one_line, to_json

FORMAT, VERSION = "samebits-card", 1
MARKDOWN, JSON = "MODEL_CARD.md", "card.json"
Described = Mapping[str, Any]
"""A manifest's values."""
LEVELS = {
    "seeded": "random numbers depend on the seed alone; equal bits are not promised",
    "run": "the same bits on the same machine with the same settings",
    "threads": "the same bits with any number of CPU threads on the same machine",
    "machines": "the same bits on any x86-64 CPU, with the same versions of all packages",
}
NEVER_KNOWN = (
    "the language and the license of the data, who made them, and by which rules",
    "how good it is on texts of another kind or another time than those that it was tested on",
    "whom its errors hit, and what it should not be used for",
)
"""What no manifest says."""
MOST = 40  # of settings, types and the like that people are shown; machines get all


@dataclass(frozen=True)
class Section:
    """A part of a card: what machines read, and the lines of Markdown that people read."""

    name: str
    title: str
    facts: Any
    lines: Sequence[str]


@dataclass
class Sections:
    """The parts of a card as far as they are known, and what is not."""

    known: list[Section] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, name: str, title: str, facts: Any, lines: Sequence[str], unknown: str = "") -> None:
        """A part; or, where there are no ``facts``, what is not known instead."""
        if facts:
            self.known.append(Section(name, title, facts, lines))
        elif unknown:
            self.unknown.append(unknown)


OfKind = Callable[[Sequence[Described], Sections], None]
"""Adds to a card what is known of the runs of one kind alone."""


@dataclass(frozen=True)
class Card:
    """A run's or a group's card.

    Args:
        title: its heading.
        kind: of the runs.
        sections: its parts, in order.
        unknown: what is not known, a line each.
    """

    title: str
    kind: str
    sections: Sequence[Section]
    unknown: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        parts = {section.name: section.facts for section in self.sections}
        return {"format": FORMAT, "version": VERSION, "kind": self.kind, **parts, "not_known": list(self.unknown)}

    def to_json(self) -> str:
        """The text of card.json."""
        return to_json(self.to_dict(), indent=1) + "\n"

    def to_markdown(self) -> str:
        """The text of MODEL_CARD.md."""
        parts = [f"# {self.title}", "Made from the manifest alone; nothing was added by hand."]
        for section in self.sections:
            parts += [f"## {section.title}", "\n".join(section.lines)]
        parts += ["## Not known", "\n".join(f"- {line}" for line in self.unknown)]
        return "\n\n".join(parts) + "\n"


def read_card(path: Path, of_kind: Callable[[str], OfKind | None], tell: Callable[[str], None]) -> Card:
    """The card of a finished run or group, which must be what its seal says.

    Args:
        path: its folder.
        of_kind: what adds the parts of a kind of runs; None where nothing is known of the kind.
        tell: hears a line where there is no seal.

    Raises:
        DataError: a run or a group that is not finished, or is not what it says.
    """
    group = read_group(path)
    if is_group(path):
        check_group(path, tell)
        manifests = [read_manifest(path / f"seed_{seed}") for seed in seeds_of(path)]
    else:
        manifests = [read_manifest(path)]
        seal.check(path, manifests[0], (), tell)
        group = group_of(path) or group
    return make_card(manifests, group, of_kind(str(manifests[0]["kind"])))


def group_of(run: Path) -> Group | None:
    """The finished group that a run is one of; None where there is none that can be relied on."""
    folder = group_with(run)
    if folder is None:
        return None
    try:
        check_group(folder, lambda line: None)
        return read_group(folder)
    except DataError:
        return None


def make_card(manifests: Sequence[Described], group: Group | None, of_kind: OfKind | None) -> Card:
    """The card of one run, or of all runs of a group; ``group`` is the one that a single run belongs to."""
    sections = Sections()
    _data(manifests, sections)
    _scores(manifests, group, sections)
    if of_kind is not None:
        of_kind(manifests, sections)
    _settings(manifests, sections)
    _determinism(manifests, sections)
    _verify(manifests, group, sections)
    _versions(manifests, sections)
    kind = str(manifests[0]["kind"])
    seeds = f", {counted(len(manifests), 'seed')}" if len(manifests) > 1 else ""
    return Card(f"Model card: {cell(kind)}{seeds}", kind, sections.known, [*sections.unknown, *NEVER_KNOWN])


# -- what manifests hold ----------------------------------------------------------------------------------------------


def counts(value: Any) -> dict[str, int] | None:
    """Whole numbers from 0 on by name; None for anything else."""
    if not isinstance(value, Mapping) or not all(type(n) is int and n >= 0 for n in value.values()):
        return None
    return {str(name): n for name, n in value.items()}


def number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def in_all(manifests: Sequence[Described], name: str) -> Any:
    """The entry of that name where all manifests have the same; else None."""
    first = manifests[0].get(name)
    return first if all(each.get(name) == first for each in manifests) else None


def cell(value: Any) -> str:
    """A value in one line of Markdown, outside of tables, too."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _data(manifests: Sequence[Described], sections: Sections) -> None:
    found = in_all(manifests, "inputs")
    facts = {
        str(name): {"file": PurePath(each["path"]).name, "sha256": each["sha256"], "bytes": _whole(each.get("bytes"))}
        for name, each in (found or {}).items()
    }
    rows = [
        (cell(name), cell(e["file"]), "" if e["bytes"] is None else f"{e['bytes']:,}", cell(e["sha256"]))
        for name, e in facts.items()
    ]
    lines = markdown_table(("file of", "name", "bytes", "SHA-256"), rows)
    sections.add("data", "Data", facts, lines, "the files that were read: the manifest names none that all runs share")


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _scores(manifests: Sequence[Described], group: Group | None, sections: Sections) -> None:
    single = len(manifests) == 1
    own = {name: n for name, v in manifests[0].get("metrics", {}).items() if (n := number(v)) is not None} if single else {}
    spread = group.summaries() if group is not None and len(group.metrics) > 1 else {}
    facts: dict[str, Any] = {"run": own} if own else {}
    if spread:
        facts["seeds"] = {name: found.to_dict() for name, found in spread.items()}
    names = [*own, *(name for name in spread if name not in own)]
    head = ("metric", *(["this run"] if single else []), *(_SPREAD if spread else []))
    rows = [
        (cell(name), *([f"{own[name]:.4f}" if name in own else ""] if single else []), *_cells(spread, name))
        for name in names
    ]
    lines = markdown_table(head, rows)
    if spread and group is not None:
        lines = [*lines, "", f"Over {len(group.metrics)} seeds; dev is the sample's standard deviation."]
    sections.add("scores", "Scores", facts, lines, "scores: the manifest has none")
    if not spread:
        sections.unknown.append("the spread of the scores over seeds: the run is in no finished group of several (--seeds)")


_SPREAD = ("median", "mean", "dev", "min", "max")


def _cells(spread: Mapping[str, Summary], name: str) -> tuple[str, ...]:
    if not spread:
        return ()
    if name not in spread:
        return ("",) * len(_SPREAD)
    found = spread[name]
    return tuple(f"{v:.4f}" for v in (found.median, found.mean, found.deviation, found.minimum, found.maximum))


def _settings(manifests: Sequence[Described], sections: Sections) -> None:
    shared = {k: v for k, v in manifests[0]["config"].items() if all(each["config"].get(k) == v for each in manifests)}
    # Places say nothing where the card is read; the files that were read stand above, with their digests.
    facts = {str(name): value for name, value in shared.items() if not _has_place(value) and value == value}
    shown = [f"`{cell(name)}` {cell(value)}" for name, value in facts.items() if value not in (None, "", [], False)]
    sections.add("settings", "Settings", facts, [", ".join(shown)], "the settings: the manifest has none")


def _has_place(value: Any) -> bool:
    return any("/" in each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def _determinism(manifests: Sequence[Described], sections: Sections) -> None:
    levels = [str(each.get("environment", {}).get("level") or "") for each in manifests]
    level = levels[0] if len(set(levels)) == 1 else ""
    unkept = list(dict.fromkeys(line for each in manifests for line in each.get("unkept", [])))
    changes = [line for each in manifests for change in each.get("changes", []) for line in change["changed"]]
    facts = {"level": level, "promise": LEVELS.get(level), "not_kept": unkept, "changes": changes} if level else {}
    lines = [f"Level {cell(level)}: {LEVELS.get(level, 'not one that this version knows')}."]
    for title, found in (("Exceptions to this promise", unkept), ("Resumed although something had changed", changes)):
        if found:
            lines += ["", f"{title}:", "", *(f"- {cell(line)}" for line in found[:MOST])]
            left = len(found) - MOST
            lines += [f"- and {left:,} more"] if left > 0 else []
    sections.add("determinism", "Determinism", facts, lines, "the level of determinism")


def _verify(manifests: Sequence[Described], group: Group | None, sections: Sections) -> None:
    single = len(manifests) == 1
    seals = [str(each.get("seal", "")) for each in manifests]
    if not all(seals):
        sections.unknown.append("a seal: the run is of an earlier version, which sealed less; repeat it to have one")
    weights = [str(each.get("weights_sha256", "")) for each in manifests]
    facts: dict[str, Any] = {"weights_sha256": weights, "seal": seals}
    lines = ["`python cli.py verify RUN` trains it again from its own settings and compares every value that it states."]
    if not single and group is not None:
        facts["group_seal"] = group_seal(group.path)
        lines.append(f"The group's seal: SHA-256 {cell(facts['group_seal'])}.")
    seeds = [cell(each["config"].get("seed")) for each in manifests]
    rows = [tuple(map(cell, row)) for row in zip(seeds, weights, seals, strict=True)]
    lines += ["", *markdown_table(("seed", "SHA-256 of the weights", "SHA-256 of the run (its seal)"), rows)]
    sections.add("verify", "How to verify it", facts, lines)


def _versions(manifests: Sequence[Described], sections: Sections) -> None:
    described = manifests[0]
    environment, code = described.get("environment", {}), described.get("code", {})
    found = {name: environment.get(name) for name in ("python", "system", "cpu", "device", "gpu")}
    found |= environment.get("packages", {})
    found |= {f"code {name}": code.get(name) for name in ("source_sha256", "git_commit", "git_clean")}
    facts = {str(name): value for name, value in found.items() if isinstance(value, str | bool) and value != ""}
    for other in manifests[1:]:
        if any(other.get(part) != described.get(part) for part in ("environment", "code")):
            sections.unknown.append("the versions of all runs in one table: they are not the same; the manifests have them")
            return
    if "code git_commit" not in facts:
        sections.unknown.append("the commit of the code: it was in no checkout of git")
    lines = markdown_table(("what", "version"), [(cell(name), cell(value)) for name, value in facts.items()])
    sections.add("versions", "Versions", facts, lines, "the versions of code and packages")


def by_type(title: str, found: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """A table of counts: a row for each name, a column for each of the most frequent types."""
    rows = list(found)
    totals: dict[str, int] = {}
    for _, row in rows:
        for name, n in row.items():
            totals[name] = totals.get(name, 0) + n
    types = sorted(sorted(totals, key=lambda name: (-totals[name], name))[:MOST])
    cells = [(cell(name), f"{sum(row.values()):,}", *(f"{row.get(t, 0):,}" for t in types)) for name, row in rows]
    lines = markdown_table((title, "all", *map(cell, types)), cells)
    left = [name for name in totals if name not in types]
    return (
        [*lines, "", f"Of {len(totals):,} types the most frequent; not shown: {cell(listed(left, 5))}."] if left else lines
    )
