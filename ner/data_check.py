"""What is in these CoNLL files, and what is wrong with them, by file:line. Nothing is repaired here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from ner.conll import Columns, Sentence, iter_conll
from ner.odd_words import oddities
from ner.scheme import check as check_tags
from ner.scheme import detect, parse_tag, to_spans
from ner.splits import split_of
from training.errors import DataError
from training.files import sha256_file

LEVELS = ("error", "warning", "note")
SHOWN = 10  # places that a finding names
LONG = 8  # words from which a sentence found twice is no coincidence (datelines and score lines repeat by nature)

# Published sums: (sentences, words, entities), -DOCSTART- rows not counted.
KNOWN = {
    "eng.train": ("CoNLL-2003 English, training split", (14041, 203621, 23499)),
    "eng.testa": ("CoNLL-2003 English, validation split", (3250, 51362, 5942)),
    "eng.testb": ("CoNLL-2003 English, test split", (3453, 46435, 5648)),
}


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
                    blocks.append("\n".join([f"{level}: {finding.text}", *(f"  {place}" for place in places)]))
        counts = Counter(finding.level for finding in self.findings)
        blocks.append(", ".join(f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in LEVELS))
        return "\n\n".join(blocks) + "\n"


def _file_text(check: FileCheck) -> str:
    tags = ", ".join(f"{tag} {count:,}" for tag, count in check.tags.items())
    entities = ", ".join(f"{kind or '(no name)'} {count:,}" for kind, count in check.entities.items()) or "none"
    span = check.lengths
    return "\n".join([
        f"{check.path}: {check.sentences:,} sentences, {check.words:,} words ({check.distinct_words:,} distinct), "
        f"{check.documents:,} documents marked, scheme {check.scheme or 'not told (no entity)'}",
        f"  entities: {entities}",
        f"  tags: {tags}",
        f"  words a sentence: {span['min']:g} to {span['max']:g}, median {span['median']:g}, mean {span['mean']:.1f}",
        f"  SHA-256 {check.sha256}",
    ])  # fmt: skip


def data_check(
    paths: Sequence[str | Path],
    has_vector: Callable[[str], bool] | None = None,
    *,
    columns: Columns | None = None,
) -> DataCheck:
    """Read files and say what they hold and what is wrong; each is judged by itself, then each against the others.

    ``has_vector`` says of a raw word whether word vectors know it. A file whose name says that it is a training split
    (ner/splits.py) gives the words and types that are "seen in training" for the others. Nothing is raised for what
    stands in the files: a file that cannot be read is an error among the findings.
    """
    read: list[tuple[FileCheck, list[Sentence]]] = []
    findings: list[Finding] = []
    for path in paths:
        sentences, problems = _read(path, columns)
        if problems:
            findings.append(_finding("error", "form", f"{path}: what cannot be read", problems))
        if all(sentence.is_docstart for sentence in sentences):
            if not problems:
                findings.append(_finding("error", "empty", f"{path}: expected sentences, got none", [], 1))
            continue
        check = _describe(path, sentences)
        read.append((check, sentences))
        findings += _tag_findings(check, sentences)
        findings += _known_sums(check)
        findings += _odd_words(check, sentences)
        findings += _repetitions(check, sentences)
        if has_vector:
            findings.append(_without_vectors(check, sentences, has_vector))
    findings += _between_files(read)
    return DataCheck([check for check, _ in read], findings)


def _finding(level: str, kind: str, text: str, places: Sequence[str], count: int | None = None) -> Finding:
    count = len(places) if count is None else count
    return Finding(level, kind, f"{text}: {count:,}" if places else text, count, tuple(places[:SHOWN]))


def _read(path: str | Path, columns: Columns | None) -> tuple[list[Sentence], list[str]]:
    """The sentences that can be read, -DOCSTART- rows too, and what is wrong with rows, or with the whole file."""
    problems: list[str] = []
    sentences: list[Sentence] = []
    try:
        with open(path, "rb") as stream:
            sentences.extend(iter_conll(stream, str(path), columns=columns, problems=problems))
    except OSError as error:
        problems.append(f"{path}: expected a CoNLL file, cannot read it: {error.strerror}")
    except DataError as error:
        problems.append(str(error))
    return sentences, problems


def _text(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    return (sentence for sentence in sentences if not sentence.is_docstart)


def _describe(path: str | Path, sentences: list[Sentence]) -> FileCheck:
    text = list(_text(sentences))
    tags = Counter(tag for sentence in text for tag in sentence.tags)
    entities = Counter(span.type for sentence in text for span in to_spans(sentence.tags))
    sizes = np.array([len(sentence.words) for sentence in text])
    found = detect(sentence.tags for sentence in text)
    return FileCheck(
        path=str(path),
        sha256=sha256_file(path),
        sentences=len(text),
        words=int(sizes.sum()),
        documents=len(sentences) - len(text),
        distinct_words=len({word for sentence in text for word in sentence.words}),
        scheme=found.scheme if found.has_entities else None,
        tags=_sorted(tags),
        entities=_sorted(entities),
        lengths={name: float(getattr(np, name)(sizes)) for name in ("min", "median", "mean", "max")},
    )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def _tag_findings(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    """Faults under the file's scheme, and types that look like one type in two spellings."""
    found = detect(sentence.tags for sentence in sentences)
    for level, harmless in (("error", False), ("note", True)):
        places = [
            f"{sentences[number].where(fault.index)}: {fault.what}"
            for number, fault in found.faults
            if fault.harmless == harmless
        ]
        meaning = "tags that are needless in" if harmless else "tags that break"
        if places:
            yield _finding(level, "scheme", f"{check.path}: {meaning} {found.scheme}", places)
    if not found.has_entities:
        yield _finding("warning", "no entities", f"{check.path}: every tag is O", [], 1)
    by_form: dict[str, list[str]] = {}
    for kind in check.entities:
        by_form.setdefault(re.sub(r"[\W_]", "", kind).casefold(), []).append(kind)
    for kinds in by_form.values():
        if len(kinds) > 1:
            yield _finding("warning", "types", f"{check.path}: types that may be one: {', '.join(sorted(kinds))}", [], 1)


