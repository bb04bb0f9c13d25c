"""Several taggers as one distribution over label sequences, against enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ner.corpus.scheme import allowed_transitions
from ner.inputs.batches import SentenceBatches
from ner.inputs.document import Tokenized
from ner.inputs.encode import encode
from ner.model.ensemble import Ensemble
from ner.model.mixture import Mixture
from tests.ner.small_tagger import saved
from tests.reference import crf_brute

SENTENCES = [Tokenized(("Ada", "met", "Bo")), Tokenized(("Oslo",)), Tokenized(("Rome", "zyx"))]


@pytest.mark.parametrize("decoder", ["crf", "softmax"])
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_it_is_the_mean_of_the_members_distributions(decoder: str, seeds: list[int]) -> None:
    members = [saved(seed, decoder=decoder, scheme="IOB2") for seed in seeds]
    indexer, config = members[0].indexer, members[0].config
    allowed = allowed_transitions(indexer.labels, indexer.scheme)
    models = [member.model() for member in members]
    model = models[0].for_prediction() if len(seeds) == 1 else Ensemble(models, allowed).for_prediction()
    batch = next(iter(SentenceBatches(encode(SENTENCES, indexer, config), 3, shuffle=False).plan(0)))
    mixture = Mixture(model, allowed)
    tokens, moves = mixture(batch)
    pairs = mixture._mask.pairs.tolist()
    at = 0
    for row, length in enumerate(batch.plain_lengths):
        mixed: dict[tuple[int, ...], float] = {}
        for each in models:
            for labels, weight in crf_brute.distribution(chain(each, each(batch)[at : at + length], allowed)).items():
                mixed[labels] = mixed.get(labels, 0.0) + weight / len(models)
        counts = crf_brute.pair_counts(mixed)
        assert moves[row].tolist() == pytest.approx([counts.get((i, j), 0.0) for i, j in pairs], abs=1e-6)
        for i in range(length):
            wanted = [
                sum(weight for labels, weight in mixed.items() if labels[i] == label) for label in range(tokens.shape[1])
            ]
            assert tokens[at + i].tolist() == pytest.approx(wanted, abs=1e-6)
        at += length


def chain(model: torch.nn.Module, scores: torch.Tensor, allowed: object) -> crf_brute.Chain:
    """A member's own distribution over the label sequences of one sentence; with softmax under the scheme's mask."""
    crf = model.crf
    logs = (scores if crf is not None else torch.log_softmax(scores, 1)).double().tolist()
    values = {name: getattr(crf, name).detach().double().numpy() if crf is not None else 0.0
              for name in ("start_transitions", "transitions", "end_transitions")}  # fmt: skip
    masks = (allowed.start, allowed.pairs, allowed.end)  # type: ignore[attr-defined]
    blocked = [np.where(mask, value, -math.inf).tolist() for mask, value in zip(masks, values.values(), strict=True)]
    return crf_brute.Chain(logs, *blocked)
