"""Word vectors: what is found, what is random."""

from __future__ import annotations

import pytest
import torch

from ner.vectors.views import Views, find, word_matrix
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

CASED = TextRule(tokenize=False, lowercase=False, digits="keep")
LOWER = TextRule(tokenize=False, lowercase=True, digits="zero")


def vectors(words: list[str], rule: TextRule | None) -> WordVectors:
    return WordVectors(words, torch.arange(len(words) * 3, dtype=torch.float32).reshape(-1, 3) + 1, rule)


def test_words_are_found_as_they_stand_then_in_the_vectors_form_then_lower_cased() -> None:
    known = vectors(["the", "Oslo", "00", "bank"], LOWER)
    words = ["<pad>", "<unk>", "the", "Oslo", "THE", "42", "gone"]
    matrix, coverage = word_matrix(words, {"the": 5, "Oslo": 2, "THE": 1, "42": 1, "gone": 1}, Views([known]), 99, seed=0)
    assert matrix.shape == (7, 3)
    assert matrix[0].abs().max() == 0
    assert torch.allclose(matrix[1], known.matrix.mean(dim=0))
    assert torch.equal(matrix[2], known.matrix[0])
    assert torch.equal(matrix[3], known.matrix[1])
    assert torch.equal(matrix[4], known.matrix[0])
    assert torch.equal(matrix[5], known.matrix[2])
    assert (coverage.exact, coverage.other_form, coverage.missing) == (2, 2, 1)
    assert coverage.token_share == pytest.approx(0.9)
    assert "2 of 5 words have a vector as they stand, 2 in another form" in str(coverage)
    assert "(most frequent: gone)" in str(coverage)


def test_lower_cased_glove_serves_cased_words() -> None:
    matrix, coverage = word_matrix(["<pad>", "<unk>", "Bank"], {"Bank": 1}, Views([vectors(["bank"], None)]), 3, seed=0)
    assert (coverage.exact, coverage.other_form) == (0, 1)
    assert matrix[2].tolist() == [1.0, 2.0, 3.0]


def test_headlines_find_capitalized_words() -> None:
    known = vectors(["Oslo", "win"], CASED)
    assert [find(known, word) for word in ("OSLO", "WIN", "Win", "oslo", "gone")] == [0, 1, 1, 0, None]


def test_random_vectors_depend_on_the_seed_alone() -> None:
    words = ["<pad>", "<unk>", "a", "b"]
    first, coverage = word_matrix(words, {}, None, 8, seed=1)
    assert torch.equal(first, word_matrix(words, {}, None, 8, seed=1)[0])
    assert not torch.equal(first, word_matrix(words, {}, None, 8, seed=2)[0])
    assert coverage.missing == 2
    assert float(first[:2].abs().max()) == 0
    assert float(first[2:].abs().max()) <= (3 / 8) ** 0.5
