"""Words that training did not see but that have a vector: a table of their own beside the indexer's."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ner.inputs.indexer import Indexer
from ner.vectors.views import Views


class UnseenWords:
    """``ids``: word, in the form of the indexer's rule, → id. They go on where the indexer's end.

    The model's word table is given the vectors in the same order (ner/model/word_table.py: ``attach``).
    """

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def clear(self) -> None:
        """Forget all of them."""
        self.ids = {}

    def add(self, indexer: Indexer, vectors: Views, words: Iterable[str]) -> Tensor:
        """Give an id to every word (raw) that has none and that has a vector; returns the vectors (n, d) of those."""
        found: dict[str, str] = {}  # form → raw word
        for raw in dict.fromkeys(words):
            word = indexer.rule.word(raw)
            known = word in indexer.words or word in self.ids or word in found
            if not known and vectors.has(raw):
                found[word] = raw
        first = indexer.num_words + len(self.ids)
        self.ids |= {word: i for i, word in enumerate(found, first)}
        return vectors.rows(list(found.values())) if found else torch.zeros(0, sum(vectors.sizes))
