"""Sentences of which batches are made, without words that mean anything."""

from __future__ import annotations

import numpy as np

from ner.inputs.batches import Documents, Encoded


def encoded(lengths: list[int], documents: list[int] | None) -> Encoded:
    """Sentences of these lengths; of the documents with these sizes, if there are some."""
    tokens = sum(lengths)
    numbers = None if documents is None else np.repeat(np.arange(len(documents)), documents)
    return Encoded(
        words=np.arange(tokens), lengths=np.array(lengths, np.int64), labels=np.zeros(tokens, np.int64),
        documents=None if numbers is None else Documents(numbers=numbers, mentions=np.arange(tokens)),
    )  # fmt: skip
