"""The words of a language model as ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import DataError
from word2vec.text.tokenize import TextRule

END, UNK = 0, 1
FIRST = 2  # the first id that stands for a word of its own
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LanguageWords:
    """The vocabulary of a language model, which differs from the tagger's: word, in the form of ``rule``, ↔ id from 2 on.

    Args:
        words: in order of id, the most frequent first; 0 is the end of a sentence on either side, 1 any other word.
        rule: the form in which words are looked up.

    Example:
        >>> from ner.inputs.language_words import LanguageWords
        >>> from word2vec.text.tokenize import TextRule
        >>> known = LanguageWords(("the", "Oslo", "0000"), TextRule(digits="zero"))
        >>> known.encode(["The", "OSLO", "1996", "fog"]).tolist()
        [2, 3, 4, 1]
    """

    words: tuple[str, ...]
    rule: TextRule

    def __len__(self) -> int:
        """Rows of a word table: end and unknown word included."""
        return FIRST + len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, FIRST)}

    def encode(self, words: Sequence[str]) -> Ids:
        """Ids (W,) of raw words: of each as it stands, else lower-cased or capitalized; UNK for unknown ones."""
        return np.array([self._find(self.rule.word(word)) for word in words], dtype=np.int64)

    def _find(self, word: str) -> int:
        ids = self._ids
        return next((ids[form] for form in (word, word.lower(), word.capitalize()) if form in ids), UNK)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"words": list(self.words), "rule": self.rule.to_dict()}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> LanguageWords:
        """Undo ``to_dict``; DataError (beginning with ``where``) if the values are not of that form."""
        if not isinstance(values, Mapping) or set(values) != {"words", "rule"} or not isinstance(values["rule"], Mapping):
            raise DataError(f"{where}: expected words and a text rule, got something else")
        words = values["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or len({*words}) != len(words):
            raise DataError(f"{where}: expected words to be a list of different strings, got something else")
        return cls(tuple(words), TextRule.from_dict(values["rule"], where))
