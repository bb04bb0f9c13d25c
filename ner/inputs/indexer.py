"""Words, characters and tags as ids.

Ids 0 and 1 of words and characters are PAD and UNK; labels have neither. The tables are made of the training sentences
alone, so that nothing of the other splits is known in training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ner.corpus.conll import Sentence
from ner.corpus.scheme import labels_of, parse_tag, scheme_named, to_spans
from ner.inputs.language_words import LanguageWords
from training.errors import ConfigError, DataError
from training.files import atomic_write, parse_json
from training.visible import shortened
from word2vec.text.tokenize import TextRule

PAD, UNK = 0, 1
FIRST = 2  # the first id that stands for a word or character of its own
SPELLED = 64  # an encoded file may stand in a text as one word of a megabyte; the longest of CoNLL-2003 has 61 characters
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Indexer:
    """word ↔ id, character ↔ id, label ↔ id. It is not changed once it is built.

    Words are looked up in the form that ``rule`` gives them (as the word vectors are), characters as they are written.

    Args:
        words: word, in the rule's form, → id from 2 on, in order of id; 0 is padding, 1 any other word.
        characters: character → id from 2 on, in order of id.
        labels: ``labels[i]`` is the tag of id i.
        scheme: that of the labels, as IOBES.
        rule: the form in which words are looked up.
        lm: the words of the language model whose states the tagger reads; None where there is none.

    Example:
        >>> from ner import Indexer
        >>> from ner.corpus.conll import Sentence
        >>> from word2vec.text.tokenize import TextRule
        >>> train = [Sentence(("Ada", "met", "Bo"), ("S-PER", "O", "S-PER"))]
        >>> indexer = Indexer.build(train, TextRule(tokenize=False))
        >>> indexer.labels
        ('O', 'B-PER', 'I-PER', 'E-PER', 'S-PER')
        >>> indexer.encode(["Bo", "Ada", "ran"]).tolist()
        [3, 2, 1]
        >>> indexer.decode(indexer.encode_labels(train[0]))
        ['S-PER', 'O', 'S-PER']
    """

    words: dict[str, int]
    characters: dict[str, int]
    labels: tuple[str, ...]
    scheme: str
    rule: TextRule
    lm: LanguageWords | None = None

    @cached_property
    def _label_ids(self) -> dict[str, int]:
        return {label: i for i, label in enumerate(self.labels)}

    @classmethod
    def build(cls, sentences: Iterable[Sentence], rule: TextRule, scheme: str = "IOBES", min_count: int = 1) -> Indexer:
        """The tables of the training sentences.

        Words and characters are ordered by (-count, itself). Labels are O, then every tag that the scheme can write for
        each type, types by (-count, name): also those that no training sentence has.

        Args:
            sentences: with tags that are well formed in ``scheme``.
            rule: the form in which words are looked up.
            scheme: IOBES, IOB2 or another of ner.corpus.scheme.
            min_count: a word that occurs less often has no id of its own.

        Raises:
            ConfigError: ``min_count`` below 1, or an unknown scheme.
        """
        if min_count < 1:
            raise ConfigError(f"min_count: expected 1 or more, got {min_count}")
        raw: Counter[str] = Counter()
        types: Counter[str] = Counter()
        for sentence in sentences:
            raw.update(sentence.words)
            types.update(span.type for span in to_spans(sentence.tags))
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        for token, count in raw.items():
            words[rule.word(token)] += count
            for character in token:
                characters[character] += count
        return cls(
            words=_table(word for word in _ordered(words) if words[word] >= min_count),
            characters=_table(_ordered(characters)),
            labels=tuple(labels_of(_ordered(types), scheme_named(scheme))),
            scheme=scheme_named(scheme),
            rule=rule,
        )

    @property
    def num_words(self) -> int:
        """Rows of a word embedding matrix: PAD and UNK included."""
        return FIRST + len(self.words)

    @property
    def num_characters(self) -> int:
        """Rows of a character embedding matrix: PAD and UNK included."""
        return FIRST + len(self.characters)

    @property
    def types(self) -> list[str]:
        """The entity types, in the order of their labels."""
        return list(dict.fromkeys(kind for label in self.labels if label != "O" for kind in [parse_tag(label)[1]]))

    def with_words(self, words: Iterable[str]) -> Indexer:
        """The same with these words (in the rule's form) alone, in this order."""
        return replace(self, words=_table(words))

    def encode(self, words: Sequence[str], later: Mapping[str, int] | None = None) -> Ids:
        """Word ids (W,) of raw words, UNK for unknown ones.

        ``later``: the ids of words (in the rule's form) that were met after training (ner/vectors/unseen.py).
        """
        find, form = self.words.get, self.rule.word
        if not later:
            return np.array([find(form(word), UNK) for word in words], dtype=np.int64)
        forms = [form(word) for word in words]
        return np.array([find(each, later.get(each, UNK)) for each in forms], dtype=np.int64)

    def encode_characters(self, words: Sequence[str]) -> tuple[Ids, Ids]:
        """Character ids (C,) of raw words, one word after the other, and the words' lengths (W,).

        Of a word with more than 2 · SPELLED characters only the first and the last SPELLED are read.
        """
        find = self.characters.get
        words = [word if len(word) <= 2 * SPELLED else word[:SPELLED] + word[-SPELLED:] for word in words]
        flat = np.array([find(character, UNK) for character in "".join(words)], dtype=np.int64)
        return flat, np.array([len(word) for word in words], dtype=np.int64)

    def encode_labels(self, sentence: Sentence) -> Ids:
        """Label ids (W,) of a sentence's tags; DataError with file:line for a tag that is not among the labels."""
        try:
            return np.array([self._label_ids[tag] for tag in sentence.tags], dtype=np.int64)
        except KeyError:
            index = next(i for i, tag in enumerate(sentence.tags) if tag not in self._label_ids)
            known = ", ".join(self.types) or "(none)"
            raise DataError(
                f"{sentence.where(index)}: expected O or a {self.scheme} tag of a type that the training data has "
                f"({known}), got {sentence.tags[index]!r}"
            ) from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tags of label ids."""
        return [self.labels[i] for i in ids]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or a checkpoint, tables as lists in order of id from 2."""
        values: dict[str, Any] = {
            "words": list(self.words),
            "characters": list(self.characters),
            "labels": list(self.labels),
            "scheme": self.scheme,
            "rule": self.rule.to_dict(),
        }
        return values if self.lm is None else {**values, "lm": self.lm.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "indexer") -> Indexer:
        """Undo ``to_dict``; DataError (beginning with ``where``) if the values are not of that form."""
        lists = ("words", "characters", "labels")
        if not isinstance(values, Mapping) or {*values} - {"lm"} != {*lists, "scheme", "rule"}:
            raise DataError(f"{where}: expected words, characters, labels, scheme and rule of an indexer, got other entries")
        for name in lists:
            table = values[name]
            if not isinstance(table, list | tuple) or not all(isinstance(item, str) for item in table):
                raise DataError(f"{where}: expected {name} to be a list of strings")
            if len(set(table)) != len(table):
                raise DataError(f"{where}: expected {name} without repetition, got one twice")
        try:
            scheme = scheme_named(str(values["scheme"]))
            expected = labels_of(dict.fromkeys(parse_tag(tag)[1] for tag in values["labels"] if tag != "O"), scheme)
        except (ValueError, ConfigError) as error:
            raise DataError(f"{where}: {error}") from None
        if expected != list(values["labels"]):
            raise DataError(f"{where}: expected the labels of scheme {scheme}, got {', '.join(values['labels'])}")
        if not isinstance(values["rule"], Mapping):
            raise DataError(f"{where}: expected rule to be a text rule, got {values['rule']!r}")
        rule = TextRule.from_dict(values["rule"], where)
        lm = LanguageWords.from_dict(values["lm"], f"{where}: lm") if "lm" in values else None
        return cls(_table(values["words"]), _table(values["characters"]), tuple(values["labels"]), scheme, rule, lm)

    def save(self, path: str | Path) -> None:
        """Write JSON, whole or not at all."""
        atomic_write(path, json.dumps(self.to_dict(), ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Indexer:
        """Read what ``save`` wrote; DataError for a missing or damaged file."""
        try:
            values = parse_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: expected an indexer, cannot read it: {error.strerror}") from None
        except ValueError as error:  # bad JSON or bad UTF-8
            raise DataError(f"{path}: expected an indexer as JSON, got {shortened(str(error), 200)}") from None
        return cls.from_dict(values, str(path))


def _ordered(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda item: (-counts[item], item))


def _table(items: Iterable[str]) -> dict[str, int]:
    return {item: i for i, item in enumerate(items, FIRST)}
