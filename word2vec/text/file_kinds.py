"""What a file is, told by its content: compression, encoding, and what it holds. Every reader of users' files asks here.

``opened(source, expected)``  the file's bytes: decompressed, without a byte-order mark; what it is as ``.kind``
``kind.check(…)``             one line for what a reader does not take: what was expected, what it is, what to do
``kind.not_utf8(…)``          one line for a byte that is no UTF-8, with the encoding that the file seems to have
``decoded(lines, name)``      lines of bytes as text, or that line

The first 64 KB decide. Where they leave it open, as a word a line does, the name tells columns (.conll) from text; without
such a name it is text, and ``kind.doubt()`` says so. gzip, bzip2 and xz are unpacked on the way. Lines that end with a bare
CR (old Mac OS) are given with LF.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from training.errors import DataError
from word2vec.text.encodings import BYTE_ORDER_MARKS, SHIFTED, WIDE, advice, encoding_of, guess
from word2vec.text.file_columns import COLUMN_SUFFIXES, DOCSTART, Layout, layout
from word2vec.text.file_signatures import signature
from word2vec.text.numerals import decimals_at_end, is_decimal

SNIFFED = 1 << 16  # bytes that decide
ROWS = 1000  # lines that are looked at
STDIN = "standard input"
NO_WORD = "expected text, got no word"
"""The warning for one of several texts."""

# What some command reads; all else is OTHER and has a name.
EMPTY, TEXT, COLUMNS, COMMAS, TABLE = "empty", "text", "columns", "commas", "table"
BRAT = "brat"
JSON_LINES, JSON_LIST, JSON_OBJECT = "json_lines", "json_list", "json_object"
VECTORS, BINARY_VECTORS, OTHER = "vectors", "binary_vectors", "other"
NAMES = {
    EMPTY: "an empty file",
    TEXT: "text",
    COLUMNS: "columns (CoNLL: a word a line)",
    COMMAS: "columns separated by commas",
    TABLE: "a table of text, its columns separated by tabs",
    BRAT: "BRAT's annotations",
    JSON_LINES: "JSON lines",
    JSON_LIST: "a JSON list",
    JSON_OBJECT: "a JSON object",
    VECTORS: "word vectors",
    BINARY_VECTORS: "word vectors in word2vec's binary form",
}

REMEDIES = {
    VECTORS: "train-ner takes it with --vectors",
    BRAT: "name the text file next to it",
    JSON_LINES: "take its text out first",
    JSON_LIST: "take its text out first",
    JSON_OBJECT: "take its text out first",
}

_BRAT_ENTITY = re.compile(r"T[0-9]+\t\S+ [0-9]+ [0-9]+(;[0-9]+ [0-9]+)*(\t.*)?")
_BRAT_LINE = re.compile(r"[TREAMN#][0-9]+\t.*|\*\t.*")
HEADER = re.compile(rb"[ \t]*(\d{1,15})[ \t]+(\d{1,9})[ \t]*\r?\n")  # of word2vec's files
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


@dataclass(frozen=True)
class FileKind:
    """What a file is. ``name`` and ``remedy`` are for messages."""

    kind: str
    name: str
    remedy: str = ""
    compression: str = ""  # gzip, bzip2 or xz
    encoding: str = "utf-8"  # of what was looked at, as encodings.encoding_of tells it
    guesses: tuple[str, ...] = ()  # the encodings that it may have, where that is ""
    mark: int = 0  # bytes of the byte-order mark
    old_mac: bool = False  # lines end with a bare CR
    layout: Layout | None = None  # of columns, and of text whose lines have like numbers of words
    named: bool = False  # whether the name is one of columns

    def check(self, path: str | Path, expected: str, *kinds: str, **remedies: str) -> None:
        """DataError unless it is one of ``kinds``; what ``remedies`` say for a kind goes before the general remedy."""
        if self.kind not in kinds:
            remedy = remedies.get(self.kind) or self.remedy
            raise DataError(f"{path}: expected {expected}, got {self.name}" + (f"; {remedy}" if remedy else ""))

    def doubt(self) -> str:
        """What else text may be, and why it is read as such; "" where there is no doubt."""
        rows = self.layout
        if self.kind != TEXT:
            return ""
        if self.named and (rows is None or rows.rows > 1):
            return "its name suggests columns, but its lines do not: it is read as text, a paragraph per line"
        if rows is None or not rows.words_alone or rows.sentences < 2:
            return ""
        return "one word per line, so it may be CoNLL without tags; its name does not tell: read as text, line by line"

    def warning(self, word: int) -> str:
        """What is odd about words that stand in this column: they are numbers, all of them; "" for others."""
        rows = self.layout
        if rows is None or rows.rows < 3 or not -rows.width <= word < rows.width or word % rows.width not in rows.numeric:
            return ""
        if rows.problem(word, None):
            return ""  # that is an error, which says more
        return f"words in column {word % rows.width + 1} are nothing but numbers; name another with --word-column, from 0"

    def not_utf8(self, where: str, line: bytes, before: int = 0) -> DataError:
        """The error for a line that is not UTF-8; ``before``: of a part of a line, the bytes that stand before it."""
        try:
            line.decode()
            at = 0
        except UnicodeDecodeError as error:
            at = error.start
        names = {"": self.guesses, "utf-8": ("UTF-8",)}.get(self.encoding) or guess(line)
        got = f"got byte 0x{line[at : at + 1].hex()} at byte {before + at + 1:,} of the line"
        return DataError(f"{where}: expected UTF-8, {got}; {advice(names)}")


def decoded(
    lines: Iterable[bytes], name: str, kind: FileKind | None = None, unread: Callable[[int, DataError], None] | None = None
) -> Iterator[tuple[int, str]]:
    """(number, text) of lines, with their ends and without a byte-order mark; ``kind`` is what the file is, where known.

    A line that is not UTF-8 is a DataError with ``name`` and number; with ``unread`` that is told of it instead, and the
    text has U+FFFD in place of such bytes.
    """
    for number, raw in enumerate(lines, 1):
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            error = (kind or decide(raw, whole=False)).not_utf8(f"{name}:{number}", raw)
            if unread is None:
                raise error from None
            unread(number, error)
            text = raw.decode(errors="replace")
        yield number, text


class Opened(io.BufferedReader):
    """The bytes of a file: decompressed, in LF lines, without a byte-order mark; ``kind`` is what the file is."""

    def __init__(self, source: _Source, kind: FileKind, file: BinaryIO) -> None:
        super().__init__(source, SNIFFED)
        self.kind, self.file = kind, file


@contextmanager
def opened(source: str | Path, expected: str, *, wait: bool = True) -> Iterator[Opened]:
    """A file, or standard input for "-"; without ``wait`` what is there at first has to do to tell its kind.

    DataError for what cannot be opened, and for a damaged archive, also later, while it is read.
    """
    name = STDIN if str(source) == "-" else str(source)
    file = _standard_input() if name == STDIN else _file(name, expected)
    packed = ""
    try:
        head = _begin(file, wait, f"{name}: expected {expected}")
        packed = next((packed for magic, packed in _PACKED.items() if head.startswith(magic)), "")
        stream = file
        if packed:
            stream = _UNPACKERS[packed](io.BufferedReader(_Source(head, file)))
            head = _head(stream, wait=True)
        kind = replace(decide(head, whole=len(head) < SNIFFED and wait, name=name), compression=packed)
        while not wait and _undecided(head, kind) and (more := _head(stream, wait=False)):
            head += more
            kind = replace(decide(head, whole=False, name=name), compression=packed)
        yield Opened(_Source(head[kind.mark :], stream, kind.old_mac), kind, file)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: expected a whole {packed} file, got a damaged or cut one: {error}") from None
    except OSError as error:
        if error.errno is not None or not packed:
            raise
        raise DataError(f"{name}: expected a whole {packed} file, got a damaged or cut one: {error}") from None
    finally:
        if name != STDIN:
            file.close()


def _file(name: str, expected: str) -> BinaryIO:
    try:
        return cast("BinaryIO", open(name, "rb", buffering=0))
    except IsADirectoryError:
        raise DataError(f"{name}: expected {expected}, got a folder; name the file itself") from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{name}: expected {expected}, cannot read it: {reason}") from None


def _begin(file: BinaryIO, wait: bool, expected: str) -> bytes:
    """The first bytes as they are stored; DataError where there is nothing to read from, as from a closed stream."""
    try:
        return _head(file, wait)
    except OSError as error:
        raise DataError(f"{expected}, cannot read it: {error.strerror or error}") from None


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise DataError(f"{STDIN}: expected something to read, but it is closed; name a file")
    return sys.stdin.buffer


def _head(file: BinaryIO, wait: bool) -> bytes:
    """The first bytes: SNIFFED of them, fewer at the end, or, without ``wait``, what comes at once."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    head = b""
    while len(head) < SNIFFED and (block := read(SNIFFED - len(head))):
        head += block
        if not wait and b"\n" in head:
            break
    return head


