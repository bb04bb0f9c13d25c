"""A token's features word by word, as their definition reads: the twin of ner.inputs.document.features."""

from __future__ import annotations

from collections.abc import Sequence

from ner.inputs.document import LOWER, PLACES, SPELLINGS, TITLE, UPPER, Spelling, Words, spelling

Place = tuple[int, int]


def _way(word: str, place: int) -> int:
    """How a word at this place of its sentence is written: LOWER, TITLE, UPPER, or 0 where that tells nothing."""
    kind = spelling(word)
    if kind is Spelling.LOWER_CASE:
        return LOWER
    if kind in (Spelling.CAPITALIZED, Spelling.MIXED):
        return TITLE if place > 0 else 0
    return UPPER if kind in (Spelling.CAPITALS, Spelling.CAPITALS_WITH_POINTS) else 0


def features_slow(sentences: Sequence[Words], numbers: Sequence[int]) -> list[list[int]]:
    """(N, 3), for sentences of the documents ``numbers``."""
    capitals = [not any(c.islower() for word in s.words for c in word) for s in sentences]
    met: dict[Place, tuple[int, str, int]] = {
        (at, i): (numbers[at], word.lower(), 0 if capitals[at] else _way(word, i))
        for at, s in enumerate(sentences)
        for i, word in enumerate(s.words)
    }
    rows = []
    for (at, i), (number, form, _) in met.items():
        others = {way for place, (n, f, way) in met.items() if place != (at, i) and (n, f) == (number, form)}
        words = sentences[at].words
        where = (i == 0) + 2 * (i == len(words) - 1) + 4 * capitals[at]
        rows.append([int(spelling(words[i])), SPELLINGS + where, SPELLINGS + PLACES + sum(others)])
    return rows


def spelling_slow(word: str) -> Spelling:
    """The twin of ner.inputs.document.spelling, letter by letter."""
    letters = [c for c in word if c.isalpha()]
    digits = any(c.isdigit() for c in word)
    uppers = sum(c.isupper() for c in letters)
    if not letters:
        marks = Spelling.NUMBER if word.isdigit() else Spelling.NUMBER_WITH_MARKS
        return marks if digits else Spelling.MARKS
    if digits:
        return Spelling.LETTERS_AND_DIGITS
    if word.islower() or not uppers:
        return Spelling.LOWER_CASE
    if len(letters) == 1:
        return Spelling.ONE_CAPITAL
    if word.isupper():
        return Spelling.CAPITALS_WITH_POINTS if "." in word else Spelling.CAPITALS
    return Spelling.CAPITALIZED if letters[0].isupper() and uppers == 1 else Spelling.MIXED
