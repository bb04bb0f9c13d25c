"""Encoded sentences → batches, planned per epoch, without padding.

A batch holds its tokens sentence after sentence, (N,) of them for B sentences: there is no padding that could leak.
Batches of like lengths are still faster, since the LSTM then runs fewer, fuller steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.randomness import permutation, unit

LONG_WORD = 8  # characters; text of words that are on the average as long, or longer, is counted by its characters
Ids = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
POOL = 50  # batches whose sentences are sorted by length together


@dataclass(frozen=True)
class Spelled:
    """The distinct words of a batch, each as its characters or as its n-grams: U words with C of them in all."""

    ids: Tensor  # (C,) int64, word after word
    lengths: Tensor  # (U,) int64
    word: Tensor  # (N,) int64: which of the U words each token is

    def part(self, begin: int, end: int) -> Spelled:
        """Of the tokens from ``begin`` to ``end``."""
        kinds, word = torch.unique(self.word[begin:end], return_inverse=True)
        starts, lengths = torch.cumsum(self.lengths, 0) - self.lengths, self.lengths[kinds]
        ids = self.ids[torch.from_numpy(ranges(starts[kinds].numpy(), lengths.numpy()))]
        return Spelled(ids, lengths, word)


@dataclass(frozen=True)
class Surroundings:
    """Which tokens of a batch of whole documents belong together (see ner/inputs/document.py)."""

    mention: Tensor  # (N,) int64, from 0: the same for the mentions of one word in one document
    document: Tensor  # (N,) int64, from 0: which of the batch's documents a token is in

    def part(self, begin: int, end: int) -> Surroundings:
        """Of the tokens from ``begin`` to ``end``, numbered from 0."""
        return Surroundings(
            *(torch.unique(each[begin:end], return_inverse=True)[1] for each in (self.mention, self.document))
        )


@dataclass(frozen=True)
class Targets:
    """What a batch is to be labeled as, where that is a distribution over label sequences (see ner/model/mixture.py)."""

    tokens: Tensor  # (N, L) float32: the probability of each label at each token
    moves: Tensor  # (B, A) float32: how often each allowed pair of labels is expected in each sentence


@dataclass(frozen=True)
class Batch:
    """B sentences with N tokens in all."""

    sentences: Tensor  # (B,) int64: their numbers in the split
    lengths: Tensor  # (B,) int64
    plain_lengths: tuple[int, ...]  # the same as plain numbers, which nobody has to wait for a device to tell
    words: Tensor  # (N,) int64: rows of the word table
    labels: Tensor  # (N,) int64; empty where there are none
    characters: Spelled | None
    subwords: Spelled | None = None
    lm_words: Tensor | None = None  # (N,) int64: rows of the language model's word table
    features: Tensor | None = None  # (N, 3) int64
    surroundings: Surroundings | None = None
    targets: Targets | None = None  # in place of the labels, where there is a teacher

    def cut(self, parts: int) -> list[Batch | None]:
        """Neighboring sentences, where there are documents whole ones, with about as many tokens a part; None for none.

        A part ends with the sentence whose end is nearest to its share of the tokens.
        """
        ends = np.cumsum(self.plain_lengths)
        if self.surroundings is not None:
            of = self.surroundings.document.numpy()[ends - 1]
            ends = ends[np.append(np.flatnonzero(np.diff(of)), len(of) - 1)]
        shares = ends[-1] * np.arange(1, parts) / parts
        after = np.searchsorted(ends, shares).clip(max=len(ends) - 1)
        before = (after - 1).clip(min=0)
        nearest = np.where(shares - ends[before] < ends[after] - shares, before, after)
        tokens = [0, *ends[nearest].tolist(), int(ends[-1])]
        return [self._part(a, b) if b > a else None for a, b in pairwise(np.maximum.accumulate(tokens).tolist())]

    def _part(self, begin: int, end: int) -> Batch:
        """The sentences of the tokens from ``begin`` to ``end``."""
        ends = np.cumsum(self.plain_lengths)
        first, last = np.searchsorted(ends, begin, "right"), np.searchsorted(ends, end) + 1
        return Batch(
            sentences=self.sentences[first:last],
            lengths=self.lengths[first:last],
            plain_lengths=self.plain_lengths[first:last],
            words=self.words[begin:end],
            labels=self.labels[begin:end],
            characters=None if self.characters is None else self.characters.part(begin, end),
            subwords=None if self.subwords is None else self.subwords.part(begin, end),
            lm_words=None if self.lm_words is None else self.lm_words[begin:end],
            features=None if self.features is None else self.features[begin:end],
            surroundings=None if self.surroundings is None else self.surroundings.part(begin, end),
            targets=None
            if self.targets is None
            else Targets(self.targets.tokens[begin:end], self.targets.moves[first:last]),
        )


@dataclass(frozen=True, kw_only=True)
class Spellings:
    """The U distinct words of a split, each as its characters or as its n-grams."""

    word: Ids  # (N,): which of them each token is
    ids: Ids  # (C,): the characters, or n-grams, of all of them, word after word
    lengths: Ids  # (U,)

    @cached_property
    def starts(self) -> Ids:
        """(U,): where each word's begin."""
        return np.cumsum(self.lengths) - self.lengths

    def of(self, tokens: Ids) -> Spelled:
        """The distinct words among these tokens, spelled."""
        kinds, word = np.unique(self.word[tokens], return_inverse=True)
        lengths = self.lengths[kinds]
        ids = self.ids[ranges(self.starts[kinds], lengths)]
        return Spelled(torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(word.astype(np.int64)))


