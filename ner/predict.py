"""Using a trained tagger: words → tags, text → entities with their offsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ner.batches import Plan, SentenceBatches
from ner.config import TaggerConfig
from ner.conll import Columns, Sentence
from ner.data import encode
from ner.embeddings import attach_unseen
from ner.indexer import Indexer
from ner.model import Tagger
from ner.scheme import allowed_transitions, to_spans
from training import checkpoint
from training.device import choose_device, move
from training.errors import DataError
from training.files import sha256_file
from training.run import read_manifest
from word2vec.text import Token, sentences, tokenize
from word2vec.vectors import WordVectors

CHUNK = 512  # sentences that are sorted by length and tagged together


@dataclass(frozen=True)
class Entity:
    """A span of the text, characters ``start`` (included) to ``end`` (excluded)."""

    type: str
    start: int
    end: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"type": self.type, "start": self.start, "end": self.end, "text": self.text}


class TrainedTagger:
    """A tagger from a run's folder. ``TrainedTagger.load("runs/ner/version_0").entities("Ada met Bo in Rome.")``"""

    def __init__(
        self, config: TaggerConfig, model: Tagger, indexer: Indexer, vectors: WordVectors | None, device: str
    ) -> None:
        self.config, self.indexer, self.vectors = config, indexer, vectors
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self._asked: set[str] = set()

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu") -> TrainedTagger:
        """Read a finished run. DataError where it is none, or its word vectors' file is gone or has changed."""
        folder = Path(run)
        described = read_manifest(folder)
        if described.get("kind") != "ner":
            raise DataError(f"{folder}: expected a tagger's run, got one of kind {described.get('kind')}")
        if described["status"] != "finished":
            raise DataError(f"{folder}: expected a finished run, got one that is {described['status']}; resume it first")
        config = TaggerConfig.load(folder / "config.json")
        indexer = Indexer.load(folder / "indexer.json")
        weights = checkpoint.load(folder / "checkpoints" / "model.ckpt")["weights"]
        matrix = torch.zeros_like(weights["model.words.weight"])
        allowed = allowed_transitions(indexer.labels, indexer.scheme)
        model = Tagger(config, matrix, indexer.num_characters, len(indexer.labels), allowed)
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        vectors = _vectors(described["inputs"].get("vectors")) if config.unseen_vectors else None
        return cls(config, model, indexer, vectors, device)

    @torch.no_grad()
    def tag(self, words: Sequence[Sequence[str]]) -> list[list[str]]:
        """The tags of each sentence, given as its words; an empty sentence has none."""
        self._attach(word for sentence in words for word in sentence)
        given = [Sentence(tuple(sentence)) for sentence in words]
        encoded = encode(given, self.indexer, characters=self.config.characters != "none", labels=False)
        plan: Plan = SentenceBatches(encoded, self.config.batch_size, shuffle=False).plan(0)
        tags: list[list[str]] = [[] for _ in given]
        for cpu_batch in plan:
            batch = move(cpu_batch, self.device)
            labels = self.model.decode(self.model(batch), batch).cpu()
            for number, part in zip(
                cpu_batch.sentences.tolist(), torch.split(labels, cpu_batch.lengths.tolist()), strict=True
            ):
                tags[number] = self.indexer.decode(part.tolist())
        return tags

    def tag_stream(self, words: Iterable[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[str]]]:
        """(words, tags) sentence by sentence, in order, in constant memory."""
        chunk: list[Sequence[str]] = []
        for sentence in words:
            chunk.append(sentence)
            if len(chunk) == CHUNK:
                yield from zip(chunk, self.tag(chunk), strict=True)
                chunk = []
        yield from zip(chunk, self.tag(chunk), strict=True)

    @property
    def columns(self) -> Columns:
        """Where the training files have words and tags."""
        return Columns(self.config.word_column, self.config.tag_column)

    def tagged_sentences(self, text: str) -> list[tuple[list[str], list[str]]]:
        """(words, tags) of each sentence of raw text."""
        parts = [[token.text for token in part] for part in sentences(tokenize(text))]
        return list(zip(parts, self.tag(parts), strict=True))

    def entities(self, text: str) -> list[Entity]:
        """The entities of raw text, which is tokenized and split into sentences; offsets are into ``text``."""
        parts = sentences(tokenize(text))
        tags = self.tag([[token.text for token in part] for part in parts])
        return [entity for part, row in zip(parts, tags, strict=True) for entity in _entities(text, part, row)]

    def _attach(self, words: Iterable[str]) -> None:
        """Look up words that were not met before."""
        if self.vectors is None:
            return
        new = [word for word in dict.fromkeys(words) if word not in self._asked]
        self._asked.update(new)
        attach_unseen(self.model.words, self.indexer, self.vectors, new)


def _entities(text: str, tokens: Sequence[Token], tags: Sequence[str]) -> Iterator[Entity]:
    for span in to_spans(tags):
        start, end = tokens[span.start].start, tokens[span.end - 1].end
        yield Entity(span.type, start, end, text[start:end])


def _vectors(described: dict[str, Any] | None) -> WordVectors | None:
    """The vectors that the tagger was trained with; None where it had none."""
    if described is None:
        return None
    path = Path(described["path"])
    if not path.is_file():
        raise DataError(
            f"{path}: the tagger was trained with these word vectors and looks unseen words up in them; put them back"
        )
    if sha256_file(path) != described["sha256"]:
        raise DataError(f"{path}: the tagger was trained with other word vectors (SHA-256 {described['sha256'][:12]}…)")
    return WordVectors.load(path)
