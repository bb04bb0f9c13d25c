"""The lines of a CoNLL file as they stand: what is written back is the user's file with a tag more, or other tags.

conll.py reads words and tags; comments, blank lines, the blanks between columns and line ends are no part of that.
Here they are kept, so that nothing is lost where a file is written anew.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterable, Iterator

from ner.corpus.conll import Sentence
from training.errors import DataError

_MARK = codecs.BOM_UTF8.decode()
_COLUMN = re.compile("[^ \t\r\n]+")


class KeptLines:
    """Passes the lines of a file on to ``iter_conll``, and keeps each until its sentence, or a later one, is read."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines, self._held, self._first = lines, deque[bytes](), 1

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self._held.append(line)
            yield line

    def of(self, sentence: Sentence) -> tuple[str, tuple[str, ...]]:
        """What stands between the sentence before and this one, and this one's rows: with line ends.

        A row that is no word (CoNLL-U's 1-2 and 1.1) stands before the next word's, in one text.
        """
        before = self._take(sentence.line - self._first)
        ends = (sentence.line_of(i) + 1 for i in range(len(sentence.columns)))
        return "".join(before), tuple("".join(self._take(end - self._first)) for end in ends)

    def rest(self) -> str:
        """What stands behind the last sentence."""
        return "".join(self._take(len(self._held)))

    def _take(self, count: int) -> list[str]:
        taken = [self._held.popleft() for _ in range(count)]
        if taken and self._first == 1:
            taken[0] = taken[0].removeprefix(codecs.BOM_UTF8)
        self._first += count
        return [line.decode() for line in taken]


def with_column(row: str, sentence: Sentence, tag: str, index: int) -> str:
    """The row ``index`` of a sentence, as it stands, with a tag as one more last column.

    DataError for a tag with a blank in it where columns are apart by blanks.
    """
    _check(tag, sentence, index)
    end = len(row.rstrip(" \t\r\n"))
    if sentence.separator == "\t":
        for _ in range(len(sentence.columns[index]) - 1 - row.count("\t", 0, end)):  # the last columns are empty
            end = row.index("\t", end) + 1
    return row[:end] + sentence.separator + tag + row[end:]


def with_tag(row: str, sentence: Sentence, tag: str, column: int) -> str:
    """A row of a sentence, as it stands, with another tag in its ``column`` (from 0). DataError as of ``with_column``."""
    if row.startswith(_MARK):  # the file's first
        return _MARK + with_tag(row.removeprefix(_MARK), sentence, tag, column)
    if sentence.separator == "\t":
        fields = row.split("\t")
        fields[column] = fields[column].replace(fields[column].strip(" \r\n"), tag, 1)
        return "\t".join(fields)
    _check(tag, sentence)
    place = list(_COLUMN.finditer(row))[column]
    return row[: place.start()] + tag + row[place.end() :]


def _check(tag: str, sentence: Sentence, index: int = 0) -> None:
    if sentence.separator == " " and _COLUMN.fullmatch(tag) is None:
        expected = "expected a tag that columns separated by blanks can hold"
        raise DataError(f"{sentence.where(index)}: {expected}, got {tag!r}; write --format jsonl instead")
