"""A text in memory as the ids of a language model's words, in pieces of sentences; and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ner.inputs.batches import ranges
from ner.inputs.language_words import END, FIRST, UNK
from training.randomness import permutation
from word2vec.text.corpus import Corpus

POOL = 50  # batches whose pieces are sorted by length together
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B pieces with N words in all."""

    pieces: Tensor  # (B,) int64: their numbers in the text
    plain_lengths: tuple[int, ...]  # of the pieces
    words: Tensor  # (N,) int64
    after: Tensor  # (N,) int64: the word after each, or the end of the sentence
    before: Tensor  # (N,) int64: the word before each, or the end of the sentence

    def cut(self, parts: int) -> list[Batch | None]:
        """Neighboring pieces, with about as many words a part; None for a part without."""
        ends = np.cumsum(self.plain_lengths)
        cuts = [0, *np.searchsorted(ends, ends[-1] * np.arange(1, parts) / parts).tolist(), len(ends)]
        return [self._part(a, b) if b > a else None for a, b in pairwise(cuts)]

    def _part(self, first: int, last: int) -> Batch:
        lengths = self.plain_lengths[first:last]
        begin = sum(self.plain_lengths[:first])
        end = begin + sum(lengths)
        of_words = (each[begin:end] for each in (self.words, self.after, self.before))
        return Batch(self.pieces[first:last], lengths, *of_words)


@dataclass(frozen=True)
class Text:
    """A text of P pieces: sentences, long ones cut.

    A piece that is cut off has as its neighbors the words from which it was cut, not the end of a sentence.
    """

    stream: npt.NDArray[np.int32]
    """END, then the words of each sentence with END behind it."""
    starts: Ids
    """(P,): where each piece begins in the stream."""
    lengths: Ids
    """(P,): words of each piece."""

    @classmethod
    def read(cls, corpus: Corpus, max_length: int) -> Text:
        """An encoded text that has kept its unknown words; sentences of more than ``max_length`` words are cut evenly."""
        ids = np.arange(FIRST, FIRST + corpus.vocab_size + 2, dtype=np.int32)
        ids[corpus.vocab_size :] = END, UNK
        stream = np.append(np.int32(END), ids[corpus.ids()])
        ends = np.flatnonzero(stream == END)
        whole = np.diff(ends) - 1  # words of each sentence
        counts = -(-whole // max_length)
        of = np.repeat(np.arange(len(whole)), counts)  # which sentence a piece is of
        place = ranges(np.zeros(len(whole), np.int64), counts)  # and the how-manieth of it
        size, longer = whole // counts, whole % counts  # the first ones have a word more
        starts = ends[of] + 1 + place * size[of] + np.minimum(place, longer[of])
        return cls(stream, starts, size[of] + (place < longer[of]))

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, pieces: Ids) -> Batch:
        """The batch of these pieces (B,), in this order."""
        lengths = self.lengths[pieces]
        at = ranges(self.starts[pieces], lengths)
        words, after, before = (torch.from_numpy(self.stream[at + i].astype(np.int64)) for i in (0, 1, -1))
        return Batch(torch.from_numpy(pieces), tuple(lengths.tolist()), words, after, before)

    def held_out(self, every: int) -> npt.NDArray[np.bool_]:
        """(P,): whether each piece is one of every so many that are validated on, the last of them; of fewer the last."""
        held: npt.NDArray[np.bool_] = np.arange(1, len(self) + 1) % min(every, len(self)) == 0
        return held


class PieceBatches:
    """Batches of pieces of like lengths, of about ``words`` words each: a plan per epoch, a function of (seed, epoch).

    Pieces are shuffled, sorted by length within pools of fifty batches, cut into batches, and the batches shuffled. Each
    epoch has as many. Without ``shuffle``: in order of length, in every epoch the same.

    Args:
        text: the text.
        chosen: (P,), which of its pieces.
        words: of a batch, about; no piece has more.
        shuffle: whether they come in another order in each epoch.
        seed: of the orders.
    """

    def __init__(
        self, text: Text, chosen: npt.NDArray[np.bool_], words: int, *, shuffle: bool = True, seed: int = 0
    ) -> None:
        self.text, self.words, self.shuffle, self.seed = text, words, shuffle, seed
        self.pieces = np.flatnonzero(chosen)

    @cached_property
    def total(self) -> int:
        """Words of the pieces."""
        return int(self.text.lengths[self.pieces].sum())

    @cached_property
    def batches_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return max(1, self.total // self.words)

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch, made when they are asked for."""
        pieces = self.pieces
        if self.shuffle:
            pieces = pieces[permutation(len(pieces), self.seed, "lm/order", epoch)]
        lengths = self.text.lengths[pieces]
        pool = (np.cumsum(lengths) - lengths) // (POOL * self.words) if self.shuffle else np.zeros_like(lengths)
        pieces = pieces[np.lexsort((lengths, pool))]
        lengths = self.text.lengths[pieces]
        # Batch k has the pieces whose first word is in the k-th of equal shares of all words: each has at least one piece.
        share = (np.cumsum(lengths) - lengths) * self.batches_per_epoch // self.total
        groups = np.split(pieces, np.searchsorted(share, np.arange(1, self.batches_per_epoch)))
        if self.shuffle:
            groups = [groups[i] for i in permutation(len(groups), self.seed, "lm/batches", epoch)]
        return Plan(self.text, groups)


class Plan(Sequence[Batch]):
    """Which pieces make each batch of an epoch."""

    def __init__(self, text: Text, groups: Sequence[Ids]) -> None:
        self.text, self.groups = text, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self.text.batch(self.groups[index])
