"""Batches: every sentence once, like lengths together, nothing padded, the same plan for the same epoch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.inputs.batches import Batch, Encoded, SentenceBatches, Spellings, replace_rare


def encoded(lengths: list[int]) -> Encoded:
    """Sentences whose words are numbered through, in three distinct spellings."""
    n = sum(lengths)
    spellings = Spellings(word=np.arange(n) % 3, ids=np.arange(2, 8), lengths=np.array([1, 2, 3]))
    sizes = np.array(lengths, np.int64)
    return Encoded(words=np.arange(n), labels=np.arange(n) * 10, lengths=sizes, spellings=spellings)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 9),
    st.sampled_from(["length", "random"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_each_sentence_comes_once_an_epoch(lengths: list[int], size: int, batching: str, shuffle: bool) -> None:
    data = encoded(lengths)
    source = SentenceBatches(data, size, batching=batching, shuffle=shuffle, seed=3)
    for epoch in (0, 1):
        batches = list(source.plan(epoch))
        assert sorted(int(i) for b in batches for i in b.sentences) == list(range(len(lengths)))
        assert sorted(int(w) for b in batches for w in b.words) == list(range(sum(lengths)))
        assert len(batches) == -(-len(lengths) // size)
        for batch in batches:
            assert batch.lengths.tolist() == [lengths[i] for i in batch.sentences]
            starts = np.cumsum(lengths) - lengths
            wanted = [w for i in batch.sentences for w in range(starts[i], starts[i] + lengths[i])]
            assert batch.words.tolist() == wanted
            assert (batch.labels == batch.words * 10).all()


def test_the_plan_is_a_function_of_seed_and_epoch() -> None:
    data = encoded([3, 1, 4, 1, 5, 9, 2, 6] * 10)

    def order(seed: int, epoch: int) -> list[int]:
        plan = SentenceBatches(data, 4, seed=seed).plan(epoch)
        return [int(i) for b in plan for i in b.sentences]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    plan = SentenceBatches(data, 4, seed=1).plan(5)
    assert (plan[7].words == SentenceBatches(data, 4, seed=1).plan(5)[7].words).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_kept_batches_are_made_once_an_epoch_and_are_the_same(shuffle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded([3, 1, 4, 1, 5, 9, 2, 6] * 10)
    made: list[int] = []
    make = Encoded.batch

    def counted(self: Encoded, sentences: npt.NDArray[np.int64]) -> Batch:
        made.extend([len(sentences)] if self is data else [])
        return make(self, sentences)

    monkeypatch.setattr(Encoded, "batch", counted)
    source = SentenceBatches(data, 7, shuffle=shuffle, seed=2, keep=True)
    for epoch in (0, 0, 1, 1):
        fresh = SentenceBatches(encoded([3, 1, 4, 1, 5, 9, 2, 6] * 10), 7, shuffle=shuffle, seed=2).plan(epoch)
        assert [b.sentences.tolist() for b in source.plan(epoch)] == [b.sentences.tolist() for b in fresh]
    assert sum(made) == len(data) * (2 if shuffle else 1)


def test_like_lengths_are_together() -> None:
    rng = np.random.default_rng(0)
    data = encoded(rng.integers(1, 60, 2000).tolist())

    def spread(batching: str) -> float:
        plan = SentenceBatches(data, 32, batching=batching, seed=0).plan(0)
        return float(np.mean([int(b.lengths.max() - b.lengths.min()) for b in plan]))

    assert spread("length") < 5
    assert spread("random") > 40


def test_characters_are_those_of_the_batch_words() -> None:
    batch = encoded([2, 3]).batch(np.array([1]))
    assert batch.characters is not None
    spelled = torch.split(batch.characters.ids, batch.characters.lengths.tolist())
    assert [spelled[i].tolist() for i in batch.characters.word] == [[5, 6, 7], [2], [3, 4]]


def test_rare_words_are_read_as_unknown_now_and_then() -> None:
    batch = encoded([4000]).batch(np.array([0]))
    rare = torch.arange(4000) % 2 == 0
    words = replace_rare(batch, rare, 0.25, 1, 0, 3, 7)
    changed = words != batch.words
    assert not bool(changed[~rare].any())
    assert float(changed[rare].double().mean()) == pytest.approx(0.25, abs=0.04)
    assert (words[changed] == 1).all()
    assert (words == replace_rare(batch, rare, 0.25, 1, 0, 3, 7)).all()
    assert (words != replace_rare(batch, rare, 0.25, 1, 0, 3, 8)).any()
    assert replace_rare(batch, rare, 0.0, 1, 0, 3, 7) is batch.words
