"""Files of word vectors: word2vec text and binary, GloVe's text without a header; read fast.

- ``text``    a line "n d", then a line for each word: the word, d numbers, one space or tab between (word2vec.c, gensim)
- ``binary``  a line "n d", then for each word: the word, a space, d little-endian float32, mostly a line end (word2vec.c)
- ``glove``   as text, without the first line; a word may hold spaces (GloVe 840B has ". . ."): lines are read from the right

Any of them may be compressed with gzip, bzip2 or xz. Words are UTF-8. A word that stands twice keeps its first vector, as
in gensim.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from training.errors import DataError
from training.job_progress import Progress
from training.visible import counted, shortened
from word2vec.text.encodings import advice, guess, named
from word2vec.text.file_kinds import BINARY_VECTORS, EMPTY, HEADER, TABLE, TEXT, VECTORS, Opened, opened
from word2vec.text.numerals import decimals_at_end
from word2vec.vectors import decimals
from word2vec.vectors.decimals import Floats

FORMATS = ("text", "binary", "glove")

_BLOCK = 1 << 18  # fits the second-level cache together with what parsing makes of it
_BEGINNING = 1 << 18  # bytes that the form is told by
_LONGEST_LINE = 1 << 24
_WHOLE_NUMBERS = re.compile(rb"[+-]?\d+[ \t]+[+-]?\d+")  # a header whose numbers cannot be
_DECIMAL = re.compile(rb"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")


class Table(NamedTuple):
    """What a file holds: n distinct words, their vectors (n, d), how many repeated and undecodable words were left out."""

    words: list[str]
    matrix: Floats
    repeated: int
    undecodable: int = 0


def read_table(
    path: str | Path, form: str = "auto", progress: Progress | None = None, *, skip_undecodable: bool = False
) -> Table:
    """Read vectors in any of FORMATS, told apart by their content unless ``form`` names one.

    Values are the bits of ``float32(float(text))``. DataError, with file and line (in a binary file the word's number),
    for a missing, empty or damaged file, lines of different widths, anything but finite numbers, a header that does not
    fit, and words that are not UTF-8, unless those are to be skipped.
    """
    skipped: list[int] | None = [] if skip_undecodable else None
    if form not in ("auto", *FORMATS):
        raise DataError(f"format of vectors: expected auto, {', '.join(FORMATS)}, got {form!r}")
    with opened(path, "word vectors") as stream:
        kind = stream.kind
        remedy = "give the file of vectors that belongs to it, or train some: train-w2v"
        kind.check(path, "word vectors", VECTORS, BINARY_VECTORS, TEXT, TABLE, EMPTY, columns=remedy, json_lines=remedy)
        blocks = _blocks(stream, path, progress)
        start = next(blocks, b"")
        while len(start) < _BEGINNING and (block := next(blocks, b"")):
            start += block
        if not start.strip():
            raise DataError(f"{path}: expected word vectors, got an empty file")
        header = HEADER.match(start)
        first = start.split(b"\n", 1)[0]
        if header is None and (form in ("text", "binary") or _WHOLE_NUMBERS.fullmatch(first.strip())):
            shown = _shown(first)
            raise DataError(f"{path}:1: expected the number of words and of dimensions, got {shown}")
        if header is None or form == "glove":
            return _read_lines(path, itertools.chain([start], blocks), None, None, skipped)
        n, d = int(header[1]), int(header[2])
        if n == 0 or d == 0:
            raise DataError(f"{path}:1: expected at least one word and one dimension, got {n} words of {d}")
        rest = itertools.chain([start[header.end() :]], blocks)
        if form == "binary" or (form == "auto" and kind.kind == BINARY_VECTORS):
            return _read_binary(path, rest, n, d, skipped)
        return _read_lines(path, rest, n, d, skipped)


def _blocks(stream: Opened, path: str | Path, progress: Progress | None) -> Iterator[bytes]:
    """The blocks of an open file; errors of the system as DataError."""
    total = os.fstat(stream.file.fileno()).st_size
    try:
        while block := stream.read(_BLOCK):
            yield block
            if progress is not None:
                progress(min(stream.file.tell(), total), total)
    except OSError as error:
        if error.errno is None:  # of a damaged archive
            raise
        raise DataError(f"{path}: cannot read the vectors: {error.strerror}") from None


def _shown(data: bytes) -> str:
    """Bytes as a short quoted text for a message."""
    text = data.decode("utf-8", "backslashreplace")
    return repr(shortened(text, 60, "..."))


# --- text


def _read_lines(path: str | Path, blocks: Iterable[bytes], n: int | None, d: int | None, skipped: list[int] | None) -> Table:
    """Both text forms; n and d are what the header says, None without one. ``skipped``: see ``_decode``."""
    words: list[str] = []
    parts: list[Floats] = []
    line = 1 if n is None else 2
    tabs: bool | None = None
    for data in _whole_lines(path, blocks):
        tabs = _by_tabs(data) if tabs is None else tabs
        data = data.replace(b"\t", b" ") if tabs else data
        if d is None:
            d = _width(path, data)
        more, part = _parse_lines(path, data, line, d, skipped)
        words += more
        parts.append(part)
        line += data.count(b"\n")
    if n is not None and (found := len(words) + len(skipped or [])) != n:
        raise DataError(f"{path}:1: the header says {n} words, the file has {found}; is it whole?")
    return _distinct(path, words, parts, skipped)


def _whole_lines(path: str | Path, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes cut after line ends; the last line gets one, and blank lines at the end of the file are dropped."""
    begun, size = list[bytes](), 0  # blocks without a line end that more text follows, and how many bytes they are
    for block in blocks:
        text = len(block.rstrip(b" \r\n"))  # white space at the end may be the file's: keep it back
        cut = block.rfind(b"\n", 0, text) + 1
        if cut:
            yield b"".join([*begun, block[:cut]])
            begun, size = [], 0
        begun.append(block[cut:])
        size += len(block) - cut
        if size > _LONGEST_LINE:
            raise DataError(f"{path}: expected lines of a word and numbers, got a line of more than {_LONGEST_LINE} bytes")
    if rest := b"".join(begun).rstrip(b" \r\n"):
        yield rest + b"\n"


def _by_tabs(data: bytes) -> bool:
    """Whether the first lines have more numbers where a tab stands between them, too."""
    lines = [line.strip(b" \t\r") for line in data.split(b"\n", 100)[:100]]
    more = [decimals_at_end(line.replace(b"\t", b" ")) > decimals_at_end(line) for line in lines]
    return 2 * sum(more) > sum(map(bool, lines))


def _width(path: str | Path, data: bytes) -> int:
    """The dimension of a file without header: how many numbers most of its first lines end in."""
    lines = data.split(b"\n", 100)
    widths = Counter(width for line in lines[:100] if (width := decimals_at_end(line.rstrip(b" \r"))))
    if not widths:
        expected = "expected a word and its numbers, or the header of a word2vec file"
        first = _shown(lines[0].rstrip(b"\r"))
        raise DataError(f"{path}:1: {expected}, got {first}")
    return widths.most_common(1)[0][0]  # of equally many the first


def _parse_lines(path: str | Path, data: bytes, line: int, d: int, skipped: list[int] | None) -> tuple[list[str], Floats]:
    """Words and vectors of whole lines, of which the first is the file's line number ``line``."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    spaces = np.flatnonzero(buffer == ord(" "))
    line_ends = np.flatnonzero(buffer == ord("\n"))
    line_starts = np.append(0, line_ends[:-1] + 1)
    after = np.searchsorted(spaces, line_ends)  # spaces[after - 1] is the line's last one
    before = np.append(0, after[:-1])
    ends = line_ends - (buffer[line_ends - 1] == ord("\r"))
    trailing = (after > before) & (spaces[after - 1] == ends - 1) if len(spaces) else np.zeros(len(ends), dtype=np.bool_)
    ends = ends - trailing  # word2vec.c writes a space after each number
    after = after - trailing
    for i in np.flatnonzero(after - before != d).tolist():
        _check_width(f"{path}:{line + i}", data[line_starts[i] : ends[i]], d)
    cuts = np.empty((len(line_ends), d + 1), dtype=np.int64)
    cuts[:, :-1] = spaces[after[:, None] + np.arange(-d, 0)]
    cuts[:, -1] = ends
    try:
        values = decimals.parse(data + b"\0" * 16, cuts[:, :-1].reshape(-1) + 1, cuts[:, 1:].reshape(-1))
    except decimals.NotANumber as error:
        row, column = divmod(error.index, d)
        at = f"{path}:{line + row}: number {column + 1} of {d}"
        raise DataError(f"{at}: expected a finite decimal number, got {_shown(error.text)}") from None
    raw = [data[a:b] for a, b in zip(line_starts.tolist(), cuts[:, 0].tolist(), strict=True)]
    words, kept = _decode(raw, path, lambda i: f"{path}:{line + i}", skipped, advice)
    matrix = values.reshape(-1, d)
    return words, matrix if kept is None else matrix[kept]


def _check_width(where: str, text: bytes, d: int) -> None:
    """Raise for a line that does not have d spaces, unless it is a word with spaces inside and d numbers."""
    pieces = text.split(b" ")
    word, numbers = pieces[:-d], pieces[-d:]
    if word and word[0] and word[-1] and not _DECIMAL.fullmatch(word[-1]) and all(numbers):
        return
    got = f"{counted(decimals_at_end(text), 'number')} in {_shown(text)}" if text else "an empty line"
    raise DataError(f"{where}: expected a word and {d} numbers, separated by one space, got {got}")


def _decode(
    raw: list[bytes],
    path: str | Path,
    where: Callable[[int], str],
    skipped: list[int] | None,
    convert: Callable[[tuple[str, ...]], str],
) -> tuple[list[str], list[int] | None]:
    """The words, and which of them were kept, None for all. What is not UTF-8 is refused where ``skipped`` is None.

    Else its index is added to ``skipped``: word2vec.c cuts long words at a byte, which may be within a character.
    ``convert`` says what to do where the words are in other encodings.
    """
    try:
        words = [word.decode() for word in raw]
    except UnicodeDecodeError:
        words = []
    if words and all(words):
        return words, None
    words, kept = [], []
    for i, word in enumerate(raw):
        try:
            words.append(word.decode())
            kept.append(i)
        except UnicodeDecodeError as error:
            if skipped is None:
                problem = f"byte {error.start + 1} of the word is {word[error.start]:#04x}"
                remedy = f"leave such words out: vectors convert --skip-undecodable {path} NEW_FILE"
                names = guess(b"\n".join(each for each in raw if not each.isascii()))
                remedy = remedy if names in ((), ("UTF-8",)) else f"{convert(names)}; or {remedy}"
                raise DataError(f"{where(i)}: expected a word in UTF-8, got {_shown(word)}: {problem}; {remedy}") from None
            skipped.append(i)
            continue
        if not words[-1]:
            raise DataError(f"{where(i)}: expected a word before the numbers, got none")
    return words, kept


def _advice_binary(names: tuple[str, ...]) -> str:
    """As ``encodings.advice``; iconv would convert the numbers, too."""
    how = f'load_word2vec_format(FILE, binary=True, encoding="{names[0].lower()}"), save_word2vec_format'
    return f"its words seem to be in {named(names)}: write them again in UTF-8 (gensim: {how})"


def _distinct(path: str | Path, words: list[str], parts: list[Floats], skipped: list[int] | None) -> Table:
    undecodable = len(skipped or [])
    if not words:
        raise DataError(f"{path}: expected words in UTF-8, got none: all {undecodable} are in another encoding")
    matrix = np.concatenate(parts)
    first = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(first) == len(words):
        return Table(words, matrix, 0, undecodable)
    kept = np.array(sorted(first.values()))
    return Table([words[i] for i in kept.tolist()], matrix[kept], len(words) - len(kept), undecodable)


# --- binary


def _read_binary(path: str | Path, blocks: Iterable[bytes], n: int, d: int, skipped: list[int] | None) -> Table:
    size = 4 * d
    promise = f"the header says {n} words of {d} numbers"
    if size > _LONGEST_LINE:  # or gigabytes would be read for the first vector
        raise DataError(f"{path}:1: expected at most {_LONGEST_LINE // 4:,} numbers a word, but {promise}; is it right?")
    raw: list[bytes] = []
    parts: list[Floats] = []
    blocks = iter(blocks)
    rest, searched = bytearray(), 0  # what is left over, where no space stands before the place ``searched``
    for block in blocks:
        rest += block
        vectors: list[bytes] = []
        position = 0
        while len(raw) < n:
            space = rest.find(b" ", max(position, searched))
            searched = space if space >= 0 else len(rest)
            if space < 0 or len(rest) - space - 1 < size:
                break
            # word2vec.c ends each vector with a line end, gensim does not
            raw.append(bytes(rest[position:space]).lstrip(b"\n"))
            position = space + 1 + size
            vectors.append(bytes(rest[space + 1 : position]))
        del rest[:position]  # and not rest = rest[position:], a copy for each block
        searched = max(0, searched - position)
        parts.append(np.frombuffer(b"".join(vectors), dtype="<f4").reshape(-1, d).astype(np.float32))
        if searched == len(rest) > _LONGEST_LINE:
            break
        if len(raw) == n:
            break
    if len(raw) < n:
        raise DataError(f"{path}: {promise}, the file ends in word {len(raw) + 1}; is it whole?")
    if (rest + b"".join(itertools.islice(blocks, 1))).strip(b"\n"):
        raise DataError(f"{path}: {promise}, but more bytes follow; is it right?")
    for i, each in enumerate(raw):
        if b"\n" in each:
            raise DataError(f"{path}: {promise}, but word {i + 1} is {_shown(each)}; is it right?")
    words, kept = _decode(raw, path, lambda i: f"{path}: word {i + 1} of {n}", skipped, _advice_binary)
    table = _distinct(path, words, parts if kept is None else [np.concatenate(parts)[kept]], skipped)
    finite = np.isfinite(table.matrix).all(axis=1)
    if not finite.all():
        word = table.words[int(np.argmin(finite))]
        raise DataError(f"{path}: expected finite numbers, got NaN or infinity for {word!r}; is it a word2vec file?")
    return table
