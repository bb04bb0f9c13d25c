"""Repairing tags: one policy, conlleval's reading (ner/corpus/scheme.py), applied to a file only when asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ner.corpus.conll import EXPECTED, Columns, Sentence, iter_conll
from ner.corpus.findings import SHOWN
from ner.corpus.layout import with_tag
from ner.corpus.scheme import check, convert, detect, repair, scheme_named
from training.errors import ConfigError, DataError
from training.files import atomic_write, check_new_file
from training.visible import counted
from word2vec.text.file_kinds import opened


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
    guessed: str = ""  # which columns were taken, where nobody said so

    def to_text(self) -> str:
        """For people: the counts, each kind of fault, and places."""
        what = f"{counted(self.tags, 'tag')} in {counted(self.sentences, 'sentence')} changed"
        lines = [f"{self.source}: {self.guessed}"] if self.guessed else []
        lines += [f"{self.source}: {what}, as conlleval reads them"]
        lines += [f"  {what}: {count:,}" for what, count in self.faults.items()]
        lines += [f"  {place}" for place in self.places]
        scheme = self.scheme if self.scheme == self.written else f"{self.scheme} → {self.written}"
        return "\n".join([*lines, f"{self.target}: written ({scheme})"])


def repair_file(
    source: str | Path, target: str | Path, scheme: str | None = None, columns: Columns | None = None
) -> Repaired:
    """Write ``source`` to ``target`` with tags that are well formed in its own scheme, or in ``scheme``.

    Everything else stays as it is: the other columns, the blanks between them, comments, blank lines, line ends. DataError
    (file:line) for rows that cannot be read. ConfigError where ``target`` is there already.
    """
    written = None if scheme is None else scheme_named(scheme)
    check_new_file("TARGET", target)
    lines, sentences, columns, guessed = _read(source, columns or Columns.asked())
    found = detect(sentence.tags for sentence in sentences).scheme
    faults: Counter[str] = Counter()
    places: list[str] = []
    changed = touched = 0
    for sentence in sentences:
        tags, changes = repair(sentence.tags, found)
        for fault in check(sentence.tags, found):
            faults[fault.what] += 1
            places.append(f"{sentence.where(fault.index)}: {fault.what}")
        changed, touched = changed + changes, touched + bool(changes)
        _put(lines, sentence, convert(tags, found, written) if written else tags, columns)
    try:
        atomic_write(target, "".join(lines))
    except OSError as error:
        raise ConfigError(f"TARGET: {target} cannot be written: {error.strerror}; give another file") from None
    ordered = {what: faults[what] for what in sorted(faults, key=lambda what: (-faults[what], what))}
    return Repaired(
        str(source), str(target), found, written or found, changed, touched, ordered, tuple(places[:SHOWN]), guessed
    )


def _read(source: str | Path, columns: Columns) -> tuple[list[str], list[Sentence], Columns, str]:
    """The lines of a file as they stand, its sentences, their columns, the guessed ones. DataError as of ``read_conll``."""
    with opened(source, EXPECTED) as stream:
        raw, mark = list(stream), "\ufeff" if stream.kind.mark else ""
    columns, guessed = columns.seen(stream.kind.layout)
    sentences = list(iter_conll(raw, str(source), columns=columns, kind=stream.kind))
    if not sentences:
        raise DataError(f"{source}: expected sentences, got none (an empty file, or only blank lines and comments)")
    lines = [line.decode() for line in raw]
    return [mark + lines[0], *lines[1:]], sentences, columns, guessed


def _put(lines: list[str], sentence: Sentence, tags: list[str], columns: Columns) -> None:
    """Write the tags that are others than the sentence's into its lines, but not into a -DOCSTART- row."""
    if sentence.is_docstart or columns.tag is None:
        return
    column = columns.tag % len(sentence.columns[0])
    for i, (old, tag) in enumerate(zip(sentence.tags, tags, strict=True)):
        if old != tag:
            at = sentence.line_of(i) - 1
            lines[at] = with_tag(lines[at], sentence, tag, column)
