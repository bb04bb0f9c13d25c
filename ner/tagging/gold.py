"""A labeled file as a trained tagger reads it, and what the tagger finds there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence, number_words, to_scheme
from ner.corpus.dataset import scheme_of
from ner.corpus.labeled import read_labeled
from ner.corpus.scheme import to_spans
from ner.inputs.document import Numbering
from ner.model.calibration import Judged
from ner.model.conformal import Conformal, fit_sets
from ner.tagging.tagger import LONGEST_SENTENCE, TrainedTagger


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


def judge_gold(tagger: TrainedTagger, sentences: Sequence[Sentence]) -> list[Judged]:
    """What the tagger finds in labeled sentences, with their gold entities, batch by batch; but for the very longest."""
    number = Numbering()
    numbered = [(sentence, number(sentence) + 1) for sentence in sentences]
    numbered = [each for each in numbered if len(each[0].words) <= LONGEST_SENTENCE]
    found = tagger.found([s.words for s, _ in numbered], [number for _, number in numbered])
    return [Judged(each, [to_spans(numbered[i][0].tags) for i in batch.sentences.tolist()]) for batch, each in found]


def calibrate_sets(
    tagger: TrainedTagger,
    path: str,
    columns: Columns | None = None,
    warn: Callable[[str], None] | None = None,
    rules: SpanRules | None = None,
) -> Conformal:
    """Calibrate the tagger's sets of readings on a labeled file, in the place of the validation data of its training.

    Args:
        tagger: the tagger, whose ``sets`` are made by what is found from now on.
        path: a labeled file of any form, of the kind of text that sets are wanted for, and that was not trained on.
        columns: where words and tags stand; None for the run's own.
        warn: is told in a line what may be wrong with the file.
        rules: what becomes of spans that tags cannot say; None for errors.

    Returns:
        The bounds.

    Raises:
        DataError: with file:line, what cannot be read.
    """
    judged = judge_gold(tagger, read_gold(tagger, path, columns, warn, rules))
    tagger.conformal = fit_sets(tagger.confidence, judged, tagger.indexer.scheme)
    return tagger.conformal
