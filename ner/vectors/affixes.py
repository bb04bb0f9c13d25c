"""A vector for a word that has none: the mean of words that end, and of words that begin, as it does.

Brants 2000 (TnT, section 2.3) guesses an unknown word's tags from the longest suffix that is known; here the same is done
for vectors, and for beginnings too. So -ovic is near surnames, -ville near places, whether or not training ever met them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

LONGEST, SHORTEST = 6, 2
FEWEST = 5  # words that an affix must have


class Affixes:
    """The means of a set of vectors by the words' last and by their first LONGEST … SHORTEST characters."""

    def __init__(self, vectors: WordVectors) -> None:
        self.rule = vectors.rule or TextRule(tokenize=False)
        self.ends = [_Means(vectors, size, last=True) for size in range(LONGEST, SHORTEST - 1, -1)]
        self.beginnings = [_Means(vectors, size, last=False) for size in range(LONGEST, SHORTEST - 1, -1)]

    def guess(self, word: str) -> Tensor | None:
        """The mean (d,) of what the word's longest known end and its longest known beginning give; None if neither is."""
        form = self.rule.word(word)
        found = [vector for sizes in (self.ends, self.beginnings) if (vector := _first(sizes, form)) is not None]
        return torch.stack(found).mean(0) if found else None


def _first(sizes: Sequence[_Means], form: str) -> Tensor | None:
    return next((vector for each in sizes if (vector := each.of(form)) is not None), None)


class _Means:
    """The mean vector of each end (or beginning) of ``size`` characters that FEWEST longer words or more have."""

    def __init__(self, vectors: WordVectors, size: int, *, last: bool) -> None:
        self.size, self.last = size, last
        rows, places = [], []
        table: dict[str, int] = {}
        for row, word in enumerate(vectors.words):
            if len(word) > size:
                rows.append(row)
                places.append(table.setdefault(self._part(word), len(table)))
        place = torch.tensor(places, dtype=torch.long)
        counts = torch.bincount(place, minlength=len(table))
        kept = counts >= FEWEST
        number = torch.cumsum(kept.long(), 0) - 1
        mine = kept[place]
        sums = torch.zeros(int(kept.sum()), vectors.matrix.shape[1], dtype=torch.float64)
        chosen = torch.tensor(rows, dtype=torch.long)[mine]
        sums.index_add_(0, number[place[mine]], vectors.matrix[chosen].double())
        self.means = (sums / counts[kept].unsqueeze(1)).float()
        numbers = np.where(kept.numpy(), number.numpy(), -1).tolist()
        self.table = {part: numbers[i] for part, i in table.items() if numbers[i] >= 0}

    def _part(self, word: str) -> str:
        return word[-self.size :] if self.last else word[: self.size]

    def of(self, word: str) -> Tensor | None:
        row = self.table.get(self._part(word)) if len(word) > self.size else None
        return None if row is None else self.means[row]
