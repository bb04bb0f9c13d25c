"""All likely spans, and sets of readings: against enumeration of all label sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from ner.corpus.scheme import Span, overlap
from ner.model.candidates import likely_spans
from ner.model.conformal import Bounds
from ner.model.sets import Reading, ReadingSet
from ner.tagging import tagger as tagging
from ner.tagging.tagger import TrainedTagger
from tests.ner.small_tagger import saved, some_words
from tests.reference import spans_brute

NEAR = 1e-6
Case = tuple[TrainedTagger, float, list[list[str]]]


def cases(decoder: str, scheme: str) -> Iterator[Case]:
    """Taggers with their temperature, and short sentences of several lengths, an empty one among them."""
    for seed in range(6):
        temperature = (1.0, 1.7, 0.6)[seed % 3]
        parts = dataclasses.replace(saved(seed, decoder=decoder, scheme=scheme), temperature=temperature)
        yield TrainedTagger(parts), temperature, [some_words(length, seed + length) for length in (4, 1, 0, 3, 2)]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("scheme", ["IOBES", "IOB2"])
def test_likely_spans_are_those_of_enumeration(decoder: str, scheme: str) -> None:
    lengths = set()
    for found, temperature, sentences in cases(decoder, scheme):
        slow = [spans_brute.every_span(found, words, temperature) for words in sentences]
        for batch, each in found.found(sentences):
            for least in (0.3, 0.02, 1e-9):
                rows = likely_spans(found.confidence, each, found.indexer.types, scheme, least)
                for number, row in zip(batch.sentences.tolist(), rows, strict=True):
                    got, every = dict(row), slow[number]
                    assert len(got) == len(row)
                    assert {span for span, sure in every.items() if sure > least + NEAR} <= got.keys()
                    assert all(every[span] > least - NEAR for span in got)
                    assert got == pytest.approx({span: every[span] for span in got}, abs=NEAR)
                    assert [*got] == sorted(got, key=lambda s: (s.start, s.end, found.indexer.types.index(s.type)))
                    lengths |= {span.end - span.start for span in got}
    assert lengths == {1, 2, 3, 4}


def slow_sets(found: TrainedTagger, words: list[str], temperature: float, bounds: Bounds) -> list[ReadingSet]:
    """The sets of a sentence by enumeration."""
    likely = {s: sure for s, sure in spans_brute.every_span(found, words, temperature).items() if sure >= bounds.entity}
    (tagged,) = found.predict([words])
    sets = []
    for span, sure in zip(tagged.spans, tagged.confidences, strict=True):
        others = [Reading(s, p) for s, p in likely.items() if overlap(s, span) and s != span]
        none = spans_brute.outside(found, words, temperature, span.start, span.end)
        others += [Reading(None, none)] if none >= bounds.nothing else []
        sets.append(ReadingSet(span.start, span.end, (Reading(span, sure), *others)))
    rest = [Reading(s, p) for s, p in likely.items() if not any(overlap(s, span) for span in tagged.spans)]
    covered = [any(r.span and r.span.start <= n < r.span.end for r in rest) for n in range(len(words))]
    joined = [any(r.span and r.span.start < n < r.span.end for r in rest) for n in range(len(words))]
    start = 0
    while start < len(words):
        end = start + 1
        if covered[start]:
            while end < len(words) and joined[end]:
                end += 1
            there = [r for r in rest if r.span and start <= r.span.start < end]
            none = spans_brute.outside(found, words, temperature, start, end)
            sets.append(ReadingSet(start, end, (Reading(None, none), *there)))
        start = end
    return sorted(sets, key=lambda each: each.start)


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("scheme", ["IOBES", "IOB2"])
def test_sets_are_those_of_enumeration(decoder: str, scheme: str) -> None:
    kinds = set()
    for found, temperature, sentences in cases(decoder, scheme):
        bounds = Bounds(90, 0.0513, 0.0317)
        for words, (tagged, sets) in zip(sentences, found.sets(sentences, bounds), strict=True):
            assert tagged == found.predict([words])[0]
            slow = slow_sets(found, words, temperature, bounds)
            assert [(s.start, s.end, s.own) for s in sets] == [(s.start, s.end, s.own) for s in slow]
            for one, other in zip(sets, slow, strict=True):
                assert dict(one.readings) == pytest.approx(dict(other.readings), abs=NEAR)
                behind = [each.probability for each in one.readings[1:]]
                assert behind == sorted(behind, reverse=True)
                assert one.holds(one.own)
                kinds.add((one.own is None, len(one.readings) > 1))
    assert {(True, True), (False, True), (False, False)} <= kinds


def test_a_sentence_that_is_cut_has_the_sets_of_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    found, bounds = TrainedTagger(saved(2, decoder="crf")), Bounds(90, 0.05, 0.02)
    words = some_words(11, 5)
    pieces = [words[:4], words[4:8], words[8:]]
    expected, at = [], 0
    for piece, (_, sets) in zip(pieces, found.sets(pieces, bounds), strict=True):
        expected += [each.moved(at) for each in sets]
        at += len(piece)
    monkeypatch.setattr(tagging, "LONGEST_SENTENCE", 4)
    ((tagged, got),) = found.sets([words], bounds)
    assert tagged == found.predict([words])[0]
    assert len(got) > 3
    assert [(s.start, s.end, [r.span for r in s.readings]) for s in got] == [
        (s.start, s.end, [r.span for r in s.readings]) for s in expected
    ]
    assert ReadingSet(1, 2, (Reading(Span("X", 1, 2), 0.5), Reading(None, 0.1))).moved(3) == ReadingSet(
        4, 5, (Reading(Span("X", 4, 5), 0.5), Reading(None, 0.1))
    )
