from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import scheme as seqeval_scheme
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.metrics.v1 import precision_recall_fscore_support

from ner.corpus.scheme import Span, from_spans, labels_of, to_spans
from ner.scoring.metrics import EntityCounts, SpanCounter, SpanCounts, report, scores
from training.errors import DataError

CLASSES = {"IOB1": seqeval_scheme.IOB1, "IOB2": seqeval_scheme.IOB2, "IOBES": seqeval_scheme.IOBES}
Tags = list[list[str]]


def count(gold: Tags, predicted: Tags, labels: Sequence[str], scheme: str) -> SpanCounts:
    """SpanCounter on tags."""

    def flat(rows: Tags) -> np.ndarray:
        return np.array([labels.index(tag) for row in rows for tag in row], dtype=np.int64)

    return SpanCounter(labels, scheme).count(flat(gold), flat(predicted), np.array(list(map(len, gold)), dtype=np.int64))


def assert_equals_seqeval(gold: Tags, predicted: Tags, labels: Sequence[str], scheme: str) -> None:
    counts = count(gold, predicted, labels, scheme)
    strict = {"scheme": CLASSES[scheme], "zero_division": 0}
    types = counts.per_type()
    table = precision_recall_fscore_support(gold, predicted, average=None, **strict)
    found = seqeval_scheme.Entities(gold, CLASSES[scheme]).unique_tags
    assert list(types) == sorted(found | seqeval_scheme.Entities(predicted, CLASSES[scheme]).unique_tags)
    assert [tuple(row) for row in types.values()] == [tuple(row) for row in zip(*(c.tolist() for c in table), strict=True)]
    if types:
        micro = precision_recall_fscore_support(gold, predicted, average="micro", **strict)
        assert tuple(counts.micro()) == micro
        assert counts.f1() == seqeval.metrics.f1_score(gold, predicted, mode="strict", **strict)
    else:
        assert tuple(counts.micro()) == (0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize("scheme", list(CLASSES))
def test_spans_of_every_short_sentence(scheme: str) -> None:
    """All tag sequences of up to four words over two types, and of six over one, as one text: seqeval's entities."""
    two, one = labels_of(("A", "B"), scheme), labels_of(("A",), scheme)
    gold = [list(row) for size in range(5) for row in itertools.product(two, repeat=size)]
    gold += [list(row) for row in itertools.product(one, repeat=6)]
    counter = SpanCounter(two, scheme)
    lengths = np.array([len(row) for row in gold])
    spans = counter.spans(np.array([two.index(tag) for row in gold for tag in row]), lengths)
    first = np.cumsum(lengths + 1) - lengths - 1
    number = np.searchsorted(first, spans.start, side="right") - 1
    found = zip(number, spans.start - first[number], spans.end - first[number], spans.type, strict=True)
    expected = [entity.to_tuple() for row in seqeval_scheme.Entities(gold, CLASSES[scheme]).entities for entity in row]
    assert sorted((int(n), counter.types[kind], int(a), int(b)) for n, a, b, kind in found) == sorted(expected)


@pytest.mark.parametrize("scheme", list(CLASSES))
def test_counts_of_random_texts_equal_seqevals(scheme: str) -> None:
    """A thousand texts of ill-formed tags; sentences of no word, of one, of many; some close to gold."""
    draw = np.random.Generator(np.random.PCG64(7))
    labels = labels_of(("LOC", "creative-work", ""), scheme)
    for _ in range(1000):
        sizes = draw.integers(0, 9, draw.integers(1, 6))
        gold = [[labels[i] for i in draw.integers(0, draw.integers(1, len(labels) + 1), size)] for size in sizes]
        noise = draw.random() ** 2
        other = [[labels[i] for i in draw.integers(0, len(labels), size)] for size in sizes]
        pairs = [zip(a, b, draw.random(len(a)) < noise, strict=True) for a, b in zip(gold, other, strict=True)]
        predicted = [[wrong if change else right for right, wrong, change in row] for row in pairs]
        assert_equals_seqeval(gold, predicted, labels, scheme)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_counts_equal_seqevals(data: st.DataObject) -> None:
    scheme = data.draw(st.sampled_from(list(CLASSES)))
    labels = labels_of(("PER", "x"), scheme)
    tag = st.sampled_from(labels)
    rows = data.draw(st.lists(st.lists(st.tuples(tag, tag), max_size=8), min_size=1, max_size=4))
    assert_equals_seqeval([[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows], labels, scheme)


@given(st.lists(st.lists(st.sampled_from(labels_of(("PER", "creative-work", ""), "IOBES")), max_size=9), max_size=4))
@settings(deadline=None, max_examples=300)
def test_reading_of_tags_is_seqevals_default(rows: Tags) -> None:
    for row in rows:
        assert [(s.type or "_", s.start, s.end - 1) for s in to_spans(row)] == get_entities(row)


@pytest.mark.parametrize("scheme", ["IOBES", "BILOU", "BMES"])
def test_spellings_count_the_same(scheme: str) -> None:
    rows = [[("PER", 0, 1), ("LOC", 1, 3)], [("LOC", 0, 3)]], [[("PER", 0, 1), ("LOC", 1, 2)], [("LOC", 0, 3)]]
    gold, predicted = ([from_spans([Span(*each) for each in spans], 3, scheme) for spans in side] for side in rows)
    counts = count(gold, predicted, labels_of(("PER", "LOC"), scheme), scheme)
    assert counts.by_type == {"LOC": (1, 2, 2), "PER": (1, 1, 1)}
    assert report(gold, predicted, scheme).strict["micro avg"]["f1-score"] == counts.f1()
    assert report(gold, predicted, scheme).conlleval["micro avg"]["f1-score"] == counts.f1()


def test_counts_add_up_and_round_trip() -> None:
    labels = labels_of(("LOC", "PER"), "IOBES")
    gold, predicted = [["S-LOC", "O"], ["B-PER", "E-PER"]], [["S-LOC", "S-PER"], ["B-PER", "I-PER"]]
    whole = count(gold, predicted, labels, "IOBES")
    parts = [count([a], [b], labels, "IOBES") for a, b in zip(gold, predicted, strict=True)]
    assert whole == parts[0] + parts[1] == SpanCounts() + parts[1] + parts[0]
    assert whole.by_type == {"LOC": (1, 1, 1), "PER": (0, 1, 1)}
    assert SpanCounts.from_dict(whole.to_dict()) == whole
    assert (whole.precision(), whole.recall(), whole.f1()) == (0.5, 0.5, 0.5)
    assert SpanCounts().f1() == 0.0
    assert scores(2, 4, 2) == (0.5, 1.0, 2 / 3, 2)


def test_wrong_sizes_and_labels_are_refused() -> None:
    counter = SpanCounter(["O", "S-X"])
    with pytest.raises(ValueError, match="expected 3 label ids"):
        counter.spans(np.array([0, 1]), np.array([3]))
    for ids in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="expected label ids from 0 to 1"):
            counter.spans(np.array(ids), np.array([2]))
    with pytest.raises(DataError, match="expected IOB2 tags, got 'S-X'"):
        SpanCounter(["O", "S-X"], "IOB2")
    with pytest.raises(DataError, match="expected IOBES tags, got 'U-X'"):
        report([["U-X"]], [["O"]], "IOBES")
    with pytest.raises(DataError, match="sentence 2: expected 1 predicted tags, got 2"):
        report([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(DataError, match="expected predictions for 2 sentences, got 1"):
        report([["O"], ["O"]], [["O"]])


def test_empty_text() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert SpanCounter(["O", "S-X"]).count(empty, empty, empty) == SpanCounts({"X": EntityCounts()})
    assert SpanCounter(["O"]).count(np.array([0, 0]), np.array([0, 0]), np.array([2])) == SpanCounts({})


GOLD = [["B-PER", "E-PER", "O", "S-LOC"], ["O", "S-creative-work"]]
GUESS = [["B-PER", "I-PER", "O", "S-LOC"], ["S-LOC", "O"]]


def test_report_is_seqevals_own() -> None:
    found = report(GOLD, GUESS)
    options = {"digits": 4, "zero_division": 0}
    strict = {"mode": "strict", "scheme": seqeval_scheme.IOBES}
    assert found.to_text() == seqeval.metrics.classification_report(GOLD, GUESS, **options, **strict)
    assert found.conlleval == seqeval.metrics.classification_report(GOLD, GUESS, output_dict=True, **options)
    assert found.strict == seqeval.metrics.classification_report(GOLD, GUESS, output_dict=True, **options, **strict)
    assert found.strict["PER"]["recall"] == 0.0
    assert found.conlleval["PER"]["recall"] == 1.0
    assert all(type(value) in (int, float) for row in found.strict.values() for value in row.values())


@pytest.mark.parametrize("rows", [[], [[]], [["O", "O"], ["O"]]])
def test_report_without_entities(rows: Tags) -> None:
    found = report(rows, rows)
    zeros = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0}
    assert found.strict == found.conlleval == {f"{name} avg": zeros for name in ("micro", "macro", "weighted")}
    assert found.to_text().split("\n")[2] == "   micro avg     0.0000    0.0000    0.0000         0"


def test_report_of_ill_formed_tags_only() -> None:
    """Strict finds no entity, conlleval one: neither fails nor warns."""
    found = report([["I-PER", "O"]], [["I-PER", "O"]])
    assert found.strict["micro avg"]["support"] == 0
    assert found.conlleval["PER"]["f1-score"] == 1.0
    assert report([["O"]], [["S-PER"]]).strict["PER"] == {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0}
    assert report([["S-PER"]], [["O"]]).strict["weighted avg"]["support"] == 1
