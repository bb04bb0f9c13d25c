"""What a check of data finds: numbers of each file, and findings with their places; as text and as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ner.corpus.conll import Sentence
from training.visible import LONGEST, counted, one_line

LEVELS = ("error", "warning", "note")
SHOWN = 10  # places that a finding names
LONG = 8  # words from which a sentence found twice is no coincidence (datelines and score lines repeat by nature)


@dataclass(frozen=True)
class Finding:
    """``level``: "error" (training or scoring would fail or mislead), "warning" (look at it) or "note"."""

    level: str
    kind: str
    text: str
    count: int
    places: tuple[str, ...] = ()  # "file:line: what", the first SHOWN of them


@dataclass(frozen=True)
class FileCheck:
    """The numbers of one file; -DOCSTART- rows are counted as ``documents`` and nowhere else."""

    path: str
    sha256: str
    sentences: int
    words: int
    documents: int
    distinct_words: int
    scheme: str | None
    """None where no tag is an entity's."""
    tags: dict[str, int]
    entities: dict[str, int]
    lengths: dict[str, float]
    """Words a sentence: min, median, mean, max."""


@dataclass(frozen=True)
class DataCheck:
    """The files that could be read, and all findings."""

    files: list[FileCheck]
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.level != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def to_text(self) -> str:
        """For people: a paragraph a file, then the findings, errors first."""
        blocks = [_file_text(each) for each in self.files]
        for level in LEVELS:
            for finding in self.findings:
                if finding.level == level:
                    more = finding.count - len(finding.places)
                    places = [*finding.places, *([f"and {more:,} more"] if finding.places and more > 0 else [])]
                    lines = [f"{level}: {finding.text}", *(f"  {place}" for place in places)]
                    blocks.append("\n".join(map(one_line, lines)))
        counts = Counter(finding.level for finding in self.findings)
        blocks.append(", ".join(counted(counts[level], level) for level in LEVELS))
        return "\n\n".join(blocks) + "\n"


def _file_text(check: FileCheck) -> str:
    tags = ", ".join(f"{tag} {count:,}" for tag, count in check.tags.items())
    entities = ", ".join(f"{kind or '(no name)'} {count:,}" for kind, count in check.entities.items()) or "none"
    span = check.lengths
    return "\n".join(one_line(line, 100 * LONGEST) for line in (
        f"{check.path}: {counted(check.sentences, 'sentence')}, {counted(check.words, 'word')} "
        f"({check.distinct_words:,} distinct), {counted(check.documents, 'document')} marked, "
        f"scheme {check.scheme or 'unknown (no entity)'}",
        f"  entities: {entities}",
        f"  tags: {tags}",
        f"  words per sentence: {span['min']:g} to {span['max']:g}, median {span['median']:g}, mean {span['mean']:.1f}",
        f"  SHA-256 {check.sha256}",
    ))  # fmt: skip


def finding(level: str, kind: str, text: str, places: Sequence[str], count: int | None = None) -> Finding:
    """A finding with its first places; ``count`` None: as many as there are places."""
    count = len(places) if count is None else count
    return Finding(level, kind, f"{text}: {count:,}" if places else text, count, tuple(places[:SHOWN]))


def text_of(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    """The sentences that are no -DOCSTART- rows."""
    return (sentence for sentence in sentences if not sentence.is_docstart)


def by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first, equal ones by name."""
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}
