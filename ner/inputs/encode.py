"""Sentences as ids, with what the model reads beside words: characters, features, documents, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.inputs.batches import Documents, Encoded, Spellings
from ner.inputs.document import Words, documents, features, mentions
from ner.inputs.indexer import Ids, Indexer


def encode(
    sentences: Sequence[Words], indexer: Indexer, config: TaggerConfig, later: Mapping[str, int] | None = None
) -> Encoded:
    """Sentences as ids, with what the model of ``config`` reads beside words; without labels.

    ``later``: ids of words that the indexer lacks (ner/vectors/unseen.py).
    """
    raw = [word for sentence in sentences for word in sentence.words]
    kinds = {word: i for i, word in enumerate(dict.fromkeys(raw))}  # each distinct word is looked up once
    distinct = np.fromiter((kinds[word] for word in raw), np.int64, len(raw))  # shape: (N,)
    spellings = None
    if config.characters != "none":
        ids, sizes = indexer.encode_characters(list(kinds))
        spellings = Spellings(word=distinct, ids=ids, lengths=sizes)
    numbers = documents(sentences) if config.features_dim or config.reads_documents else None
    return Encoded(
        words=indexer.encode(list(kinds), later)[distinct] if len(raw) else np.zeros(0, np.int64),
        lengths=np.array([len(sentence.words) for sentence in sentences], np.int64),
        spellings=spellings,
        features=features(sentences, numbers) if numbers is not None and config.features_dim else None,
        documents=Documents(numbers=numbers, mentions=mentions(sentences, numbers))
        if numbers is not None and config.reads_documents
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
