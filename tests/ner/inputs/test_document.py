"""What surrounds a token: documents, the other mentions of a word, spelling and place."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.corpus.conll import Sentence
from ner.inputs.batches import Documents, Encoded, SentenceBatches
from ner.inputs.document import (
    ELSEWHERE,
    FEATURES,
    LONGEST,
    LOWER,
    PLACES,
    SPELLINGS,
    TITLE,
    UPPER,
    Ids,
    by_type,
    documents,
    features,
    mentions,
    spelling,
)
from ner.model.tagger import group_sums, mean_of_others
from tests.reference.features_slow import features_slow, spelling_slow


def text(*rows: tuple[int, str]) -> list[Sentence]:
    """Sentences from (document, words apart by spaces)."""
    return [Sentence(tuple(words.split()), document=document) for document, words in rows]


def _features(rows: list[Sentence]) -> Ids:
    typed = by_type(rows)
    return features(typed, mentions(typed, documents(rows)))


def test_documents_begin_at_docstart_and_without_it_sentences_stand_alone() -> None:
    rows = text((1, "a b"), (1, "c"), (2, "d"), (0, "e"), (0, "f"), (3, "g"), (3, ""))
    assert documents(rows).tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert documents([]).tolist() == []


def test_a_long_document_is_cut_at_a_sentence_and_none_is_lost() -> None:
    rows = [Sentence(("w",) * 700, document=1) for _ in range(5)] + [Sentence(("w",) * (LONGEST + 1), document=1)]
    assert documents(rows).tolist() == [0, 0, 1, 1, 2, 3]


def test_mentions_are_the_same_word_of_the_document_in_any_case() -> None:
    rows = text((1, "LEEDS win"), (1, "Leeds lost"), (2, "Leeds"))
    assert mentions(by_type(rows), documents(rows)).tolist() == [0, 1, 0, 2, 3]


def test_spelling() -> None:
    words = [",", "1996", "3-2", "F1", "said", "A", "EU", "U.S.", "Oslo", "McCoy", "日本", "München", "ОАО"]
    assert [spelling(word) for word in words] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 4, 8, 6]
    assert max(spelling(word) for word in words) < SPELLINGS


def test_features_of_a_small_document() -> None:
    rows = text((1, "BUSH SEES MAY"), (1, "May Bush win ?"), (1, "It may snow"), (2, "Bush"))
    found = _features(rows)
    elsewhere = (found[:, 2] - SPELLINGS - PLACES).tolist()
    assert elsewhere[:3] == [TITLE, 0, LOWER]  # of headlines the words are looked up, their case tells nothing
    assert elsewhere[3:7] == [LOWER, 0, 0, 0]  # its own mention does not count, nor the first word's capital
    assert elsewhere[8] == 0
    assert elsewhere[10] == 0  # another document
    place = (found[:, 1] - SPELLINGS).tolist()
    assert place == [1 + 4, 4, 2 + 4, 1, 0, 0, 2, 1, 0, 2, 3]
    assert found.max() < FEATURES == SPELLINGS + PLACES + ELSEWHERE


cased = st.text("aBé.1ǅß日Ⅷ", min_size=1, max_size=3)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(cased | st.sampled_from(["Oslo", "OSLO", "oslo"]), max_size=6)), max_size=8
    )
)
@settings(max_examples=150, deadline=None)
def test_mentions_and_features_are_those_of_a_loop(rows: list[tuple[int, list[str]]]) -> None:
    given_ = [Sentence(tuple(words), document=document) for document, words in sorted(rows)]
    numbers = documents(given_)
    assert _features(given_).tolist() == features_slow(given_, numbers.tolist())
    seen: dict[tuple[int, str], int] = {}
    pairs = [(n, word.lower()) for s, n in zip(given_, numbers.tolist(), strict=True) for word in s.words]
    assert mentions(by_type(given_), numbers).tolist() == [seen.setdefault(pair, len(seen)) for pair in pairs]


@given(st.text(min_size=1, max_size=4) | cased)
@settings(max_examples=300, deadline=None)
def test_spelling_is_that_of_its_letters(word: str) -> None:
    assert spelling(word) is spelling_slow(word)


def test_two_mentions_see_each_other() -> None:
    rows = text((1, "the EU said"), (1, "an EU paper"))
    assert (_features(rows)[[1, 4], 2] - SPELLINGS - PLACES).tolist() == [UPPER, UPPER]


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["Oslo won", "OSLO", "oslo is", "", "Oslo"])), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_document_is_read_alike_alone_and_among_others(rows: list[tuple[int, str]]) -> None:
    given_ = text(*sorted(rows))
    numbers = documents(given_)
    alone = [_features(part) for n in sorted(set(numbers.tolist())) for part in [_of(given_, numbers, n)]]
    assert np.array_equal(_features(given_), np.concatenate([np.zeros((0, 3), np.int64), *alone]))


def _of(sentences: list[Sentence], numbers: np.ndarray[tuple[int], np.dtype[np.int64]], number: int) -> list[Sentence]:
    return [s for s, n in zip(sentences, numbers.tolist(), strict=True) if n == number]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_mean_of_others_is_that_of_a_loop(group: list[int]) -> None:
    group = [g % len(group) for g in group]
    x = torch.arange(3.0 * len(group), dtype=torch.float64).reshape(-1, 3).sin()
    for i, mine in enumerate(group):
        others = [x[j] for j, g in enumerate(group) if g == mine and j != i]
        wanted = torch.stack(others).mean(0) if others else torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(mean_of_others(x, torch.tensor(group))[i], wanted)
    sums, sizes = group_sums(x, torch.tensor(group), 5)
    assert sizes.flatten().tolist() == [group.count(g) for g in range(5)]
    torch.testing.assert_close(sums.sum(0), x.sum(0))


def test_the_gradient_of_mean_of_others() -> None:
    x = torch.arange(8.0, dtype=torch.float64).reshape(4, 2).cos().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: mean_of_others(t, torch.tensor([0, 1, 0, 0])), (x,))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(1, 9), st.booleans())
@settings(max_examples=50, deadline=None)
def test_batches_hold_whole_documents(sizes: list[int], batch_size: int, shuffle: bool) -> None:
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    n = len(numbers)
    documents = Documents(numbers=numbers, mentions=np.arange(n))
    data = Encoded(words=np.arange(n), labels=np.arange(n), lengths=np.ones(n, np.int64), documents=documents)
    source = SentenceBatches(data, batch_size, shuffle=shuffle, seed=1)
    batches = list(source.plan(1))
    assert sorted(int(i) for b in batches for i in b.sentences) == list(range(n))
    where = [set(numbers[b.sentences.numpy()].tolist()) for b in batches]
    assert sum(len(each) for each in where) == len(sizes)  # no document is in two batches
    assert len(batches) == min(len(sizes), -(-n // batch_size)) == len(source.plan(2))
    assert max(map(len, where)) - min(map(len, where)) <= 1
    for batch in batches:
        assert batch.surroundings is not None
        assert len(set(batch.surroundings.document.tolist())) == len(set(numbers[batch.sentences.numpy()].tolist()))
    again = [b.sentences.tolist() for b in source.plan(1)]
    assert again == [b.sentences.tolist() for b in batches]
