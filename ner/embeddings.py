"""Word vectors → the tagger's word table, with a report of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ner.indexer import Indexer
from training.errors import DataError
from training.randomness import uniform
from word2vec.vectors import WordVectors


@dataclass(frozen=True)
class Coverage:
    """How many of a vocabulary's words have a vector: as they are, in another form (see ``find``), or not at all."""

    exact: int
    other_form: int
    missing: int
    token_share: float
    """The share of the tokens (not of the distinct words) that have a vector."""
    most_frequent_missing: tuple[str, ...]

    def __str__(self) -> str:
        total = max(1, self.exact + self.other_form + self.missing)
        missing = f" (most frequent: {' '.join(self.most_frequent_missing)})" if self.most_frequent_missing else ""
        return (
            f"{self.exact:,} of {total:,} words have a vector as they stand, {self.other_form:,} in another form "
            f"(the vectors', lower-cased or capitalized), {self.missing:,} have none{missing}; "
            f"{100 * self.token_share:.1f} % of the tokens have one"
        )


def find(vectors: WordVectors, word: str) -> int | None:
    """The row of a word: as it stands, else as the vectors' text was normalized, lower-cased, capitalized; else None.

    Capitalized comes last and serves headlines: OSLO has the vector of Oslo where the vectors are cased.
    """
    forms = (word, word.lower(), word.capitalize())
    return next((row for form in forms if (row := vectors.find(form)) is not None), None)


def vector_test(vectors: WordVectors | None) -> Callable[[str], bool] | None:
    """Whether a raw word has a vector, as a function; None where there are no vectors."""
    return None if vectors is None else lambda word: find(vectors, word) is not None


def word_matrix(
    words: Sequence[str], counts: Mapping[str, int], vectors: WordVectors | None, dim: int, seed: int
) -> tuple[Tensor, Coverage]:
    """The table (len(words), dim) of initial vectors; row 0 is padding, row 1 the unknown word.

    Padding is zeros. The unknown word is the mean of all vectors, a word like no other in particular, or zeros where there
    are none: a random vector would look like some word or other wherever training never meets it.

    A word without a vector gets a uniform one of the same spread as the others: ±sqrt(3/dim) where there are none
    (He et al.'s variance 1/dim), else ±sqrt(3)·(the root mean square of the vectors' elements).
    """
    dim = vectors.matrix.shape[1] if vectors else dim
    bound = (3.0 / dim) ** 0.5
    if vectors:
        if len(vectors.words) == 0:
            raise DataError("vectors: expected at least one word vector, got none")
        sample = vectors.matrix[: min(len(vectors.words), 10000)].double().numpy()
        bound = (3.0 * float((sample**2).mean())) ** 0.5
    table = uniform((len(words), dim), -bound, bound, seed, "init/words")
    table[:2] = 0.0
    if vectors:
        table[1] = torch.from_numpy(vectors.matrix.numpy().mean(axis=0, dtype=np.float64)).float()
    exact = other = covered = 0
    missing: list[str] = []
    rows: list[tuple[int, int]] = []
    for i, word in enumerate(words):
        row = find(vectors, word) if vectors and i > 1 else None
        if vectors is None or row is None:
            if i > 1:
                missing.append(word)
            continue
        rows.append((i, row))
        exact += word in vectors.index
        other += word not in vectors.index
        covered += counts.get(word, 0)
    if vectors and rows:
        target, source = torch.tensor(rows).T
        table[target] = vectors.matrix[source]
    total = max(1, sum(counts.values()))
    most = sorted(missing, key=lambda w: (-counts.get(w, 0), w))[:8]
    return table, Coverage(exact, other, len(missing), covered / total, tuple(most))


class WordTable(nn.Module):
    """The words' vectors: trained rows for the vocabulary, and fixed rows for words met later that have a vector."""

    extra: Tensor

    def __init__(self, matrix: Tensor, *, freeze: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(matrix, requires_grad=not freeze)
        self.register_buffer("extra", matrix.new_zeros(0, matrix.shape[1]), persistent=False)

    def attach(self, rows: Tensor) -> None:
        """Append vectors (n, d) for words that the vocabulary does not hold; they are not part of the weights."""
        self.extra = torch.cat([self.extra, rows.to(self.extra)])

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (N,) → vectors (N, d). Ids from the table's size on mean attached rows."""
        trained = len(self.weight)
        known = ids < trained
        if self.extra.shape[0] == 0 or bool(known.all()):
            return nn.functional.embedding(ids, self.weight)
        vectors = nn.functional.embedding(torch.where(known, ids, 1), self.weight)
        return torch.where(known[:, None], vectors, self.extra[torch.where(known, 0, ids - trained)])


def attach_unseen(table: WordTable, indexer: Indexer, vectors: WordVectors, words: Iterable[str]) -> int:
    """Give every word (raw) that the vocabulary lacks and that has a vector a row of its own; returns how many."""
    found: dict[str, int] = {}
    for raw in dict.fromkeys(words):
        word = indexer.rule.word(raw)
        if word not in indexer.words and word not in found and (row := find(vectors, raw)) is not None:
            found[word] = row
    if found:
        indexer.add_words(found)
        table.attach(vectors.matrix[torch.tensor(list(found.values()))])
    return len(found)
