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


class Typed(NamedTuple):
    """Sentences by their word types, so that what depends on a word alone is worked out once."""

    types: list[str]  # the distinct words, in the order in which they are met first
    tokens: Ids  # (N,): each token's place among the types
    lengths: Ids  # (B,): the tokens of each sentence


def by_type(sentences: Sequence[Words]) -> Typed:
    """The distinct words of ``sentences`` (B), and which of them each token is."""
    raw = [word for sentence in sentences for word in sentence.words]
    types = {word: i for i, word in enumerate(dict.fromkeys(raw))}
    tokens = np.fromiter(map(types.__getitem__, raw), np.int64, len(raw))
    return Typed(list(types), tokens, np.array([len(sentence.words) for sentence in sentences], np.int64))


def mentions(typed: Typed, numbers: Ids) -> Ids:
    """For each token (N,) a number that it shares with the tokens of its document that are the same word, in any case.

    ``numbers`` (B,) are those of the sentences' documents; the mentions' begin at 0, in the order in which they are met.
    """
    forms: dict[str, int] = {}
    form = np.array([forms.setdefault(word.lower(), len(forms)) for word in typed.types], np.int64)
    pairs = np.repeat(numbers, typed.lengths) * len(forms) + form[typed.tokens]  # shape: (N,)
    _, first, group = np.unique(pairs, return_index=True, return_inverse=True)
    rank: Ids = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    found: Ids = rank[group]
    return found


def spelling(word: str) -> Spelling:
    """Which kind a word is of, by the case of its letters, its digits, its marks."""
    if word.isalpha() and (word.islower() or (len(word) > 1 and word.isupper())):  # most words, in two calls
        return Spelling.LOWER_CASE if word.islower() else Spelling.CAPITALS
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


def features(typed: Typed, mention: Ids) -> Ids:
    """For each token (N, 3): its spelling, its place, how its word is met elsewhere in the document. All below FEATURES.

    The place: first word of its sentence or not, last or not, in a sentence without lower-case letters or not.
    Elsewhere: whether the same word is met in other sentences of the document in lower case, capitalized inside a
    sentence, in capitals inside a sentence that is not all in capitals. ``mention`` (N,) is what ``mentions`` gives.
    """
    n, lengths = len(typed.tokens), typed.lengths
    spelled = np.array([spelling(word) for word in typed.types], np.int64)[typed.tokens]  # shape: (N,)
    with_lower = np.array([any(map(str.islower, word)) for word in typed.types], np.bool_)[typed.tokens]
    capitals = np.repeat(
        np.bincount(np.repeat(np.arange(len(lengths)), lengths)[with_lower], minlength=len(lengths)) == 0, lengths
    )
    stops = lengths.cumsum()
    first, last = np.zeros(n, np.int64), np.zeros(n, np.int64)
    first[(stops - lengths)[lengths > 0]] = 1
    last[stops[lengths > 0] - 1] = 1
    how = np.where(capitals, 0, _WRITTEN[spelled, first])
    elsewhere = np.zeros(n, np.int64)
    for way in (LOWER, TITLE, UPPER):
        own = how == way  # this very place is not elsewhere
        elsewhere += way * (np.bincount(mention[own], minlength=n)[mention] > own)
    return np.stack([spelled, SPELLINGS + first + 2 * last + 4 * capitals, SPELLINGS + PLACES + elsewhere], 1)


def _written(kind: Spelling, *, first: bool) -> int:
    """LOWER, TITLE or UPPER, or 0 where the word, or its place as the ``first`` of its sentence, tells nothing."""
    if kind is Spelling.LOWER_CASE:
        return LOWER
    if kind in (Spelling.CAPITALIZED, Spelling.MIXED):
        return 0 if first else TITLE
    return UPPER if kind in (Spelling.CAPITALS, Spelling.CAPITALS_WITH_POINTS) else 0


_WRITTEN = np.array([[_written(kind, first=False), _written(kind, first=True)] for kind in Spelling], np.int64)
