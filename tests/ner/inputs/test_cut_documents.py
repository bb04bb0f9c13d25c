"""A batch of sentences cut into shards: whole sentences, or documents, with about as many tokens each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ner.inputs.batches import Documents, Encoded, Spelled, Spellings


def encoded(seed: int, sentences: int, documents: bool) -> Encoded:
    """Sentences of random words of random letters."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 20, sentences)
    n = int(lengths.sum())
    word, kinds = random.integers(0, 15, n), random.integers(1, 6, 15)
    spelled = Spellings(word=word, ids=random.integers(0, 9, int(kinds.sum())), lengths=kinds)
    numbers = np.sort(random.integers(0, max(1, sentences // 3), sentences))
    return Encoded(
        words=word + 2,
        lengths=lengths,
        labels=random.integers(0, 5, n),
        spellings=spelled,
        subwords=Spellings(word=word, ids=random.integers(0, 9, 2 * int(kinds.sum())), lengths=2 * kinds),
        features=random.integers(0, 3, (n, 3)),
        documents=Documents(numbers=numbers, mentions=np.repeat(numbers, lengths) * 20 + word) if documents else None,
    )


def spelling(given: Spelled | None) -> list[tuple[int, ...]]:
    """The characters, or the n-grams, of each token."""
    assert given is not None
    words = torch.split(given.ids, given.lengths.tolist())
    return [tuple(words[i].tolist()) for i in given.word.tolist()]


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("sentences", [1, 2, 5, 16, 40])
def test_parts_are_the_batches_of_their_sentences(sentences: int, parts: int, documents: bool) -> None:
    for seed in range(3):
        split = encoded(seed, sentences, documents)
        batch = split.batch(np.arange(sentences))
        found = batch.cut(parts)
        assert len(found) == parts
        full = [each for each in found if each is not None]
        assert torch.equal(torch.cat([each.sentences for each in full]), batch.sentences)
        for each in full:
            own = split.batch(each.sentences.numpy())
            assert each.plain_lengths == own.plain_lengths
            for name in ("lengths", "words", "labels", "features"):
                assert torch.equal(getattr(each, name), getattr(own, name)), name
            assert spelling(each.characters) == spelling(own.characters)
            assert spelling(each.subwords) == spelling(own.subwords)
            if documents:
                assert each.surroundings is not None
                assert own.surroundings is not None
                assert torch.equal(each.surroundings.mention, own.surroundings.mention)
                assert torch.equal(each.surroundings.document, own.surroundings.document)
        if documents:  # none is in two parts
            assert split.documents is not None
            of = [set(split.documents.numbers[each.sentences.numpy()].tolist()) for each in full]
            assert sum(map(len, of)) == len(set().union(*of))


def test_parts_have_about_as_many_tokens() -> None:
    split = encoded(0, 200, documents=False)
    found = split.batch(np.arange(200)).cut(8)
    sizes = [len(each.words) for each in found if each is not None]
    assert len(sizes) == 8
    assert max(sizes) - min(sizes) <= 2 * 20
