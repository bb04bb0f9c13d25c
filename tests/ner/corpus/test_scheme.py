from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.corpus.scheme import (
    SCHEMES,
    Fault,
    Span,
    allowed_transitions,
    check,
    convert,
    detect,
    from_spans,
    is_tag,
    labels_of,
    make_tag,
    parse_tag,
    repair,
    scheme_named,
    to_spans,
)
from tests.reference.spans_slow import all_span_sets, conlleval_spans, write
from training.errors import ConfigError, DataError

TYPES = ("PER", "creative-work")
any_tags = st.lists(st.sampled_from(labels_of(("PER", "creative-work", ""), "IOBES")), max_size=12)


@st.composite
def marked(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Entities of a sentence, and its length."""
    spans, at = [], 0
    for gap, size, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from((*TYPES, ""))))):
        spans.append(Span(kind, at + gap, at + gap + size))
        at += gap + size
    return spans, at + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_short_sentence(scheme: str) -> None:
    """Well formed is what some entities are written as; nothing else. All tag sequences of up to four words."""
    labels = labels_of(TYPES, scheme)
    moves = allowed_transitions(labels, scheme)
    for length in range(5):
        written = {write(spans, length, scheme): spans for spans in all_span_sets(length, TYPES)}
        for spans in written.values():
            assert tuple(from_spans([Span(*span) for span in spans], length, scheme)) == write(spans, length, scheme)
        for ids in itertools.product(range(len(labels)), repeat=length):
            tags = tuple(labels[i] for i in ids)
            well_formed = tags in written
            assert (not check(tags, scheme)) == well_formed
            if ids:
                ways = moves.start[ids[0]] & moves.end[ids[-1]] & all(moves.pairs[a, b] for a, b in itertools.pairwise(ids))
                assert bool(ways) == well_formed
            if well_formed:
                assert to_spans(tags) == list(written[tags])
                assert repair(tags, scheme) == (list(tags), 0)


@given(any_tags)
@settings(deadline=None, max_examples=500)
def test_reading_is_conllevals(tags: list[str]) -> None:
    assert to_spans(tags) == conlleval_spans(tags)


@given(any_tags, st.sampled_from(list(SCHEMES)))
@settings(deadline=None, max_examples=500)
def test_repair_keeps_what_conlleval_reads(tags: list[str], scheme: str) -> None:
    repaired, changes = repair(tags, scheme)
    assert to_spans(repaired) == to_spans(tags)
    assert check(repaired, scheme) == []
    assert changes == sum(a != b for a, b in zip(tags, repaired, strict=True))
    assert repair(repaired, scheme) == (repaired, 0)


@given(marked(), st.sampled_from(list(SCHEMES)), st.sampled_from(list(SCHEMES)))
@settings(deadline=None, max_examples=300)
def test_conversions_round_trip(spans_and_length: tuple[list[Span], int], source: str, target: str) -> None:
    spans, length = spans_and_length
    tags = from_spans(spans, length, source)
    assert to_spans(tags) == spans
    assert convert(convert(tags, source, target), target, source) == tags


@given(marked(), st.sampled_from(list(SCHEMES)))
@settings(deadline=None, max_examples=300)
def test_detect_finds_the_scheme(spans_and_length: tuple[list[Span], int], scheme: str) -> None:
    spans, length = spans_and_length
    found = detect([from_spans(spans, length, scheme), ["O"]])
    assert found.faults == ()
    assert found.has_entities == bool(spans)
    if not spans:
        assert found.scheme == "IOB2"
    elif scheme == "BMES" and all(span.end - span.start < 3 for span in spans):
        assert found.scheme == "IOBES"  # without an inside word they are the same
    else:
        assert found.scheme == scheme


def test_published_forms() -> None:
    assert detect([["I-ORG", "O", "I-MISC"], ["I-PER", "B-PER", "O"]]).scheme == "IOB1"
    assert detect([["B-DNA", "I-DNA", "O"]]).scheme == "IOB2"
    assert detect([["S-LOC", "O"], ["B-PER", "E-PER"]]).scheme == "IOBES"
    assert detect([["U-LOC"]]).scheme == "BILOU"
    assert detect([["B-NAME", "M-NAME", "E-NAME", "O"]]).scheme == "BMES"
    assert detect([["B", "I", "O"], ["B"]]).scheme == "IOB2"
    assert convert(["B", "I", "O", "B"], "IOB2", "IOBES") == ["B", "E", "O", "S"]
    assert detect([]) == detect([[]])
    assert not detect([["O", "O"]]).has_entities


def test_detect_says_what_is_wrong() -> None:
    found = detect([["B-PER", "I-PER"], ["O", "I-LOC", "B-PER"], ["B-LOC", "E-LOC"]])
    assert found.scheme == "IOB2"
    assert found.faults == (
        (1, Fault(1, "I-LOC", "I-LOC cannot follow O")),
        (2, Fault(1, "E-LOC", "IOB2 has no prefix E")),
    )


def test_faults_name_the_word() -> None:
    assert check(["I-PER", "B-PER", "O"], "IOBES") == [
        Fault(0, "I-PER", "I-PER cannot begin a sentence"),
        Fault(1, "B-PER", "B-PER cannot follow I-PER"),
        Fault(2, "O", "O cannot follow B-PER"),
    ]
    assert check(["O", "B-PER"], "IOBES") == [Fault(1, "B-PER", "B-PER cannot end a sentence")]
    assert check(["B-LOC", "I-PER"], "IOB2") == [Fault(1, "I-PER", "I-PER cannot follow B-LOC")]
    assert check(["O", "B-MISC", "I-MISC"], "IOB1") == [Fault(1, "B-MISC", "B-MISC cannot follow O", harmless=True)]


def test_convert_refuses_faults_but_not_harmless_ones() -> None:
    assert convert(["O", "B-MISC", "I-MISC"], "IOB1", "IOBES") == ["O", "B-MISC", "E-MISC"]
    with pytest.raises(DataError, match="word 2: expected IOB2 tags, but I-PER cannot follow O"):
        convert(["O", "I-PER"], "IOB2", "IOBES")


@pytest.mark.parametrize("tag", ["O", "B", "I-PER", "S-creative-work", "U-x", "M-имя", "L-work of art", "B-1"])
def test_tags(tag: str) -> None:
    assert make_tag(*parse_tag(tag)) == tag
    assert is_tag(tag)


@pytest.mark.parametrize(
    "tag", ["", "o", "b-PER", "B-", "B--PER", "B-PER-", "BPER", "PER", "O-PER", "-PER", "X-PER", "NN", "B_PER"]
)
def test_no_tags(tag: str) -> None:
    assert not is_tag(tag)
    with pytest.raises(ValueError, match="expected O or a tag like B-PER"):
        parse_tag(tag)


def test_from_spans_refuses_overlaps() -> None:
    for spans in ([Span("A", 0, 2), Span("B", 1, 3)], [Span("A", 1, 1)], [Span("A", 2, 4)], [Span("A", -1, 1)]):
        with pytest.raises(ValueError, match="expected spans that do not overlap within 3 words"):
            from_spans(spans, 3, "IOB2")


def test_names() -> None:
    for name, scheme in {"bio": "IOB2", "BIOES": "IOBES", "iob1": "IOB1", "BILUO": "BILOU", "bmes": "BMES"}.items():
        assert scheme_named(name) == scheme
    with pytest.raises(ConfigError, match="expected one of IOB2, IOB1"):
        scheme_named("IOE1")


def test_transitions_of_labels_that_training_lacks() -> None:
    moves = allowed_transitions(["S-PER", "O"], "IOBES")
    assert moves.start.all()
    assert moves.pairs.shape == (2, 2)
    assert moves.pairs.dtype == np.bool_
    assert allowed_transitions([], "IOB2").pairs.shape == (0, 0)
    with pytest.raises(DataError, match="expected labels of scheme IOB2, got 'S-PER'"):
        allowed_transitions(["S-PER"], "IOB2")
