"""Word vectors: look up, neighbors, analogies; loaded from and saved to the formats of word2vec and GloVe.

Scores are cosines. They are ranked in float32, then those that could be among the best are computed again in float64 row by
row and ranked by (-score, id): ties go to the lower id, and the answer does not depend on threads or on block sizes.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.errors import DataError
from training.files import atomic_path, parse_json, read_small
from training.job_progress import Progress
from training.values import argument, shown
from word2vec.text.tokenize import TextRule
from word2vec.vectors.read import read_table
from word2vec.vectors.write import write_table

_BLOCK = 1 << 24  # scores that are held at once
_ROWS = 1 << 14  # rows that are held in float64 at once


def rule_path(path: str | Path) -> Path:
    """Where the text rule of a vectors file is kept: vectors.rule.json beside vectors.txt, vectors.bin, vectors.txt.gz."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz") else path).with_suffix(".rule.json")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words with their vectors: look up, neighbors, analogies; ``load`` and ``save`` read and write files.

    Args:
        words: n distinct words, mostly the most frequent first.
        matrix: their vectors in the same order, float32 (n, d), on the CPU.
        rule: how their text was made into words; None if it is not known (GloVe, other tools).
        repeated: how many repeated words of the file were left out.
        undecodable: how many were not UTF-8 and were left out.

    Raises:
        DataError: a word occurs twice, or the matrix has another type or number of rows.

    Example:
        >>> from word2vec import WordVectors
        >>> import torch
        >>> rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
        >>> vectors = WordVectors(["man", "king", "crown", "queen"], rows)
        >>> len(vectors), vectors.dim, "king" in vectors, vectors.vector("king").tolist()
        (4, 2, True, [1.0, 1.0])
        >>> [(word, round(cosine, 3)) for word, cosine in vectors.nearest("crown", k=2)]
        [('queen', 1.0), ('king', 0.707)]
    """

    words: list[str]
    matrix: Tensor
    rule: TextRule | None = None
    repeated: int = 0
    undecodable: int = 0
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        expected = f"a float32 matrix of {len(self.words)} rows"
        if self.matrix.dtype != torch.float32 or self.matrix.ndim != 2 or len(self.matrix) != len(self.words):
            raise DataError(f"word vectors: expected {expected}, got {self.matrix.dtype} {tuple(self.matrix.shape)}")
        index = {word: i for i, word in enumerate(self.words)}
        if len(index) < len(self.words):
            twice = next(word for i, word in enumerate(self.words) if index[word] != i)
            raise DataError(f"word vectors: expected distinct words, got {twice!r} twice")
        object.__setattr__(self, "index", index)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return int(self.matrix.shape[1])

    # --- words

    def find(self, word: str) -> int | None:
        """The id of a word as it stands, else in the form that the text rule gives it; None where neither is there."""
        if (at := self.index.get(word)) is None and self.rule is not None:
            at = self.index.get(self.rule.word(word))
        return at

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.find(word) is not None

    def id(self, word: str) -> int:
        """As ``find``; DataError with the nearest spellings for an unknown word."""
        if not isinstance(word, str):
            raise DataError(f"expected a word, got {shown(word)}")
        if (at := self.find(word)) is not None:
            return at
        near = self._spellings(word)
        raise DataError(f"no vector for {word!r}" + (f"; did you mean {', '.join(map(repr, near))}?" if near else ""))

    def vector(self, word: str) -> Tensor:
        """The vector (d,) of a word, as ``find`` finds it; DataError with the nearest spellings for an unknown one."""
        return self.matrix[self.id(word)]

    def _spellings(self, word: str) -> list[str]:
        """Up to three known words that are spelled alike; looks only at words of about this length and beginning."""
        wanted = word.casefold()
        alike: dict[str, list[str]] = {}
        for known in self.words:
            if abs(len(known) - len(word)) <= 2 and known[:1].casefold() == wanted[:1] and len(alike) < 5000:
                alike.setdefault(known.casefold(), []).append(known)
        near = difflib.get_close_matches(wanted, alike, n=3, cutoff=0.7)
        return [known for folded in near for known in alike[folded]][:3]

    # --- neighbors

    @cached_property
    def unit(self) -> Tensor:
        """The vectors divided by their lengths, (n, d) float32; a vector of zeros stays one."""
        return unit_rows(self.matrix)

    def nearest(self, query: str | Tensor, k: int = 10) -> list[tuple[str, float]]:
        """The words nearest to a word, itself left out, or to a vector.

        Args:
            query: a word, or a vector (d,).
            k: how many of them.

        Returns:
            The words with their cosines, from −1 to 1, best first.

        Raises:
            DataError: the word is unknown (with those spelled alike), or the vector has another length.
        """
        if isinstance(query, str):
            excluded = [self.id(query)]
            vector = self.unit[excluded[0]]
        else:
            if query.shape != (self.dim,):
                raise DataError(f"nearest: expected a vector of {self.dim} numbers, got the shape {tuple(query.shape)}")
            excluded, vector = [], query.to(torch.float32)
        return self._named(vector, k, excluded)

    def analogy(self, a: str, b: str, c: str, k: int = 10) -> list[tuple[str, float]]:
        """What is to c as b is to a: the words nearest to b − a + c of unit vectors, the three themselves left out.

        Args:
            a: as "man".
            b: as "king".
            c: as "woman".
            k: how many words.

        Returns:
            The words with their cosines, from −1 to 1, best first.

        Raises:
            DataError: one of the words is unknown.

        Source: 3CosAdd of Mikolov, Yih & Zweig, "Linguistic Regularities in Continuous Space Word Representations", 2013.
        """
        ids = [self.id(word) for word in (a, b, c)]
        return self._named(self.unit[ids[1]] - self.unit[ids[0]] + self.unit[ids[2]], k, ids)

    def _named(self, vector: Tensor, k: int, excluded: list[int]) -> list[tuple[str, float]]:
        if argument(k, int, "neighbors") < 1:
            raise DataError(f"neighbors: expected a number of 1 or more, got {k}")
        ids, scores = top_k(self.unit, unit_rows(vector[None]), k, [excluded])[0]
        return [(self.words[i], score) for i, score in zip(ids, scores, strict=True)]

    # --- files

    @classmethod
    def load(
        cls, path: str | Path, form: str = "auto", progress: Progress | None = None, *, skip_undecodable: bool = False
    ) -> WordVectors:
        """Read word2vec text or binary, or GloVe's text, packed or not, and the text rule beside it where there is one.

        Args:
            path: the file.
            form: "auto" (by content), "text", "binary" or "glove".
            progress: told how many bytes of the file are read, (done, total).
            skip_undecodable: leave out words that are not UTF-8 instead of refusing the file.

        Raises:
            DataError: with file:line, what word2vec/vectors/read.py refuses; a damaged rule.
        """
        table = read_table(path, form, progress, skip_undecodable=skip_undecodable)
        return cls(table.words, torch.from_numpy(table.matrix), read_rule(path), table.repeated, table.undecodable)

    def save(self, path: str | Path, form: str = "text", progress: Progress | None = None) -> None:
        """Write the vectors, and the text rule beside them; whole or not at all, compressed for a name in .gz.

        Args:
            path: the file.
            form: "text", "binary" or "glove"; all of them read back the same bits.
            progress: told how many words are written, (done, total).

        Raises:
            DataError: words that could not be read back, such as one with a line end.
        """
        beside = rule_path(path)
        if self.rule is None:
            beside.unlink(missing_ok=True)  # it would tell of the vectors that are being replaced
            write_table(path, self.words, self.matrix.numpy(), form, progress)
            return
        with atomic_path(beside) as rule:
            rule.write_text(json.dumps(self.rule.to_dict(), indent=1) + "\n", encoding="utf-8", newline="\n")
            write_table(path, self.words, self.matrix.numpy(), form, progress)


def read_rule(path: str | Path) -> TextRule | None:
    """The rule recorded beside the vectors ``path``, None where there is none; DataError where it cannot be understood."""
    beside = rule_path(path)
    try:
        values = parse_json(read_small(beside))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{beside}: expected the text rule of {Path(path).name} as JSON, got {error}") from None
    if not isinstance(values, dict):
        raise DataError(f"{beside}: expected the text rule of {Path(path).name} as a JSON object, got {values!r}")
    return TextRule.from_dict(values, str(beside))


def unit_rows(matrix: Tensor) -> Tensor:
    """Rows (n, d) divided by their Euclidean lengths, which are summed in float64; rows of zeros stay zeros."""
    unit = torch.empty(matrix.shape, dtype=torch.float32)
    for begin in range(0, len(matrix), _ROWS):
        block = matrix[begin : begin + _ROWS].double()
        lengths = block.square().sum(dim=1, keepdim=True).sqrt_()
        unit[begin : begin + _ROWS] = block / lengths.clamp_min_(1e-300)
    return unit


def top_k(unit: Tensor, queries: Tensor, k: int, excluded: Sequence[Sequence[int]]) -> list[tuple[list[int], list[float]]]:
    """For each of q unit queries (q, d): ids and cosines of the k best rows of ``unit`` (n, d), by (-cosine, id).

    ``excluded[i]`` are ids that are left out for query i. Fewer than k come back where there are not more.
    """
    n, d = unit.shape
    if n == 0:
        return [([], []) for _ in queries]
    results: list[tuple[list[int], list[float]]] = []
    step = max(1, _BLOCK // n)
    margin = 4 * d * 2.0**-24  # more than float32 can be wrong by in a product of unit vectors, on both sides
    for begin in range(0, len(queries), step):
        block = queries[begin : begin + step]
        out = excluded[begin : begin + step]
        scores = block @ unit.T
        rows = [i for i, ids in enumerate(out) for _ in ids]
        scores[rows, [j for ids in out for j in ids]] = -torch.inf
        bound = scores.topk(min(k, n), dim=1).values[:, -1:] - margin
        at, ids = ((scores >= bound) & (scores > -torch.inf)).nonzero(as_tuple=True)
        exact = row_products(unit, ids, block, at).numpy()
        query, word = at.numpy(), ids.numpy()
        order = np.lexsort((word, -exact, query))
        cuts = np.searchsorted(query[order], np.arange(len(block) + 1))
        for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            best = order[first : min(last, first + k)]
            results.append((word[best].tolist(), exact[best].tolist()))
    return results


def row_products(left: Tensor, i: Tensor, right: Tensor, j: Tensor) -> Tensor:
    """The scalar products of ``left[i[p]]`` and ``right[j[p]]`` for each p, summed in float64 row by row."""
    product = torch.empty(len(i), dtype=torch.float64)
    for begin in range(0, len(i), _ROWS):
        part = slice(begin, begin + _ROWS)
        product[part] = (left[i[part]].double() * right[j[part]].double()).sum(dim=1)
    return product
