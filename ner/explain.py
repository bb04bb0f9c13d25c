"""What looks wrong with a tagger's training once it is over, and the most likely reasons by what can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence, entities_by_type
from ner.corpus.dataset import Dataset
from ner.corpus.scheme import to_spans
from ner.schedule import default_rate
from ner.scoring.report import Evaluation
from ner.vectors.views import Coverage
from training.visible import counted, listed

NO_VECTORS = "vectors: they contain no word of the training data, so random ones are trained; are they of the same language?"
MOST_REASONS = 3
NEAR_ZERO = 0.01
SURE = 5  # entities in the test, from which on it means something that none was predicted
FAR = 0.4  # between F1 on training and on validation data; of good runs on small data it is up to 0.3
HIGH_RATE, LOW_RATE = 0.03, 2e-5  # Adam trains this model between them
RISES = 0.02  # F1 from one validation to the next of a training that is not at its end
FEW_STEPS = 100
FEW_ENTITIES = 20
FEW_SENTENCES = 100


@dataclass(frozen=True)
class Trained:
    """What can be seen of a training that is over.

    Args:
        config: its settings.
        dataset: its data.
        coverage: how many words of the training data have a vector; None without vectors.
        steps: how many optimizer steps were taken.
        metrics: the lines of metrics.jsonl.
        found: the test; None where there was none.
    """

    config: TaggerConfig
    dataset: Dataset
    coverage: Coverage | None
    steps: int
    metrics: Sequence[Mapping[str, Any]]
    found: Evaluation | None

    def history(self, name: str) -> list[float]:
        """A metric's values, in the order in which they were logged."""
        return [float(line[name]) for line in self.metrics if name in line]


def none_has_a_vector(coverage: Coverage | None) -> bool:
    """Whether vectors were given, and no word of the training data is in them."""
    return coverage is not None and not coverage.exact + coverage.other_form


def explain(seen: Trained) -> list[str]:
    """Lines on what looks wrong, each with the most likely reasons; none where all looks well, or nothing is to be learned.

    What was said at the training's beginning is not among them.
    """
    if seen.config.fast_dev_run:
        return []
    return [f"{sign}. {_most_likely(reasons)}" for sign, reasons in _signs(seen)]


def _most_likely(reasons: Sequence[str]) -> str:
    if reasons:
        return f"Most likely: {'; '.join(reasons[:MOST_REASONS])}"
    return "The run itself shows no reason: look at the data with data check, and at batches with ask"


def _signs(seen: Trained) -> Iterator[tuple[str, list[str]]]:
    """What looks wrong, the gravest first, with its reasons."""
    losses = seen.history("train_loss_epoch")
    if len(losses) > 1 and min(losses[1:]) >= losses[0]:
        said = f"The loss did not fall: it was {losses[0]:.4g} in the first epoch, and {losses[-1]:.4g} in the last"
        yield said, [*_rate(seen), *_settings(seen), *_data(seen)]
    valid = seen.history("val_f1") if entities_by_type(seen.dataset.valid) else []
    tested = [] if seen.found is None or not any(each.gold for each in seen.found.judged) else [_test_f1(seen.found)]
    scores = {name: found for name, found in (("valid", valid), ("test", tested)) if found}
    highest = max((max(found) for found in scores.values()), default=1.0)
    if highest < NEAR_ZERO:
        stayed = f"below {NEAR_ZERO}" if highest else "0"
        yield (
            f"F1 stayed {stayed} on {' and '.join(scores)}",
            [*_rate(seen), *_settings(seen), *_data(seen), *_few_steps(seen)],
        )
    else:
        yield from _never_predicted(seen)
    train = seen.history("train_f1")
    if train and valid and train[-1] - max(valid) >= FAR:
        said = f"F1 is far lower on valid than on train: {max(valid):.3f} at best, and {train[-1]:.3f}"
        yield said, [*_unlike(seen), *_unknown_words(seen)]


def _test_f1(found: Evaluation) -> float:
    return float(found.scores.strict["micro avg"]["f1-score"])


def _never_predicted(seen: Trained) -> Iterator[tuple[str, list[str]]]:
    """Types of which the test has several entities, and the predictions none, once training had enough of its time."""
    if seen.found is None or _still_rises(seen.history("val_f1")):
        return
    gold = Counter(span.type for each in seen.found.judged for span in each.gold)
    predicted = {span.type for each in seen.found.judged for span in each.predicted}
    never = [kind for kind, count in gold.most_common() if count >= SURE and kind not in predicted]
    if not never:
        return
    counts = entities_by_type(seen.dataset.train)
    said = listed([f"{kind or '(no name)'} ({gold[kind]:,} in the test)" for kind in never], 5)
    rare = [f"{kind or '(no name)'} {counts[kind]:,}" for kind in never if counts[kind] < FEW_ENTITIES]
    reasons = [f"the training data has few of its entities: {listed(rare, 5)}"] if rare else []
    yield f"Never predicted: {said}", [*reasons, *_rate(seen), *_few_steps(seen)]


