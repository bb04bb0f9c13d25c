"""Word vectors trained from scratch: text, vocabulary, models, vector files.

The public names are imported when they are first used: ``from word2vec import WordVectors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.lazy import lazily

if TYPE_CHECKING:
    from word2vec.config import Word2VecConfig
    from word2vec.model.word2vec import RowSGD, Word2Vec
    from word2vec.text.batches import TextBatches
    from word2vec.text.corpus import Corpus, encode
    from word2vec.text.tokenize import TextRule, sentences, tokenize
    from word2vec.text.vocab import Vocab
    from word2vec.train import train_word2vec
    from word2vec.vectors.evaluate import evaluate, read_set
    from word2vec.vectors.vectors import WordVectors

__all__ = [
    "Corpus",
    "RowSGD",
    "TextBatches",
    "TextRule",
    "Vocab",
    "Word2Vec",
    "Word2VecConfig",
    "WordVectors",
    "encode",
    "evaluate",
    "read_set",
    "sentences",
    "tokenize",
    "train_word2vec",
]

_HOMES = {
    "Corpus": "word2vec.text.corpus",
    "encode": "word2vec.text.corpus",
    "evaluate": "word2vec.vectors.evaluate",
    "read_set": "word2vec.vectors.evaluate",
    "RowSGD": "word2vec.model.word2vec",
    "sentences": "word2vec.text.tokenize",
    "TextBatches": "word2vec.text.batches",
    "TextRule": "word2vec.text.tokenize",
    "tokenize": "word2vec.text.tokenize",
    "train_word2vec": "word2vec.train",
    "Vocab": "word2vec.text.vocab",
    "Word2Vec": "word2vec.model.word2vec",
    "Word2VecConfig": "word2vec.config",
    "WordVectors": "word2vec.vectors.vectors",
}

if not TYPE_CHECKING:  # else a name that is not there would be one of any type
    __getattr__, __dir__ = lazily(__name__, _HOMES)
