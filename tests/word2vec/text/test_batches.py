from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from word2vec.config import Word2VecConfig
from word2vec.text.batches import Batch, TextBatches
from word2vec.text.corpus import Corpus, encode
from word2vec.text.tokenize import TextRule
from word2vec.text.vocab import Vocab


def text_of(folder: Path, sentences: list[list[str]]) -> tuple[Vocab, Corpus]:
    (folder / "text").write_text("\n".join(" ".join(s) for s in sentences))
    return encode([str(folder / "text")], folder / "ids", TextRule(tokenize=False), min_count=1)


def windows(batch: Batch) -> list[list[int]]:
    """For each position the words in its window, in order."""
    words, left, right = batch.words.tolist(), batch.left.tolist(), batch.right.tolist()
    return [words[i - left[i] : i] + words[i + 1 : i + right[i] + 1] for i in range(len(words))]


SENTENCES = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=12), min_size=2, max_size=30)


@settings(deadline=None, max_examples=60)
@given(SENTENCES, st.integers(1, 5), st.integers(1, 60), st.integers(1, 9), st.integers(1, 6))
def test_without_subsampling_an_epoch_is_the_text(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], streams: int, size: int, block: int, window: int
) -> None:
    if len({w for s in sentences for w in s}) < 2:
        return
    vocab, corpus = text_of(tmp_path_factory.mktemp("text"), sentences)
    noise = max(2, block)
    config = Word2VecConfig(sample=0.0, streams=streams, batch_words=size, block=block, noise_words=noise, window=window)
    source = TextBatches(corpus, vocab, config)
    plan = source.plan(3)
    ids, end, seen = corpus.ids().tolist(), len(vocab), []
    for index, batch in enumerate(plan):
        expected: list[tuple[int, list[int], list[int]]] = []  # word, what is left and right of it in its piece of sentence
        for stream in range(streams):
            at = stream * source.stream_length + index * source.chunk
            until = min(at + source.chunk, (stream + 1) * source.stream_length, len(ids))
            pieces: list[list[int]] = [[]]
            for i in ids[at:until]:
                if i == end:
                    pieces.append([])
                else:
                    pieces[-1].append(i)
            expected += [(w, p[:i], p[i + 1 :]) for p in pieces for i, w in enumerate(p)]
            seen += ids[at:until]
        assert batch.n == batch.read == len(expected)
        assert len(batch.words) % noise == 0
        assert batch.words[: batch.n].tolist() == [word for word, _, _ in expected]
        assert not batch.words[batch.n :].any()
        assert not (batch.left[batch.n :] + batch.right[batch.n :]).any()
        for (_, before, after), got, left, right in zip(
            expected, windows(batch), batch.left.tolist(), batch.right.tolist(), strict=False
        ):
            reach = max(left, right)
            assert reach <= window
            if before or after:
                assert reach >= 1
            assert got == (before[-left:] if left else []) + after[:right]
            # as far as was drawn on both sides, or to the end of the sentence
            assert left == min(len(before), reach) or (right == reach and left == len(before))
            assert right == min(len(after), reach) or (left == reach and right == len(after))
    assert sorted(seen) == sorted(ids)


def test_cbow_has_the_batches_of_skipgram_with_more_padding(tmp_path: Path) -> None:
    vocab, corpus = text_of(tmp_path, [list("abcdefg") * 20] * 3)
    shape = {"sample": 0.0, "streams": 2, "batch_words": 200, "block": 2, "noise_words": 2}
    plain, grouped = (
        TextBatches(corpus, vocab, Word2VecConfig.from_dict({**shape, "architecture": name})).plan(0)
        for name in ("skipgram", "cbow")
    )
    assert len(plain) == len(grouped) > 1
    for one, other in zip(plain, grouped, strict=True):
        assert len(other.words) % 6 == 0  # 200 // (32 · 2) = 3 groups of 2
        assert one.n == other.n <= len(one.words) <= len(other.words)
        for name in ("words", "left", "right"):
            assert torch.equal(getattr(one, name)[: one.n], getattr(other, name)[: one.n])
            assert not getattr(other, name)[one.n :].any()


def zipf(tmp_path: Path, words: int = 60_000) -> tuple[Vocab, Corpus]:
    generator = np.random.default_rng(1)
    text = [str(w) for w in generator.zipf(1.4, words) % 500]
    return text_of(tmp_path, [text[i : i + 50] for i in range(0, words, 50)])


def test_batches_are_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    vocab, corpus = zipf(tmp_path)
    config = Word2VecConfig(batch_words=500)
    plan, again = TextBatches(corpus, vocab, config).plan(2), TextBatches(corpus, vocab, config).plan(2)
    last = again[len(again) - 1]  # in another order
    for a, b in ((plan[len(plan) - 1], last), (plan[0], again[0])):
        assert torch.equal(a.words, b.words)
        assert torch.equal(a.left, b.left)
        assert torch.equal(a.right, b.right)
    other_epoch = TextBatches(corpus, vocab, config).plan(3)[0]
    other_seed = TextBatches(corpus, vocab, Word2VecConfig(batch_words=500, seed=1)).plan(2)[0]
    assert len(other_epoch.words) != len(plan[0].words) or not torch.equal(other_epoch.words, plan[0].words)
    assert len(other_seed.words) != len(plan[0].words) or not torch.equal(other_seed.words, plan[0].words)
    with pytest.raises(IndexError):
        plan[len(plan)]
    assert [b.n for b in plan[:3]] == [plan[i].n for i in range(3)]


def test_subsampling_keeps_words_with_their_probability(tmp_path: Path) -> None:
    vocab, corpus = zipf(tmp_path)
    config = Word2VecConfig(sample=1e-3, batch_words=2000)
    batches = [b for epoch in range(4) for b in TextBatches(corpus, vocab, config).plan(epoch)]
    kept = np.bincount(np.concatenate([b.words[: b.n].numpy() for b in batches]), minlength=len(vocab))
    expected = 4 * vocab.keep_probabilities(1e-3) * vocab.counts
    assert (np.abs(kept - expected) <= 5 * np.sqrt(expected) + 1).all()
    assert sum(b.read for b in batches) == 4 * corpus.words
    mean = sum(b.n for b in batches) / len(batches)
    assert 0.6 * 2000 < mean < 1.3 * 2000


def test_windows_are_uniform(tmp_path: Path) -> None:
    vocab, corpus = text_of(tmp_path, [["a", "b"] * 30_000])
    plan = TextBatches(corpus, vocab, Word2VecConfig(sample=0.0, window=5, streams=1)).plan(0)
    reach = np.concatenate([torch.maximum(b.left, b.right)[: b.n].numpy() for b in plan])
    share = np.bincount(reach, minlength=6)[1:] / len(reach)
    assert np.abs(share - 0.2).max() < 0.01


def test_a_text_smaller_than_the_streams(tmp_path: Path) -> None:
    vocab, corpus = text_of(tmp_path, [["a", "b"]])
    plan = TextBatches(corpus, vocab, Word2VecConfig(sample=0.0)).plan(0)
    assert [batch.n for batch in plan] == [2]
