"""Taggers that are made in milliseconds: tables of a few sentences and weights that nobody trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.corpus.scheme import allowed_transitions
from ner.inputs.indexer import Indexer
from ner.model.tagger import Tagger
from ner.tagging.load import Saved
from ner.tagging.tagger import TrainedTagger
from ner.vectors.views import Views
from training.randomness import uniform
from word2vec.text.tokenize import TextRule

RULE = TextRule(tokenize=False, lowercase=False, digits="keep")
SENTENCES = [
    Sentence(("Ada", "Marlow", "flew", "to", "Oslo", "."), ("B-PER", "E-PER", "O", "O", "S-LOC", "O")),
    Sentence(("Bo", "won", "in", "Rome", "and", "Oslo", "."), ("S-PER", "O", "O", "S-LOC", "O", "S-LOC", "O")),
]
SETTINGS = TaggerConfig(
    word_dim=6, hidden_size=8, characters="cnn", char_dim=4, char_hidden=6, features_dim=0, mentions=False,
    decoder="softmax", progress=False,
)  # fmt: skip


def saved(
    seed: int = 0, vectors: Views | None = None, sentences: Sequence[Sentence] = SENTENCES, **changes: object
) -> Saved:
    """The parts of a tagger for these sentences' words and types, with random weights, large enough that its tags vary."""
    config = dataclasses.replace(SETTINGS, seed=seed, **changes)  # type: ignore[arg-type]
    indexer = Indexer.build(sentences, RULE, config.scheme)
    allowed = allowed_transitions(indexer.labels, indexer.scheme)
    words = torch.zeros(indexer.num_words, config.word_dim)
    model = Tagger(config, words, indexer.num_characters, len(indexer.labels), allowed)
    weights = {n: uniform(tuple(t.shape), -1.5, 1.5, seed, f"test/{n}") for n, t in model.state_dict().items()}
    return Saved(config, indexer, weights, vectors, "made")


def tagger(
    seed: int = 0, vectors: Views | None = None, sentences: Sequence[Sentence] = SENTENCES, **changes: object
) -> TrainedTagger:
    """A tagger of ``saved``'s parts."""
    return TrainedTagger(saved(seed, vectors, sentences, **changes))


def some_words(count: int, seed: int = 0) -> list[str]:
    """Words, known and unknown, drawn by the seed."""
    kinds = ("Ada", "Marlow", "Oslo", "Rome", "won", "in", ".", "zyx", "Ünsal", "1996", "don't")
    return [kinds[int(x)] for x in uniform((count,), 0, len(kinds) - 1e-3, seed, "test/words")]
