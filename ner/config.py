"""The tagger's settings, and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.config import TrainConfig, option
from training.errors import ConfigError

LARGEST_SIZE = 1 << 16  # numbers for a word, a character, a unit


@dataclass(frozen=True)
class TaggerConfig(TrainConfig):
    """What ``train-ner`` can be told, an option a field. Data: either ``data``, or ``train``, ``valid`` and ``test``.

    Raises:
        ConfigError: a value that is none of its field's, or fields that do not go together.

    Example:
        >>> from ner.config import PRESETS, TaggerConfig
        >>> config = TaggerConfig(decoder="softmax", max_epochs=3)
        >>> config.hidden_size, config.reads_documents
        (128, True)
        >>> TaggerConfig(**PRESETS["lecture"]).decoder
        'softmax'
    """

    data: str = option("data/sample", "folder with the train, valid and test files, in CoNLL's columns", no_path=())
    train: str = option("", "training file; with --valid and --test instead of --data", no_path=())
    valid: str = option("", "validation file", no_path=())
    test: str = option("", "test file", no_path=())
    word_column: int = option(0, "column of the word, from 0, or from the end if negative")
    tag_column: int = option(-1, "column of the tag")
    docstart: str = option("drop", "-DOCSTART- rows: leave them out, or keep each as a sentence", choices=("drop", "keep"))
    repair: bool = option(False, "read ill-formed tags as conlleval does, instead of refusing them")
    scheme: str = option("IOBES", "scheme the model is trained in", choices=("IOBES", "IOB2"))

    vectors: str = option(
        "auto", "word vectors: a file, none, or auto for the newest finished train-w2v run", no_path=("auto", "none")
    )
    more_vectors: tuple[str, ...] = option((), "further word vectors, side by side with those, repeatable", no_path=())
    word_form: str = option(
        "vectors", "words as the vectors' text was normalized, or as they stand in the file", choices=("vectors", "raw")
    )
    unseen_vectors: bool = option(True, "at validation and later, use the vectors of words that training never saw")
    affix_vectors: bool = option(False, "give a word without a vector the mean of words that end and begin alike")
    freeze_vectors: bool = option(False, "leave the word vectors as they are")
    tune_min_count: int = option(
        1, "train the vectors of words that training has so often; rarer ones stay as they are", least=1
    )
    word_dim: int = option(100, "size of random word vectors, where none are given", least=1, most=LARGEST_SIZE)
    characters: str = option("cnn", "character encoder", choices=("none", "cnn", "lstm"))
    char_dim: int = option(30, "size of character embeddings", least=1, most=LARGEST_SIZE)
    char_hidden: int = option(
        50, "filters of the character CNN, or units of the character LSTM in all", least=1, most=LARGEST_SIZE
    )
    features_dim: int = option(
        16, "size of the embedding of spelling, place and use in the document; 0 for none", least=0, most=LARGEST_SIZE
    )
    topic_dim: int = option(
        0, "numbers that tell every token what its document is about; 0 for none", least=0, most=LARGEST_SIZE
    )
    mentions: bool = option(True, "score a word by its other mentions in the document, too")
    hidden_size: int = option(128, "units of the BiLSTM, per direction", least=1, most=LARGEST_SIZE)
    decoder: str = option("crf", "how tags are scored and chosen", choices=("softmax", "crf"))
    dropout: float = option(0.5, "dropout before and after the BiLSTM", least=0, below=1)
    word_dropout: float = option(0.0, "in training, read any word as unknown with this probability", least=0, below=1)
    unk_replace: float = option(
        0.3, "in training, read a word that occurs once as unknown with this probability", least=0, below=1
    )

    batch_size: int = option(16, "sentences a batch", least=1)
    batching: str = option("length", "sentences of like lengths together, or at random", choices=("length", "random"))
    train_f1: bool = option(True, "compute F1 of the training predictions too", numbers=False)
    shuffle_valid: bool = option(False, "validate in a random order")
    lr: float = option(2e-3, "Adam's learning rate", above=0)
    lr_schedule: str = option("linear", "how it falls, epoch by epoch", choices=("constant", "linear"))
    average: float = option(
        0.99, "validate and test a running mean of the weights that keeps this share a step; 0 for none", least=0, below=1
    )
    patience: int = option(0, "stop after so many checks without a better valid F1; 0 for never", least=0)
    test_weights: str = option("best", "the weights that are tested", choices=("best", "last"))
    max_epochs: int = option(12, "epochs to train at most; -1 for no limit", least=-1)
    gradient_clip_val: float = option(5.0, "clip gradients to this norm or value; 0 for no clipping", least=0)
    ledger_every: int = option(
        4, "write every so many steps' digests to the ledger; 0 for no ledger", numbers=False, least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any((self.train, self.valid, self.test)) and not all((self.train, self.valid, self.test)):
            given = [name for name in ("train", "valid", "test") if getattr(self, name)]
            raise ConfigError(f"expected --train, --valid and --test together, got only {', '.join(given)}")

    @property
    def reads_documents(self) -> bool:
        """Whether sentences are read together with the others of their document."""
        return self.mentions or self.topic_dim > 0


# What a preset changes of the defaults. The lecture's assumptions are listed in docs/lecture.md.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "conll2003": {
        "hidden_size": 200,
        "topic_dim": 32,
        "word_dropout": 0.05,
        "unk_replace": 0.0,
        "tune_min_count": 2,
        "batch_size": 32,
        "average": 0.999,
        "affix_vectors": True,
        "max_epochs": 10,
    },
    "lecture": {
        "docstart": "keep",
        "word_form": "raw",
        "unseen_vectors": False,
        "characters": "none",
        "features_dim": 0,
        "mentions": False,
        "decoder": "softmax",
        "hidden_size": 500,
        "dropout": 0.0,
        "unk_replace": 0.5,
        "batch_size": 128,
        "batching": "random",
        "shuffle_valid": True,
        "lr": 1e-3,
        "lr_schedule": "constant",
        "average": 0.0,
        "max_epochs": 10,
        "val_check_interval": 0.25,
        "gradient_clip_val": 0.0,
        "test_weights": "last",
        "ledger_every": 1,
    },
}
