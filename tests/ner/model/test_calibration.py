"""The temperature of confidences: found again where it is known, 1 where nothing helps, nothing else changed by it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span, to_spans
from ner.inputs.batches import Batch, SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.model.calibration import FEWEST, fit_temperature, judge, log_loss
from ner.tagging.tagger import TrainedTagger
from tests.ner.small_tagger import saved, some_words, tagger
from training.randomness import unit


def batches(count: int, temperature: float) -> tuple[TrainedTagger, list[Batch]]:
    """Sentences in which an entity that the tagger finds is right with the probability that the temperature gives it."""
    found, warm = tagger(3), TrainedTagger(dataclasses.replace(saved(3), temperature=temperature))
    sentences = [some_words(3 + n % 9, n) for n in range(count)]
    gold = []
    for n, (words, tagged) in enumerate(zip(sentences, warm.predict(sentences), strict=True)):
        tags = ["O"] * len(words)
        draws = unit(len(tagged.spans), 0, "test/gold", n)
        for span, sure, draw in zip(tagged.spans, tagged.confidences, draws, strict=True):
            if draw < sure:
                tags[span.start : span.end] = write_span(span)
        gold.append(Sentence(tuple(words), tuple(tags)))
    return found, list(SentenceBatches(encode_labeled(gold, found.indexer, found.config), 64, shuffle=False).plan(0))


def write_span(span: Span) -> list[str]:
    """The entity in IOBES."""
    if span.end - span.start == 1:
        return [f"S-{span.type}"]
    return [f"B-{span.type}", *[f"I-{span.type}"] * (span.end - span.start - 2), f"E-{span.type}"]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_the_temperature_that_gold_was_drawn_with_is_found_again(temperature: float) -> None:
    found, given = batches(1500, temperature)
    fitted = fit_temperature(found.model, found.indexer.labels, given)
    assert fitted.temperature == pytest.approx(temperature, abs=0.15)
    assert fitted.after <= fitted.before
    assert fit_temperature(found.model, found.indexer.labels, given) == fitted
    judged = [judge(found.model, found.indexer.labels, batch) for batch in given]
    losses = {t / 10: log_loss(found.model, found.indexer.labels, judged, t / 10) for t in range(5, 31)}
    assert fitted.temperature == min(losses, key=lambda t: losses[t])
    assert f"temperature {fitted.temperature}, fitted on {fitted.entities:,} entities" in str(fitted)


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
def test_the_log_loss_is_that_of_the_confidences_that_predict_gives(decoder: str) -> None:
    parts = saved(2, decoder=decoder)
    sentences = [Sentence(tuple(some_words(2 + n % 7, n)), ("S-LOC", *["O"] * (1 + n % 7)), 1) for n in range(90)]
    for temperature in (1.0, 1.8):
        found = TrainedTagger(dataclasses.replace(parts, temperature=temperature))
        plan = SentenceBatches(encode_labeled(sentences, found.indexer, found.config), 16, shuffle=False).plan(0)
        judged = [judge(found.model, found.indexer.labels, batch) for batch in plan]
        each = []
        for sentence, tagged in zip(sentences, found.predict([s.words for s in sentences]), strict=True):
            gold = to_spans(sentence.tags)
            for span, sure in zip(tagged.spans, tagged.confidences, strict=True):
                each.append(-math.log(sure if span in gold else 1.0 - sure))
        assert len(each) > 50
        got = log_loss(found.model, found.indexer.labels, judged, temperature)
        assert got == pytest.approx(sum(each) / len(each), rel=1e-4)


def test_few_entities_fit_nothing() -> None:
    found, given = batches(3, 1.6)
    few = fit_temperature(found.model, found.indexer.labels, given)
    assert 0 < few.entities < FEWEST
    assert few.temperature == 1.0
    assert "not fitted" in str(few)
    assert fit_temperature(found.model, found.indexer.labels, []).temperature == 1.0
