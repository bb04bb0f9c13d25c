"""The settings of train-w2v."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import COMMON, DATA, DETERMINISM, MODEL, RUN, TRAINING, TrainConfig, option
from training.errors import ConfigError

KIND = "w2v"  # of a run that trains word vectors
KEPT = "tokenize", "lowercase", "digits", "architecture", "loss", "dim"
"""What a run's vocabulary and tables were made for: with ``start_from`` these are the start's."""
LARGEST_BLOCK = 512
LARGEST_WINDOW = 100
LARGEST_SIZE = 1 << 16
LARGEST_BATCH = 1 << 14  # sums over the positions of a batch stay below what torch splits between threads


@dataclass(frozen=True)
class Word2VecConfig(TrainConfig):
    """The settings of ``train-w2v``, a field for each option. The defaults suit the sample; docs/vectors.md has more.

    Raises:
        ConfigError: an invalid value, or fields that contradict each other.

    Example:
        >>> from word2vec import Word2VecConfig
        >>> config = Word2VecConfig(architecture="cbow", max_epochs=3)
        >>> config.dim, config.window, config.negative
        (100, 5, 5)
        >>> Word2VecConfig.from_dict(config.to_dict()) == config
        True
    """

    corpus: tuple[str, ...] = option(
        ("data/sample/text.txt",),
        "Text to read: plain, gz, bz2 or xz; - for standard input (verify cannot repeat such a run). May be repeated.",
        section=COMMON,
        no_path=("-",),
    )
    tokenize: bool = option(
        True,
        "Tokenize raw prose into words and sentences, or split words at white space.",
        section=DATA,
        off="pretokenized",
    )
    lowercase: bool = option(False, "Lower-case the text, or keep its case.", section=DATA, off="cased")
    digits: str = option("keep", "Keep digits, or write each as 0.", section=DATA, choices=("keep", "zero"))
    min_count: int = option(2, "Leave out words that occur fewer times than this.", section=DATA, least=1)
    max_vocab: int | None = option(None, "Keep only this many words, the most frequent ones.", section=DATA, least=2)

    start_from: str = option(
        "",
        "Train the vectors of this finished run further on more text: its words start with them, and new words join.",
        section=MODEL,
        no_path=(),
    )
    architecture: str = option(
        "skipgram", "Architecture of Mikolov et al. (2013a).", section=MODEL, choices=("skipgram", "cbow")
    )
    loss: str = option(
        "negative",
        "Loss: negative sampling, the full softmax, or the hierarchical softmax over a Huffman tree.",
        section=MODEL,
        choices=("negative", "softmax", "hierarchical"),
    )
    shards: int = option(
        1,
        "Cut vectors into this many shards, a power of two: any number of processes that divides it gives the same bits.",
        section=TRAINING,
        least=1,
        most=1024,
    )
    dim: int = option(100, "Size of the word vectors.", section=COMMON, least=1, most=LARGEST_SIZE)
    window: int = option(
        5,
        "Use at most this many words on either side; each word's window is drawn from 1 to this.",
        section=MODEL,
        least=1,
        most=LARGEST_WINDOW,
    )
    negative: int = option(5, "The noise counts as this many words a prediction.", section=MODEL, least=1, most=LARGEST_SIZE)
    noise_exponent: float = option(
        0.75, "Draw noise words in proportion to their count to this power.", section=MODEL, least=-10, most=10
    )
    sample: float = option(
        1e-3, "Drop occurrences of words that make up more than this share of the text; 0 keeps all.", section=MODEL, least=0
    )
    cbow_gradient: str = option(
        "word2vec.c",
        "Give each word of a CBOW window the whole gradient of their mean, or its share (try 3 times the --lr).",
        section=MODEL,
        choices=("word2vec.c", "corrected"),
    )

    max_epochs: int = option(10, "Pass over the text this many times.", section=COMMON, flag="epochs", least=1)
    lr: float = option(0.05, "Learning rate at the start; it falls linearly to 0.", section=COMMON, above=0)
    batch_words: int = option(
        4096, "Train on about this many words in a step, after subsampling.", section=TRAINING, least=1, most=LARGEST_BATCH
    )
    streams: int = option(
        64, "Number of places in the text that the words of a step come from.", section=TRAINING, least=1, most=LARGEST_BATCH
    )
    noise_words: int = option(
        64,
        "Size of the groups in which each word takes the others as noise, weighted to count as --negative.",
        section=TRAINING,
        least=1,
        most=LARGEST_BLOCK,
    )
    block: int = option(
        8,
        "Compute the windows of this many neighboring words together; must divide --noise-words.",
        section=TRAINING,
        least=1,
    )
    damping: float = option(
        0.05,
        "How strongly to damp the updates of words that occur often in a step, 0 to 1; 0 for none.",
        section=TRAINING,
        least=0,
        most=1,
    )
    probes: tuple[str, ...] = option(
        (),
        "Word whose nearest neighbors are logged. May be repeated; without any, some frequent words are used.",
        section=RUN,
    )
    evaluate: tuple[str, ...] = option(
        (), "Set of word similarities or analogies to score after each epoch. May be repeated.", section=RUN, no_path=()
    )
    ledger_every: int = option(
        20,
        "Write digests to the ledger every N steps; 0 for no ledger.",
        section=DETERMINISM,
        numbers=False,
        least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards > self.dim:
            raise ConfigError(f"shards: expected at most as many as vectors have numbers, {self.dim}, got {self.shards}")
        if self.noise_words % self.block:
            raise ConfigError(f"block: expected a divisor of noise_words, {self.noise_words}, got {self.block}")
        if self.loss == "negative" and self.noise_words < 2:
            raise ConfigError("noise_words: expected 2 or more, as the words of a group are each other's noise, got 1")
        if not self.corpus:
            raise ConfigError("corpus: expected at least one text to read, got none")
        if self.corpus.count("-") > 1:
            raise ConfigError("corpus: expected stdin (-) at most once; it can be read only once")
        if self.accumulate_grad_batches != 1 or self.gradient_clip_val != 0.0:
            raise ConfigError("word2vec makes its own steps: leave accumulate_grad_batches at 1, gradient_clip_val at 0")
        if self.precision != "32-true":
            raise ConfigError(f"precision: word2vec computes in 32-true, got {self.precision}")

    @property
    def batch_multiple(self) -> int:
        """What a batch's positions are padded up to a multiple of.

        Whole groups of noise words; with CBOW's groups about a 32nd of a batch, so that most batches are of one size and
        what depends on that alone is worked out once.
        """
        if self.architecture == "cbow" and self.loss == "negative":
            return self.noise_words * max(1, self.batch_words // (32 * self.noise_words))
        return self.noise_words
