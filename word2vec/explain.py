"""What looks wrong with word vectors once their training is over, and the most likely reasons by what can be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.visible import counted
from word2vec.config import Word2VecConfig

MOST_REASONS = 3
HANDFUL = 50  # words, of which no neighbors are worth reading
MOSTLY = 0.5  # of the text's words; ordinary texts of any size keep 0.8 and more with --min-count 5
SEEN = 0.05  # of the vocabulary's words that subsampling keeps; with the default it is 0.3 and more
BESIDE = 2.0  # words of a sentence; below it most words have none beside them
HIGH_RATE, LOW_RATE = 1.0, 1e-4  # word2vec's own is 0.025 to 0.05
FEW_WORDS = 10_000  # of the text over all epochs: a word of it is met a few times


@dataclass(frozen=True)
class Trained:
    """What can be seen of a training that is over.

    Args:
        config: its settings.
        vocabulary: how many words have a vector.
        read: words of the text.
        words: those of them that are in the vocabulary.
        sentences: sentences that have such words.
        kept: the share of those words that subsampling keeps.
        losses: the mean loss of each epoch.
    """

    config: Word2VecConfig
    vocabulary: int
    read: int
    words: int
    sentences: int
    kept: float
    losses: Sequence[float]


def explain(seen: Trained) -> list[str]:
    """Lines on what looks wrong, the gravest first, each with the most likely reasons; none where all looks well."""
    if seen.config.fast_dev_run:
        return []
    return [f"{sign}. Most likely: {'; '.join(reasons[:MOST_REASONS])}" for sign, reasons in _signs(seen) if reasons]


def _signs(seen: Trained) -> Iterator[tuple[str, list[str]]]:
    """What looks wrong, with its reasons."""
    losses = seen.losses
    if len(losses) > 1 and min(losses[1:]) >= losses[0]:
        said = f"The loss did not fall: it was {losses[0]:.4g} in the first epoch, and {losses[-1]:.4g} in the last"
        reasons = [*_rate(seen), *_alone(seen), *_subsampled(seen), *_dropped(seen), *_words(seen), *_little(seen)]
        yield said, reasons or ["the words do not predict each other: is it text?"]
    elif seen.vocabulary < HANDFUL:
        have = counted(seen.vocabulary, "word has a vector", "words have a vector")
        yield f"Only {have}, too few for meaningful neighbors", [*_dropped(seen), *_words(seen), *_little(seen)]
    elif alone := [*_alone(seen)]:
        yield "Few words had another one in their window, so most vectors are as they were initialized", alone
    elif seen.words < MOSTLY * seen.read:
        share = 100 * seen.words / seen.read
        yield f"Only {share:.1f} % of the text's words were trained on", [*_dropped(seen)]
    elif seen.kept < SEEN:
        yield f"Only {100 * seen.kept:.2g} % of the words were trained on in an epoch", [*_subsampled(seen)]


def _rate(seen: Trained) -> Iterator[str]:
    lr = seen.config.lr
    if lr > HIGH_RATE:
        yield f"--lr {lr:g} is too high; the default is {Word2VecConfig.lr:g}"
    if lr < LOW_RATE:
        yield f"--lr {lr:g} is so low that little is learned; the default is {Word2VecConfig.lr:g}"


def _dropped(seen: Trained) -> Iterator[str]:
    """What the vocabulary leaves out."""
    if seen.words >= MOSTLY * seen.read:
        return
    lost = f"{100 * (1 - seen.words / seen.read):.1f} % of the {seen.read:,} words"
    if seen.config.max_vocab is not None and seen.vocabulary >= seen.config.max_vocab:
        yield f"--max-vocab {seen.config.max_vocab} leaves out {lost}"
    else:
        yield f"--min-count {seen.config.min_count} leaves out {lost}, which occur less often: lower it, or bring more text"


def _words(seen: Trained) -> Iterator[str]:
    """A text that is long and of few words."""
    if seen.vocabulary < HANDFUL and seen.words >= MOSTLY * seen.read and seen.read >= 100 * HANDFUL:
        yield f"the text's {seen.read:,} words are few distinct ones: are they labels, numbers or letters instead of words?"


def _alone(seen: Trained) -> Iterator[str]:
    """Sentences of single words."""
    words = seen.words / max(1, seen.sentences)
    if words < BESIDE:
        yield f"a sentence has {words:.1f} words of the vocabulary: a line ends one, so give a text with sentences on a line"


def _subsampled(seen: Trained) -> Iterator[str]:
    if seen.kept < SEEN:
        yield (
            f"--sample {seen.config.sample:g} drops {100 * (1 - seen.kept):.3g} % of the words; the default is "
            f"{Word2VecConfig.sample:g}, and 0 keeps all"
        )


def _little(seen: Trained) -> Iterator[str]:
    epochs = max(1, len(seen.losses))
    if seen.read * epochs < FEW_WORDS:
        told = counted(epochs, "epoch")
        yield f"the text has {counted(seen.read, 'word')}, read in {told}: bring more text, or more --epochs"
