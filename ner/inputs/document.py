"""What a token's surroundings say beside its words: the document's other mentions of it, its place, its spelling.

Chieu & Ng 2003 call such things global features: how a word is written elsewhere in its document tells what a word means
that begins a sentence or stands in a headline. All of it is read off words alone, never off tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

LONGEST = 2000  # tokens of a document that are taken together; a longer one is cut
Ids = npt.NDArray[np.int64]

LOWER, TITLE, UPPER = 1, 2, 4  # how a word was met elsewhere in its document: a sum of these


class Spelling(IntEnum):
    """What kind of word one is by its letters, digits and marks. The numbers are rows of the trained feature table."""

    MARKS = 0  # . --
    NUMBER = 1  # 1996
    NUMBER_WITH_MARKS = 2  # 3.5, 1996-08-22
    LETTERS_AND_DIGITS = 3  # B-52
    LOWER_CASE = 4  # rain, and letters that have no case
    ONE_CAPITAL = 5  # A, J.
    CAPITALS = 6  # EU
    CAPITALS_WITH_POINTS = 7  # U.S.
    CAPITALIZED = 8  # Oslo
    MIXED = 9  # McCoy


SPELLINGS = len(Spelling)
PLACES = 8
ELSEWHERE = 8
FEATURES = SPELLINGS + PLACES + ELSEWHERE


class Words(Protocol):
    """What is read of a sentence to encode it: a labeled one of a file (ner/corpus/conll.py), or a Tokenized one."""

    @property
    def words(self) -> Sequence[str]:
        """Its words, as they stand."""
        ...

    @property
    def document(self) -> int:
        """The number of its document, from 1, never falling; 0 for a sentence that stands alone."""
        ...


class Tokenized(NamedTuple):
    """A sentence to be tagged: words, and the number of its document (see Words)."""

    words: Sequence[str]
    document: int = 0


class Numbering:
    """Numbers the documents of sentences that come one after the other: from 0, never falling.

    A document begins at a -DOCSTART- row; where there is none every sentence is one of its own. One of more than LONGEST
    tokens is cut at the ends of sentences, so that texts of any length can be read piece by piece.
    """

    def __init__(self) -> None:
        self.number, self.document, self.size = -1, 0, 0

    def __call__(self, sentence: Words) -> int:
        """The number of the next sentence's document."""
        self.size += len(sentence.words)
        if sentence.document == 0 or sentence.document != self.document or self.size > LONGEST:
            self.number, self.size = self.number + 1, len(sentence.words)
        self.document = sentence.document
        return self.number


def documents(sentences: Sequence[Words]) -> Ids:
    """For each sentence the number of its document (see Numbering)."""
    number = Numbering()
    return np.fromiter((number(sentence) for sentence in sentences), np.int64, len(sentences))


def mentions(sentences: Sequence[Words], numbers: Ids) -> Ids:
    """For each token (N,) a number that it shares with the tokens of its document that are the same word, in any case."""
    seen: dict[tuple[int, str], int] = {}
    place = seen.setdefault
    pairs = ((number, w.lower()) for s, number in zip(sentences, numbers.tolist(), strict=True) for w in s.words)
    return np.fromiter((place(pair, len(seen)) for pair in pairs), np.int64)


def spelling(word: str) -> Spelling:
    """Which kind a word is of, by the case of its letters, its digits, its marks."""
    letters = [c for c in word if c.isalpha()]
    digits = any(c.isdigit() for c in word)
    if not letters and not digits:
        return Spelling.MARKS
    if not letters:
        return Spelling.NUMBER if word.isdigit() else Spelling.NUMBER_WITH_MARKS
    if digits:
        return Spelling.LETTERS_AND_DIGITS
    if word.islower() or not any(c.isupper() for c in letters):
        return Spelling.LOWER_CASE
    if len(letters) == 1:
        return Spelling.ONE_CAPITAL
    if word.isupper():
        return Spelling.CAPITALS_WITH_POINTS if "." in word else Spelling.CAPITALS
    capitalized = letters[0].isupper() and not any(c.isupper() for c in letters[1:])
    return Spelling.CAPITALIZED if capitalized else Spelling.MIXED


def features(sentences: Sequence[Words], numbers: Ids) -> Ids:
    """For each token (N, 3): its spelling, its place, how its word is met elsewhere in the document. All below FEATURES.

    The place: first word of its sentence or not, last or not, in a sentence without lower-case letters or not.
    Elsewhere: whether the same word is met in other sentences of the document in lower case, capitalized inside a
    sentence, in capitals inside a sentence that is not all in capitals.
    """
    kinds = {word: spelling(word) for word in {word for s in sentences for word in s.words}}
    with_lower = {word for word in kinds if any(c.islower() for c in word)}
    headline = [with_lower.isdisjoint(s.words) for s in sentences]
    form = {word: word.lower() for word in kinds}
    row = {word: int(kind) for word, kind in kinds.items()}
    written = {word: (_written(kind, first=True), _written(kind, first=False)) for word, kind in kinds.items()}
    met: dict[tuple[int, str], list[int]] = {}
    for sentence, number, capitals in zip(sentences, numbers.tolist(), headline, strict=True):
        if capitals:
            continue
        for i, word in enumerate(sentence.words):
            how = written[word][i > 0]
            if how:
                met.setdefault((number, form[word]), [0, 0, 0])[how.bit_length() - 1] += 1
    nowhere = [0, 0, 0]
    rows: list[tuple[int, int, int]] = []
    for sentence, number, capitals in zip(sentences, numbers.tolist(), headline, strict=True):
        last = len(sentence.words) - 1
        for i, word in enumerate(sentence.words):
            place = (i == 0) + 2 * (i == last) + 4 * capitals
            lower, title, upper = met.get((number, form[word]), nowhere)
            own = 0 if capitals else written[word][i > 0]  # this very place is not elsewhere
            elsewhere = LOWER * (lower > (own == LOWER)) + TITLE * (title > (own == TITLE))
            elsewhere += UPPER * (upper > (own == UPPER))
            rows.append((row[word], SPELLINGS + place, SPELLINGS + PLACES + elsewhere))
    return np.array(rows, np.int64).reshape(-1, 3)


def _written(kind: Spelling, *, first: bool) -> int:
    """LOWER, TITLE or UPPER, or 0 where the word, or its place as the ``first`` of its sentence, tells nothing."""
    if kind is Spelling.LOWER_CASE:
        return LOWER
    if kind in (Spelling.CAPITALIZED, Spelling.MIXED):
        return 0 if first else TITLE
    return UPPER if kind in (Spelling.CAPITALS, Spelling.CAPITALS_WITH_POINTS) else 0
