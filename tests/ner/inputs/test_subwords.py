"""A word's n-grams and their buckets, against the definition, n-gram by n-gram."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ner.inputs.subwords import LONGEST, SHORTEST, subwords

WORDS = st.lists(st.text(max_size=12), max_size=9)


def fnv_1a(values: list[int]) -> int:
    """64 bits, over values that need not be bytes."""
    found = 14695981039346656037
    for value in values:
        found = (found ^ value) * 1099511628211 % 2**64
    return found


def bucket(ngram: str, buckets: int) -> int:
    found = fnv_1a([ord(character) for character in ngram])
    return (found ^ found >> 32) % 2**32 % buckets


def ngrams(word: str) -> list[str]:
    marked = f"<{word.lower()}>"
    sizes = range(SHORTEST, LONGEST + 1)
    return [marked[i : i + size] for size in sizes for i in range(len(marked) - size + 1)]


def test_the_hash_is_fnv_1a() -> None:
    assert fnv_1a(list(b"foobar")) == 0x85944171F73967E8  # from the authors' list of test vectors


@given(WORDS, st.integers(1, 2**24))
def test_each_word_has_the_buckets_of_its_ngrams(words: list[str], buckets: int) -> None:
    ids, lengths = subwords(words, buckets)
    assert ids.dtype == lengths.dtype == np.int64
    ends = [0, *np.cumsum(lengths).tolist()]
    assert [ids[a:b].tolist() for a, b in pairwise(ends)] == [[bucket(n, buckets) for n in ngrams(word)] for word in words]
    assert ends[-1] == len(ids)


def test_a_word_has_at_least_one_and_an_empty_one_has_none() -> None:
    assert [each.tolist() for each in subwords([], 9)] == [[], []]
    assert subwords(["", "a", "ab", "\udc80", "a" * 3000], 9)[1].tolist() == [0, 1, 3, 1, 3000 + 2999 + 2998]


def test_case_does_not_matter() -> None:
    one, other = (subwords([word], 1 << 20)[0] for word in ("OSLO", "Oslo"))
    assert np.array_equal(one, other)


def test_every_process_finds_the_same_buckets() -> None:
    words = ["Ada", "Ünsal", "東京都"]
    code = f"from ner.inputs.subwords import subwords; print(subwords({words!r}, 5000)[0].tolist())"
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(subwords(words, 5000)[0].tolist())
