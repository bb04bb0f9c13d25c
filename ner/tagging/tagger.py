"""Using a trained tagger: words → tags, text → entities with their offsets and how sure it is of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from ner.corpus.conll import Columns
from ner.corpus.cut import cut_text
from ner.corpus.scheme import Span
from ner.inputs.batches import Batch, SentenceBatches
from ner.inputs.document import Tokenized
from ner.inputs.encode import encode
from ner.model.confidence import Confidence, Found, find_entities
from ner.model.conformal import Bounds
from ner.model.ensemble import Model
from ner.model.sets import ReadingSet, reading_sets
from ner.tagging.group import SavedGroup, read_tagger
from ner.tagging.load import Saved
from ner.vectors.unseen import UnseenWords
from training.data.tensors import move
from training.errors import ConfigError, DataError
from training.loop.device import choose_device, precision
from training.values import odd_sentence
from word2vec.text.tokenize import Token

Piece = TypeVar("Piece")
BATCH = 256  # sentences; whole documents are of mixed lengths, and the more of them there are, the fuller is a step
MOST_TOKENS = 20_000  # a batch; as many as ordinary text never has in so many sentences
LONGEST_SENTENCE = 10_000  # tokens; a longer one is tagged in pieces, so that memory is bounded
MOST_UNSEEN = 20_000  # vectors of words that training did not see, kept from one call to the next


@dataclass(frozen=True)
class Entity:
    """A span of a text that is an entity.

    Args:
        type: what it is, as PER.
        start: its first character in the text, from 0.
        end: one past its last character.
        text: ``text[start:end]`` of the whole.
        confidence: the probability of exactly this span, from 0 to 1.

    Example:
        >>> from ner import Entity
        >>> Entity("PER", 0, 3, "Ada", 0.98765).to_dict()
        {'type': 'PER', 'start': 0, 'end': 3, 'text': 'Ada', 'confidence': 0.9877}
    """

    type: str
    start: int
    end: int
    text: str
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "type": self.type,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "confidence": round(self.confidence, 4),
        }


class Tagged(NamedTuple):
    """A sentence's tags, and its entities with the probability of each.

    Args:
        tags: a tag for each word, in the scheme that the tagger was trained in.
        spans: the entities: type, first word, and one past the last word.
        confidences: the probability of each of them, from 0 to 1.

    Example:
        >>> from ner import Tagged
        >>> from ner.corpus.scheme import Span
        >>> tagged = Tagged(["S-PER", "O", "S-LOC"], [Span("PER", 0, 1), Span("LOC", 2, 3)], [0.9, 0.4])
        >>> tagged.above(0.5)
        Tagged(tags=['S-PER', 'O', 'O'], spans=[Span(type='PER', start=0, end=1)], confidences=[0.9])
    """

    tags: list[str]
    spans: list[Span]
    confidences: list[float]

    def above(self, threshold: float) -> Tagged:
        """The same with the entities of at least this confidence; the words of the others are O."""
        if all(confidence >= threshold for confidence in self.confidences):
            return self
        tags = list(self.tags)
        kept = []
        for span, confidence in zip(self.spans, self.confidences, strict=True):
            if confidence >= threshold:
                kept.append((span, confidence))
            else:
                tags[span.start : span.end] = ["O"] * (span.end - span.start)
        return Tagged(tags, [span for span, _ in kept], [confidence for _, confidence in kept])


class TrainedTagger:
    """A tagger from a run's folder, a group's or a bundle, ready to tag.

    A group's runs tag together: their probabilities are averaged (ner/model/ensemble.py).

    A sentence gets the same tags whatever else is tagged with it (with a CRF the last bits of a confidence may differ).

    Args:
        saved: the parts of a tagger, as read from a folder; ``load`` does both.
        device: "cpu", "cuda" or "auto".

    Example:
        >>> import tempfile
        >>> from ner import TaggerConfig, TrainedTagger, train_tagger
        >>> from training.run.experiment import RunOptions
        >>> limits = {f"limit_{split}_batches": 1 for split in ("train", "val", "test")}
        >>> small = TaggerConfig(vectors="none", hidden_size=8, max_epochs=1, progress=False, **limits)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tagger = TrainedTagger.load(train_tagger(small, RunOptions(path=f"{folder}/run")))
        >>> [len(tags) for tags in tagger.tag([["Ada", "met", "Bo"], []])]
        [3, 0]
        >>> text = "Ada met Bo. They left."
        >>> all(text[found.start : found.end] == found.text for found in tagger.entities(text))
        True
    """

    def __init__(self, saved: Saved | SavedGroup, device: str = "cpu") -> None:
        self.config, self.indexer, self.vectors = saved.config, saved.indexer, saved.vectors
        self.device = choose_device(device)
        self.model: Model = saved.model().to(self.device).for_prediction()
        self._unseen = UnseenWords()
        self.confidence = Confidence(self.model, self.indexer.labels, saved.temperature)
        self.conformal, self.where = saved.conformal, saved.where

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", tell: Callable[[str], None] = lambda line: None) -> TrainedTagger:
        """Read a finished run's or group's folder, or what ``export`` made of one (a bundle).

        Args:
            folder: the run's, the group's or the bundle's.
            device: "cpu", "cuda", or "auto" for CUDA where there is a GPU.
            tell: called with a line if a run has no seal.

        Raises:
            DataError, CheckpointError: it is none of these, is damaged, does not match its seal, or its file of word
                vectors is gone or changed.
        """
        return cls(read_tagger(Path(folder), tell), device)

    @property
    def trained_words(self) -> set[str]:
        """The words, in their form, that training saw."""
        return set(self.indexer.words)

    @property
    def columns(self) -> Columns:
        """Where files have words and tags: as the settings of the training say."""
        return Columns.asked(self.config.word_column, self.config.tag_column)

    def columns_with(self, word: int | None, tag: int | None) -> Columns:
        """The same, but for what is not None."""
        own = self.config.word_column, self.config.tag_column
        return Columns.asked(own[0] if word is None else word, own[1] if tag is None else tag)

    def tag(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> list[list[str]]:
        """The tags of each sentence.

        Args:
            words: the sentences, each as its words; an empty one has no tags.
            numbers: which document each sentence is of (from 1, never falling), for a tagger that reads sentences with
                their document; 0, or no numbers at all, makes each sentence its own document.

        Returns:
            For each sentence as many tags, in the scheme that the tagger was trained in, as it has words.
        """
        given = _Pieces(words, numbers)
        tags: list[list[str]] = [[] for _ in given.words]
        for batch, found in self._found(given):
            for number, each in zip(batch.sentences.tolist(), found.tags, strict=True):
                tags[number] = each
        return [list(chain(*parts)) for parts in given.together(tags)]

    def predict(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> list[Tagged]:
        """The tags, the entities and their confidence.

        Args:
            words: as of ``tag``.
            numbers: as of ``tag``.

        Returns:
            For each sentence its tags, its entities as spans of words, and the probability of each of them, from 0 to 1.
        """
        given = _Pieces(words, numbers)
        tagged = [Tagged([], [], []) for _ in given.words]
        for batch, found in self._found(given):
            sure = iter(self.confidence(found).tolist())
            for number, tags, spans in zip(batch.sentences.tolist(), found.tags, found.spans, strict=True):
                tagged[number] = Tagged(tags, spans, [next(sure) for _ in spans])
        return [_joined(parts) for parts in given.together(tagged)]

    def bounds(self, coverage: float) -> Bounds:
        """How likely a reading must be to be in a set, for a coverage from 0.5 to 0.99.

        Raises:
            ConfigError: no such coverage, or one that the calibration cannot show.
            DataError: the tagger's sets are not calibrated.
        """
        if self.conformal is None:
            raise DataError(
                f"{self.where}: expected a tagger whose sets are calibrated, got one of an earlier version, or that was not "
                "validated; give labeled data that it was not trained on with --sets-from FILE"
            )
        return self.conformal.bounds(coverage)

    def sets(
        self, words: Sequence[Sequence[str]], bounds: Bounds, numbers: Sequence[int] | None = None
    ) -> list[tuple[Tagged, list[ReadingSet]]]:
        """As ``predict``, with sets of readings.

        Args:
            words: as of ``tag``.
            bounds: how likely a reading must be to be in a set (ner/model/sets.py).
            numbers: as of ``tag``.

        Returns:
            For each sentence what ``predict`` returns, and its sets.
        """
        given = _Pieces(words, numbers)
        rows: list[tuple[Tagged, list[ReadingSet]]] = [(Tagged([], [], []), []) for _ in given.words]
        for batch, found in self._found(given):
            sets = reading_sets(self.confidence, found, self.indexer.types, self.indexer.scheme, bounds)
            for number, tags, spans, own in zip(batch.sentences.tolist(), found.tags, found.spans, sets, strict=True):
                sure = [each.readings[0].probability for each in own if each.own]
                rows[number] = Tagged(tags, spans, sure), own
        together = ([*zip(*parts, strict=True)] for parts in given.together(rows))
        return [(_joined([*tagged]), _all_sets(tagged, sets)) for tagged, sets in together]

    def probabilities(
        self,
        words: Sequence[Sequence[str]],
        numbers: Sequence[int],
        tags: Sequence[Sequence[str]],
        ranges: Sequence[Sequence[tuple[int, int]]],
    ) -> list[list[float]]:
        """How probable other readings are than the best one.

        Args:
            words: the sentences, none of more than LONGEST_SENTENCE words.
            numbers: the number of each sentence's document, as in ``tag``.
            tags: for each sentence as many tags as words, in the tagger's scheme.
            ranges: for each sentence (first word, one past the last word) of the readings.

        Returns:
            For each range the probability that its words have just these tags, and that no entity continues after it.
        """
        ids = {label: i for i, label in enumerate(self.indexer.labels)}
        rows: list[list[float]] = [[] for _ in words]
        for batch, found in self._found(_Pieces(words, numbers)):
            order, at = batch.sentences.tolist(), 0
            labels, places = list[int](), list[tuple[int, int]]()
            for number in order:
                labels += [ids[tag] for tag in tags[number]]
                places += [(at + start, at + end) for start, end in ranges[number]]
                at += len(words[number])
            starts, ends = torch.tensor(places, dtype=torch.int64, device=self.device).reshape(-1, 2).T
            read = found._replace(labels=found.labels.new_tensor(labels), starts=starts, ends=ends)
            sure = iter(self.confidence(read).tolist())
            for number in order:
                rows[number] = [next(sure) for _ in ranges[number]]
        return rows

    def entities(self, text: str, threshold: float = 0.0) -> list[Entity]:
        """The entities of raw text.

        Args:
            text: any text; a blank line ends a sentence.
            threshold: only entities of at least this confidence, from 0 to 1.

        Returns:
            The entities in order; their offsets are into ``text``.
        """
        parts = cut_text(text)
        tagged = self.predict([[token.text for token in part] for part in parts], [1] * len(parts))
        pairs = zip(parts, tagged, strict=True)
        return [entity for part, found in pairs for entity in entities_of(text, part, found.above(threshold))]

    def look_up(self, words: Iterable[str]) -> Mapping[str, int]:
        """The ids of words that training did not see but that have a vector, these (raw) words among them.

        Where they have become many, all are forgotten first.
        """
        if self.vectors is None:
            return {}
        if len(self._unseen) > MOST_UNSEEN:
            self._unseen.clear()
            self.model.words.forget_attached()
        self.model.words.attach(self._unseen.add(self.indexer, self.vectors, words))
        return self._unseen.ids

    def found(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> Iterator[tuple[Batch, Found]]:
        """What is found, batch by batch; of sentences of up to LONGEST_SENTENCE words."""
        return self._found(_Pieces(words, numbers))

    def _found(self, given: _Pieces) -> Iterator[tuple[Batch, Found]]:
        """The batches with what is found in each."""
        for batch in self.batches(given.words, given.numbers):
            with self.precision():
                found = find_entities(self.model, self.indexer.labels, batch)
            yield batch, found

    def batches(self, words: Sequence[Sequence[str]], numbers: Sequence[int]) -> Iterator[Batch]:
        """Batches of sentences of like lengths, or of whole documents, on the device."""
        later = self.look_up(word for sentence in words for word in sentence)
        sentences = [Tokenized(each, number) for each, number in zip(words, numbers, strict=True)]
        encoded = encode(sentences, self.indexer, self.config, later)
        for batch in SentenceBatches(encoded, BATCH, shuffle=False, most=MOST_TOKENS).plan(0):
            yield move(batch, self.device)

    def precision(self) -> AbstractContextManager[None]:
        """A context in which the network computes in the number format that it was tested in."""
        return precision(self.config.precision, self.device)


class _Pieces:
    """Sentences with the numbers of their documents, the longest cut: each piece is tagged as a sentence."""

    def __init__(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None) -> None:
        if odd_sentence(words):
            raise ConfigError(
                f"expected sentences, each a list of its words, got {odd_sentence(words)}; entities() reads text"
            )
        if numbers is not None and len(numbers) != len(words):
            raise ConfigError(f"numbers: expected one for each of {len(words)} sentences, got {len(numbers)}")
        self.counts = [max(1, -(-len(sentence) // LONGEST_SENTENCE)) for sentence in words]
        pieces = (_cut(sentence) if count > 1 else [sentence] for sentence, count in zip(words, self.counts, strict=True))
        self.words = list(chain.from_iterable(pieces))
        given = [0] * len(words) if numbers is None else numbers
        self.numbers = [number for number, count in zip(given, self.counts, strict=True) for _ in range(count)]

    def together(self, found: Iterable[Piece]) -> Iterator[list[Piece]]:
        """What was found for the pieces, sentence by sentence."""
        rest = iter(found)
        return (list(islice(rest, count)) for count in self.counts)


def _cut(words: Sequence[str]) -> list[Sequence[str]]:
    return [words[i : i + LONGEST_SENTENCE] for i in range(0, len(words), LONGEST_SENTENCE)]


def _joined(parts: list[Tagged]) -> Tagged:
    if len(parts) == 1:
        return parts[0]
    tags, spans, at = list[str](), list[Span](), 0
    for part in parts:
        spans += [Span(span.type, at + span.start, at + span.end) for span in part.spans]
        tags += part.tags
        at += len(part.tags)
    return Tagged(tags, spans, [confidence for part in parts for confidence in part.confidences])


def _all_sets(tagged: Sequence[Tagged], sets: Sequence[Sequence[ReadingSet]]) -> list[ReadingSet]:
    """The sets of a sentence that was tagged in pieces."""
    ends = accumulate(len(each.tags) for each in tagged)
    return [one.moved(end - len(each.tags)) for each, end, own in zip(tagged, ends, sets, strict=True) for one in own]


def entities_of(text: str, tokens: Sequence[Token], found: Tagged) -> Iterator[Entity]:
    """The entities of one sentence's tokens, with their offsets in ``text``."""
    for span, confidence in zip(found.spans, found.confidences, strict=True):
        start, end = tokens[span.start].start, tokens[span.end - 1].end
        yield Entity(span.type, start, end, text[start:end], confidence)
