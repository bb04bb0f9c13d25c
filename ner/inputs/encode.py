"""Sentences as ids, with what the model reads beside words: characters, features, documents, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.inputs.batches import Documents, Encoded, Spellings
from ner.inputs.document import Words, by_type, documents, features, mentions
from ner.inputs.indexer import Ids, Indexer
from ner.inputs.subwords import subwords


def encode(
    sentences: Sequence[Words], indexer: Indexer, config: TaggerConfig, later: Mapping[str, int] | None = None
) -> Encoded:
    """Sentences as ids, with what the model of ``config`` reads beside words; without labels.

    ``later``: ids of words that the indexer lacks (ner/vectors/unseen.py).
    """
    typed = by_type(sentences)
    spellings = None
    if config.characters != "none":
        ids, sizes = indexer.encode_characters(typed.types)
        spellings = Spellings(word=typed.tokens, ids=ids, lengths=sizes)
    parts = None
    if config.subwords:
        ids, sizes = subwords(typed.types, config.subwords)
        parts = Spellings(word=typed.tokens, ids=ids, lengths=sizes)
    numbers = documents(sentences) if config.features_dim or config.reads_documents else None
    mention = mentions(typed, numbers) if numbers is not None else None
    return Encoded(
        words=indexer.encode(typed.types, later)[typed.tokens],
        lengths=typed.lengths,
        spellings=spellings,
        subwords=parts,
        lm_words=None if indexer.lm is None else indexer.lm.encode(typed.types)[typed.tokens],
        features=features(typed, mention) if mention is not None and config.features_dim else None,
        documents=Documents(numbers=numbers, mentions=mention)
        if numbers is not None and mention is not None and config.reads_documents
        else None,
    )


def encode_labeled(
    sentences: Sequence[Sentence], indexer: Indexer, config: TaggerConfig, later: Mapping[str, int] | None = None
) -> Encoded:
    """A split as ``encode``, with the labels of its tags. DataError (file:line) for a tag that the indexer lacks."""
    known: dict[tuple[str, ...], Ids] = {}
    labels = []
    for sentence in sentences:
        if sentence.tags not in known:
            known[sentence.tags] = indexer.encode_labels(sentence)
        labels.append(known[sentence.tags])
    flat = np.concatenate(labels) if labels else np.zeros(0, np.int64)
    return replace(encode(sentences, indexer, config, later), labels=flat)


def word_counts(sentences: Sequence[Words], indexer: Indexer) -> Counter[str]:
    """How often each word, in the indexer's form, occurs."""
    raw: Counter[str] = Counter(word for sentence in sentences for word in sentence.words)
    counts: Counter[str] = Counter()
    for word, count in raw.items():
        counts[indexer.rule.word(word)] += count
    return counts
