"""What kind each error is: by hand, by its definition, and added up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.corpus.scheme import Span, from_spans, labels_of, to_spans
from ner.scoring.errors import KINDS, MEANING, judge, strict_spans
from ner.scoring.metrics import SpanCounter

A, B = "PER", "ORG"


@pytest.mark.parametrize(
    ("gold", "predicted", "kinds"),
    [
        ([], [], []),
        ([Span(A, 0, 2)], [Span(A, 0, 2)], []),
        ([Span(A, 0, 2)], [Span(B, 0, 2)], ["type"]),
        ([Span(A, 0, 2)], [Span(A, 0, 1)], ["boundary"]),
        ([Span(A, 0, 2)], [Span(A, 1, 4)], ["boundary"]),
        ([Span(A, 0, 2)], [Span(B, 1, 2)], ["both"]),
        ([Span(A, 0, 2)], [], ["missed"]),
        ([], [Span(A, 0, 2)], ["spurious"]),
        ([Span(A, 0, 2)], [Span(A, 2, 4)], ["missed", "spurious"]),  # side by side is no overlap
        ([Span(A, 0, 2), Span(B, 2, 4)], [Span(A, 0, 4)], ["boundary", "missed"]),
        ([Span(A, 0, 2), Span(B, 2, 4)], [Span(B, 0, 2), Span(B, 3, 4)], ["type", "boundary"]),
    ],
)
def test_by_hand(gold: list[Span], predicted: list[Span], kinds: list[str]) -> None:
    assert [mistake.kind for mistake in judge(gold, predicted).mistakes] == kinds


@pytest.mark.parametrize(
    ("predicted", "paired"),
    [
        ([Span(A, 0, 1), Span(A, 2, 4)], Span(A, 2, 4)),  # the one that shares more words
        ([Span(A, 0, 2), Span(A, 2, 4)], Span(A, 0, 2)),  # of equals the left one
        ([Span(B, 0, 3), Span(A, 3, 4)], Span(A, 3, 4)),  # one type goes before more words
    ],
)
def test_which_of_two_is_the_pair(predicted: list[Span], paired: Span) -> None:
    found = {mistake.kind: mistake.predicted for mistake in judge([Span(A, 0, 4)], predicted).mistakes}
    assert set(found) == {"boundary", "spurious"}
    assert found["boundary"] == paired


@st.composite
def sides(draw: st.DrawFn) -> tuple[list[Span], list[Span], int]:
    """Gold and predicted entities of one sentence, and its length."""
    length = draw(st.integers(1, 8))

    def side() -> list[Span]:
        found, at = [], 0
        while at < length:
            size = draw(st.integers(1, 3))
            if draw(st.booleans()) and at + size <= length:
                found.append(Span(draw(st.sampled_from("XYZ")), at, at + size))
                at += size
            else:
                at += 1
        return found

    return side(), side(), length


@given(sides())
def test_every_wrong_entity_is_in_one_error_of_the_kind_that_its_definition_says(
    case: tuple[list[Span], list[Span], int],
) -> None:
    gold, predicted, _ = case
    judged = judge(gold, predicted)
    assert judged.gold == gold
    assert judged.predicted == predicted
    assert set(judged.right) == set(gold) & set(predicted)
    n = {kind: sum(m.kind == kind for m in judged.mistakes) for kind in KINDS}
    assert sum(n.values()) == len(judged.mistakes)
    assert n["boundary"] + n["type"] + n["both"] + n["missed"] == len(gold) - len(judged.right)
    assert n["boundary"] + n["type"] + n["both"] + n["spurious"] == len(predicted) - len(judged.right)
    for m in judged.mistakes:
        if m.gold is None or m.predicted is None:
            assert m.kind == ("missed" if m.predicted is None else "spurious")
            continue
        shared = set(range(m.gold.start, m.gold.end)) & set(range(m.predicted.start, m.predicted.end))
        assert shared
        same_words, same_type = m.gold[1:] == m.predicted[1:], m.gold.type == m.predicted.type
        assert m.kind == {(True, False): "type", (False, True): "boundary", (False, False): "both"}[same_words, same_type]
    left_over = [[m.gold or m.predicted for m in judged.mistakes if m.kind == kind] for kind in ("missed", "spurious")]
    for g in left_over[0]:
        for p in left_over[1]:
            assert g is not None
            assert p is not None
            assert g.end <= p.start or p.end <= g.start, "two that overlap are a pair"


@given(sides(), st.sampled_from(["IOBES", "IOB2"]))
def test_strict_spans_are_the_entities_of_well_formed_tags(case: tuple[list[Span], list[Span], int], scheme: str) -> None:
    gold, predicted, length = case
    rows = [from_spans(each, length, scheme) for each in (gold, predicted)]
    assert strict_spans([rows[0], [], rows[1]], scheme) == [gold, [], predicted]


@given(st.lists(st.lists(st.sampled_from(labels_of("XY", "IOBES")), max_size=6), max_size=4))
def test_strict_spans_are_counted_as_the_counter_counts(rows: list[list[str]]) -> None:
    """Ill-formed tags, too: as many entities of each type as in F1."""
    import numpy as np

    labels = labels_of("XY", "IOBES")
    ids = np.array([labels.index(tag) for row in rows for tag in row], dtype=np.int64)
    counts = SpanCounter(labels).count(ids, ids, np.array([len(row) for row in rows], dtype=np.int64)).by_type
    spans = [span for row in strict_spans(rows, "IOBES") for span in row]
    assert {kind: sum(s.type == kind for s in spans) for kind in "XY"} == {k: counts[k][2] for k in "XY"}
    assert all(span in to_spans(row) for row, found in zip(rows, strict_spans(rows, "IOBES"), strict=True) for span in found)


def test_every_kind_has_a_meaning() -> None:
    assert set(MEANING) == set(KINDS)
