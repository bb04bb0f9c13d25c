"""Vectors for words that have none, from the ends and beginnings of those that have one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.vectors.affixes import FEWEST, LONGEST, SHORTEST, Affixes
from ner.vectors.views import Views
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

LOWER = TextRule(tokenize=False, lowercase=True, digits="zero")


def vectors(words: list[str]) -> WordVectors:
    return WordVectors(words, torch.arange(2.0 * len(words)).reshape(-1, 2).sin(), LOWER)


def slowly(known: WordVectors, word: str) -> torch.Tensor | None:
    """By trying every size and every word."""
    found = []
    for match in (str.endswith, str.startswith):
        for size in range(LONGEST, SHORTEST - 1, -1):
            part = word[-size:] if match is str.endswith else word[:size]
            alike = [i for i, each in enumerate(known.words) if len(each) > size and match(each, part)]
            if len(word) > size and len(alike) >= FEWEST:
                found.append(known.matrix[alike].mean(0))
                break
    return torch.stack(found).mean(0) if found else None


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=60, unique=True), st.text("abc", max_size=9))
@settings(max_examples=60, deadline=None)
def test_a_guess_is_that_of_a_loop(words: list[str], word: str) -> None:
    guess, wanted = Affixes(vectors(words)).guess(word), slowly(vectors(words), word)
    assert (guess is None) == (wanted is None)
    if guess is not None and wanted is not None:
        torch.testing.assert_close(guess, wanted)


def test_views_guess_where_they_are_told_to() -> None:
    known = vectors([f"{start}ovic" for start in ("mar", "pet", "jov", "iv", "stan")])
    plain, guessing = Views([known]), Views([known], affixes=True)
    assert [plain.has("Novovic"), guessing.has("Novovic"), guessing.has("xyz")] == [False, True, False]
    assert torch.allclose(guessing.rows(["Novovic", "MAROVIC"]), torch.stack([known.matrix.mean(0), known.matrix[0]]))
    assert guessing.rows(["xyz"]).tolist() == [pytest.approx(plain.means[0].tolist())]
