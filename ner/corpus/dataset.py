"""The three splits, read and checked, in the model's scheme."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ner.config import TaggerConfig
from ner.corpus.alignment import SpanRules
from ner.corpus.conll import Columns, Sentence, to_scheme
from ner.corpus.labeled import Labeled, read_labeled
from ner.corpus.scheme import detect, to_spans
from ner.corpus.splits import Splits, find_splits
from ner.corpus.unknown_types import NONE, UnknownTypes, unknown_types, without_unknown_types
from training.errors import DataError
from training.visible import listed


@dataclass(frozen=True)
class Dataset:
    """Sentences of the splits, with tags in the model's scheme, and where they came from."""

    train: list[Sentence]
    valid: list[Sentence]
    test: list[Sentence]
    paths: Splits
    source_scheme: str
    repaired: int
    unknown_types: UnknownTypes = NONE
    """Entities of valid and test that were read as O, since training has none of their types."""
    notes: tuple[str, ...] = ()  # lines on how the files were read


def split_paths(config: TaggerConfig) -> Splits:
    """The three files that the settings name."""
    if config.train:
        return Splits(Path(config.train), Path(config.valid), Path(config.test))
    return find_splits(config.data)


def read_dataset(config: TaggerConfig, types: Collection[str] = ()) -> Dataset:
    """Read, check and convert the splits. The scheme is the training split's; DataError (file:line) for what breaks it.

    ``types``: those that the model knows already; valid and test may have them, too.
    """
    paths = split_paths(config)
    columns = Columns.asked(config.word_column, config.tag_column)
    rules = SpanRules(config.misaligned, config.overlapping)
    read = [read_labeled(path, columns=columns, docstart=config.docstart, rules=rules) for path in paths]
    for path, each in zip(paths, read, strict=True):
        if not any(not sentence.is_docstart for sentence in each.sentences):
            raise DataError(f"{path}: expected sentences, got only -DOCSTART- rows")
    source = next((scheme_of(each) for each in read if each.scheme is None), None)
    converted = [to_scheme(each.sentences, config.scheme, source=each.scheme or source, mend=config.repair) for each in read]
    train, valid, test = (sentences for sentences, _ in converted)
    known = {*types, *(span.type for sentence in train for span in to_spans(sentence.tags))}
    unknown = unknown_types([*valid, *test], known)
    if unknown and config.unknown_types == "error":
        _refuse(unknown, known)
    valid, test = (without_unknown_types(each, known, config.scheme) if unknown else each for each in (valid, test))
    repaired = sum(count for _, count in converted)
    notes = tuple(f"{path}: {line}" for path, each in zip(paths, read, strict=True) for line in each.lines())
    return Dataset(train, valid, test, paths, read[0].scheme or source or "", repaired, unknown, notes)


def scheme_of(labeled: Labeled) -> str:
    """The scheme of a file's tags: that in which they were made of spans, or the one that fits them best."""
    return labeled.scheme or detect(sentence.tags for sentence in labeled.sentences).scheme


def _refuse(unknown: UnknownTypes, known: Collection[str]) -> None:
    """DataError that names the types of the other splits that training does not have, how often and where, and a remedy."""
    types = listed(sorted(known), 20) or "(none)"
    raise DataError(
        f"{unknown.place}: expected O or a tag of a type that the training data has ({types}), got entities of "
        f"others: {unknown}; put such sentences into the training file, too, or write O or one of its types, "
        "or have them read as O with --unknown-types ignore"
    )
