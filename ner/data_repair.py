"""Repairing tags: one policy, conlleval's reading (ner/scheme.py), applied to a file only when somebody asks for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from ner.conll import Columns, Sentence, read_conll, write_conll
from ner.findings import SHOWN, counted
from ner.scheme import check, convert, detect, repair, scheme_named
from training.errors import ConfigError


@dataclass(frozen=True)
class Repaired:
    """What was changed: tags, sentences, the faults by what they are, and the first places."""

    source: str
    target: str
    scheme: str
    written: str
    tags: int
    sentences: int
    faults: dict[str, int]
    places: tuple[str, ...]

    def to_text(self) -> str:
        """For people: the counts, each kind of fault, and places."""
        what = f"{counted(self.tags, 'tag')} in {counted(self.sentences, 'sentence')} changed"
        lines = [f"{self.source}: {what}, as conlleval reads them"]
        lines += [f"  {what}: {count:,}" for what, count in self.faults.items()]
        lines += [f"  {place}" for place in self.places]
        scheme = self.scheme if self.scheme == self.written else f"{self.scheme} → {self.written}"
        return "\n".join([*lines, f"{self.target}: written ({scheme})"])


def repair_file(
    source: str | Path, target: str | Path, scheme: str | None = None, columns: Columns | None = None
) -> Repaired:
    """Write ``source`` to ``target`` with tags that are well formed in its own scheme, or in ``scheme``.

    All other columns stay as they are; comments and repeated blank lines are left out. Only tags are repaired: DataError
    (file:line) for rows that cannot be read. ConfigError where ``target`` is there already.
    """
    columns = columns or Columns()
    written = None if scheme is None else scheme_named(scheme)
    if Path(target).exists():
        raise ConfigError(f"{target} exists already; give another file, or move that one away")
    sentences = read_conll(source, columns=columns)
    found = detect(sentence.tags for sentence in sentences).scheme
    faults: Counter[str] = Counter()
    places: list[str] = []
    result: list[Sentence] = []
    changed = touched = 0
    for sentence in sentences:
        tags, changes = repair(sentence.tags, found)
        for fault in check(sentence.tags, found):
            faults[fault.what] += 1
            places.append(f"{sentence.where(fault.index)}: {fault.what}")
        changed, touched = changed + changes, touched + bool(changes)
        result.append(_with_tags(sentence, convert(tags, found, written) if written else tags, columns))
    try:
        write_conll(target, result)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}; give another file") from None
    ordered = {what: faults[what] for what in sorted(faults, key=lambda what: (-faults[what], what))}
    return Repaired(str(source), str(target), found, written or found, changed, touched, ordered, tuple(places[:SHOWN]))


def _with_tags(sentence: Sentence, tags: list[str], columns: Columns) -> Sentence:
    """The sentence with other tags in its tag column; a -DOCSTART- row as it stands."""
    if sentence.is_docstart or columns.tag is None:
        return sentence
    at = columns.tag % len(sentence.columns[0])
    rows = tuple((*row[:at], tag, *row[at + 1 :]) for row, tag in zip(sentence.columns, tags, strict=True))
    return replace(sentence, tags=tuple(tags), columns=rows)