def _undecided(head: bytes, kind: FileKind) -> bool:
    """Whether the next line may show that these are columns: so far there is one row with a tag, or only comments."""
    if kind.kind != TEXT or len(head) >= SNIFFED:
        return False
    one_row = kind.layout is not None and kind.layout.rows == 1 and bool(kind.layout.tags)
    return one_row or all(line.startswith((b"# ", b"#\t")) or not line.strip() for line in head.split(b"\n"))


class _Source(io.RawIOBase):
    """``head``, then the rest of ``file``, which stays open; with ``old_mac`` CR becomes LF."""

    def __init__(self, head: bytes, file: BinaryIO, old_mac: bool = False) -> None:
        self.rest, self.inner, self.old_mac = head, file, old_mac
        fill: Any = getattr(file, "readinto1", None) or getattr(file, "readinto", None)
        self.fill: Callable[[memoryview], int] = fill or self._read

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.inner.fileno()

    def _read(self, buffer: memoryview) -> int:
        data = self.inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.rest:
            count = min(len(self.rest), len(buffer))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        else:
            count = self.fill(buffer)
        if self.old_mac:
            buffer[:count] = bytes(buffer[:count]).replace(b"\r", b"\n")
        return count


# --- what it is


def decide(head: bytes, *, whole: bool, name: str | Path = "") -> FileKind:
    """What a file is that begins with ``head``, decompressed; ``whole``: it ends there, too; ``name`` is the file's."""
    if found := signature(head):
        return FileKind(OTHER, *found)
    mark, encoding = next(((len(bom), name) for bom, name in BYTE_ORDER_MARKS if head.startswith(bom)), (0, ""))
    data = head[mark:]
    header = HEADER.match(data)
    if not encoding:
        if header and is_binary(data[header.end() :], int(header[2])):
            return FileKind(BINARY_VECTORS, NAMES[BINARY_VECTORS], REMEDIES[VECTORS])
        encoding = encoding_of(data if whole else data[: len(data) - len(data) % 4])
    if encoding in SHIFTED:
        shown = encoding.upper()
        return FileKind(OTHER, f"text in {shown}", f"convert it: iconv -f {shown} -t UTF-8 FILE > NEW", encoding=encoding)
    if encoding in WIDE:
        shown = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
        how = f"{shown[:6]} (with a byte-order mark)" if mark else f"{shown} (without a byte-order mark)"
        return FileKind(OTHER, f"text in {how}", f"convert it: iconv -f {shown[:6] if mark else shown} -t UTF-8 FILE > NEW",
                        encoding=encoding, mark=mark)  # fmt: skip
    if encoding == "binary" and header:  # words of vectors may be of control characters
        encoding = "utf-8"
    if encoding == "binary":
        return FileKind(OTHER, f"binary data of no known kind (it begins with {head[:8].hex(' ')})", "name a file of text")
    old_mac = b"\r" in data.rstrip(b"\r") and b"\n" not in data
    data = data.replace(b"\r", b"\n") if old_mac else data
    lines = _lines(data, whole)
    kind, shown, remedy, rows = _text_kind(lines, data, whole)
    named = has_column_name(name)
    if kind == TEXT and named and rows is not None and (rows.rows > 1 or rows.width == 1 or rows.tags):
        kind = COLUMNS
    guesses = guess(data) if encoding == "" else ()
    return FileKind(kind, shown or NAMES[kind], remedy or REMEDIES.get(kind, ""), encoding=encoding, guesses=guesses,
                    mark=mark, old_mac=old_mac, layout=rows, named=named)  # fmt: skip


