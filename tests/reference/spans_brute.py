"""The probability of every span by enumeration of all label sequences: slow, and obviously right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ner.corpus.conll import Sentence
from ner.corpus.scheme import Span, allowed_transitions, from_spans, to_spans
from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode
from ner.tagging.tagger import TrainedTagger
from tests.reference import crf_brute


def chain_of(found: TrainedTagger, words: Sequence[str], temperature: float) -> crf_brute.Chain:
    """The scores of a sentence, divided by the temperature."""
    encoded = encode([Sentence(tuple(words))], found.indexer, found.config)
    (batch,) = SentenceBatches(encoded, 1, shuffle=False).plan(0)
    with torch.no_grad():
        scores = (found.model(batch)[: len(words)].double() / temperature).tolist()
    names, crf = found.indexer.labels, found.model.crf
    free = np.zeros((len(names), len(names)))
    start, pairs, end = free[0], free, free[0]
    if crf is not None:
        allowed = allowed_transitions(names, found.indexer.scheme)
        parameters = crf.start_transitions, crf.transitions, crf.end_transitions
        given = [p.detach().double().numpy() / temperature for p in parameters]
        start, pairs, end = (np.where(mask, p, -math.inf) for mask, p in zip(allowed, given, strict=True))
    return crf_brute.Chain(scores, start.tolist(), pairs.tolist(), end.tolist())


def probability(chain: crf_brute.Chain, names: Sequence[str], span: Span, tags: Sequence[str]) -> float:
    """The probability that a span has the labels that it has in ``tags``, and that no label goes on with it."""
    anything = set(range(len(names)))
    sets = [anything] * len(tags)
    for n in range(span.start, span.end):
        sets[n] = {names.index(tags[n])}
    if span.end < len(tags):  # what follows may be anything that does not make the entity longer
        goes_on = {i for i, name in enumerate(names) if span not in to_spans([*tags[: span.end], name])}
        sets[span.end] = anything - goes_on
    return crf_brute.probability(chain, sets)


def every_span(found: TrainedTagger, words: Sequence[str], temperature: float) -> dict[Span, float]:
    """The probability of each span of a sentence."""
    chain, names = chain_of(found, words, temperature), found.indexer.labels
    places = [(start, end) for start in range(len(words)) for end in range(start + 1, len(words) + 1)]
    spans = [Span(kind, *place) for place in places for kind in found.indexer.types]
    return {span: probability(chain, names, span, from_spans([span], len(words), found.indexer.scheme)) for span in spans}


def outside(found: TrainedTagger, words: Sequence[str], temperature: float, start: int, end: int) -> float:
    """The probability that these words are all outside of entities."""
    chain, names = chain_of(found, words, temperature), found.indexer.labels
    sets = [{names.index("O")} if start <= n < end else set(range(len(names))) for n in range(len(words))]
    return crf_brute.probability(chain, sets)
