"""A word's subwords: its character n-grams, hashed into buckets (Bojanowski et al. 2017, section 3.2).

A word stands between < and >, so that its beginning and its end are told from its middle: of "Oslo" the n-grams of three
characters are <os, osl, slo and lo>. They are in lower case: characters and features tell the case.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
SHORTEST, LONGEST = 3, 5  # characters of an n-gram, < and > among them
OFFSET, PRIME = 0xCBF29CE484222325, 0x100000001B3  # of FNV-1a with 64 bits


def subwords(words: Sequence[str], buckets: int) -> tuple[Ids, Ids]:
    """The buckets of each word's n-grams, which are functions of the n-gram and the number of buckets alone.

    Args:
        words: W words, as they stand.
        buckets: how many there are.

    Returns:
        The buckets (C,) of all n-grams, word after word and the shorter ones first; and how many each word has (W,): at
        least one, unless it is empty.

    Example:
        >>> from ner.inputs.subwords import subwords
        >>> ids, lengths = subwords(["Oslo", "a"], 1000)
        >>> lengths.tolist(), len(ids)
        ([9, 1], 10)
    """
    marked = [f"<{word.lower()}>" for word in words]
    sizes = np.array([len(word) for word in marked], np.int64)  # shape: (W,)
    points = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)  # shape: (P,)
    word = np.repeat(np.arange(len(words)), sizes)  # shape: (P,): which word a character is of
    rest = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(points))  # shape: (P,): of the word, from the character on
    starts = [np.flatnonzero(rest >= size) for size in range(SHORTEST, LONGEST + 1)]
    found = np.concatenate([_hashes(points, start, size) for size, start in enumerate(starts, SHORTEST)])
    of = word[np.concatenate(starts)]
    ids = (found % np.uint64(buckets)).astype(np.int64)
    return ids[np.argsort(of, kind="stable")], np.bincount(of, minlength=len(words)).astype(np.int64, copy=False)


def _hashes(points: npt.NDArray[np.uint64], starts: Ids, size: int) -> npt.NDArray[np.uint64]:
    """The hash of each n-gram of ``size`` code points: FNV-1a over these, the upper half folded onto the lower one."""
    hashes = np.full(len(starts), OFFSET, np.uint64)
    for i in range(size):
        hashes = (hashes ^ points[starts + i]) * np.uint64(PRIME)
    folded: npt.NDArray[np.uint64] = (hashes ^ (hashes >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return folded