def has_column_name(name: str | Path) -> bool:
    """Whether a file's name is one that columns have: .conll and the like, or a split's as eng.testa; packed or not."""
    path = Path(str(name).lower())
    suffix = Path(path.stem).suffix if path.suffix in (".gz", ".bz2", ".xz") else path.suffix
    return suffix.removeprefix(".") in COLUMN_SUFFIXES


def is_binary(data: bytes, d: int) -> bool:
    """Whether what follows a header of word2vec is binary: no line of d numbers, and not even meant as text."""
    numbers = data.split(b"\n", 1)[0].rstrip(b" \r").replace(b"\t", b" ").rsplit(b" ", d)[1:]
    if len(numbers) == d and all(map(is_decimal, numbers)):
        return False
    space = data.find(b" ")
    vector = data[space + 1 : space + 1 + 4 * d]  # where a binary file has its first numbers
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(vector)
    except UnicodeDecodeError:
        return True
    return re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text) is not None


def _lines(data: bytes, whole: bool) -> list[str]:
    """The first lines as text; one that was cut off is left out, unless it is the only one."""
    lines = data.decode(errors="replace").split("\n")
    if not whole and len(lines) > 1:
        lines.pop()
    return [line.rstrip("\r") for line in lines[:ROWS]]


def _text_kind(lines: list[str], data: bytes, whole: bool) -> tuple[str, str, str, Layout | None]:
    """(kind, name if it is not the kind's own, remedy, layout) of text."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return EMPTY if whole else TEXT, "", "", None
    if json_kind := _json_kind(lines, whole):
        return json_kind, "", "", None
    if _is_vectors(filled, HEADER.match(data)):
        return VECTORS, "", "", None
    if _is_brat(filled):
        return BRAT, "", "", None
    rows = layout(lines)
    if filled[0].startswith(DOCSTART):
        return COLUMNS, "", "", rows
    if rows and (rows.labeled or (rows.tabs and rows.numbers is not None)):
        return COLUMNS, "", "", rows
    if rows and rows.tabs and rows.width > 1:
        if rows.longest > 3:
            return TABLE, "", f"take the text out: cut -f{rows.text + 1} FILE > NEW", rows
        if rows.sentences > 1:
            return COLUMNS, "", "", rows
    mark = next((mark for mark in ",;" if mark in filled[0]), "")
    marked = layout([line.replace(mark, "\t") for line in filled[len(filled) > 3 :] if mark in line]) if mark else None
    if marked and marked.tabs and marked.labeled and not (rows and rows.width > 1):
        name = "columns separated by commas" if mark == "," else "columns separated by semicolons"
        return COMMAS, name, "separate them by tabs, with an empty line after each sentence", None
    return TEXT, "", "", rows


def _json_kind(lines: list[str], whole: bool) -> str:
    """JSON_LINES, JSON_LIST, JSON_OBJECT, or "" for what is no JSON."""
    text = "\n".join(lines).lstrip()
    if not re.match(r'\{\s*("|\}\s*(\n|$))|\[\s*["\[{]', text):
        return ""
    opening, first = text[0], text.split("\n", 1)[0].strip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        end = 0
    if opening == "[":
        if end:
            return JSON_LIST if not text[end:].strip() else JSON_LINES if text[end:].lstrip(" \t\r")[:1] == "\n" else ""
        try:
            inside = re.match(r"\[\s*", text)
            first_one, end = json.JSONDecoder().raw_decode(text, inside.end() if inside else 1)
        except (ValueError, RecursionError):
            return "" if whole or re.match(r'\[\s*["]', text) else JSON_LIST
        return JSON_LIST if isinstance(first_one, dict) or text[end:].lstrip()[:1] in (",", "]") else ""
    one_line = bool(end) and "\n" not in text[:end]
    broken = not end and (first.endswith("}") or text.count("\n{") > 0)
    return JSON_LINES if one_line or broken or "\n" not in text.strip() else JSON_OBJECT


def _is_brat(lines: list[str]) -> bool:
    """Whether most lines are annotations of BRAT's, and one of them is an entity."""
    some = [line for line in lines if _BRAT_LINE.fullmatch(line)]
    return len(some) >= 0.9 * len(lines) and any(_BRAT_ENTITY.fullmatch(line) for line in some)


def _is_vectors(lines: list[str], header: re.Match[bytes] | None) -> bool:
    """Whether most lines are a word and one number of numbers; without a header two or more, not all of them whole."""
    some = [line.encode().replace(b"\t", b" ").rstrip(b" ") for line in lines[bool(header) : 100]]
    widths = Counter(map(decimals_at_end, some))
    if not widths:
        return False
    width, count = widths.most_common(1)[0]
    if header is not None and width == int(header[2]):
        return True
    decimal = any(b"." in number or b"e" in number for number in some[0].split(b" ")[-width:]) if width else False
    if width < 2 or count < 0.9 * len(some) or not decimal:
        return False
    return not all(is_decimal(line.split(b" ")[0]) for line in some)
