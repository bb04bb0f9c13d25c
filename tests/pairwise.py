"""Tables in which every value of every option meets every value of every other one (pairwise testing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import Any

Row = dict[str, Any]
TRIES = 16


def pairwise(values: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Few rows, each with a value for every name, that hold each pair of values of two names. Always the same ones.

    Greedy: a row begins with a pair that no row has yet, and each other name in turn takes the value that brings the most
    new pairs with those that are chosen; of some rows made so, the one with the most new pairs is taken. All names have at
    least one value.
    """
    names = list(values)
    place = {name: i for i, name in enumerate(names)}
    numbered = {name: range(len(values[name])) for name in names}
    missing = {
        (a, i, b, j): None for a, b in combinations(names, 2) for i in numbered[a] for j in numbered[b]
    }  # a dict: in order
    rows = []
    while missing:
        tried = []
        for k, (a, i, b, j) in enumerate(islice(missing, TRIES)):
            row, new = {a: i, b: j}, 1
            for name in (*names[k % len(names) :], *names[: k % len(names)]):
                if name not in row:
                    pairs = ([_pair(place, o, v, name, value) for o, v in row.items()] for value in numbered[name])
                    gains = [sum(pair in missing for pair in each) for each in pairs]
                    row[name] = gains.index(max(gains))
                    new += max(gains)
            tried.append((new, -k, row))
        row = max(tried)[2]
        for one, two in combinations(names, 2):
            missing.pop((one, row[one], two, row[two]), None)
        rows.append({name: values[name][row[name]] for name in names})
    return rows or [{name: values[name][0] for name in names}]


def _pair(place: Mapping[str, int], a: str, i: int, b: str, j: int) -> tuple[str, int, str, int]:
    return (a, i, b, j) if place[a] < place[b] else (b, j, a, i)
