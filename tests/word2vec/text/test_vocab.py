from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import ConfigError, DataError
from word2vec.text.vocab import Vocab, select


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=4), st.integers(1, 3), st.one_of(st.none(), st.integers(2, 5)))
def test_select_is_the_sorted_counter(text: list[str], min_count: int, max_vocab: int | None) -> None:
    counter = Counter(text)
    expected = sorted((w for w in counter if counter[w] >= min_count), key=lambda w: (-counter[w], w))[:max_vocab]
    words, counts = list(counter), np.array(list(counter.values()))
    if len(expected) < 2:
        with pytest.raises(ConfigError, match="min_count: expected at least two words"):
            select(words, counts, min_count, max_vocab)
        return
    vocab, place = select(words, counts, min_count, max_vocab)
    assert list(vocab) == expected
    assert vocab.counts.tolist() == [counter[w] for w in expected]
    assert [(words[i], int(p)) for i, p in enumerate(place) if p >= 0] == [
        (w, expected.index(w)) for w in words if w in expected
    ]


def test_keep_probabilities_are_those_of_word2vec_c() -> None:
    vocab = Vocab(("the", "of", "rare"), np.array([600, 300, 100]))
    for sample in (1e-3, 1e-1):
        for i, count in enumerate(vocab.counts):
            # word2vec.c: (sqrt(cn / (sample * train_words)) + 1) * (sample * train_words) / cn
            ran = ((count / (sample * 1000)) ** 0.5 + 1) * (sample * 1000) / count
            assert vocab.keep_probabilities(sample)[i] == pytest.approx(min(ran, 1.0), rel=1e-12)
    assert vocab.keep_probabilities(0.0).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("exponent", [0.75, 0.0, 1.0, -0.5])
def test_noise_is_a_power_of_the_counts(exponent: float) -> None:
    counts = np.array([600, 300, 100, 100, 1])
    noise = Vocab(tuple("abcde"), counts).noise_probabilities(exponent)
    np.testing.assert_allclose(noise, counts**exponent / (counts**exponent).sum(), rtol=1e-12)


def test_save_and_load(tmp_path: Path) -> None:
    vocab = Vocab(("мир", "a\u00a0b", "🙂", '"'), np.array([9, 5, 5, 1]))
    vocab.save(tmp_path / "vocab.tsv")
    assert (tmp_path / "vocab.tsv").read_text(encoding="utf-8") == 'мир\t9\na\u00a0b\t5\n🙂\t5\n"\t1\n'
    again = Vocab.load(tmp_path / "vocab.tsv")
    assert again.words == vocab.words
    assert again.counts.tolist() == [9, 5, 5, 1]
    assert again.total == 20
    assert again.ids()["🙂"] == 2


@pytest.mark.parametrize(
    ("content", "message"), [(b"a 3\n", ":1: expected a word, a tab"), (b"a\t3\nb\tx\n", ":2: "), (b"\xff\t1\n", "UTF-8")]
)
def test_a_damaged_vocabulary_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "vocab.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Vocab.load(tmp_path / "vocab.tsv")


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.tsv: cannot read"):
        Vocab.load(tmp_path / "nothing.tsv")
