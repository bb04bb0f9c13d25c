"""All spans that a tagger holds at least so likely to be entities.

The probability of a span is that of its labels and of nothing going on behind it (ner/model/confidence.py). Written as a
product of conditional probabilities along the chain it never grows with the span's length. So a search from every token
that gives up what is below the bound finds each span above it, and none that it gives up could have been one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ner.corpus.scheme import Span, letters, make_tag
from ner.model.confidence import Chain, Confidence, Found


class SpanLabels(NamedTuple):
    """The ids (T,) of the labels that entities of T types are written with, by the word's place in the entity."""

    single: Tensor
    first: Tensor
    inside: Tensor
    last: Tensor

    @classmethod
    def of(cls, names: Sequence[str], types: Sequence[str], scheme: str) -> SpanLabels:
        """Of labels with these ``names``, which are in ``scheme``."""
        own, ids = letters(scheme), {name: i for i, name in enumerate(names)}
        roles = (own.get("S", own["B"]), own["B"], own["I"], own.get("E", own["I"]))
        return cls(*(torch.tensor([ids[make_tag(letter, kind)] for kind in types], dtype=torch.int64) for letter in roles))


class Likely(NamedTuple):
    """An entity that may be there."""

    span: Span
    probability: float


class _Spans(NamedTuple):
    """Spans of a batch (K,), or their beginnings: the type, the first token, the token behind the last, its label."""

    kinds: Tensor
    starts: Tensor
    ends: Tensor
    labels: Tensor
    log_p: Tensor

    def where(self, kept: Tensor) -> _Spans:
        return _Spans(*(each[kept] for each in self))


@torch.no_grad()
def likely_spans(
    confidence: Confidence, found: Found, types: Sequence[str], scheme: str, least: float
) -> list[list[Likely]]:
    """Each sentence's spans of at least the probability ``least``, in order of their place and type.

    Args:
        confidence: how sure the tagger is.
        found: what it finds in a batch.
        types: the types of its labels.
        scheme: that of its labels.
        least: above 0; from a token on there are at most 1/least spans.
    """
    device = found.scores.device
    labels = SpanLabels(*(each.to(device) for each in SpanLabels.of(confidence.names, types, scheme)))
    rows: list[list[Likely]] = [[] for _ in found.tags]
    if not len(found.scores):
        return rows
    spans = list(_search(confidence, found, labels, math.log(least)))
    every = _Spans(*(torch.cat(parts) for parts in zip(*spans, strict=True)))
    lengths = torch.tensor([len(tags) for tags in found.tags])
    begins = (lengths.cumsum(0) - lengths).tolist()
    sentence = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[every.starts.cpu()].tolist()
    values = (part.tolist() for part in (every.starts, every.ends, every.kinds, every.log_p.exp()))
    for row, start, end, kind, probability in sorted(zip(sentence, *values, strict=True)):
        rows[row].append(Likely(Span(types[kind], start - begins[row], end - begins[row]), probability))
    return rows


def _search(confidence: Confidence, found: Found, labels: SpanLabels, least: float) -> Iterator[_Spans]:
    """The spans of at least the log probability ``least``: those of one word, of two, and so on."""
    chain = confidence.chain(found)
    yield _ended(chain, _begun(chain, labels.single, least), least)
    open_ones = _begun(chain, labels.first, least)
    while len(open_ones.starts):
        open_ones = open_ones.where(chain.goes_on[open_ones.ends])
        given = chain.onward(open_ones.labels, open_ones.ends)  # shape: (K, L)
        yield _ended(chain, _longer(open_ones, given, labels.last, least), least)
        open_ones = _longer(open_ones, given, labels.inside, least)


def _begun(chain: Chain, labels: Tensor, least: float) -> _Spans:
    """Every token as the first of a span of each type, with ``labels`` (T,) by type."""
    log_p = chain.log_marginals[:, labels]  # shape: (N, T)
    starts, kinds = torch.nonzero(log_p >= least, as_tuple=True)
    return _Spans(kinds, starts, starts + 1, labels[kinds], log_p[starts, kinds])


def _longer(spans: _Spans, given: Tensor, labels: Tensor, least: float) -> _Spans:
    """The spans with one more word, which has the label of its type; ``given`` (K, L) are log P(label | the one before)."""
    following = labels[spans.kinds]
    log_p = spans.log_p + given.gather(1, following.unsqueeze(1)).squeeze(1)
    return _Spans(spans.kinds, spans.starts, spans.ends + 1, following, log_p).where(log_p >= least)


def _ended(chain: Chain, spans: _Spans, least: float) -> _Spans:
    """The spans that nothing goes on behind."""
    log_p = spans.log_p + chain.log_ends(spans.labels, spans.ends)
    return spans._replace(log_p=log_p).where(log_p >= least)
