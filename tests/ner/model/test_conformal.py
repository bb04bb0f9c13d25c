"""Sets hold what they say: the bound by the theorem's own argument, the coverage on other sentences."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span, to_spans
from ner.model.conformal import PERCENT, RAREST, Bounds, Conformal, bound, fit_sets, percent_of
from ner.model.sets import Reading, ReadingSet
from ner.scoring.sets import judge_sets
from ner.tagging.gold import judge_gold
from ner.tagging.tagger import TrainedTagger
from tests.ner.small_tagger import saved, some_words, tagger
from training.errors import ConfigError, DataError

PROBABILITIES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60)


@given(PROBABILITIES, st.sampled_from(PERCENT))
def test_of_values_that_could_be_exchanged_the_bound_of_the_others_lets_in_enough(values: list[float], percent: int) -> None:
    """Whichever of n+1 values is the new one: of all choices the share that is let in is the coverage at least."""
    let_in = sum(value >= bound([*values[:i], *values[i + 1 :]], percent) for i, value in enumerate(values))
    assert 100 * let_in >= percent * len(values)


@given(PROBABILITIES, st.sampled_from(PERCENT))
def test_the_bound_is_no_lower_than_it_must_be(values: list[float], percent: int) -> None:
    found = bound(values, percent)
    if found:
        above = sum(value > found for value in values)
        assert 100 * above < percent * (len(values) + 1)
    higher = bound(values, max(PERCENT.start, percent - 1))
    assert higher >= found


def sentences(count: int, first: int, decoder: str) -> list[Sentence]:
    """Sentences with the tags of another tagger as gold, of a type more."""
    other = tagger(11, decoder=decoder)
    words = [some_words(2 + n % 9, first + n) for n in range(count)]
    tags = [[tag.replace("PER", "ORG") if n % 20 == 0 else tag for tag in row] for n, row in enumerate(other.tag(words))]
    return [Sentence(tuple(w), tuple(t)) for w, t in zip(words, tags, strict=True)]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("percent", [60, 80])
def test_sets_hold_gold_entities_as_often_as_is_said(decoder: str, percent: int) -> None:
    found = tagger(3, decoder=decoder)
    valid, test = sentences(400, 0, decoder), sentences(400, 5000, decoder)
    found.conformal = fit_sets(found.confidence, judge_gold(found, valid), found.indexer.scheme)
    entities = [span for sentence in valid for span in to_spans(sentence.tags)]
    assert found.conformal.entities == len(entities)
    bounds = found.bounds(percent / 100)
    judged = judge_sets(
        ((to_spans(s.tags), sets) for s, (_, sets) in zip(test, found.sets([s.words for s in test], bounds), strict=True)),
        percent,
    )
    share = judged.row(judged.types)[2]
    assert share > percent / 100 - 0.05
    assert judged.nothing > (percent / 100 - 0.25) * judged.spurious > 0  # of a few dozen
    assert judged.row(["ORG"])[2] == 0.0
    assert judged.row(["ORG"])[0] > 0
    # The bound is that of the very entities: a little above it, and fewer of them are held.
    own = found.sets([s.words for s in valid], dataclasses.replace(bounds, entity=bounds.entity * (1 - 1e-9)))
    held = sum(
        any(one.holds(span) for one in sets) for s, (_, sets) in zip(valid, own, strict=True) for span in to_spans(s.tags)
    )
    assert held >= percent / 100 * len(entities)


def test_counts_of_coverage() -> None:
    ada, oslo, rome = Span("PER", 0, 1), Span("LOC", 2, 3), Span("LOC", 4, 5)
    rows = [
        ([ada, oslo], [ReadingSet(0, 1, (Reading(ada, 0.9),)), ReadingSet(2, 3, (Reading(None, 0.6), Reading(oslo, 0.3)))]),
        ([rome], [ReadingSet(4, 5, (Reading(Span("ORG", 4, 5), 0.5), Reading(rome, 0.4), Reading(None, 0.1)))]),
        ([], [ReadingSet(0, 1, (Reading(ada, 0.5), Reading(None, 0.4))), ReadingSet(2, 3, (Reading(oslo, 0.5),))]),
        ([Span("LOC", 0, 2)], []),
    ]
    found = judge_sets(rows, 90)
    assert found.types == ["LOC", "ORG", "PER"]
    assert found.row(found.types) == (4, 0.25, 0.75, 4, 7 / 4)
    assert found.row(["LOC"]) == (3, 0.0, 2 / 3, 1, 1.0)
    assert found.row(["PER"]) == (1, 1.0, 1.0, 2, 1.5)
    assert (found.places, found.in_places, found.spurious, found.nothing) == (1, 2, 2, 1)
    assert found.cells()[-1] == ("all", "4", "0.2500", "0.7500", "4", "1.75")
    assert "90 % is stated" in found.note()
    assert "2 entities were found where none is: 50.0 % of their sets say so" in found.note()
    assert json.loads(json.dumps(found.to_dict()))["all"]["held"] == 0.75
    empty = judge_sets([], 90)
    assert empty.row(empty.types) == (0, 0.0, 0.0, 0, 0.0)
    assert empty.note()


def made(entity: float, nothing: float = 0.5) -> Conformal:
    """Bounds that fall from ``entity``, ten percent a step."""
    return Conformal(10, 3, tuple(entity * 0.9**n for n in range(len(PERCENT))), (nothing,) * len(PERCENT))


def test_only_what_can_be_shown_is_promised() -> None:
    assert made(0.5).bounds(0.9) == Bounds(90, 0.5 * 0.9**40, 0.5)
    with pytest.raises(ConfigError, match=r"sets: expected a coverage up to 0\.7, got 0\.9: 10 gold entities calibrate"):
        made(RAREST * 0.9**-20.5).bounds(0.9)
    with pytest.raises(ConfigError, match="of which none is reached"):
        made(0.0).bounds(0.5)
    for wrong in (0.0, 0.49, 0.995, 1.0, -0.9, 90.0, float("nan")):
        with pytest.raises(ConfigError, match=r"expected a coverage from 0\.5 to 0\.99"):
            percent_of(wrong, "sets")
    assert [percent_of(each / 100, "sets") for each in PERCENT] == [*PERCENT]
    assert bound([], 50) == 0.0
    with pytest.raises(DataError, match=r"made: expected a tagger whose sets are calibrated.*--sets-from FILE"):
        TrainedTagger(saved(1)).bounds(0.9)


def test_they_are_kept_as_they_are() -> None:
    found = made(0.123456789)
    assert Conformal.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    good = found.to_dict()
    wrong: list[object] = [
        None, [], {}, {**good, "more": 1}, {**good, "entities": -1}, {**good, "entities": True}, {**good, "entity": [0.5]},
        {**good, "nothing": "x" * 50}, {**good, "entity": [2.0] * 50}, {**good, "entity": [None] * 50},
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(ValueError, match="expected"):
            Conformal.from_dict(each)
    assert "sets: bounds from 10 gold entities" in str(found)
