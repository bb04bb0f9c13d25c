"""The settings of train-lm."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import COMMON, DATA, DETERMINISM, MODEL, TRAINING, VECTORS, TrainConfig, option
from training.errors import ConfigError

KIND = "lm"  # of a run that trains a language model
LARGEST_SIZE = 1 << 16
SMALLEST_PROJECTION = 16  # of which the last cluster of the adaptive softmax has one number
LARGEST_BATCH = 1 << 20


@dataclass(frozen=True)
class LanguageModelConfig(TrainConfig):
    """The settings of ``train-lm``, a field for each option.

    Raises:
        ConfigError: an invalid value, or fields that contradict each other.

    Example:
        >>> from ner.lm.config import LanguageModelConfig
        >>> config = LanguageModelConfig(max_epochs=2)
        >>> config.dim, config.hidden_size, config.projection_dim
        (100, 512, 128)
        >>> LanguageModelConfig.from_dict(config.to_dict()) == config
        True
    """

    corpus: tuple[str, ...] = option(
        ("data/sample/text.txt",),
        "Text to read: plain, gz, bz2 or xz. May be repeated.",
        section=COMMON,
        no_path=(),
    )
    tokenize: bool = option(
        True,
        "Tokenize raw prose into words and sentences, or split words at white space.",
        section=DATA,
        off="pretokenized",
    )
    lowercase: bool = option(False, "Lower-case the text, or keep its case.", section=DATA, off="cased")
    digits: str = option("zero", "Keep digits, or write each as 0.", section=DATA, choices=("keep", "zero"))
    min_count: int = option(3, "Read words that occur fewer times than this as unknown.", section=DATA, least=1)
    max_vocab: int | None = option(
        None, "Read all but this many words, the most frequent ones, as unknown.", section=DATA, least=2
    )
    max_length: int = option(64, "Cut longer sentences into pieces of at most this many words.", section=DATA, least=1)
    valid_every: int = option(
        200, "Hold out every Nth piece of the text, to compute its perplexity after each epoch.", section=DATA, least=2
    )

    vectors: str = option(
        "none",
        "Initial word vectors, which are trained further: a file, a train-w2v run, or none.",
        section=VECTORS,
        no_path=("none",),
    )
    dim: int = option(
        100, "Size of random word vectors, used where none are given.", section=MODEL, least=1, most=LARGEST_SIZE
    )
    hidden_size: int = option(512, "Units of the BiLSTM in each direction.", section=MODEL, least=1, most=LARGEST_SIZE)
    projection_dim: int = option(
        128,
        "Size that a state is projected to before the softmax.",
        section=MODEL,
        least=SMALLEST_PROJECTION,
        most=LARGEST_SIZE,
    )
    dropout: float = option(0.1, "Dropout before and after the BiLSTM.", section=MODEL, least=0, below=1)

    max_epochs: int = option(3, "Pass over the text this many times.", section=COMMON, flag="epochs", least=1)
    lr: float = option(1e-3, "Learning rate of Adam at the start; it falls linearly to 0.", section=COMMON, above=0)
    batch_words: int = option(2500, "Number of words in a batch, about.", section=COMMON, least=1, most=LARGEST_BATCH)
    gradient_clip_val: float = option(
        1.0, "Clip gradients to this norm or value; 0 for no clipping.", section=TRAINING, least=0
    )
    ledger_every: int = option(
        20, "Write digests to the ledger every N steps; 0 for no ledger.", section=DETERMINISM, numbers=False, least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corpus:
            raise ConfigError("corpus: expected at least one text to read, got none")
        if self.batch_words < self.max_length:
            raise ConfigError(f"batch_words: expected at least max_length, {self.max_length}, got {self.batch_words}")
