"""Word vectors → the initial rows of the tagger's word table, with a report of what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ner.inputs.indexer import FIRST
from ner.vectors.affixes import Affixes
from training.errors import DataError
from training.randomness import uniform
from word2vec.text.tokenize import TextRule
from word2vec.vectors.vectors import WordVectors

RAW = TextRule(tokenize=False, lowercase=False, digits="keep")


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


class Views:
    """Several sets of word vectors side by side, each with a form of its own: a word has the vectors of all of them.

    A view that lacks a word gives the mean of its vectors, which is like no word in particular; with ``affixes`` that of
    words which end and begin alike, if there are any (see ner/vectors/affixes.py): then the word has a vector.
    """

    def __init__(self, views: Sequence[WordVectors], *, affixes: bool = False) -> None:
        self.views = list(views)
        if not self.views or any(len(each.words) == 0 for each in self.views):
            raise DataError("vectors: expected at least one word vector, got none")
        self.affixes = [Affixes(each) for each in self.views] if affixes else []
        self.means = [torch.from_numpy(v.matrix.numpy().mean(axis=0, dtype=np.float64)).float() for v in self.views]

    @property
    def rule(self) -> TextRule | None:
        """The coarsest form of words that no view tells more of; None where one's form is not known."""
        rules = [each.rule for each in self.views]
        known = [rule for rule in rules if rule is not None]
        if len(known) < len(rules):
            return None
        zero = all(rule.digits == "zero" for rule in known)
        lowercase = all(rule.lowercase for rule in known)
        return dataclasses.replace(known[0], lowercase=lowercase, digits="zero" if zero else "keep")

    @property
    def sizes(self) -> list[int]:
        """The views' dimensions."""
        return [each.matrix.shape[1] for each in self.views]

    def has(self, word: str) -> bool:
        """Whether any view has the word, in any of its forms (see ``find``), or guesses it."""
        found = any(find(each, word) is not None for each in self.views)
        return found or any(each.guess(word) is not None for each in self.affixes)

    def as_it_stands(self, word: str) -> bool:
        """Whether any view has the word in just this form."""
        return any(word in each.index for each in self.views)

    def rows(self, words: Sequence[str]) -> Tensor:
        """The vectors (len(words), sum of ``sizes``)."""
        blocks = []
        for number, (view, mean) in enumerate(zip(self.views, self.means, strict=True)):
            block = mean.repeat(len(words), 1)
            found = [find(view, word) for word in words]
            places = [(i, row) for i, row in enumerate(found) if row is not None]
            if places:
                target, source = torch.tensor(places).T
                block[target] = view.matrix[source]
            for i, row in enumerate(found if self.affixes else []):
                if row is None and (guess := self.affixes[number].guess(words[i])) is not None:
                    block[i] = guess
            blocks.append(block)
        return torch.cat(blocks, 1)

    def bounds(self) -> list[float]:
        """For each view ±√3 · (the root mean square of its vectors' elements): uniform values of the same spread."""
        samples = [each.matrix[: min(len(each.words), 10000)].double().numpy() for each in self.views]
        return [(3.0 * float((sample**2).mean())) ** 0.5 for sample in samples]


def vector_test(vectors: Views | None) -> Callable[[str], bool] | None:
    """Whether a raw word has a vector, as a function; None where there are no vectors."""
    return None if vectors is None else vectors.has


def word_matrix(
    words: Sequence[str], counts: Mapping[str, int], vectors: Views | None, dim: int, seed: int
) -> tuple[Tensor, Coverage]:
    """The table (len(words), d) of initial vectors; row 0 is padding, row 1 the unknown word. d is ``dim`` or the views'.

    Padding is zeros. The unknown word is the mean of all vectors, a word like no other in particular, or zeros where there
    are none: a random vector would look like some word or other wherever training never meets it.

    A word without a vector gets a uniform one of the same spread as the others: ±sqrt(3/dim) where there are none
    (He et al.'s variance 1/dim), else as ``Views.bounds`` says.
    """
    sizes, bounds = (vectors.sizes, vectors.bounds()) if vectors else ([dim], [(3.0 / dim) ** 0.5])
    purposes = ["init/words", *(f"init/words/{i}" for i in range(1, len(sizes)))]
    blocks = zip(sizes, bounds, purposes, strict=True)
    table = torch.cat([uniform((len(words), size), -bound, bound, seed, name) for size, bound, name in blocks], 1)
    table[:FIRST] = 0.0
    found = [i for i in range(FIRST, len(words)) if vectors and vectors.has(words[i])]
    if vectors:
        table[1] = torch.cat(vectors.means)
        table[torch.tensor(found, dtype=torch.long)] = vectors.rows([words[i] for i in found])
    exact = sum(vectors.as_it_stands(words[i]) for i in found) if vectors else 0
    covered = sum(counts.get(words[i], 0) for i in found)
    known = set(found)
    missing = [words[i] for i in range(FIRST, len(words)) if i not in known]
    total = max(1, sum(counts.values()))
    most = sorted(missing, key=lambda w: (-counts.get(w, 0), w))[:8]
    return table, Coverage(exact, len(found) - exact, len(missing), covered / total, tuple(most))
