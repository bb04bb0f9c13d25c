"""Several taggers as one: beside sums over all sequences of labels, one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.corpus.scheme import allowed_transitions, to_spans
from ner.inputs.batches import Batch, SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.inputs.indexer import Indexer
from ner.model.confidence import Confidence, find_entities
from ner.model.ensemble import Ensemble
from ner.model.tagger import Tagger
from word2vec.text.tokenize import TextRule

DATA = [
    Sentence(("Ada", "Byron", "met", "Bo"), ("B-PER", "E-PER", "O", "S-PER")),
    Sentence(("Oslo",), ("S-LOC",)),
    Sentence(("met", "Bo", "Oslo"), ("O", "S-PER", "S-LOC")),
]
INDEXER = Indexer.build(DATA, TextRule(tokenize=False))
ALLOWED = allowed_transitions(INDEXER.labels, INDEXER.scheme)
LABELS = INDEXER.labels


def ensemble(decoder: str, seeds: range) -> Ensemble:
    members = []
    for seed in seeds:
        config = TaggerConfig(hidden_size=8, word_dim=6, decoder=decoder, seed=seed)
        words = torch.randn(INDEXER.num_words, 6, generator=torch.Generator().manual_seed(seed))
        member = Tagger(config, words, INDEXER.num_characters, len(LABELS), ALLOWED)
        with torch.no_grad():  # surer than it is at the beginning
            member.linear.weight.mul_(8)
            if member.crf is not None:
                member.crf.transitions.mul_(20)
        members.append(member.for_prediction())
    return Ensemble(members, ALLOWED).for_prediction()


def batch(sentences: list[Sentence] = DATA, decoder: str = "crf") -> Batch:
    config = TaggerConfig(hidden_size=8, word_dim=6, decoder=decoder)
    return SentenceBatches(encode_labeled(sentences, INDEXER, config), 8, shuffle=False).plan(0)[0]


def is_allowed(path: tuple[int, ...]) -> bool:
    steps = all(ALLOWED.pairs[a, b] for a, b in itertools.pairwise(path))
    return bool(ALLOWED.start[path[0]] and ALLOWED.end[path[-1]] and steps)


def allowed(length: int) -> list[tuple[int, ...]]:
    return [path for path in itertools.product(range(len(LABELS)), repeat=length) if is_allowed(path)]


@torch.no_grad()
def member_marginals(member: Tagger, scores: torch.Tensor) -> torch.Tensor:
    """By the sum over all sequences that are allowed; of one sentence."""
    if member.crf is None:
        return scores.double().softmax(1)
    total, found = 0.0, torch.zeros(scores.shape, dtype=torch.float64)
    start, pairs, end = member.crf.start_transitions, member.crf.transitions, member.crf.end_transitions
    for path in allowed(len(scores)):
        score = float(start[path[0]] + end[path[-1]] + sum(scores[i, label] for i, label in enumerate(path)))
        weight = math.exp(score + float(sum(pairs[a, b] for a, b in itertools.pairwise(path))))
        total += weight
        for i, label in enumerate(path):
            found[i, label] += weight
    return found / total


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_it_is_the_mean_of_its_members(decoder: str, temperature: float) -> None:
    together = ensemble(decoder, range(3))
    whole = batch(decoder=decoder)
    found = find_entities(together, LABELS, whole)
    sure = iter(Confidence(together, LABELS, temperature)(found).tolist())
    at = 0
    for sentence, tags, spans in zip(DATA, found.tags, found.spans, strict=True):
        n = len(sentence.words)
        mean = torch.zeros(n, len(LABELS), dtype=torch.float64)
        for member in together.taggers:
            with torch.no_grad():
                scores = member(whole)[at : at + n]
            mean += member_marginals(member, scores) / 3
        log = mean.clamp_min(1e-12).log() / temperature
        paths = {path: float(sum(log[i, label] for i, label in enumerate(path))) for path in allowed(n)}
        best = max(paths, key=paths.__getitem__)
        assert tags == [LABELS[i] for i in best]
        total = sum(map(math.exp, paths.values()))
        for span in spans:
            mine = tags[span.start : span.end]
            same = [p for p in paths if [LABELS[i] for i in p[span.start : span.end]] == mine]
            same = [p for p in same if span in to_spans([LABELS[i] for i in p])]
            assert next(sure) == pytest.approx(sum(math.exp(paths[p]) for p in same) / total, rel=1e-4)
        at += n
    assert not list(sure)


def test_it_keeps_to_the_scheme_where_its_members_do_not() -> None:
    together = ensemble("softmax", range(40, 44))
    found = find_entities(together, LABELS, batch(decoder="softmax"))
    assert all(is_allowed(tuple(map(LABELS.index, tags))) for tags in found.tags)


def test_alone_and_in_company_a_sentence_has_the_same_tags() -> None:
    together = ensemble("crf", range(3))
    company = find_entities(together, LABELS, batch()).tags
    alone = [find_entities(together, LABELS, batch([each])).tags[0] for each in DATA]
    assert company == alone


def test_members_that_agree_are_as_one() -> None:
    together = ensemble("crf", range(5, 6))
    same = Ensemble([together.taggers[0]] * 2, ALLOWED)
    one, two = (find_entities(each, LABELS, batch()) for each in (together, same))
    assert one.tags == two.tags
    assert torch.equal(one.scores, two.scores)
