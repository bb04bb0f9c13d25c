"""What is in these labeled files, and what is wrong with them, by file:line. Nothing is repaired here."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence, entities_by_type, number_words, quoted
from ner.corpus.findings import LONG, SHOWN, DataCheck, FileCheck, Finding, by_count, finding, text_of
from ner.corpus.labeled import LABELED, Labeled, files_of, read_labeled
from ner.corpus.odd_words import oddities
from ner.corpus.overlap import between_files
from ner.corpus.scheme import detect, doubtful_types, to_spans
from training.errors import DataError
from training.files import sha256_file
from training.job_progress import JobProgress
from training.visible import counted
from word2vec.text.file_kinds import Opened, opened

MEGABYTE = 1 << 20
# Published sums: (sentences, words, entities) without the -DOCSTART- rows, and how many of these there are.
KNOWN = {
    "eng.train": ("CoNLL-2003 English, training split", (14041, 203621, 23499), 946),
    "eng.testa": ("CoNLL-2003 English, validation split", (3250, 51362, 5942), 216),
    "eng.testb": ("CoNLL-2003 English, test split", (3453, 46435, 5648), 231),
}


def data_check(
    paths: Sequence[str | Path],
    has_vector: Callable[[str], bool] | None = None,
    *,
    columns: Columns | None = None,
    rules: SpanRules | None = None,
    progress: JobProgress | None = None,
) -> DataCheck:
    """Read files and say what they hold and what is wrong; each is judged by itself, then each against the others.

    ``has_vector`` says of a raw word whether word vectors know it. A file whose name says that it is a training split
    (ner/corpus/splits.py) gives the words and types that are "seen in training" for the others. Without
    ``columns`` the first and the last are read, or those that the content shows; without ``rules`` spans that tags cannot
    say are errors. Nothing is raised for what stands in the files: a file that cannot be read is an error among the
    findings. ``progress`` is told what is read, and
    how many of its bytes, (what, done, total).
    """
    read: list[tuple[FileCheck, list[Sentence]]] = []
    findings: list[Finding] = []
    for path in paths:
        labeled, problems = _read(path, columns, rules, progress)
        sentences = labeled.sentences
        if problems:
            findings.append(finding("error", "form", f"{path}: lines or records that cannot be read", problems))
        findings += _how_it_was_read(path, labeled)
        if all(sentence.is_docstart for sentence in sentences):
            if not problems:
                findings.append(finding("error", "empty", f"{path}: expected sentences, got none", [], 1))
            continue
        check = _describe(path, labeled)
        read.append((check, sentences))
        findings += _tag_findings(check, sentences)
        findings += _known_sums(check)
        findings += _bytes(path)
        findings += _number_words(check, sentences)
        findings += _odd_words(check, sentences)
        findings += _repetitions(check, sentences)
        if has_vector:
            findings.append(_without_vectors(check, sentences, has_vector))
    findings += between_files(read)
    return DataCheck([check for check, _ in read], findings)


def _read(
    path: str | Path, columns: Columns | None, rules: SpanRules | None, progress: JobProgress | None
) -> tuple[Labeled, list[str]]:
    """What can be read, -DOCSTART- rows too, and what is wrong with rows or spans, or with the whole file."""
    problems: list[str] = []

    def told(stream: Opened) -> Iterator[bytes]:
        return _told(stream, f"reading {path}", progress) if progress else iter(stream)

    columns = columns or Columns.asked()
    try:
        return read_labeled(path, columns=columns, rules=rules, problems=problems, told=told), problems
    except DataError as error:
        return Labeled([]), [*problems, str(error)]


def _how_it_was_read(path: str | Path, labeled: Labeled) -> Iterator[Finding]:
    """Columns that were guessed, and what was not taken as it stood."""
    if labeled.guessed:
        yield Finding("note", "columns", f"{path}: {labeled.guessed}", 1)
    for what, places in labeled.notes.described():
        yield finding("warning", "spans", f"{path}: {what}", places)


def _told(stream: Opened, what: str, progress: JobProgress) -> Iterator[bytes]:
    """The stream's lines; progress hears of each megabyte, and of the end."""
    total, done, told = os.fstat(stream.file.fileno()).st_size, 0, 0
    for line in stream:
        done += len(line)
        if done - told >= MEGABYTE:
            told = done
            progress(what, min(stream.file.tell(), total - 1), total)
        yield line
    progress(what, total, total)


def _describe(path: str | Path, labeled: Labeled) -> FileCheck:
    text = list(text_of(labeled.sentences))
    tags = Counter(tag for sentence in text for tag in sentence.tags)
    entities = entities_by_type(text)
    sizes = np.array([len(sentence.words) for sentence in text])
    found = detect(sentence.tags for sentence in text)
    documents = len({each.document for each in text}) if labeled.scheme else len(labeled.sentences) - len(text)
    return FileCheck(
        path=str(path),
        sha256=_sha256(path),
        sentences=len(text),
        words=int(sizes.sum()),
        documents=documents,
        distinct_words=len({word for sentence in text for word in sentence.words}),
        scheme=found.scheme if found.has_entities else None,
        tags=by_count(tags),
        entities=by_count(entities),
        lengths={name: float(getattr(np, name)(sizes)) for name in ("min", "median", "mean", "max")},
    )


