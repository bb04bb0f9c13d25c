"""A language model's text in pieces, its batches, and its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.inputs.language_words import END, FIRST, UNK, LanguageWords
from ner.lm.text import PieceBatches, Text
from training.errors import DataError
from word2vec.text.corpus import encode
from word2vec.text.tokenize import TextRule

SENTENCES = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=20), min_size=1, max_size=30)


def text_of(sentences: list[list[int]], max_length: int = 64) -> Text:
    """The text of sentences of ids, without a file."""
    stream = np.array([END, *(i for each in sentences for i in [*each, END])], np.int32)

    class Encoded:
        vocab_size = 7

        @staticmethod
        def ids() -> np.ndarray:
            ids = stream[1:].astype(np.int64) - FIRST
            ids[stream[1:] == END], ids[stream[1:] == UNK] = 7, 8
            return ids

    return Text.read(Encoded, max_length)  # type: ignore[arg-type]


@given(SENTENCES, st.integers(1, 25))
def test_each_word_of_a_text_has_its_neighbors_in_whatever_piece(sentences: list[list[int]], longest: int) -> None:
    text = text_of(sentences, longest)
    assert text.lengths.min() >= 1
    assert text.lengths.max() <= longest
    batch = text.batch(np.arange(len(text)))
    assert batch.words.tolist() == [word for each in sentences for word in each]
    assert batch.after.tolist() == [word for each in sentences for word in [*each[1:], END]]
    assert batch.before.tolist() == [word for each in sentences for word in [END, *each[:-1]]]


def test_a_long_sentence_is_cut_evenly() -> None:
    assert text_of([[1] * 10, [2] * 3], 4).lengths.tolist() == [4, 3, 3, 3]


@given(SENTENCES, st.integers(20, 60), st.integers(0, 3), st.booleans())
def test_an_epoch_has_every_piece_once(sentences: list[list[int]], words: int, epoch: int, shuffle: bool) -> None:
    text = text_of(sentences)
    chosen = np.arange(len(text)) % 3 != 1
    batches = PieceBatches(text, chosen, words, shuffle=shuffle, seed=5)
    plan = batches.plan(epoch)
    assert len(plan) == batches.batches_per_epoch == len(batches.plan(epoch + 1))
    pieces = [batch.pieces.tolist() for batch in plan]
    assert all(pieces)
    assert sorted(i for each in pieces for i in each) == np.flatnonzero(chosen).tolist()
    assert [batch.pieces.tolist() for batch in batches.plan(epoch)] == pieces
    if not shuffle:
        assert [batch.pieces.tolist() for batch in batches.plan(epoch + 1)] == pieces
    assert all(len(batch.words) < 2 * words + 20 for batch in plan)


@given(SENTENCES, st.sampled_from([1, 2, 4, 8]))
def test_a_batch_is_cut_into_whole_pieces(sentences: list[list[int]], parts: int) -> None:
    batch = text_of(sentences).batch(np.arange(len(sentences)))
    cut = batch.cut(parts)
    assert len(cut) == parts
    there = [part for part in cut if part is not None]
    for name in ("pieces", "words", "after", "before"):
        assert [i for part in there for i in getattr(part, name).tolist()] == getattr(batch, name).tolist()
    assert [n for part in there for n in part.plain_lengths] == list(batch.plain_lengths)
    assert all(sum(part.plain_lengths) == len(part.words) > 0 for part in there)


def test_every_nth_piece_is_held_out() -> None:
    for every, held in ((3, [2, 5]), (7, [6]), (200, [6])):
        assert np.flatnonzero(text_of([[1]] * 7).held_out(every)).tolist() == held


def test_words_outside_the_vocabulary_keep_their_places(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a b a\nc\nb c a\n")
    rule = TextRule(tokenize=False)
    vocab, corpus = encode(
        [f"{tmp_path}/text"], tmp_path / "ids", rule, min_count=3, max_vocab=None, known=["b"], keep_unknown=True
    )
    assert (vocab.words, corpus.vocab_size) == (("a", "b"), 2)
    assert corpus.ids().tolist() == [0, 1, 0, 2, 3, 2, 1, 3, 0, 2]
    text = Text.read(corpus, 64)
    assert text.stream.tolist() == [END, 2, 3, 2, END, UNK, END, 3, UNK, 2, END]


def test_a_word_is_looked_up_in_its_other_forms_too() -> None:
    words = LanguageWords(("the", "Oslo", "0000"), TextRule(digits="zero"))
    assert words.encode(["the", "THE", "OSLO", "oslo", "1996", "x"]).tolist() == [2, 2, 3, 3, 4, UNK]
    assert len(words) == 5
    assert LanguageWords.from_dict(words.to_dict(), "here") == words


@pytest.mark.parametrize("values", [None, [], {"words": []}, {"words": ["a", "a"], "rule": {}}, {"words": [1], "rule": {}},
                                    {"words": ["a"], "rule": 3}, {"words": ["a"], "rule": {"digits": "keep"}}])  # fmt: skip
def test_what_are_no_words_of_a_language_model_is_told(values: object) -> None:
    with pytest.raises(DataError, match=r"^here: expected "):
        LanguageWords.from_dict(values, "here")
