"""A labeled file as a trained tagger reads it."""

from __future__ import annotations

from collections.abc import Callable

from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence, number_words, to_scheme
from ner.corpus.dataset import scheme_of
from ner.corpus.labeled import read_labeled
from ner.tagging.tagger import TrainedTagger


def read_gold(
    tagger: TrainedTagger, path: str, columns: Columns | None, warn: Callable[[str], None] | None, rules: SpanRules | None
) -> list[Sentence]:
    """A labeled file's sentences in the tagger's scheme; DataError with file:line for what can't be read."""
    config = tagger.config
    labeled = read_labeled(path, columns=columns or tagger.columns, docstart=config.docstart, rules=rules)
    for line in filter(None, [*labeled.lines(), number_words(labeled.sentences)]):
        if warn:
            warn(f"{path}: {line}")
    return to_scheme(labeled.sentences, config.scheme, source=scheme_of(labeled), mend=config.repair)[0]
