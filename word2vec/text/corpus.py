"""Corpus: text → ids, once, into a memory-mapped file that training streams from.

The text is UTF-8, a sentence (or a paragraph) a line, from files that word2vec/text/file_kinds.py takes for text, or from
stdin (``-``). Rules for odd text:

* only ``\\n`` ends a line; a ``\\r`` before it is white space, so CRLF files read as LF files do; a byte order mark at the
  start is skipped; empty lines hold no words;
* a line may be of any length (text8 is one of 100 MB): it is read in pieces cut at white space. In pretokenized text
  the pieces stay one sentence; tokenized text has sentences of its own, and a cut ends one;
* a byte that is not UTF-8 is an error that names file and line; nothing is replaced silently.

The text is read once (so stdin will do): words get provisional ids in order of appearance, which go to disk; when the
counts are known they are mapped to the vocabulary's ids. Memory holds the distinct words and some megabytes of text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from training.errors import DataError, SamebitsError
from training.files import atomic_path, atomic_write, parse_json
from training.job_progress import Progress
from word2vec.text.file_kinds import (
    COLUMNS,
    EMPTY,
    JSON_LINES,
    JSON_LIST,
    NO_WORD,
    TABLE,
    TEXT,
    FileKind,
    Opened,
    opened,
)
from word2vec.text.numbering import END, Numbered, Piece, Readers, Words
from word2vec.text.tokenize import TextRule
from word2vec.text.vocab import Vocab, select

PIECE = 1 << 20  # bytes that are read at a time
PARCEL = 1 << 22  # bytes of lines that are numbered at a time
CHUNK = 1 << 20  # ids in memory at a time
REMEDIES = {
    COLUMNS: """write a sentence a line: awk '{printf "%s", NF ? $1 " " : "\\n"}' FILE > NEW, and use --pretokenized""",
    JSON_LINES: "take the text out: jq -r .text FILE > NEW",
    JSON_LIST: "take the text out: jq -r '.[].text' FILE > NEW",
}


@dataclass(frozen=True)
class Corpus:
    """A text as a file of int32 ids, little-endian; the id ``vocab_size`` ends a sentence, and no sentence is empty.

    Words outside the vocabulary are left out, or have the id ``vocab_size`` + 1 (see ``encode``).

    Args:
        path: the file; beside it stands its description, ``path``.json.
        vocab_size: V; words have the ids 0 … V − 1.
        tokens: how many ids are in the file, the ends of sentences counted.
        sentences: how many sentences.
        read: how many words were in the text, those outside the vocabulary counted.
        sha256: of the file.

    Example:
        >>> from word2vec import Corpus, TextRule, encode
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text").write_text("a b a\\nb a b c\\n")
        ...     _, corpus = encode([f"{folder}/text"], f"{folder}/ids", TextRule(), min_count=2)
        ...     ids, again = corpus.ids().tolist(), Corpus.load(f"{folder}/ids")
        >>> ids, again == corpus  # c is seen too few times, and 2 ends a sentence
        ([0, 1, 0, 2, 1, 0, 1, 2], True)
        >>> corpus.read, corpus.words, corpus.sentences
        (7, 6, 2)
    """

    path: str
    vocab_size: int
    tokens: int
    sentences: int
    read: int
    sha256: str

    @property
    def words(self) -> int:
        """Words in the file."""
        return self.tokens - self.sentences

    def ids(self) -> npt.NDArray[np.int32]:
        """The file, memory-mapped and read-only, shape (tokens,)."""
        if Path(self.path).stat().st_size != 4 * self.tokens:
            raise DataError(
                f"{self.path}: expected {self.tokens} ids of 4 bytes, got a file of another size; encode it again"
            )
        return np.memmap(self.path, dtype="<i4", mode="r", shape=(self.tokens,))

    def moved(self, path: str | Path) -> Corpus:
        """The same, for a file that was moved to ``path``."""
        return replace(self, path=str(path))

    def delete(self) -> None:
        """Remove the file and its description."""
        for path in (f"{self.path}.json", self.path):
            Path(path).unlink(missing_ok=True)

    def save(self) -> None:
        """Write the description beside the ids, as JSON."""
        atomic_write(f"{self.path}.json", json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Corpus:
        """Read the description of the ids in ``path``; DataError where it is missing or damaged."""
        try:
            return cls(**{**parse_json(Path(f"{path}.json").read_text(encoding="utf-8")), "path": str(path)})
        except (OSError, ValueError, TypeError):
            raise DataError(f"{path}.json: cannot read the description of the encoded corpus; encode it again") from None


def check_texts(paths: Iterable[str]) -> None:
    """DataError for what is no file, before any is read."""
    for path in paths:
        if not Path(path).is_file():
            raise DataError(
                f"{path}: expected a text to read, got "
                + ("standard input, which is not taken here; write it to a file" if path == "-"
                   else "a folder" if Path(path).is_dir()
                   else "a pipe or a device; write it to a file" if Path(path).exists() else "nothing")
            )  # fmt: skip


def encode(
    sources: Sequence[str],
    target: str | Path,
    rule: TextRule,
    *,
    min_count: int,
    max_vocab: int | None = None,
    known: Sequence[str] = (),
    keep_unknown: bool = False,
    processes: int = 1,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> tuple[Vocab, Corpus]:
    """Read a text once and write it as ids, in memory that does not grow with it; see the module's text for odd text.

    Args:
        sources: the files of the text, read in order as one; "-" is standard input.
        target: the file of ids to write; its description goes to ``target``.json.
        rule: how the text becomes words.
        min_count: words seen fewer times than this are left out.
        max_vocab: keep only this many words, the most frequent ones; None for all.
        known: words that are in the vocabulary in any case.
        keep_unknown: keep the places of words outside the vocabulary, with the id V + 1, instead of leaving them out.
        processes: how many share the work on a text of more than a few megabytes. The result is the same for any number.
        progress: called with the number of bytes read, (done, total).
        warn: called with a line if a source may not be text, or has no word.

    Returns:
        The vocabulary and the corpus.

    Raises:
        DataError: a source is missing, a folder, damaged or not UTF-8 (with file:line), or there is no word in any.
        ConfigError: ``min_count`` leaves fewer than two words.

    Example:
        >>> from word2vec import TextRule, encode
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text").write_text("The sun is up. The moon is not.")
        ...     vocab, corpus = encode([f"{folder}/text"], f"{folder}/ids", TextRule(), min_count=2)
        >>> vocab.words, vocab.counts.tolist(), corpus.sentences
        (('.', 'The', 'is'), [2, 2, 2], 2)
    """
    first = Path(f"{target}.first.part")
    first.unlink(missing_ok=True)  # in a foreign run it may be a link
    try:
        words, counts = _number(sources, rule, first, processes, progress, warn)
        if not words:
            raise DataError(f"{', '.join(sources)}: expected text, got no word")
        vocab, place = select(words, counts[1:], min_count, max_vocab, known)
        if keep_unknown:
            place[place < 0] = len(vocab) + 1
        corpus = _renumber(first, Path(target), place, len(vocab), read=int(counts[1:].sum()))
    finally:
        first.unlink(missing_ok=True)
    corpus.save()
    return vocab, corpus


@dataclass(frozen=True)
class _Parcel:
    """Pieces of lines that stand together in a text, and what an error in one of them is told with."""

    source: str
    kind: FileKind
    pieces: list[Piece]
    places: list[tuple[int, int]]  # of each piece: its line, and how much of that stands before

    def not_utf8(self, wrong: int) -> DataError:
        """A piece cannot be decoded."""
        number, before = self.places[wrong]
        return self.kind.not_utf8(f"{self.source}:{number}", self.pieces[wrong].text, before)


class _Numbers:
    """The provisional ids of a text, written parcel by parcel; how often each occurs."""

    def __init__(self, rule: TextRule, stream: BinaryIO) -> None:
        self.words, self.stream = Words(rule), stream
        self.counts = np.zeros(1, dtype=np.int64)
        self.with_words: set[str] = set()
        """The sources that had a word."""

    def add(self, parcel: _Parcel) -> None:
        """Number a parcel here."""
        ids, wrong = self.words.number(parcel.pieces)
        if wrong is not None:
            raise parcel.not_utf8(wrong)
        self._write(parcel.source, np.frombuffer(ids, dtype=np.int32))

    def merge(self, parcel: _Parcel, found: Numbered) -> None:
        """Add a parcel that another process has numbered; all before it are there."""
        if found.wrong is not None:
            raise parcel.not_utf8(found.wrong)
        numbers = self.words.numbers
        own = [END, *(numbers.setdefault(word, len(numbers) + 1) for word in found.words)]
        self._write(parcel.source, np.array(own, dtype=np.int32)[np.frombuffer(found.ids, dtype=np.int32)])

    def _write(self, source: str, ids: npt.NDArray[np.int32]) -> None:
        seen = np.bincount(ids, minlength=len(self.counts))
        if seen[END] < len(ids):
            self.with_words.add(source)
        seen[: len(self.counts)] += self.counts
        self.counts = seen
        self.stream.write(ids.tobytes())


def _number(
    sources: Sequence[str],
    rule: TextRule,
    target: Path,
    processes: int,
    progress: Progress | None,
    warn: Callable[[str], None] | None,
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Write the provisional ids of all sentences to ``target``; return the words, and how often each id occurs."""
    with open(target, "wb") as stream, closing(Readers(rule, processes)) as readers:
        numbers, parcels = _Numbers(rule, stream), _parcels(sources, progress, warn)
        if processes == 1:
            for parcel in parcels:
                numbers.add(parcel)
        else:
            for parcel, found in _shared_out(parcels, readers):
                numbers.merge(parcel, found.result())
        for source in dict.fromkeys(sources):
            if warn and numbers.words.numbers and source not in numbers.with_words:
                warn(f"warning: {source}: {NO_WORD}")
        return list(numbers.words.numbers), numbers.counts