def _still_rises(scores: Sequence[float]) -> bool:
    """Whether a training was ended as it still learned: rare types come last."""
    return len(scores) == 1 or (len(scores) > 1 and scores[-1] >= max(scores[:-1]) + RISES)


def _rate(seen: Trained) -> Iterator[str]:
    lr, usual = seen.config.lr, default_rate(seen.config, seen.dataset.train)
    if lr > HIGH_RATE:
        yield f"--lr {lr:g} is too high for Adam, whose default here is {usual:g}"
    if lr < LOW_RATE:
        yield f"--lr {lr:g} is so low that little is learned; the default is {usual:g}"


def _settings(seen: Trained) -> Iterator[str]:
    """Settings that leave little of what is learned from."""
    for name in ("dropout", "word_dropout", "unk_replace"):
        if (value := getattr(seen.config, name)) >= 0.9:
            yield f"--{name.replace('_', '-')} {value:g} hides most of the words"
    no_vectors = seen.coverage is None or seen.coverage.token_share < 0.1
    if seen.config.freeze_vectors and no_vectors:
        yield "--freeze-vectors freezes random vectors, as the words have no others"


def _data(seen: Trained) -> Iterator[str]:
    """Columns, labels, the scheme, coverage."""
    train = seen.dataset.train
    tokens = sum(len(sentence.words) for sentence in train)
    words = len({word for sentence in train for word in sentence.words})
    if words <= 60 and tokens >= 500:
        yield f"the {tokens:,} training words are only {words} distinct ones: --word-column names the wrong column"
    kinds = entities_by_type(train)
    if len(kinds) > 100 and 2 * len(kinds) > sum(kinds.values()):
        yield f"there are {len(kinds):,} types for {sum(kinds.values()):,} entities: --tag-column names the wrong column"
    elif sum(kinds.values()) < FEW_ENTITIES:
        yield f"the training data has {counted(sum(kinds.values()), 'entity', 'entities')} in {tokens:,} words"
    if seen.dataset.repaired:
        yield f"{counted(seen.dataset.repaired, 'tag')} broke the scheme {seen.dataset.source_scheme} and were repaired"
    if seen.coverage is not None and seen.coverage.token_share < 0.3:
        yield f"only {100 * seen.coverage.token_share:.1f} % of the training words have a vector"


def _few_steps(seen: Trained) -> Iterator[str]:
    if seen.steps < FEW_STEPS:
        yield f"only {counted(seen.steps, 'step was', 'steps were')} taken: train for more epochs (--max-epochs)"


def _unlike(seen: Trained) -> Iterator[str]:
    """How the labels of valid differ from those of train."""
    train, valid = (seen.dataset.train, seen.dataset.valid)
    shares = [_inside(part) for part in (train, valid)]
    if max(shares) > 2 * min(shares):
        said = " and ".join(f"{100 * share:.1f} % of {name}" for name, share in zip(("train", "valid"), shares, strict=True))
        yield f"train and valid are labeled differently: {said} are words of entities"
    ours, theirs = entities_by_type(train), entities_by_type(valid)
    moved = [kind for kind in theirs if theirs[kind] * ours.total() > 3 * ours[kind] * theirs.total()]
    moved = [kind for kind in moved if theirs[kind] >= SURE and 10 * theirs[kind] >= theirs.total()]
    if moved:
        yield f"types are more frequent in valid than in train: {listed([kind or '(no name)' for kind in moved], 5)}"


def _inside(sentences: Sequence[Sentence]) -> float:
    """The share of words that are part of an entity."""
    words = sum(len(sentence.words) for sentence in sentences)
    return sum(span.end - span.start for sentence in sentences for span in to_spans(sentence.tags)) / max(1, words)


def _unknown_words(seen: Trained) -> Iterator[str]:
    known = {word for sentence in seen.dataset.train for word in sentence.words}
    words = [word for sentence in seen.dataset.valid for word in sentence.words]
    share = sum(word not in known for word in words) / max(1, len(words))
    if share > 0.25:
        vectors = "" if seen.coverage is not None else ", and there are no word vectors (--vectors)"
        yield f"{100 * share:.0f} % of the words of valid are not in train{vectors}"
    if len(seen.dataset.train) < FEW_SENTENCES:
        yield f"the training data has {counted(len(seen.dataset.train), 'sentence')}: the tagger memorizes them"