def _sha256(path: str | Path) -> str:
    """The file's; of several the digest of their names and digests, as sha256sum lists them."""
    files = list(files_of("", path).values())
    if len(files) == 1:
        return sha256_file(files[0])
    lines = "".join(f"{sha256_file(each)}  {each.name}\n" for each in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _tag_findings(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    """Faults under the file's scheme, and types that look like one type in two spellings."""
    found = detect(sentence.tags for sentence in sentences)
    for level, harmless in (("error", False), ("note", True)):
        places = [
            f"{sentences[number].where(fault.index)}: {fault.what}"
            for number, fault in found.faults
            if fault.harmless == harmless
        ]
        meaning = f"tags that are unnecessary in {found.scheme}" if harmless else f"tags that break {found.scheme}"
        advice = "" if harmless else " (data repair mends them, train-ner --repair reads them, as conlleval does)"
        if places:
            yield finding(level, "scheme", f"{check.path}: {meaning}{advice}", places)
    if not found.has_entities:
        yield finding("warning", "no entities", f"{check.path}: every tag is O", [], 1)
    for line in doubtful_types(check.entities):
        yield finding("warning", "types", f"{check.path}: {line}", [], 1)
    by_form: dict[str, list[str]] = {}
    for kind in check.entities:
        by_form.setdefault(re.sub(r"[\W_]", "", kind).casefold(), []).append(kind)
    for kinds in by_form.values():
        if len(kinds) > 1:
            yield finding("warning", "types", f"{check.path}: types that may be the same: {', '.join(sorted(kinds))}", [], 1)


def _known_sums(check: FileCheck) -> Iterator[Finding]:
    sums = (check.sentences, check.words, sum(check.entities.values()))

    def as_words(sentences: int, words: int, entities: int) -> str:
        numbers = counted(sentences, "sentence"), counted(words, "word"), counted(entities, "entity", "entities")
        return ", ".join(numbers)

    for name, (title, known, marks) in KNOWN.items():
        if sums == known:
            with_marks = f"; with the -DOCSTART- rows {check.sentences + check.documents:,} sentences"
            right = check.documents == marks
            more = with_marks if right else f", but {check.documents:,} -DOCSTART- rows where {marks:,} were published"
            text = f"{check.path}: {as_words(*sums)}, as {title} has{more}"
            yield Finding("note" if right or not check.documents else "warning", "known sums", text, 1)
        elif Path(check.path).name == name:
            text = f"{check.path}: expected the counts of {title}, {as_words(*known)}, got {as_words(*sums)}"
            yield Finding("warning", "known sums", text, 1)


def _bytes(path: str | Path) -> Iterator[Finding]:
    """What is read all the same, but is not plain UTF-8 with \\n."""
    for file in files_of("", path).values():
        with opened(file, LABELED) as stream:
            windows, kind = sum(line.endswith(b"\r\n") for line in stream), stream.kind
        if kind.old_mac:
            yield Finding("note", "encoding", f"{file}: lines that end with a bare CR, which is read as LF", 1)
        if kind.mark:
            yield Finding("note", "encoding", f"{file}: begins with a byte-order mark, which is left out", 1)
        if windows:
            text = f"{file}: lines that end with CRLF, which is read as LF: {windows:,}"
            yield Finding("note", "encoding", text, windows)


def _number_words(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    """Words that are numbers, nearly all of them."""
    if warning := number_words(text_of(sentences)):
        yield finding("warning", "columns", f"{check.path}: {warning}", [], 1)


def _odd_words(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    odd = {word: tuple(oddities(word)) for word in {word for each in sentences for word in each.words}}
    places: dict[str, list[str]] = {}
    for sentence in sentences:
        for index, word in enumerate(sentence.words):
            for what, visible in odd[word]:
                places.setdefault(what, []).append(f"{sentence.where(index)}: {visible}")
    for what, found in sorted(places.items()):
        yield finding("warning", "characters", f"{check.path}: words with {what}", found)


def _repetitions(check: FileCheck, sentences: list[Sentence]) -> Iterator[Finding]:
    """Sentences that occur again in the file, and such that are tagged in another way there."""
    first: dict[tuple[str, ...], Sentence] = {}
    again: list[str] = []
    differently: list[str] = []
    for sentence in text_of(sentences):
        before = first.setdefault(sentence.words, sentence)
        if before is sentence:
            continue
        if to_spans(before.tags) != to_spans(sentence.tags):
            differently.append(f"{sentence.where()}: the same as in line {before.line}, {quoted(sentence.words)}")
        if len(sentence.words) >= LONG:
            again.append(f"{sentence.where()}: the same as in line {before.line}, {quoted(sentence.words)}")
    if again:
        text = f"{check.path}: sentences of {LONG} or more words that occur more than once"
        yield finding("note", "duplicates", text, again)
    if differently:
        text = f"{check.path}: repeated sentences that are tagged differently"
        yield finding("warning", "duplicates", text, differently)


def _without_vectors(check: FileCheck, sentences: list[Sentence], has_vector: Callable[[str], bool]) -> Finding:
    counts = Counter(word for sentence in text_of(sentences) for word in sentence.words)
    missing = Counter({word: count for word, count in counts.items() if not has_vector(word)})
    total = sum(missing.values())
    text = (
        f"{check.path}: {len(missing):,} of {len(counts):,} distinct words have no vector, "
        f"{total:,} of {check.words:,} in the text ({100 * total / max(1, check.words):.1f} %)"
    )
    most = list(by_count(missing).items())[:SHOWN]
    return Finding("note", "vectors", f"{text}; the most frequent", total, tuple(f"{word!r} {n:,}" for word, n in most))