def _shared_out(parcels: Iterator[_Parcel], readers: Readers) -> Iterator[tuple[_Parcel, Future[Numbered]]]:
    """The parcels in order, some being numbered ahead. An error of reading on comes after all that was read before it."""
    begun: deque[tuple[_Parcel, Future[Numbered]]] = deque()
    error: Exception | None = None
    try:
        for number, parcel in enumerate(parcels):
            # The first is numbered here: for a short text no process is started.
            begun.append((parcel, readers.submit(parcel.pieces) if number else readers.here(parcel.pieces)))
            if len(begun) > 2 * readers.processes:
                yield begun.popleft()
    except (SamebitsError, OSError) as reading:
        error = reading
    yield from begun
    if error is not None:
        raise error


def _parcels(sources: Sequence[str], progress: Progress | None, warn: Callable[[str], None] | None) -> Iterator[_Parcel]:
    """The lines of all sources, some megabytes at a time."""
    for source in sources:
        with opened(source, "text") as text:
            text.kind.check(source, "text", TEXT, EMPTY, TABLE, **REMEDIES)
            if warn and (doubt := text.kind.doubt()):
                warn(f"warning: {source}: {doubt}")
            parcel, size = _Parcel(source, text.kind, [], []), 0
            for number, before, line, ends in _lines(_blocks(text, source, progress)):
                parcel.pieces.append(Piece(line, ends))
                parcel.places.append((number, before))
                size += len(line) + 1
                if size >= PARCEL:
                    yield parcel
                    parcel, size = _Parcel(source, text.kind, [], []), 0
            if parcel.pieces:
                yield parcel


