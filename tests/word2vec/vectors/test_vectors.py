"""WordVectors: look-up; neighbors and analogies against gensim and an obvious twin; files with the text rule beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import DataError
from word2vec.text.tokenize import TextRule
from word2vec.vectors import vectors as module
from word2vec.vectors.vectors import WordVectors, read_rule, rule_path, top_k, unit_rows


def made(n: int, d: int, seed: int = 0) -> torch.Tensor:
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((n, d))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture
def some() -> WordVectors:
    return WordVectors([f"w{i}" for i in range(200)], made(200, 12))


@pytest.fixture
def keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def gensims(vectors: WordVectors) -> KeyedVectors:
    theirs = KeyedVectors(vectors.dim)
    theirs.add_vectors(vectors.words, vectors.matrix.numpy())
    return theirs


def test_neighbors_and_analogies_are_gensims(some: WordVectors) -> None:
    theirs = gensims(some)
    for word in some.words[:30]:
        ours, expected = some.nearest(word, 7), theirs.most_similar(word, topn=7)
        assert [w for w, _ in ours] == [w for w, _ in expected]
        assert [s for _, s in ours] == pytest.approx([s for _, s in expected], abs=1e-6)
    for a, b, c in (("w1", "w2", "w3"), ("w9", "w9", "w4"), ("w5", "w6", "w5")):
        expected = theirs.most_similar(positive=[b, c], negative=[a], topn=5)
        if a == "w5":  # b − a + a is b itself: gensim gives the words next to b
            assert [w for w, _ in some.analogy(a, b, c, 5)] == [w for w, _ in theirs.most_similar(b, topn=6) if w != a][:5]
        else:
            assert [w for w, _ in some.analogy(a, b, c, 5)] == [w for w, _ in expected]


def test_a_vector_may_be_asked_for(some: WordVectors) -> None:
    ((word, similarity),) = some.nearest(some.vector("w3") * 5, 1)
    assert word == "w3"
    assert similarity == pytest.approx(1)
    assert [w for w, _ in some.nearest(some.vector("w3"), 5)][1:] == [w for w, _ in some.nearest("w3", 4)]
    with pytest.raises(DataError, match="expected a vector of 12 numbers"):
        some.nearest(torch.zeros(3))
    with pytest.raises(DataError, match="expected a number of 1 or more, got 0"):
        some.nearest("w3", 0)


def test_ties_go_to_the_lower_id_and_zeros_score_zero() -> None:
    rows = torch.tensor([[1.0, 0], [0, 2], [0, 3], [0, 0], [0, 1], [-1, 0]])
    vectors = WordVectors(list("abcdef"), rows)
    assert vectors.nearest("b", 9) == [("c", 1.0), ("e", 1.0), ("a", 0.0), ("d", 0.0), ("f", 0.0)]
    assert vectors.nearest("b", 1) == [("c", 1.0)]
    assert vectors.nearest(torch.tensor([0.0, 1]), 2) == [("b", 1.0), ("c", 1.0)]


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99), st.integers(1, 200), st.data())
def test_top_k_is_a_sort_of_all_scores(n: int, d: int, k: int, seed: int, block: int, data: st.DataObject) -> None:
    # Small whole numbers, so that there are many ties.
    unit = unit_rows(torch.round(made(n, d, seed)))
    queries = unit_rows(torch.round(made(4, d, seed + 1)))
    out = data.draw(st.lists(st.lists(st.integers(0, max(n - 1, 0)), max_size=3 if n else 0), min_size=4, max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_ROWS", block)
        found = top_k(unit, queries, k, out)
    for query, excluded, (ids, scores) in zip(queries, out, found, strict=True):
        all_scores = [float((row.double() * query.double()).sum()) for row in unit]
        expected = sorted((i for i in range(n) if i not in excluded), key=lambda i: (-all_scores[i], i))[:k]
        assert ids == expected
        assert scores == [all_scores[i] for i in expected]


def test_the_same_bits_for_any_number_of_threads(keep_threads: None) -> None:
    answers = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        vectors = WordVectors([str(i) for i in range(3000)], made(3000, 50))
        answers.append((vectors.unit.numpy().tobytes(), [vectors.nearest(str(i), 20) for i in range(20)]))
    assert answers[0] == answers[1] == answers[2]


def test_unit_rows_of_extreme_lengths() -> None:
    rows = unit_rows(torch.tensor([[3e38, 3e38], [1e-45, 0], [0, 0], [3, -4]]))
    assert rows.tolist() == [pytest.approx(row) for row in ([0.5**0.5, 0.5**0.5], [1, 0], [0, 0], [0.6, -0.8])]


def test_unknown_words_are_named_with_what_is_near() -> None:
    vectors = WordVectors(["France", "french", "Germany", "germany", "x"], made(5, 3))
    for word, message in (
        ("Frence", "no vector for 'Frence'; did you mean 'french', 'France'"),
        ("GERMANY", "did you mean 'Germany', 'germany'"),
        ("zzz", "no vector for 'zzz'$"),
    ):
        with pytest.raises(DataError, match=message):
            vectors.vector(word)
    assert "Frence" not in vectors
    assert 5 not in vectors


def test_words_are_also_found_in_the_form_of_the_rule() -> None:
    vectors = WordVectors(["the", "0000", "'s"], made(3, 3), TextRule(lowercase=True, digits="zero"))
    assert [vectors.find(word) for word in ("the", "The", "1996", "’S", "x")] == [0, 0, 1, 2, None]
    assert "THE" in vectors
    assert torch.equal(vectors.vector("The"), vectors.matrix[0])


def test_what_is_not_a_table_of_vectors_is_refused() -> None:
    for words, matrix, message in (
        (["a"], made(2, 3), "expected a float32 matrix of 1 rows"),
        (["a", "b"], made(2, 3).double(), "float64"),
        (["a", "b", "a"], made(3, 3), "expected distinct words, got 'a' twice"),
    ):
        with pytest.raises(DataError, match=message):
            WordVectors(words, matrix)


@pytest.mark.parametrize("name", ["v.txt", "v.bin", "v.txt.gz"])
@pytest.mark.parametrize("form", ["text", "binary", "glove"])
def test_there_and_back_with_the_rule(tmp_path: Path, some: WordVectors, name: str, form: str) -> None:
    rule = TextRule(lowercase=True)
    WordVectors(some.words, some.matrix, rule).save(tmp_path / name, form)
    assert {p.name for p in tmp_path.iterdir()} == {name, "v.rule.json"}
    back = WordVectors.load(tmp_path / name)
    assert (back.words, back.rule, back.repeated) == (some.words, rule, 0)
    assert back.matrix.numpy().tobytes() == some.matrix.numpy().tobytes()


def test_a_rule_does_not_outlive_its_vectors(tmp_path: Path, some: WordVectors) -> None:
    WordVectors(some.words, some.matrix, TextRule()).save(tmp_path / "v.txt")
    some.save(tmp_path / "v.txt")
    assert WordVectors.load(tmp_path / "v.txt").rule is None


def test_damaged_rules_are_named(tmp_path: Path) -> None:
    assert rule_path("a/b.c.txt") == Path("a/b.c.rule.json")
    for content in ("{", "[]", json.dumps({"tokenize": True}), "\udcff"):
        (tmp_path / "v.rule.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(DataError, match=r"v\.rule\.json: expected"):
            read_rule(tmp_path / "v.txt")


def test_a_word_twice_keeps_its_first_vector(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a 1.5 2.5\nb 0.5 0.5\na 9.5 9.5\n")
    vectors = WordVectors.load(tmp_path / "v.txt")
    assert (vectors.words, vectors.matrix.tolist(), vectors.repeated) == (["a", "b"], [[1.5, 2.5], [0.5, 0.5]], 1)