def _known_sums(check: FileCheck) -> Iterator[Finding]:
    sums = (check.sentences, check.words, sum(check.entities.values()))
    as_words = "{:,} sentences, {:,} words, {:,} entities".format
    for name, (title, known) in KNOWN.items():
        if sums == known:
            yield _finding("note", "known sums", f"{check.path}: {as_words(*sums)}, as {title} has", [], 1)
        elif Path(check.path).name == name:
            text = f"{check.path}: expected the sums of {title}, {as_words(*known)}, got {as_words(*sums)}"
            yield _finding("warning", "known sums", text, [], 1)


def _odd_words(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    odd = {word: tuple(oddities(word)) for word in {word for each in sentences for word in each.words}}
    places: dict[str, list[str]] = {}
    for sentence in sentences:
        for index, word in enumerate(sentence.words):
            for what, shown in odd[word]:
                places.setdefault(what, []).append(f"{sentence.where(index)}: {shown}")
    for what, found in sorted(places.items()):
        yield _finding("warning", "characters", f"{check.path}: words with {what}", found)


def _repetitions(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    """Sentences that occur again in the file, and such that are tagged in another way there."""
    first: dict[tuple[str, ...], Sentence] = {}
    again: list[str] = []
    differently: list[str] = []
    for sentence in _text(sentences):
        before = first.setdefault(sentence.words, sentence)
        if before is sentence:
            continue
        if to_spans(before.tags) != to_spans(sentence.tags):
            differently.append(f"{sentence.where()}: as line {before.line}, {_shown(sentence)}")
        if len(sentence.words) >= LONG:
            again.append(f"{sentence.where()}: as line {before.line}, {_shown(sentence)}")
    if again:
        text = f"{check.path}: sentences of {LONG} or more words that stand in it before"
        yield _finding("note", "duplicates", text, again)
    if differently:
        text = f"{check.path}: sentences that are tagged in another way than before"
        yield _finding("warning", "duplicates", text, differently)


def _shown(sentence: Sentence) -> str:
    text = " ".join(sentence.words)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _without_vectors(check: FileCheck, sentences: list[Sentence], has_vector: Callable[[str], bool]) -> Finding:
    counts = Counter(word for sentence in _text(sentences) for word in sentence.words)
    missing = Counter({word: count for word, count in counts.items() if not has_vector(word)})
    total = sum(missing.values())
    text = (
        f"{check.path}: {len(missing):,} of {len(counts):,} distinct words have no vector, "
        f"{total:,} of {check.words:,} in the text ({100 * total / max(1, check.words):.1f} %)"
    )
    most = list(_sorted(missing).items())[:SHOWN]
    return Finding("note", "vectors", f"{text}; the most frequent", total, tuple(f"{word!r} {n:,}" for word, n in most))


def _between_files(read: list[tuple[FileCheck, list[Sentence]]]) -> Iterator[Finding]:
    """Overlap of sentences, schemes that differ, and words and types that the training split does not have."""
    if not read:
        return
    roles = [split_of(Path(check.path).name) for check, _ in read]
    base = next((check for (check, _), role in zip(read, roles, strict=True) if role == "train"), read[0][0])
    for check, sentences in read:
        if check.scheme != base.scheme and check.scheme and base.scheme and _breaks(sentences, base.scheme):
            text = f"{check.path}: its tags are {check.scheme}, those of {base.path} {base.scheme}"
            yield _finding("error", "scheme", text, [], 1)
    for i, j in permutations(range(len(read)), 2):
        if i < j:
            yield from _overlap(*read[i], *read[j])
        if roles[i] == "train" and roles[j] in ("valid", "test"):
            yield from _unseen(*read[i], *read[j])


def _breaks(sentences: list[Sentence], scheme: str) -> bool:
    return any(not fault.harmless for sentence in sentences for fault in check_tags(sentence.tags, scheme))


def _overlap(one: FileCheck, earlier: list[Sentence], other: FileCheck, later: list[Sentence]) -> Iterator[Finding]:
    lines = {sentence.words: sentence.line for sentence in reversed(list(_text(earlier)))}
    shared = [sentence for sentence in _text(later) if sentence.words in lines]
    long = [s for s in shared if len(s.words) >= LONG]
    if shared:
        text = (
            f"{other.path}: {len(shared):,} of {other.sentences:,} sentences stand in {one.path} too; "
            f"of {LONG} or more words"
        )
        places = [f"{s.where()}: line {lines[s.words]} there, {_shown(s)}" for s in long]
        yield _finding("warning" if long else "note", "overlap", text if long else f"{text}: 0", places, len(long))


def _unseen(train: FileCheck, seen: list[Sentence], other: FileCheck, later: list[Sentence]) -> Iterator[Finding]:
    known = {word for sentence in seen for word in sentence.words}
    unseen = sum(word not in known for sentence in _text(later) for word in sentence.words)
    share = f"{unseen:,} of {other.words:,} words ({100 * unseen / max(1, other.words):.1f} %)"
    yield Finding("note", "unseen words", f"{other.path}: {share} never stand in {train.path}", unseen)
    places = [
        f"{sentence.where(index)}: {tag}"
        for sentence in _text(later)
        for index, tag in enumerate(sentence.tags)
        if tag != "O" and parse_tag(tag)[1] not in train.entities
    ]
    if places:
        yield _finding("error", "types", f"{other.path}: tags of types that {train.path} does not have", places)
