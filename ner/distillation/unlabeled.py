"""Text without tags, as sentences to learn from: read and cut as predict reads and cuts it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ner.config import TaggerConfig
from ner.corpus.conll import Columns, Sentence
from ner.corpus.dataset import Dataset
from ner.tagging.readers import Passage, opened, read_as, read_passages, texts_of
from training.errors import DataError
from training.run.inputs import Inputs
from training.visible import counted


@dataclass(frozen=True)
class Unlabeled:
    """Sentences without tags, in order, with the numbers of their documents; all their words are O.

    ``whole`` says whether they are all that the files have; ``empty`` names those, of the files that were read, that have
    none.
    """

    sentences: list[Sentence]
    whole: bool
    empty: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = counted(sum(len(sentence.words) for sentence in self.sentences), "word")
        rest = "" if self.whole else "; the rest is not read, because no epoch needs it"
        return f"{counted(len(self.sentences), 'sentence')}, {words}{rest}"


def read_unlabeled(config: TaggerConfig, inputs: Inputs, labeled: int) -> Unlabeled:
    """The sentences of the settings' texts, as many of them as the epochs have use for.

    Args:
        config: with paths that lead from here.
        inputs: gets the files, before they are read.
        labeled: the number of training sentences.

    Raises:
        DataError: with file:line, for what cannot be read; where there is no sentence.
    """
    files = [file for source in config.unlabeled for file in texts_of(source)]
    for number, file in enumerate(files, 1):
        inputs.add("unlabeled" if number == 1 else f"unlabeled {number}", file)
    most = math.ceil(config.unlabeled_share * labeled * config.max_epochs) if config.max_epochs > 0 else math.inf
    found: list[Sentence] = []
    whole = True
    for sentence in _sentences(files, Columns.asked(config.word_column, config.tag_column)):
        if len(found) >= most and sentence.document != found[-1].document:
            whole = False
            break
        found.append(sentence)
    if files and not found:
        raise DataError(f"{files[0]}: expected text to learn from, got no sentence")
    filled = {sentence.path for sentence in found}
    last = len(files) if whole else max(number for number, file in enumerate(files) if file in filled)
    return Unlabeled(found, whole, tuple(file for file in files[:last] if file not in filled))


def _sentences(files: Sequence[str], columns: Columns) -> Iterator[Sentence]:
    """The sentences of the files; each passage, or what a CoNLL file has as one, is a document of its own."""
    before = 0  # documents of the files that are read
    for file in files:
        last = 0
        with opened(file) as lines:
            form, here, _ = read_as(lines, "auto", columns)
            for passage in read_passages(lines, form, here):
                last = passage.document or last + 1
                for sentence in _of_passage(passage):
                    yield replace(sentence, document=before + last)
        before += last


def _of_passage(passage: Passage) -> Iterator[Sentence]:
    if passage.rows is not None and passage.rows.is_docstart:
        return
    path, _, line = passage.where.rpartition(":")
    for tokens in passage.sentences:
        words = tuple(token.text for token in tokens)
        if words:
            at = passage.rows.lines if passage.rows is not None else (int(line),) * len(words)
            yield Sentence(words, ("O",) * len(words), int(line), path, lines=at)


def with_unlabeled(dataset: Dataset, unlabeled: Unlabeled) -> Dataset:
    """The data with these sentences behind the training sentences, as documents of their own."""
    after = max((sentence.document for sentence in dataset.train), default=0)
    behind = [replace(sentence, document=after + sentence.document) for sentence in unlabeled.sentences]
    return replace(dataset, train=[*dataset.train, *behind]) if behind else dataset
