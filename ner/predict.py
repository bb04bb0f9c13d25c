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
from ner.context import Numbering
from ner.data import encode
from ner.embeddings import Views, attach_unseen
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
        self, config: TaggerConfig, model: Tagger, indexer: Indexer, vectors: Views | None, device: str
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
        rows = [weights[name] for name in ("model.words.weight", "model.words.fixed") if name in weights]
        matrix = torch.zeros_like(torch.cat(rows))
        allowed = allowed_transitions(indexer.labels, indexer.scheme)
        model = Tagger(config, matrix, indexer.num_characters, len(indexer.labels), allowed, len(rows[0]))
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        vectors = _vectors(described["inputs"], config.affix_vectors) if config.unseen_vectors else None
        return cls(config, model, indexer, vectors, device)

    @torch.no_grad()
    def tag(self, words: Sequence[Sequence[str]], numbers: Sequence[int] | None = None) -> list[list[str]]:
        """The tags of each sentence, given as its words; an empty sentence has none.

        ``numbers`` say which document each sentence is of (from 1, never falling), for a tagger that reads sentences with
        their document; 0, and no numbers at all, let each stand alone.
        """
        self._attach(word for sentence in words for word in sentence)
        numbers = [0] * len(words) if numbers is None else numbers
        given = [Sentence(tuple(sentence), document=n) for sentence, n in zip(words, numbers, strict=True)]
        encoded = encode(given, self.indexer, self.config, labels=False)
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

    @property
    def columns(self) -> Columns:
        """Where the training files have words and tags."""
        return Columns(self.config.word_column, self.config.tag_column)

    def tagged_sentences(self, text: str) -> list[tuple[list[str], list[str]]]:
        """(words, tags) of each sentence of raw text."""
        parts = [[token.text for token in part] for part in sentences(tokenize(text))]
        return list(zip(parts, self.tag(parts, [1] * len(parts)), strict=True))

    def entities(self, text: str) -> list[Entity]:
        """The entities of raw text, which is tokenized and split into sentences; offsets are into ``text``."""
        parts = sentences(tokenize(text))
        tags = self.tag([[token.text for token in part] for part in parts], [1] * len(parts))
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


def _vectors(inputs: dict[str, Any], affixes: bool) -> Views | None:
    """The vectors that the tagger was trained with, view by view; None where it had none."""
    views: list[WordVectors] = []
    while described := inputs.get(f"vectors {len(views) + 1}" if views else "vectors"):
        path = Path(described["path"])
        if not path.is_file():
            raise DataError(
                f"{path}: the tagger was trained with these word vectors and looks unseen words up in them; put them back"
            )
        if sha256_file(path) != described["sha256"]:
            raise DataError(
                f"{path}: the tagger was trained with other word vectors (SHA-256 {described['sha256'][:12]}…)"
            )
        views.append(WordVectors.load(path))
    return Views(views, affixes=affixes) if views else None
