"""How good vectors are on sets that people made: word similarity, analogies.

A similarity set has lines "word word score" (WordSim-353, MEN), apart by blanks, tabs, commas or semicolons; further columns
(SimLex-999, SimVerb-3500, RareWords) may follow the score, and one, a part of speech, may stand before it; the first line
may name the columns. An analogy set has lines "a b c d" in sections that begin with ": name" (Google's questions-words).
Blank lines and lines that begin with "#" are skipped.

Words are found whatever their case unless ``ignore_case`` is off: of several spellings the first of the vocabulary, which is
the most frequent, stands for all. What has a word without a vector is not asked; how much that is belongs to the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from training.errors import ConfigError, DataError
from training.job_progress import Progress
from training.visible import counted, shortened
from word2vec.text.file_kinds import COLUMNS, EMPTY, TABLE, TEXT, VECTORS, decoded, opened
from word2vec.vectors.vectors import WordVectors, row_products, top_k, unit_rows

Pair = tuple[str, str, float]
Question = tuple[str, str, str, str]


@dataclass(frozen=True)
class SimilaritySet:
    """Pairs of words with the similarity that people gave them."""

    name: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class AnalogySet:
    """Sections of questions: a is to b as c is to d."""

    name: str
    sections: tuple[tuple[str, tuple[Question, ...]], ...]


@dataclass(frozen=True)
class SimilarityResult:
    """``spearman`` is the rank correlation over the ``found`` of ``pairs`` that have vectors; None where it has no value."""

    name: str
    pairs: int
    found: int
    spearman: float | None

    def to_text(self) -> str:
        """One line."""
        value = "none" if self.spearman is None else f"{self.spearman:.4f}"
        return f"{self.name}: Spearman {value} on {self.found} of {self.pairs} pairs"


@dataclass(frozen=True)
class SectionResult:
    """One section: how many questions it has, how many of them were asked, and answered right."""

    name: str
    questions: int
    asked: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among those asked, None where none was."""
        return self.correct / self.asked if self.asked else None


@dataclass(frozen=True)
class AnalogyResult:
    """Results by section; ``total`` is over all of them. ``candidates`` is how many words could be answers."""

    name: str
    candidates: int
    sections: tuple[SectionResult, ...]

    @property
    def total(self) -> SectionResult:
        """All sections together."""
        parts = self.sections
        counts = (sum(s.questions for s in parts), sum(s.asked for s in parts), sum(s.correct for s in parts))
        return SectionResult(self.name, *counts)

    def to_text(self) -> str:
        """A line for each section and one for all."""
        rows = []
        for part in (*self.sections, self.total):
            value = "none" if part.accuracy is None else f"{part.accuracy:.4f}"
            rows.append(f"{part.name}: {value} ({part.correct} of {part.asked} asked, {part.questions} in all)")
        return "\n".join(rows)


def read_set(path: str | Path) -> SimilaritySet | AnalogySet:
    """Read a set of word similarity or of analogies, in any of the forms in which they are published (the module's text).

    Args:
        path: the file, compressed or not.

    Returns:
        The set of the kind that its lines are of; its name is the file's.

    Raises:
        DataError: with file:line, lines of neither form, or of both; a file without any.

    Example:
        >>> from word2vec import read_set
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "pairs.txt").write_text("tiger cat 7.35\\nbook paper 7.46\\n")
        ...     read_set(f"{folder}/pairs.txt")
        SimilaritySet(name='pairs', pairs=(('tiger', 'cat', 7.35), ('book', 'paper', 7.46)))
    """
    pairs: list[Pair] = []
    sections: list[tuple[str, list[Question]]] = []
    form: _Columns | None = None
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if line.startswith(":") and form is None:
            if not (name := line[1:].strip()):
                raise DataError(f"{where}: expected the name of a section after the colon, got none")
            sections.append((name, []))
        elif sections:
            fields = line.split()
            if len(fields) != 4:
                raise DataError(f"{where}: expected an analogy of four words, got {len(fields)}: {_beginning(line)}")
            sections[-1][1].append((fields[0], fields[1], fields[2], fields[3]))
        elif form is None:
            form = _Columns.of(line)
            if form.score is not None:
                pairs.append(form.pair(where, line))
            elif len(form.split(line)) < 3:
                raise DataError(f"{where}: {_EXPECTED}, got {_fields(form.split(line), line)}")
            else:
                header = (where, line)
        else:
            form = form if form.score is not None else _Columns.of(line)  # the first line named the columns
            if form.score is None:
                raise _no_pair(*header)
            pairs.append(form.pair(where, line))
    if sections:
        return AnalogySet(Path(path).stem, tuple((name, tuple(questions)) for name, questions in sections))
    if not pairs:
        if form is not None:
            raise _no_pair(*header)
        raise DataError(f"{path}: expected lines of word, word, score, or sections of analogies; got an empty file")
    return SimilaritySet(Path(path).stem, tuple(pairs))


