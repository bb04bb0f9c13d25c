"""What a training step sees: some thousand words of the text, subsampled, each with its window.

The text is cut into ``streams`` equal parts, and a batch takes the next chunk of each, so that its words come from places
far apart. Batch i of an epoch is a pure function of (seed, epoch, i), made when it is asked for, so that a run can be taken
up anywhere. The end of a chunk ends a sentence; with the defaults, about one window in a hundred is shortened by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training import randomness
from training.errors import DataError
from word2vec.config import Word2VecConfig
from word2vec.text.corpus import Corpus
from word2vec.text.vocab import Vocab

Ids = npt.NDArray[np.int32]
LONG = 1 << 17  # words, of which no epoch differs much from another


@dataclass(frozen=True)
class Batch:
    """P positions: ``n`` words of the text in order, then padding up to a multiple of ``batch_multiple``.

    A position's window is the ``left`` positions before it and the ``right`` ones after it: as many as were drawn, none
    beyond its sentence. Padding is the word 0 with an empty window; nobody's window reaches it. What a model has read off
    it before its step may stand beside it (see ``Word2Vec.prepare``), and is made again where it is lost.
    """

    words: Tensor  # int64 (P,)
    left: Tensor  # int8 (P,)
    right: Tensor  # int8 (P,)
    n: int
    read: int  # words of the text, before subsampling, that the batch stands for
    prepared: Any = field(default=None, init=False, repr=False, compare=False)

    def with_prepared(self, prepared: Any) -> Batch:
        """The same batch, with this beside it."""
        batch = replace(self)
        object.__setattr__(batch, "prepared", prepared)
        return batch


class TextBatches:
    """The batches of a corpus, an epoch's as a plan; see the module's text.

    Args:
        corpus: the encoded text, which is read through the page cache.
        vocab: its vocabulary, whose counts say how likely a word is kept.
        config: seed, window, subsampling, and the shape of batches.

    Source: windows of random size, Mikolov et al. 2013a, section 3.2; subsampling, 2013b, section 2.3, in word2vec.c's form.

    Example:
        >>> from word2vec import TextBatches, TextRule, Word2VecConfig, encode
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text").write_text("to be or not to be")
        ...     vocab, corpus = encode([f"{folder}/text"], f"{folder}/ids", TextRule(), min_count=1)
        ...     batches = TextBatches(corpus, vocab, Word2VecConfig(sample=0, window=1, streams=1, noise_words=8))
        ...     batch = batches.plan(epoch=0)[0]
        >>> [vocab.words[i] for i in batch.words[: batch.n].tolist()]
        ['to', 'be', 'or', 'not', 'to', 'be']
        >>> batch.left.tolist(), batch.right.tolist()  # the last two positions are padding
        ([0, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0])
    """

    def __init__(self, corpus: Corpus, vocab: Vocab, config: Word2VecConfig) -> None:
        self.config = config
        self.ids = corpus.ids()
        self.end = len(vocab)
        keep = vocab.keep_probabilities(config.sample)
        self.threshold = _thresholds(keep)
        kept = float(np.cumsum(keep * vocab.counts)[-1]) / corpus.tokens  # words that are kept, of an id
        streams = _streams(config, len(self.ids), config.batch_words / kept)
        self.stream_length = length = -(-len(self.ids) // streams)
        whole = -(-len(self.ids) // length) - 1  # of a very short text there are fewer streams; the last may be shorter
        self.whole, self.rest = self.ids[: whole * length].reshape(whole, length), self.ids[whole * length :]
        self.chunk = min(self.stream_length, max(2, round(config.batch_words / (kept * streams))))
        self.batches_per_epoch = -(-self.stream_length // self.chunk)

    def plan(self, epoch: int) -> Sequence[Batch]:
        """The batches of an epoch."""
        return _Plan(self, epoch)

    def check_contexts(self, epochs: int, limit: int) -> None:
        """DataError where in one of the ``epochs``, of at most ``limit`` batches, no word has another one in its window.

        Of almost any text the first batch of each epoch is enough to know; an epoch of a long one is always like the others.
        """
        for epoch in range(epochs if len(self.ids) < LONG else 1):
            batches = self.plan(epoch)[:limit] if limit < self.batches_per_epoch else self.plan(epoch)
            if not any(int(batch.left.count_nonzero() + batch.right.count_nonzero()) for batch in batches):
                words = self.ids != self.end
                why = f"--sample {self.config.sample:g} drops too many; bring more text, or give --sample 0, which keeps all"
                if not np.any(words[1:] & words[:-1]):
                    why = "each sentence has a single word of the vocabulary; bring other text, or lower --min-count"
                expected = "expected sentences in which two or more words are left"
                raise DataError(f"nothing to train on: {expected}, got none in epoch {epoch}: {why}")

    def make(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``."""
        raw = self._raw(index)
        words, before, after = _sentences(self._subsampled(raw, epoch, index), self.end)
        n, multiple = len(words), self.config.batch_multiple
        reach = self._windows(n, epoch, index)
        padded = max(1, -(-n // multiple)) * multiple
        batch_words = np.zeros(padded, dtype=np.int64)
        left, right = np.zeros(padded, dtype=np.int8), np.zeros(padded, dtype=np.int8)
        batch_words[:n] = words
        left[:n], right[:n] = np.minimum(reach, before), np.minimum(reach, after)
        read = int(np.count_nonzero(raw != self.end))
        return Batch(torch.from_numpy(batch_words), torch.from_numpy(left), torch.from_numpy(right), n, read)

    def _raw(self, index: int) -> Ids:
        """The ids of the batch's chunks before subsampling, each ended by an end of sentence."""
        begin, until = index * self.chunk, min((index + 1) * self.chunk, self.stream_length)
        raw = np.full((len(self.whole) + 1, until - begin + 1), self.end, dtype=np.int32)  # a stream a row
        raw[:-1, :-1] = self.whole[:, begin:until]
        last = self.rest[begin:until]
        raw[-1, : len(last)] = last
        return raw.ravel()

    def _subsampled(self, raw: Ids, epoch: int, index: int) -> Ids:
        """The ids that are kept (2013b, §2.3), ends of sentences among them."""
        draws = randomness.words32(len(raw), self.config.seed, "subsample", epoch, index)
        return raw.take(np.flatnonzero(draws <= self.threshold.take(raw, mode="clip")))  # faster than by a mask

    def _windows(self, n: int, epoch: int, index: int) -> Ids:
        """How far each word's window reaches: uniform in 1 … window (2013a, §3.2), from 16 bits a word."""
        raw = randomness.words32((n + 1) // 2, self.config.seed, "window", epoch, index)
        return 1 + ((raw.view(np.uint16)[:n].astype(np.int32) * self.config.window) >> 16)


def _thresholds(keep: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    """A word is kept where a 32-bit draw is not above its threshold, from the probabilities ``keep`` (V,), which never fall.

    The last entry is for rare words and the ends of sentences, which are always kept: a short table stays in the caches.
    """
    always = int(np.count_nonzero(keep < 1.0))  # from this id on
    return np.append(np.ceil(keep[:always] * 2.0**32) - 1, 2.0**32 - 1).astype(np.uint32)


def _sentences(kept: Ids, end: int) -> tuple[Ids, Ids, Ids]:
    """The n words without the ends of sentences, and how many words of its sentence stand before and after each of them."""
    words = kept[kept != end]
    ends = np.flatnonzero(kept == end)
    until = (ends - np.arange(len(ends))).astype(np.int32)  # the place of each sentence's end among the words
    lengths = np.diff(until, prepend=np.int32(0))
    position = np.arange(len(words), dtype=np.int32)
    return words, position - np.repeat(until - lengths, lengths), np.repeat(until, lengths) - 1 - position


def _streams(config: Word2VecConfig, tokens: int, batch: float) -> int:
    """How many streams: ``config.streams``, or fewer where each would be shorter than a window, in the text or in a batch.

    ``batch`` is how many words of the text a batch takes. Single words would have no context at all.
    """
    whole = 2 * config.window + 1
    streams = config.streams
    if -(-tokens // streams) < whole:
        streams = max(1, tokens // whole)
    if round(batch / streams) < 2:
        streams = min(streams, max(1, int(batch / whole)))
    return streams


class _Plan(Sequence[Batch]):
    """The batches of one epoch, each made when it is asked for."""

    def __init__(self, source: TextBatches, epoch: int) -> None:
        self.source, self.epoch = source, epoch

    def __len__(self) -> int:
        return self.source.batches_per_epoch

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.source.make(self.epoch, index)
