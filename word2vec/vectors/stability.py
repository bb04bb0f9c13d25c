"""Which neighbors are luck: the same text trained with several seeds, and the neighbors that all of them agree on.

Antoniak & Mimno, "Evaluating the Stability of Embedding-based Word Similarities", TACL 2018: what stands next to a word
changes from seed to seed, so that a neighbor of one run alone says little about the text.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import DataError
from training.files import inside
from training.job_progress import JobProgress
from training.randomness import words32
from training.run import seal
from training.run.folder import read_manifest
from training.run.groups import Group, check_group, is_group, pages, read_group, seeds_of
from training.run.tensorboard import Board
from training.visible import aligned, markdown_table
from word2vec.config import KIND
from word2vec.text.vocab import Vocab
from word2vec.vectors.evaluate import AnalogySet, SimilaritySet, as_metrics, evaluate
from word2vec.vectors.vectors import WordVectors, top_k

FILES = ("vectors.bin", "vectors.rule.json", "vocab.tsv")
MOST_WORDS = 1000  # of a band that are looked at
Ids = npt.NDArray[np.int64]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Neighbor:
    """A word near another: among the nearest in ``seeds`` runs; its cosines over all of the runs."""

    word: str
    seeds: int
    mean: float
    least: float
    most: float


@dataclass(frozen=True)
class Band:
    """Words that occur from ``least`` to ``most`` times, and how far their neighbors agree.

    ``looked_at`` of ``words`` were looked at. A word's overlap is its mean Jaccard index over all pairs of seeds; of these
    overlaps ``mean``, ``low`` and ``high`` are the mean, the lower and the upper decile. ``in_all`` is the mean number of
    neighbors that all seeds have.
    """

    least: int
    most: int
    words: int
    looked_at: int
    mean: float
    low: float
    high: float
    in_all: float


@dataclass(frozen=True)
class Stability:
    """The bands of a group, most frequent words first; of ``k`` nearest words in ``seeds`` runs."""

    bands: list[Band]
    k: int
    seeds: int

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of a table, its header first."""
        head = ("occurrences", "words", "looked at", "Jaccard", "lowest 10%", "highest 10%", f"of {self.k} in all seeds")
        found = [
            (f"{b.least:,} to {b.most:,}", f"{b.words:,}", f"{b.looked_at:,}", f"{b.mean:.3f}", f"{b.low:.3f}",
             f"{b.high:.3f}", f"{b.in_all:.1f}")
            for b in self.bands
        ]  # fmt: skip
        return [head, *found]

    @property
    def note(self) -> str:
        """What the figures are."""
        return (
            f"Jaccard: neighbors that two seeds share, divided by those that either has, among the {self.k} nearest; "
            f"the mean over all pairs of {self.seeds} seeds. 1: all agree; 0: none do."
        )

    def to_text(self) -> str:
        """For a terminal."""
        return "\n".join([*aligned(self.rows(), numbers=True), "", self.note])

    def to_markdown(self) -> str:
        """For TensorBoard's text page."""
        head, *rows = self.rows()
        return "\n".join([*markdown_table(head, rows), "", self.note])


def load_group(folder: Path, progress: JobProgress | None = None, tell: Tell = lambda line: None) -> list[WordVectors]:
    """The vectors of all runs of a finished group, which must be what its seal says. DataError where they are not."""
    return list(_loaded(folder, progress, tell))


def scored(group: Group, sets: Sequence[SimilaritySet | AnalogySet], progress: JobProgress | None = None) -> Group:
    """The group, or the run as a group of one, with the scores of its vectors on ``sets`` among its metrics."""
    metrics = dict(group.metrics)
    for seed, vectors in zip(_seeds(group.path, group), _loaded(group.path, progress, lambda line: None), strict=True):
        found = as_metrics([evaluate(vectors, each) for each in sets])
        metrics[seed] = {**metrics[seed], **{f"set {name}": value for name, value in found.items()}}
    return replace(group, metrics=metrics)


def _seeds(folder: Path, group: Group) -> list[int]:
    return seeds_of(folder) if is_group(folder) else list(group.metrics)


def _loaded(folder: Path, progress: JobProgress | None, tell: Tell) -> Iterator[WordVectors]:
    read_group(folder, KIND)
    if is_group(folder):
        check_group(folder, tell)
    runs = [inside(folder, f"seed_{seed}") for seed in seeds_of(folder)] if is_group(folder) else [folder]
    words: list[str] | None = None
    for number, run in enumerate(runs):
        if progress is not None:
            progress("reading vectors", number, len(runs))
        _check(run, FILES)
        vectors = WordVectors.load(inside(run, "vectors.bin"))
        if words is not None and vectors.words != words:
            raise DataError(f"{run}: expected vectors of the same words as in the group's other runs, got others")
        words = vectors.words
        yield vectors
    if progress is not None:
        progress("reading vectors", len(runs), len(runs))


def _check(run: Path, names: Sequence[str]) -> None:
    """DataError for files that are not as the run left them; what it does not know of is not looked at."""
    described = read_manifest(run)
    seal.check(run, described, [name for name in names if name in described.get("outputs", {})])