def check_names(paths: Sequence[str | Path]) -> None:
    """ConfigError for two sets of one name, which is the file's: scores are kept by it, so that one would hide the other."""
    named: dict[str, str | Path] = {}
    for path in paths:
        if (name := Path(path).stem) in named:
            raise ConfigError(
                f"sets: expected files of different names, got {named[name]} and {path}, both of the name {name!r}; rename "
                "one, or leave it out"
            )
        named[name] = path


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines that say something."""
    with opened(path, "a set of word similarity or analogies") as stream:
        stream.kind.check(path, "a set of word similarity or analogies", TEXT, COLUMNS, TABLE, VECTORS, EMPTY)
        for number, line in decoded(stream, str(path), stream.kind):
            if line.strip() and not line.startswith("#"):
                yield number, line


def _fields(fields: Sequence[str], line: str) -> str:
    return f"{counted(len(fields), 'field')}: {_beginning(line)}"


def _beginning(line: str) -> str:
    return repr(shortened(line.strip(), 80))


_EXPECTED = "expected word, word, score (or a section ': name' before analogies)"


class _Columns(NamedTuple):
    """How the lines of a similarity set are written: what stands between the columns, and which of them is the score."""

    apart: str | None
    score: int | None  # None for a line that only names the columns
    width: int

    @classmethod
    def of(cls, line: str) -> _Columns:
        """As the line has it: two words, perhaps a part of speech, then the first number."""
        marks: list[str | None] = [c for c in ";,\t" if line.strip().count(c) > 1]
        for apart in marks or [None]:
            fields = line.rstrip("\r\n").split(apart)
            if len(fields) > 2 and _is_score(fields[2]):
                return cls(apart, 2, len(fields))
            if len(fields) > 3 and fields[2].isalpha() and len(fields[2]) < 6 and _is_score(fields[3]):
                return cls(apart, 3, len(fields))
        return cls(marks[0] if marks else None, None, len(fields))

    def split(self, line: str) -> list[str]:
        """The columns of a line; one without a tab is split at blanks in a file of tabs, too."""
        apart = self.apart if self.apart and self.apart in line else None
        return [field.strip() for field in line.rstrip("\r\n").split(apart)]

    def pair(self, where: str, line: str) -> Pair:
        """The two words and the score; DataError for a line of another form than the first."""
        fields = self.split(line)
        if len(fields) != self.width or self.score is None or not all(fields[:2]) or _is_score(fields[1]):
            raise DataError(f"{where}: {_EXPECTED}, got {_fields(fields, line)}")
        if not _is_score(fields[self.score]):
            raise DataError(f"{where}: {_EXPECTED}, got the score {_beginning(fields[self.score])}")
        return fields[0], fields[1], float(fields[self.score])


def _is_score(field: str) -> bool:
    try:
        return bool(np.isfinite(float(field)))
    except ValueError:
        return False


def _no_pair(where: str, line: str) -> DataError:
    """The error for a first line that is no pair, and no header before pairs either."""
    fields = line.split()
    got = f"the score {_beginning(fields[2])}" if len(fields) == 3 else _fields(fields, line)
    return DataError(f"{where}: {_EXPECTED}, got {got}")


def evaluate(
    vectors: WordVectors,
    questions: SimilaritySet | AnalogySet,
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    progress: Progress | None = None,
) -> SimilarityResult | AnalogyResult:
    """Score vectors on a set that ``read_set`` has read.

    Args:
        vectors: whose words are asked for.
        questions: the set.
        restrict: use only this many of the first words, in questions and answers; None for all. For analogies 30,000 is
            customary.
        ignore_case: find words whatever their case.
        progress: called with the number of analogies answered, (done, total).

    Returns:
        Of similarities Spearman's rank correlation, from −1 to 1, of analogies the share of right answers by section; and of
        how many questions. Where the words of no question are known, there is no score.

    Source: Spearman 1904; for analogies 3CosAdd, Mikolov, Yih & Zweig 2013.

    Example:
        >>> from word2vec import WordVectors, evaluate
        >>> import torch
        >>> from word2vec.vectors.evaluate import SimilaritySet
        >>> vectors = WordVectors(["cat", "dog", "car"], torch.tensor([[1.0, 0.2], [1.0, 0.0], [0.0, 1.0]]))
        >>> pairs = (("cat", "dog", 9.0), ("cat", "car", 2.0), ("dog", "car", 1.0), ("cat", "cab", 1.0))
        >>> print(evaluate(vectors, SimilaritySet("mine", pairs)).to_text())
        mine: Spearman 1.0000 on 3 of 4 pairs
    """
    if isinstance(questions, SimilaritySet):
        return score_similarity(vectors, questions, restrict=restrict, ignore_case=ignore_case)
    return score_analogies(vectors, questions, restrict=restrict, ignore_case=ignore_case, progress=progress)


def score_similarity(
    vectors: WordVectors, questions: SimilaritySet, *, restrict: int | None = None, ignore_case: bool = True
) -> SimilarityResult:
    """Spearman's rank correlation of the cosines with the people's scores."""
    known = _Vocabulary(vectors, restrict, ignore_case)
    found = [(i, j, score) for a, b, score in questions.pairs if None not in (i := known.id(a), j := known.id(b))]
    left, right = (torch.tensor([row[side] for row in found], dtype=torch.int64) for side in (0, 1))
    cosines = row_products(vectors.unit, left, vectors.unit, right).numpy()
    value = spearman(cosines, np.array([row[2] for row in found], dtype=np.float64))
    return SimilarityResult(questions.name, len(questions.pairs), len(found), value)


def score_analogies(
    vectors: WordVectors,
    questions: AnalogySet,
    *,
    restrict: int | None = None,
    ignore_case: bool = True,
    progress: Progress | None = None,
) -> AnalogyResult:
    """Share of questions whose nearest word to b − a + c (3CosAdd, see WordVectors.analogy), none of a, b, c, is d."""
    known = _Vocabulary(vectors, restrict, ignore_case)
    unit = vectors.unit[: known.size]
    results: list[SectionResult] = []
    done, total = 0, sum(len(section) for _, section in questions.sections)
    for name, section in questions.sections:
        found = ([known.id(word) for word in question] for question in section)
        asked = [[i for i in ids if i is not None] for ids in found if None not in ids]
        a, b, c, d = torch.tensor(asked, dtype=torch.int64).reshape(-1, 4).unbind(1)
        targets = unit_rows(unit[b] - unit[a] + unit[c])
        excluded = [[other for word in ids[:3] for other in known.spellings(word)] for ids in asked]
        answers = [known.first[ids[0]] if ids else -1 for ids, _ in top_k(unit, targets, 1, excluded)]
        correct = sum(answer == right for answer, right in zip(answers, d.tolist(), strict=True))
        results.append(SectionResult(name, len(section), len(asked), correct))
        done += len(section)
        if progress:
            progress(done, total)
    return AnalogyResult(questions.name, known.size, tuple(results))


class _Vocabulary:
    """The first ``restrict`` words, by their spelling or by that without case; ids are those of the first such word."""

    def __init__(self, vectors: WordVectors, restrict: int | None, ignore_case: bool) -> None:
        words = vectors.words[:restrict]
        self.size = len(words)
        self.ignore_case = ignore_case
        self.ids: dict[str, int] = {}
        self.first = [self.ids.setdefault(self._key(word), i) for i, word in enumerate(words)]
        self.others: dict[int, list[int]] = {}
        for i, first in enumerate(self.first):
            if i != first:
                self.others.setdefault(first, [first]).append(i)

    def _key(self, word: str) -> str:
        return word.upper() if self.ignore_case else word

    def id(self, word: str) -> int | None:
        """The id that stands for this word, None where it has no vector."""
        return self.ids.get(self._key(word))

    def spellings(self, first: int) -> Sequence[int]:
        """All ids that ``first`` stands for."""
        return self.others.get(first, (first,))


def spearman(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    """Spearman's rho: Pearson's correlation of the ranks, equal values sharing the mean of theirs. None where undefined."""
    if len(x) < 2:
        return None
    ranks = [average_ranks(values) for values in (x, y)]
    a, b = (rank - rank.mean() for rank in ranks)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else None


def average_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1 to n; equal values get the mean of the ranks that they take up together."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: npt.NDArray[np.float64] = ((2 * last - count + 1) / 2)[place]
    return ranks


def as_metrics(results: Sequence[SimilarityResult | AnalogyResult]) -> Mapping[str, float]:
    """Name → figure, for a log; what has none is left out."""
    figures = {r.name: r.spearman if isinstance(r, SimilarityResult) else r.total.accuracy for r in results}
    return {name: value for name, value in figures.items() if value is not None}
