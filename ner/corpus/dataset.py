"""The three splits, read and checked, in the model's scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner.config import TaggerConfig
from ner.corpus.conll import Columns, Sentence, read_conll, to_scheme
from ner.corpus.scheme import detect, to_spans
from ner.corpus.splits import Splits, find_splits
from training.errors import DataError
from training.visible import counted, listed


@dataclass(frozen=True)
class Dataset:
    """Sentences of the splits, with tags in the model's scheme, and where they came from."""

    train: list[Sentence]
    valid: list[Sentence]
    test: list[Sentence]
    paths: Splits
    source_scheme: str
    repaired: int


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
    columns = Columns(config.word_column, config.tag_column)
    splits = [read_conll(path, columns=columns, docstart=config.docstart) for path in paths]
    for path, sentences in zip(paths, splits, strict=True):
        if not any(not sentence.is_docstart for sentence in sentences):
            raise DataError(f"{path}: expected sentences, got only -DOCSTART- rows")
    scheme = detect(sentence.tags for sentence in splits[0]).scheme
    converted = [to_scheme(each, config.scheme, source=scheme, mend=config.repair) for each in splits]
    train, valid, test = (sentences for sentences, _ in converted)
    _check_types(train, [*valid, *test], types)
    return Dataset(train, valid, test, paths, scheme, sum(count for _, count in converted))


def _check_types(train: Sequence[Sentence], others: Sequence[Sentence], types: Collection[str]) -> None:
    """DataError that names the types of the other splits that are unknown to training, how often and where, and a remedy."""
    known = {*types, *(span.type for sentence in train for span in to_spans(sentence.tags))}
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for sentence in others:
        for span in to_spans(sentence.tags):
            if span.type not in known:
                counts[span.type] += 1
                first.setdefault(span.type, sentence.where(span.start))
    if not counts:
        return
    most = [
        f"{kind or '(no name)'} ({counted(n, 'entity', 'entities')}, first {first[kind]})"
        for kind, n in counts.most_common()
    ]
    types = listed(sorted(known), 20) or "(none)"
    raise DataError(
        f"{next(iter(first.values()))}: expected O or a tag of a type that the training data has ({types}), got entities of "
        f"others: {listed(most, 5)}; put such sentences into the training file, too, or write O or one of its types"
    )
