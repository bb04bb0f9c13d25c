"""Batch size and number of epochs where the settings leave them to the size of the training data.

Adam needs some hundred steps before the tagger finds anything. Twelve epochs in batches of 16 are 1,500 steps on 2,000
sentences, but 84 on 100: so little data is read in smaller batches, and more often. A tagger that is gone on from finds
entities already: its epochs are twelve, so that it forgets little.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.inputs.document import documents as numbers

FEWEST_STEPS = 800
FEWEST_EPOCHS, MOST_EPOCHS = 12, 60
BATCH, SMALL_BATCH = 16, 8
FEW_SENTENCES = 1000  # below them batches are small


def resolved(config: TaggerConfig, train: Sequence[Sentence]) -> TaggerConfig:
    """The settings with numbers in place of a ``batch_size`` and a ``max_epochs`` of 0.

    Args:
        config: the settings.
        train: the sentences to be trained on.

    Returns:
        The settings; those that name both numbers as they are.

    Example:
        >>> from ner.config import TaggerConfig
        >>> from ner.corpus.conll import Sentence
        >>> sentences = [Sentence(("Ada", "ran"), ("S-PER", "O"))] * 200
        >>> small = resolved(TaggerConfig(), sentences)
        >>> small.batch_size, small.max_epochs
        (8, 32)
        >>> large = resolved(TaggerConfig(), sentences * 50)
        >>> large.batch_size, large.max_epochs
        (16, 12)
    """
    few = len(train) < FEW_SENTENCES and not config.start_from
    batch_size = config.batch_size or (SMALL_BATCH if few else BATCH)
    batches = batches_per_epoch(train, batch_size, documents=config.reads_documents)
    enough = FEWEST_EPOCHS if config.start_from else -(-FEWEST_STEPS // batches)
    max_epochs = config.max_epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, enough))
    return dataclasses.replace(config, batch_size=batch_size, max_epochs=max_epochs)


def batches_per_epoch(train: Sequence[Sentence], batch_size: int, *, documents: bool) -> int:
    """How many batches the sentences make; with ``documents`` a batch holds whole ones (see ner/inputs/batches.py)."""
    units = int(numbers(train)[-1]) + 1 if documents else len(train)
    return max(1, min(units, -(-len(train) // batch_size)))
