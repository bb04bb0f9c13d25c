"""What two files of one data set have in common, and what the training split does not have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

from ner.corpus.conll import Sentence, quoted
from ner.corpus.findings import LONG, FileCheck, Finding, finding, text_of
from ner.corpus.scheme import check as check_tags
from ner.corpus.scheme import parse_tag
from ner.corpus.splits import split_of


def between_files(read: list[tuple[FileCheck, list[Sentence]]]) -> Iterator[Finding]:
    """Overlap of sentences, schemes that differ, and words and types that the training split does not have."""
    if not read:
        return
    roles = [split_of(Path(check.path).name) for check, _ in read]
    base = next((check for (check, _), role in zip(read, roles, strict=True) if role == "train"), read[0][0])
    for check, sentences in read:
        if check.scheme != base.scheme and check.scheme and base.scheme and _breaks(sentences, base.scheme):
            text = f"{check.path}: its tags are {check.scheme}, those of {base.path} {base.scheme}"
            yield finding("error", "scheme", text, [], 1)
    for i, j in permutations(range(len(read)), 2):
        if i < j:
            yield from _overlap(*read[i], *read[j])
        if roles[i] == "train" and roles[j] in ("valid", "test"):
            yield from _unseen(*read[i], *read[j])


def _breaks(sentences: list[Sentence], scheme: str) -> bool:
    return any(not fault.harmless for sentence in sentences for fault in check_tags(sentence.tags, scheme))


def _overlap(one: FileCheck, earlier: list[Sentence], other: FileCheck, later: list[Sentence]) -> Iterator[Finding]:
    lines = {sentence.words: sentence.line for sentence in reversed(list(text_of(earlier)))}
    shared = [sentence for sentence in text_of(later) if sentence.words in lines]
    long = [s for s in shared if len(s.words) >= LONG]
    if shared:
        text = (
            f"{other.path}: {len(shared):,} of {other.sentences:,} sentences occur in {one.path}, too; "
            f"of {LONG} or more words"
        )
        places = [f"{s.where()}: line {lines[s.words]} there, {quoted(s.words)}" for s in long]
        yield finding("warning" if long else "note", "overlap", text if long else f"{text}: 0", places, len(long))


def _unseen(train: FileCheck, seen: list[Sentence], other: FileCheck, later: list[Sentence]) -> Iterator[Finding]:
    known = {word for sentence in seen for word in sentence.words}
    unseen = sum(word not in known for sentence in text_of(later) for word in sentence.words)
    share = f"{unseen:,} of {other.words:,} words ({100 * unseen / max(1, other.words):.1f} %)"
    yield Finding("note", "unseen words", f"{other.path}: {share} do not occur in {train.path}", unseen)
    places = [
        f"{sentence.where(index)}: {tag}"
        for sentence in text_of(later)
        for index, tag in enumerate(sentence.tags)
        if tag != "O" and parse_tag(tag)[1] not in train.entities
    ]
    if places:
        yield finding("error", "types", f"{other.path}: tags of types that {train.path} does not have", places)