def _renumber(first: Path, target: Path, place: npt.NDArray[np.int32], end: int, read: int) -> Corpus:
    """Provisional ids → the vocabulary's; ``end`` ends a sentence. Dropped words and sentences left empty disappear."""
    table = np.concatenate([np.array([end], dtype=np.int32), place])
    digest, tokens, ends, last = hashlib.sha256(), 0, 0, end
    with open(first, "rb") as stream, atomic_path(target) as temporary, open(temporary, "wb") as out:
        while block := stream.read(4 * CHUNK):
            ids = table[np.frombuffer(block, dtype=np.int32)]
            ids = ids[ids >= 0]
            before = np.concatenate([np.array([last], dtype=np.int32), ids[:-1]])
            ids = ids[(ids != end) | (before != end)]
            last = int(ids[-1]) if len(ids) else last
            data = ids.astype("<i4", copy=False).tobytes()
            digest.update(data)
            out.write(data)
            tokens, ends = tokens + len(ids), ends + int((ids == end).sum())
    return Corpus(str(target), end, tokens, ends, read, digest.hexdigest())


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[int, int, bytes, bool]]:
    """Each line without its end, long ones in pieces: its number, how much of it stands before, bytes, is this its end?"""
    number, before = 1, 0
    begun, size = list[bytes](), 0  # the blocks of a line whose end is not read yet, and how many bytes they are
    bare = False  # whether no blank stands in them: they are not joined and searched again with each block
    for block in blocks:
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join([*begun, whole[0]])
            begun, size, bare = [], 0, False
        for line in whole:
            yield number, before, line, True
            number, before = number + 1, 0
        begun.append(rest)
        size += len(rest)
        if size >= PIECE:
            begun = begun if bare else [b"".join(begun)]
            cut = max(begun[-1].rfind(b" "), begun[-1].rfind(b"\t")) + 1
            bare = not cut
            if cut:
                rest = begun.pop()
                piece = b"".join([*begun, rest[:cut]])
                yield number, before, piece, False
                begun, size, before = [rest[cut:]], len(rest) - cut, before + len(piece)
    if rest := b"".join(begun):
        yield number, before, rest, True


def _blocks(stream: Opened, source: str, progress: Progress | None) -> Iterator[bytes]:
    """The bytes of an open source in blocks of ``PIECE``."""
    done, total = 0, 0 if source == "-" else os.fstat(stream.file.fileno()).st_size
    try:
        while block := stream.read(PIECE):
            yield block
            done = done + len(block) if source == "-" else stream.file.tell()
            if progress is not None:
                progress(done, total)
    except OSError as error:
        if error.errno is None:  # of a damaged archive
            raise
        raise DataError(f"{source}: cannot read the text: {error.strerror}") from None
