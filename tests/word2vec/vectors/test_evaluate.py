"""Similarity and analogy sets: the figures are gensim's, damage is named by file and line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from training.errors import DataError
from word2vec.vectors.evaluate import (
    AnalogyResult,
    AnalogySet,
    SectionResult,
    SimilarityResult,
    SimilaritySet,
    as_metrics,
    average_ranks,
    evaluate,
    read_set,
    score_analogies,
    score_similarity,
    spearman,
)
from word2vec.vectors.vectors import WordVectors

WORDS = [f"{letter}{i}" for i in range(60) for letter in "xyZ"] + ["X1", "Y2", "z3"]  # the last three: other spellings


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    """Words x_i, y_i = x_i + shift + noise, so that about half of the analogies come out right."""
    random = np.random.Generator(np.random.PCG64(5))
    base, shift, noise = (random.standard_normal(shape) for shape in ((60, 1, 8), (1, 3, 8), (60, 3, 8)))
    rows = (base + shift + 0.3 * noise).reshape(180, 8)
    rows = np.concatenate([rows, rows[[3, 7, 11]] + 0.01]).astype(np.float32)
    return WordVectors(WORDS, torch.from_numpy(rows))


@pytest.fixture(scope="module")
def gensims(vectors: WordVectors) -> KeyedVectors:
    theirs = KeyedVectors(vectors.dim)
    theirs.add_vectors(vectors.words, vectors.matrix.numpy())
    return theirs


@pytest.mark.parametrize("ignore_case", [True, False])
def test_similarity_is_gensims(tmp_path: Path, vectors: WordVectors, gensims: KeyedVectors, ignore_case: bool) -> None:
    random = np.random.Generator(np.random.PCG64(1))
    lines = [f"{WORDS[a]}\t{WORDS[b]}\t{(a * b) % 7}" for a, b in random.integers(0, len(WORDS), (200, 2))]
    lines += ["X4 y4 9", "none x1 3", "x1 none 2", "x1 Z9 0.5"]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    pairs = read_set(path)
    assert isinstance(pairs, SimilaritySet)
    result = score_similarity(vectors, pairs, ignore_case=ignore_case)
    _, expected, unknown = gensims.evaluate_word_pairs(str(path), delimiter=None, case_insensitive=ignore_case)
    assert result.spearman == pytest.approx(expected.statistic, abs=1e-6)
    assert (result.name, result.pairs) == ("pairs", 204)
    assert result.found == round(204 * (1 - unknown / 100)) == (202 if ignore_case else 201)
    assert result.to_text() == f"pairs: Spearman {result.spearman:.4f} on {result.found} of 204 pairs"


@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("restrict", [None, 100])
def test_analogies_are_gensims(
    tmp_path: Path, vectors: WordVectors, gensims: KeyedVectors, ignore_case: bool, restrict: int | None
) -> None:
    lines = [": x to y"] + [f"x{i} y{i} x{j} y{j}" for i in range(20) for j in range(20) if i != j]
    lines += [": y to Z, any case"] + [f"y{i} z{i} Y{j} Z{j}" for i in range(1, 30) for j in (2, 3, 50)]
    lines += [": nothing known", "a b c d"]
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(lines))
    questions = read_set(path)
    assert isinstance(questions, AnalogySet)
    result = score_analogies(vectors, questions, restrict=restrict, ignore_case=ignore_case)
    _, sections = gensims.evaluate_word_analogies(
        str(path), restrict_vocab=restrict or len(vectors), case_insensitive=ignore_case
    )
    expected = [(len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections]
    assert [(s.correct, s.asked) for s in (*result.sections, result.total)] == expected
    assert [s.questions for s in result.sections] == [380, 87, 1]
    assert 0 < result.total.correct < result.total.asked
    assert result.sections[2].accuracy is None
    assert result.candidates == (restrict or len(vectors))
    assert "nothing known: none (0 of 0 asked, 1 in all)" in result.to_text()


def slow_ranks(values: list[float]) -> list[float]:
    """By counting: the mean of the first and the last place that a value can take."""
    return [1 + sum(v < value for v in values) + (values.count(value) - 1) / 2 for value in values]


VALUES = st.lists(st.tuples(st.integers(0, 5), st.floats(-9, 9)), max_size=30)


@settings(deadline=None)
@given(VALUES)
def test_ranks_and_spearman(pairs: list[tuple[int, float]]) -> None:
    x, y = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    assert average_ranks(x).tolist() == slow_ranks(x.tolist())
    ours = spearman(x, y)
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        assert ours is None
    else:
        assert ours == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "s.txt: expected lines of word, word, score"),
        (b"# only this\n\n", "s.txt: expected lines of word, word, score"),
        (b"a b 1\n\na b\n", "s.txt:3: expected word, word, score .*got 2 fields: 'a b'"),
        (b"a b 1\na b 1 2\n", "s.txt:2: .*got 4 fields"),
        (b"a b 1\nc d high\n", "s.txt:2: .*got the score 'high'"),
        (b"a b nan\n", "s.txt:1: .*got the score 'nan'"),
        (b"a b 1\n: section\n", "s.txt:2: expected word, word, score"),
        (b"a b c d\n: section\n", "s.txt:1: .*section ': name' before analogies"),
        (b": section\na b c d\na b c\n", "s.txt:3: expected an analogy of four words, got 3"),
        (b": section\na b c d\n:\n", "s.txt:3: expected the name of a section|s.txt:3: expected an analogy"),
        (b"a b 1\n\xffa b 1\n", "s.txt:2: expected UTF-8, got byte 0xff"),
    ],
)
def test_damaged_sets_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_set(tmp_path / "s.txt")


def test_missing_sets_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a set of .*, cannot read it: No such file"):
        read_set(tmp_path / "none")
    with pytest.raises(DataError, match=r"expected a set of .*, got a folder"):
        read_set(tmp_path)


def test_sets_of_both_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeff# comment\r\nя\tb\t1.5\r\n\r\n".encode())
    assert read_set(tmp_path / "a.txt") == SimilaritySet("a", (("я", "b", 1.5),))
    (tmp_path / "b.txt").write_text(":one\na b c d\n: two words\n")
    assert read_set(tmp_path / "b.txt") == AnalogySet("b", (("one", (("a", "b", "c", "d"),)), ("two words", ())))


PUBLISHED = {
    "SimLex-999": "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)\r\n"
    "old\tnew\tA\t1.58\t2.72\t2.81\t2\t7.25\t1\t0.41\r\nsmart\tintelligent\tA\t9.2\t1.75\t2.46\t1\t7.11\t1\t0.67\r\n",
    "WordSim-353 csv": "Word 1,Word 2,Human (mean)\nold,new,1.58\nsmart,intelligent,9.2\n",
    "WordSim-353 tab": "Word 1\tWord 2\tHuman (mean)\t1\t2\nold\tnew\t1.58\t1\t2\nsmart\tintelligent\t9.2\t9\t9\n",
    "SimVerb-3500": "old\tnew\tV\t1.58\tNONE\nsmart\tintelligent\tV\t9.2\tSYNONYMS\n",
    "RareWords": "old\tnew\t1.58\t1\t2\t3\nsmart\tintelligent\t9.2\t9\t9\t10\n",
    "RG-65": "old;new;1.58\nsmart;intelligent;9.2\n",
    "MEN": "old new 1.580000\nsmart intelligent 9.200000\n",
    "words with blanks": "old\tnew\t1.58\t\nsmart\tintelligent\t9.2\t\n",
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_sets_are_read_in_their_published_columns(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "s.txt").write_bytes(pack(PUBLISHED[name].encode()))
    assert read_set(tmp_path / "s.txt") == SimilaritySet("s", (("old", "new", 1.58), ("smart", "intelligent", 9.2)))


def test_figures_for_a_log(vectors: WordVectors) -> None:
    results = [evaluate(vectors, SimilaritySet("s", (("x1", "none", 1.0),))), evaluate(vectors, AnalogySet("t", ()))]
    assert results == [SimilarityResult("s", 1, 0, None), AnalogyResult("t", len(WORDS), ())]
    good = AnalogyResult("g", 9, (SectionResult("p", 9, 4, 1), SectionResult("q", 9, 4, 3)))
    assert as_metrics([*results, SimilarityResult("r", 5, 3, 0.5), good]) == {"r": 0.5, "g": 0.5}
