"""Batch size, number of epochs and learning rate where the settings leave them to the training data.

Adam needs some hundred steps before the tagger finds anything. Twelve epochs in batches of 16 are 1,500 steps on 2,000
sentences, but 84 on 100: so little data is read in smaller batches, and more often. A tagger that is trained further finds
entities already: its epochs are twelve, so that it forgets little.

Words without vectors begin at random: at a higher rate they come further while there are few steps.
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
RATE, HIGH_RATE = 2e-3, 8e-3  # of Adam
MANY_SENTENCES = 5000  # below them the rate is high where there are no vectors


def resolved(config: TaggerConfig, train: Sequence[Sentence]) -> TaggerConfig:
    """The settings with numbers in place of a ``batch_size``, a ``max_epochs`` and an ``lr`` of 0.

    Args:
        config: the settings, whose ``vectors`` say whether there are any.
        train: the sentences to be trained on.

    Returns:
        The settings; those that name all three numbers as they are.

    Example:
        >>> from ner.config import TaggerConfig
        >>> from ner.corpus.conll import Sentence
        >>> sentences = [Sentence(("Ada", "ran"), ("S-PER", "O"))] * 200
        >>> small = resolved(TaggerConfig(vectors="none"), sentences)
        >>> small.batch_size, small.max_epochs, small.lr
        (8, 32, 0.008)
        >>> large = resolved(TaggerConfig(vectors="none"), sentences * 50)
        >>> large.batch_size, large.max_epochs, large.lr
        (16, 12, 0.002)
    """
    few = len(train) < FEW_SENTENCES and not config.start_from
    batch_size = config.batch_size or (SMALL_BATCH if few else BATCH)
    batches = batches_per_epoch(train, batch_size, documents=config.reads_documents)
    enough = FEWEST_EPOCHS if config.start_from else -(-FEWEST_STEPS // batches)
    max_epochs = config.max_epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, enough))
    lr = config.lr or default_rate(config, train)
    return dataclasses.replace(config, batch_size=batch_size, max_epochs=max_epochs, lr=lr)


def default_rate(config: TaggerConfig, train: Sequence[Sentence]) -> float:
    """The learning rate for these sentences where the settings give none."""
    anew = config.vectors == "none" and not config.start_from
    return HIGH_RATE if anew and len(train) < MANY_SENTENCES else RATE


def batches_per_epoch(train: Sequence[Sentence], batch_size: int, *, documents: bool) -> int:
    """How many batches the sentences make; with ``documents`` a batch holds whole ones (see ner/inputs/batches.py)."""
    units = int(numbers(train)[-1]) + 1 if documents else len(train)
    return max(1, min(units, -(-len(train) // batch_size)))
