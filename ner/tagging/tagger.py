"""Using a trained tagger: words → tags, text → entities with their offsets and how sure it is of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from ner.corpus.conll import Columns, Sentence
from ner.corpus.dataset import encode
from ner.corpus.scheme import Span
from ner.inputs.batches import Batch, SentenceBatches
from ner.inputs.document import Numbering
from ner.model.confidence import Confidence, Found, find_entities
from ner.model.matmul import FEWEST_ROWS
from ner.tagging.bundle import MANIFEST, is_bundle, read_bundle
from ner.tagging.load import Saved, read_run
from ner.tagging.readers import cut_text
from ner.vectors.views import attach_unseen
from training.errors import DataError
from training.loop.device import choose_device, move, precision
from word2vec.text.tokenize import Token

Piece = TypeVar("Piece")
CHUNK = 512  # sentences that are sorted by length and tagged together
BATCH = 256  # sentences; whole documents are of mixed lengths, and the more of them there are, the fuller is a step
MOST_TOKENS = 20_000  # a batch; as many as ordinary text never has in so many sentences
LONGEST_SENTENCE = 10_000  # tokens; a longer one is tagged in pieces, so that memory is bounded
MOST_ATTACHED = 20_000  # vectors of words that training did not see, kept from one call to the next


@dataclass(frozen=True)
class Entity:
    """A span of the text, characters ``start`` (included) to ``end`` (excluded); ``confidence`` is its probability."""

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
    """A sentence's tags, and its entities with the probability of each."""

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
    """A tagger from a run's folder or a bundle. ``TrainedTagger.load("runs/ner/version_0").entities("Ada met Bo.")``"""

    def __init__(self, saved: Saved, device: str = "cpu") -> None:
        self.config, self.indexer, self.vectors = saved.config, saved.indexer, saved.vectors
        self.device = choose_device(device)
        self.model = saved.model().to(self.device).eval()
        for layer in (self.model.linear, self.model.topic):
            if layer is not None:
                layer.register_forward_pre_hook(_whole_rows)
        self._trained_words = len(self.indexer.words)  # those that were met later stand behind them
        self.confidence = Confidence(self.model, self.indexer.labels, saved.temperature)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", tell: Callable[[str], None] = lambda line: None) -> TrainedTagger:
        """Read a finished run's folder or what ``export`` made of one (a bundle).

        DataError or CheckpointError where it is neither, damaged, or a run that is not what its seal says, or whose word
        vectors' file is gone or changed. ``tell`` hears where a run has no seal.
        """
        folder = Path(folder)
        if folder.is_dir() and not any((folder / name).exists() for name in ("manifest.json", MANIFEST)):
            expected = f"expected a run's folder (with manifest.json) or a bundle (with {MANIFEST})"
            raise DataError(f"{folder}: {expected}, got neither")
        return cls(read_bundle(folder) if is_bundle(folder) else read_run(folder, tell), device)

    @property
    def trained_words(self) -> set[str]:
        """The words, in their form, that training saw."""
        return set(islice(self.indexer.words, self._trained_words))

    @property
    def columns(self) -> Columns:
        """Where the training files have words and tags."""
        return Columns(self.config.word_column, self.config.tag_column)

    def columns_with(self, word: int | None, tag: int | None) -> Columns:
        """The same, but for what is not None."""
        own = self.columns
        return Columns(own.word if word is None else word, own.tag if tag is None else tag)

    def tag(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> list[list[str]]:
        """The tags of each sentence, given as its words; an empty sentence has none.

        ``numbers`` say which document each sentence is of (from 1, never falling), for a tagger that reads sentences with
        their document; 0, and no numbers at all, let each stand alone.
        """
        given = _Pieces(words, numbers)
        tags: list[list[str]] = [[] for _ in given.words]
        for batch, found in self._found(given):
            for number, each in zip(batch.sentences.tolist(), found.tags, strict=True):
                tags[number] = each
        return [list(chain(*parts)) for parts in given.together(tags)]

    def predict(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> list[Tagged]:
        """As ``tag``, with the entities and their confidence."""
        given = _Pieces(words, numbers)
        tagged = [Tagged([], [], []) for _ in given.words]
        for batch, found in self._found(given):
            sure = iter(self.confidence(found, batch.plan).tolist())
            for number, tags, spans in zip(batch.sentences.tolist(), found.tags, found.spans, strict=True):
                tagged[number] = Tagged(tags, spans, [next(sure) for _ in spans])
        return [_joined(parts) for parts in given.together(tagged)]

    def entities(self, text: str, threshold: float = 0.0) -> list[Entity]:
        """The entities of raw text, of at least this confidence; offsets are into ``text``. A blank line ends a sentence."""
        parts = cut_text(text)
        tagged = self.predict([[token.text for token in part] for part in parts], [1] * len(parts))
        pairs = zip(parts, tagged, strict=True)
        return [entity for part, found in pairs for entity in entities_of(text, part, found.above(threshold))]

    def tag_sentences(self, sentences: Iterable[Sentence]) -> Iterator[tuple[Sentence, list[str]]]:
        """(sentence, tags) in order and in constant memory: some hundred at a time, but never a document in two parts."""
        number, chunk = Numbering(), list[tuple[Sentence, int]]()
        for sentence in sentences:
            at = number(sentence)
            if len(chunk) >= CHUNK and at != chunk[-1][1]:
                yield from self._tag_chunk(chunk)
                chunk = []
            chunk.append((sentence, at))
        yield from self._tag_chunk(chunk)

    def _tag_chunk(self, chunk: Sequence[tuple[Sentence, int]]) -> Iterator[tuple[Sentence, list[str]]]:
        given = [sentence for sentence, _ in chunk]
        tags = self.tag([sentence.words for sentence in given], [number + 1 for _, number in chunk])
        yield from zip(given, tags, strict=True)

    def _found(self, given: _Pieces) -> Iterator[tuple[Batch, Found]]:
        """Batches of sentences of like lengths, or of whole documents, on the device, with what is found in each."""
        self._attach(word for sentence in given.words for word in sentence)
        pairs = zip(given.words, given.numbers, strict=True)
        sentences = [Sentence(tuple(words), document=number) for words, number in pairs]
        encoded = encode(sentences, self.indexer, self.config, labels=False)
        for batch in SentenceBatches(encoded, BATCH, shuffle=False, most=MOST_TOKENS).plan(0):
            batch = move(batch, self.device)
            with precision(self.config.precision, self.device):  # the one that it was tested in
                found = find_entities(self.model, self.indexer.labels, batch)
            yield batch, found

    def _attach(self, words: Iterable[str]) -> None:
        """Look up the vectors of words that training did not see; forget them where they have become many."""
        if self.vectors is None:
            return
        table = self.model.words
        if len(table.extra) > MOST_ATTACHED:
            for _ in range(len(self.indexer.words) - self._trained_words):
                self.indexer.words.popitem()  # the newest
            table.extra = table.extra[:0]
        attach_unseen(table, self.indexer, self.vectors, words)


class _Pieces:
    """Sentences with the numbers of their documents, the longest cut: each piece is tagged as a sentence."""

    def __init__(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None) -> None:
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


def _whole_rows(layer: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """Rows (N, K) made a multiple of four in number by rows of zeros.

    MKL rounds the rows that are left over in another way, and differently by threads: now a sentence gets the same bits
    in any batch, whatever is read with it.
    """
    (x,) = inputs
    return nn.functional.pad(x, (0, 0, 0, -len(x) % FEWEST_ROWS))


def entities_of(text: str, tokens: Sequence[Token], found: Tagged) -> Iterator[Entity]:
    """The entities of one sentence's tokens, with their offsets in ``text``."""
    for span, confidence in zip(found.spans, found.confidences, strict=True):
        start, end = tokens[span.start].start, tokens[span.end - 1].end
        yield Entity(span.type, start, end, text[start:end], confidence)