@dataclass(frozen=True, kw_only=True)
class Documents:
    """Which document each sentence is of, and which tokens mention the same word in it (see ner/inputs/document.py)."""

    numbers: Ids  # (S,), never falling
    mentions: Ids  # (N,)

    def of(self, sentences: Ids, tokens: Ids, lengths: Ids) -> Surroundings:
        """Those of the tokens of these sentences, numbered from 0."""
        mention = np.unique(self.mentions[tokens], return_inverse=True)[1]
        document = np.unique(np.repeat(self.numbers[sentences], lengths), return_inverse=True)[1]
        return Surroundings(*(torch.from_numpy(each.astype(np.int64, copy=False)) for each in (mention, document)))


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What a teacher makes of a split's sentences, and what that counts beside their own labels.

    The target of a sentence is the mean of two distributions over label sequences: the teacher's, whose weight is the
    sentence's share, and that of its labels, which holds them alone possible.
    """

    tokens: Values  # (N, L): the probability of each label at each token
    moves: Values  # (S, A): how often each allowed pair of labels is expected in each sentence
    shares: Values  # (S,): from 0, the labels alone, to 1, the teacher alone
    pairs: Ids  # (L, L): the number of each allowed pair, from 0; -1 for the others

    def of(self, sentences: Ids, tokens: Ids, labels: Ids, lengths: Ids) -> Targets:
        """The targets of these sentences (B,), whose ``tokens`` (N,) have these ``labels`` (N,)."""
        sentence = np.repeat(np.arange(len(sentences)), lengths)  # shape: (N,)
        share = self.shares[sentences]
        mixed = self.tokens[tokens] * share[sentence, None]
        mixed[np.arange(len(tokens)), labels] += 1 - share[sentence]
        moves = self.moves[sentences] * share[:, None]
        goes_on = np.flatnonzero(sentence[1:] == sentence[:-1]) + 1  # tokens that are not their sentence's first
        pairs = self.pairs[labels[goes_on - 1], labels[goes_on]]
        np.add.at(moves, (sentence[goes_on], pairs), 1 - share[sentence[goes_on]])
        return Targets(torch.from_numpy(mixed), torch.from_numpy(moves))


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A split of S sentences with N tokens in all, as flat arrays of ids.

    Where there are documents, a batch is made of whole ones.
    """

    words: Ids  # (N,): rows of the word table
    lengths: Ids  # (S,): tokens of each sentence
    labels: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # (N,), or empty where there are none
    spellings: Spellings | None = None
    subwords: Spellings | None = None
    lm_words: Ids | None = None  # (N,): rows of the language model's word table
    features: Ids | None = None  # (N, 3)
    documents: Documents | None = None
    readings: Readings | None = None  # a teacher's

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> Ids:
        """(S,): the first token of each sentence."""
        return np.cumsum(self.lengths) - self.lengths

    def batch(self, sentences: Ids) -> Batch:
        """The batch of these sentences (B,), in this order."""
        lengths = self.lengths[sentences]
        tokens = ranges(self.starts[sentences], lengths)
        return Batch(
            sentences=torch.from_numpy(np.ascontiguousarray(sentences)),
            lengths=torch.from_numpy(lengths),
            plain_lengths=tuple(lengths.tolist()),
            words=torch.from_numpy(self.words[tokens]),
            labels=torch.from_numpy(self.labels[tokens] if len(self.labels) else self.labels),
            characters=None if self.spellings is None else self.spellings.of(tokens),
            subwords=None if self.subwords is None else self.subwords.of(tokens),
            lm_words=None if self.lm_words is None else torch.from_numpy(self.lm_words[tokens]),
            features=None if self.features is None else torch.from_numpy(self.features[tokens]),
            surroundings=None if self.documents is None else self.documents.of(sentences, tokens, lengths),
            targets=None if self.readings is None else self.readings.of(sentences, tokens, self.labels[tokens], lengths),
        )

    def weights(self) -> Ids:
        """For each sentence how many tokens of ordinary length it is worth: as many as it has, or by its characters."""
        if self.spellings is None:
            return self.lengths
        characters = np.concatenate([[0], np.cumsum(self.spellings.lengths[self.spellings.word])])
        spelled: Ids = characters[self.starts + self.lengths] - characters[self.starts]
        return np.maximum(self.lengths, spelled // LONG_WORD)


class SentenceBatches:
    """The batches of a split: a plan per epoch, a pure function of (seed, purpose, epoch).

    ``batching`` "length": sentences are shuffled, sorted by length within pools of fifty batches, cut into batches, and
    the batches shuffled. "random": shuffled and cut. Without ``shuffle``: in order of length, or of the file.
    Of a split with documents, those are shuffled instead, and as many go into each batch as make ``batch_size`` sentences
    on the average.

    ``most``: tokens a batch (0: any number), for texts of any length; long words count for several. What is more becomes a
    batch of its own, as long as it is no part of a sentence or a document.

    With ``keep`` the batches of the last epoch asked for are kept once they are made, for splits that are validated on
    several times an epoch.
    """

    def __init__(
        self,
        encoded: Encoded,
        batch_size: int,
        *,
        batching: str = "length",
        shuffle: bool = True,
        seed: int = 0,
        purpose: str = "order",
        keep: bool = False,
        most: int = 0,
    ) -> None:
        self.most = most
        self.encoded, self.batch_size, self.batching, self.shuffle = encoded, batch_size, batching, shuffle
        self.seed, self.purpose, self.keep = seed, purpose, keep
        self._kept: tuple[int, Plan] | None = None

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch, made when they are asked for."""
        epoch = epoch if self.shuffle else 0
        if self._kept is None or self._kept[0] != epoch:
            groups = self._groups(epoch)
            plan = Plan(self.encoded, self._bounded(groups) if self.most else groups, keep=self.keep)
            if not self.keep:
                return plan
            self._kept = epoch, plan
        return self._kept[1]

    def _groups(self, epoch: int) -> Sequence[Ids]:
        if self.encoded.documents is not None:
            return self._by_document(self.encoded.documents.numbers, epoch)
        order = self._order(np.arange(len(self.encoded)), epoch)
        n = len(order)
        if self.batching == "random":
            return [order[i : i + self.batch_size] for i in range(0, n, self.batch_size)]
        pool = POOL * self.batch_size if self.shuffle else max(1, n)
        groups: list[Ids] = []
        for start in range(0, n, pool):
            part = order[start : start + pool]
            part = part[np.argsort(-self.encoded.lengths[part], kind="stable")]
            groups += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        if self.shuffle:
            groups = [groups[i] for i in permutation(len(groups), self.seed, f"{self.purpose}/batches", epoch)]
        return groups

    def _order(self, starts: Ids, epoch: int) -> Ids:
        """Which of the sentences, or documents, that start at ``starts`` (n,) the epoch has, in its order."""
        n = len(starts)
        return permutation(n, self.seed, self.purpose, epoch) if self.shuffle else np.arange(n)

    def _sentences(self) -> int:
        """How many sentences an epoch has, on the average."""
        return len(self.encoded)

    def _bounded(self, groups: Sequence[Ids]) -> list[Ids]:
        """The groups, cut where one would have more than ``most`` tokens."""
        weights = self.encoded.weights().tolist()
        documents = None if self.encoded.documents is None else self.encoded.documents.numbers
        bounded: list[Ids] = []
        for group in groups:
            begin = total = 0
            starts = np.ones(len(group), np.bool_) if documents is None else np.diff(documents[group], prepend=-1) != 0
            whole = np.append(np.flatnonzero(starts), len(group)).tolist()  # sentences, or documents
            for first, last in pairwise(whole):
                weight = sum(weights[i] for i in group[first:last].tolist())
                if first > begin and total + weight > self.most:
                    bounded.append(group[begin:first])
                    begin, total = first, 0
                total += weight
            bounded.append(group[begin:])
        return bounded

    def _by_document(self, documents: Ids, epoch: int) -> list[Ids]:
        starts = np.flatnonzero(np.diff(documents, prepend=-1))
        sizes = np.diff(starts, append=len(documents))
        order = self._order(starts, epoch)
        n = len(order)
        batches = min(n, -(-self._sentences() // self.batch_size))  # as many in every epoch
        return [ranges(starts[part], sizes[part]) for part in np.array_split(order, batches)] if n else []


class RehearsedBatches(SentenceBatches):
    """As SentenceBatches; but of the sentences, or documents, from ``old`` on each epoch has a ``share``, drawn anew.

    So old sentences are rehearsed beside new ones. As many are drawn in every epoch: a pure function of (seed, epoch).
    """

    def __init__(self, encoded: Encoded, batch_size: int, *, old: int, share: float, **settings: Any) -> None:
        super().__init__(encoded, batch_size, **settings)
        self.old, self.share = old, share

    def _order(self, starts: Ids, epoch: int) -> Ids:
        new = int(np.searchsorted(starts, self.old))
        drawn = permutation(len(starts) - new, self.seed, f"{self.purpose}/rehearsed", epoch)
        rehearsed = new + drawn[: self._drawn(len(drawn))]
        chosen = np.concatenate([np.arange(new), rehearsed])
        order: Ids = chosen[permutation(len(chosen), self.seed, self.purpose, epoch)]
        return order

    def _sentences(self) -> int:
        return self.old + self._drawn(len(self.encoded) - self.old)

    def _drawn(self, of: int) -> int:
        return min(of, max(1, int(self.share * of + 0.5)))


class UnlabeledBatches(SentenceBatches):
    """As SentenceBatches; but of the sentences, or documents, from ``labeled`` on each epoch has some.

    They are so many that their sentences make, on the average, ``share`` times the ``labeled`` ones, or all there are. A
    random order of all is worked off from epoch to epoch before the next order is drawn: a pure function of (seed, epoch).
    """

    def __init__(self, encoded: Encoded, batch_size: int, *, labeled: int, share: float, **settings: Any) -> None:
        super().__init__(encoded, batch_size, **settings)
        self.labeled, self.share = labeled, share

    def _order(self, starts: Ids, epoch: int) -> Ids:
        first = int(np.searchsorted(starts, self.labeled))
        there = len(starts) - first
        taken = self._taken(there)
        pass_, part = divmod(epoch, there // taken)
        drawn = permutation(there, self.seed, f"{self.purpose}/unlabeled", pass_)[part * taken : (part + 1) * taken]
        chosen = np.concatenate([np.arange(first), first + drawn])
        order: Ids = chosen[permutation(len(chosen), self.seed, self.purpose, epoch)]
        return order

    def _sentences(self) -> int:
        unlabeled = len(self.encoded) - self.labeled
        return self.labeled + min(unlabeled, max(1, int(self.share * self.labeled + 0.5)))

    def _taken(self, there: int) -> int:
        """How many of the sentences, or documents, an epoch has."""
        unlabeled = len(self.encoded) - self.labeled
        return min(there, max(1, int(self.share * self.labeled * there / unlabeled + 0.5)))


class Plan(Sequence[Batch]):
    """Which sentences make each batch of an epoch."""

    def __init__(self, encoded: Encoded, groups: Sequence[Ids], keep: bool = False) -> None:
        self.encoded, self.groups = encoded, groups
        self.kept: dict[int, Batch] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if self.kept is None:
            return self.encoded.batch(self.groups[index])
        if index not in self.kept:
            self.kept[index] = self.encoded.batch(self.groups[index])
        return self.kept[index]

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))


def replace_rare(batch: Batch, rare: Tensor, probability: float, unknown: int, seed: int, *place: int) -> Tensor:
    """The batch's word ids with words for which ``rare[id]`` holds read as ``unknown`` now and then (Lample et al. 2016).

    So the unknown word's vector is trained. A pure function of (seed, place): the epoch, the batch's number, a shard's.
    """
    if probability <= 0.0:
        return batch.words
    draw = torch.from_numpy(unit(len(batch.words), seed, "unk", *place)).to(batch.words.device)
    return torch.where(rare[batch.words] & (draw < probability), unknown, batch.words)


def ranges(starts: Ids, lengths: Ids) -> Ids:
    """starts[0] … starts[0]+lengths[0]−1, then the same for 1, …"""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    ranges: Ids = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return ranges
