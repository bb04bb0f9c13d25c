"""Vocab: the words of a corpus with their counts, and the probabilities that word2vec makes of counts.

Ids are ordered by (-count, word): the most frequent word is 0, and ties are broken by the word's code points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import ConfigError, DataError
from training.files import atomic_path
from training.visible import counted, shortened


@dataclass(frozen=True, eq=False)
class Vocab:
    """The V words of a corpus with their counts; a word's place among them is its id.

    Args:
        words: the most frequent first.
        counts: how often each of them occurs, int64 (V,), never rising; 0 for a word that only a start knows.

    Example:
        >>> from word2vec import Vocab
        >>> import numpy as np
        >>> vocab = Vocab(("the", "cat"), np.array([9, 3]))
        >>> len(vocab), vocab.total, vocab.ids()["cat"]
        (2, 12, 1)
        >>> vocab.noise_probabilities(1.0).tolist()
        [0.75, 0.25]
        >>> vocab.keep_probabilities(0.03).round(3).tolist()
        [0.24, 0.466]
    """

    words: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    @property
    def total(self) -> int:
        """How many words of the corpus are in the vocabulary, repetitions counted."""
        return int(self.counts.sum())

    def ids(self) -> dict[str, int]:
        """A new table word → id."""
        return {word: i for i, word in enumerate(self.words)}

    def keep_probabilities(self, sample: float) -> npt.NDArray[np.float64]:
        """The probability that an occurrence survives subsampling, shape (V,), in (0, 1].

        √(t/f) + t/f with f the word's share of the corpus, at most 1: the formula of word2vec.c, which differs from the one
        printed in Mikolov et al. 2013b (eq. 5) by the second term.

        Args:
            sample: t, a share of the corpus; 0 keeps everything.
        """
        if sample <= 0.0:
            return np.ones(len(self))
        share = np.maximum(self.counts, 1) / self.total  # a word that does not occur is as rare as can be
        keep: npt.NDArray[np.float64] = np.sqrt(sample / share) + sample / share
        return np.minimum(keep, 1.0)

    def noise_probabilities(self, exponent: float) -> npt.NDArray[np.float64]:
        """The noise distribution, count^exponent / Σ count^exponent, shape (V,) (Mikolov et al. 2013b, §2.2: 3/4).

        Powers are correctly rounded decimals of the distinct counts, since libm's pow is not the same on every machine.
        """
        distinct, place = np.unique(self.counts, return_inverse=True)
        context, power = Context(prec=25), Decimal(repr(exponent))
        powers = np.array([float(context.power(Decimal(int(count)), power)) if count else 0.0 for count in distinct])
        weights: npt.NDArray[np.float64] = powers[place]
        # A sum by pairs depends on NumPy's vector width; a cumulative one does not.
        return weights / float(np.cumsum(weights)[-1])

    def save(self, path: str | Path) -> None:
        """Write ``word<TAB>count`` lines in order of id, whole or not at all."""
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{word}\t{count}\n" for word, count in zip(self.words, self.counts, strict=True))

    @classmethod
    def load(cls, path: str | Path) -> Vocab:
        """Read what ``save`` wrote; DataError (file:line) for anything else."""
        words, counts = [], []
        try:
            with open(path, encoding="utf-8", newline="\n") as stream:
                for number, line in enumerate(stream, 1):
                    word, tab, count = line.rstrip("\n").rpartition("\t")
                    if not tab or not count.isdecimal():
                        raise DataError(
                            f"{path}:{number}: expected a word, a tab and a count, got {shortened(line.rstrip(), 80)!r}"
                        )
                    words.append(word)
                    counts.append(int(count))
        except OSError as error:
            raise DataError(f"{path}: cannot read the vocabulary: {error.strerror}") from None
        except UnicodeDecodeError:
            raise DataError(f"{path}: expected UTF-8 text, got other bytes") from None
        return cls(tuple(words), np.array(counts, dtype=np.int64))


def select(
    words: Sequence[str],
    counts: npt.NDArray[np.int64],
    min_count: int,
    max_vocab: int | None = None,
    known: Sequence[str] = (),
) -> tuple[Vocab, npt.NDArray[np.int32]]:
    """The vocabulary of a counted corpus, and where each counted word went.

    ``words[i]`` was seen ``counts[i]`` times, in any order. Kept are those seen at least ``min_count`` times, of these the
    first ``max_vocab``. The second result maps i to the id in the vocabulary, −1 for a dropped word, shape (len(words),).
    Words that are ``known`` are kept however often they are seen, before all others; those that are not seen at all come
    last, with the count 0. ConfigError if nothing, or a single word, is left, or ``max_vocab`` has no room for the known.
    """
    if max_vocab is not None and max_vocab < len(known):
        raise ConfigError(f"max_vocab: expected at least {len(known)}, the words of the start, got {max_vocab}")
    seen, old = counts.tolist(), set(known)
    order = sorted(np.flatnonzero(counts >= min_count).tolist(), key=lambda i: (-seen[i], words[i]))
    if old:
        there = [i for i, word in enumerate(words) if word in old]
        fresh = [i for i in order if words[i] not in old][: None if max_vocab is None else max_vocab - len(old)]
        order = sorted([*there, *fresh], key=lambda i: (-seen[i], words[i]))
    else:
        order = order[:max_vocab]
    unseen = sorted(old - {words[i] for i in order})
    if len(order) + len(unseen) < 2:
        most = f"the most frequent occurs {counted(int(counts.max()), 'time')}" if len(counts) else "there is none"
        raise ConfigError(
            f"min_count: expected at least two words that occur {counted(min_count, 'time')} or more, got {len(order)} "
            f"({most}); lower min_count or bring more text"
        )
    place = np.full(len(words), -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    found = np.append(counts[order], np.zeros(len(unseen))).astype(np.int64)
    return Vocab((*(words[i] for i in order), *unseen), found), place