def nearest(runs: Sequence[WordVectors], word: str, k: int = 10) -> list[Neighbor]:
    """The words that are nearest to ``word`` in most of the runs.

    Args:
        runs: vectors of the same words.
        word: one of them.
        k: how many neighbors each run is asked for, and how many come back.

    Returns:
        Those that are among the k nearest of any run: by the number of runs, then by the mean of their cosines over all
        runs, then by their place in the vocabulary.

    Raises:
        DataError: the word is unknown (with those spelled alike), or there are no runs.
    """
    if not runs:
        raise DataError("nearest: expected vectors of at least one run, got none")
    if k < 1:
        raise DataError(f"neighbors: expected a number of 1 or more, got {k}")
    at = runs[0].id(word)
    seen: dict[int, int] = {}
    for run in runs:
        for found in _neighbors(run, [at], k)[0]:
            seen[found] = seen.get(found, 0) + 1
    ids = sorted(seen)
    cosines = np.stack([(run.unit[ids].double() * run.unit[at].double()).sum(dim=1).numpy() for run in runs])
    listed = [
        Neighbor(runs[0].words[i], seen[i], float(c.mean()), float(c.min()), float(c.max()))
        for i, c in zip(ids, cosines.T, strict=True)
    ]
    return sorted(listed, key=lambda each: (-each.seeds, -each.mean))[:k]


def stability(folder: Path, k: int = 10, progress: JobProgress | None = None, tell: Tell = lambda line: None) -> Stability:
    """How far the neighbors of words agree over the seeds of a group, by how often the words occur.

    Args:
        folder: a finished group of ``train-w2v --seeds``, of two seeds or more.
        k: how many nearest words are compared.
        progress: told how far it is: (what, done, total).
        tell: hears a line where the group has no seal.

    Returns:
        The bands: powers of ten of the number of occurrences. Of a band of more than 1,000 words as many are drawn, the same
        each time.

    Raises:
        DataError: no finished group of word vectors, one of a single seed, or one that is not what it says.

    Source: Antoniak & Mimno 2018, section 4: the Jaccard index of the nearest words of two runs.
    """
    if not is_group(folder):
        raise DataError(f"{folder}: expected a group of runs, as train-w2v --seeds makes one, got no group.json in it")
    if len(seeds_of(folder)) < 2:
        raise DataError(f"{folder}: expected a group of two seeds or more, got one: nothing to compare")
    if k < 1:
        raise DataError(f"neighbors: expected a number of 1 or more, got {k}")
    read_group(folder, KIND)
    first = inside(folder, f"seed_{seeds_of(folder)[0]}")
    _check(first, ("vocab.tsv",))
    vocab = Vocab.load(inside(first, "vocab.tsv"))
    counts = vocab.counts
    chosen = _chosen(counts)
    asked = np.concatenate([ids for _, ids in chosen])
    found: list[list[set[int]]] = []
    for vectors in _loaded(folder, progress, tell):
        if list(vocab.words) != vectors.words:
            raise DataError(f"{folder}: expected vectors of the words of vocab.tsv, got others")
        found.append([set(ids) for ids in _neighbors(vectors, asked.tolist(), k)])
    overlaps, in_all = np.array([_agreement(each) for each in zip(*found, strict=True)]).reshape(-1, 2).T
    bands, begin = [], 0
    for words, ids in chosen:
        part = slice(begin, begin := begin + len(ids))
        low, high = np.quantile(overlaps[part], [0.1, 0.9]).tolist()
        seen = [int(counts[i]) for i in words]
        mean = float(np.mean(overlaps[part]))
        bands.append(Band(min(seen), max(seen), len(words), len(ids), mean, low, high, float(np.mean(in_all[part]))))
    return Stability(bands, k, len(found))


def _agreement(neighbors: Sequence[set[int]]) -> tuple[float, float]:
    """A word's mean Jaccard index over the pairs of runs, and how many neighbors all runs have."""
    pairs = [len(a & b) / (len(a | b) or 1) for a, b in combinations(neighbors, 2)]
    return statistics.fmean(pairs), float(len(set.intersection(*neighbors)))


def _chosen(counts: Ids) -> list[tuple[list[int], Ids]]:
    """The words of each band, the most frequent band first, and those of them that are looked at, in order."""
    bands: dict[int, list[int]] = {}
    for i, count in enumerate(counts.tolist()):
        bands.setdefault(len(str(count)), []).append(i)
    found = []
    for digits, ids in sorted(bands.items(), reverse=True):
        drawn = np.argsort(words32(len(ids), 0, "stability/words", digits), kind="stable")[:MOST_WORDS]
        found.append((ids, np.sort(np.array(ids)[drawn])))
    return found


def _neighbors(vectors: WordVectors, ids: Sequence[int], k: int) -> list[list[int]]:
    """Of each word the k nearest, itself left out."""
    return [found for found, _ in top_k(vectors.unit, vectors.unit[list(ids)], k, [[i] for i in ids])]


def show(group: Path, found: Stability) -> None:
    """Put the table on TensorBoard's text page of the group, in place of what stood there."""
    folder = pages(group)
    board = Board(folder)
    board.text("stability/neighbors by frequency", found.to_markdown())
    board.close()
