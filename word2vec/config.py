"""The settings of train-w2v."""

from __future__ import annotations

from dataclasses import dataclass

from training.config import TrainConfig, option
from training.errors import ConfigError

LARGEST_BLOCK = 512
LARGEST_WINDOW = 100
LARGEST_SIZE = 1 << 16
LARGEST_BATCH = 1 << 14  # sums over the positions of a batch stay below what torch splits between threads


@dataclass(frozen=True)
class Word2VecConfig(TrainConfig):
    """What ``train-w2v`` can be told. The defaults suit the sample text; for tens of millions see docs/vectors.md."""

    corpus: tuple[str, ...] = option(
        ("data/sample/text.txt",), "text to read, repeatable: plain, gz, bz2, xz; - is stdin", no_path=("-",)
    )
    tokenize: bool = option(True, "split raw prose into words and sentences; off: words are separated by white space")
    lowercase: bool = option(False, "train on lower-cased words")
    digits: str = option("keep", "write digits as they are, or each as 0", choices=("keep", "zero"))
    min_count: int = option(2, "leave out words seen less often than this", least=1)
    max_vocab: int | None = option(None, "keep at most so many words, the most frequent ones", least=2)

    architecture: str = option("skipgram", "the model of Mikolov et al. 2013a", choices=("skipgram", "cbow"))
    loss: str = option(
        "negative", "negative sampling, the full softmax, or a Huffman tree", choices=("negative", "softmax", "hierarchical")
    )
    dim: int = option(100, "numbers in a word's vector", least=1, most=LARGEST_SIZE)
    window: int = option(
        5, "words on either side at most; each word's window is drawn from 1 to this", least=1, most=LARGEST_WINDOW
    )
    negative: int = option(5, "noise words for each word that is predicted", least=1, most=LARGEST_SIZE)
    noise_exponent: float = option(0.75, "noise words are drawn by count to this power", least=-10, most=10)
    sample: float = option(1e-3, "drop occurrences of words with a larger share of the text than this; 0 keeps all", least=0)
    cbow_gradient: str = option(
        "word2vec.c",
        "the gradient of CBOW's mean goes to each word whole, as in word2vec.c, or divided, which wants some 3 times the lr",
        choices=("word2vec.c", "corrected"),
    )

    max_epochs: int = option(10, "passes over the text", flag="epochs", least=1)
    lr: float = option(0.05, "learning rate, falling to 0 in a straight line", above=0)
    batch_words: int = option(
        4096, "about how many words, after subsampling, are trained on in one step", least=1, most=LARGEST_BATCH
    )
    streams: int = option(64, "places of the text that the words of a step come from", least=1, most=LARGEST_BATCH)
    noise_words: int = option(
        64, "so many words of a step are each other's noise, weighted to stand for --negative", least=1, most=LARGEST_BLOCK
    )
    block: int = option(8, "neighboring words whose windows are computed together; divides noise-words", least=1)
    damping: float = option(
        0.05, "how much words that occur often in a step are held back; 0 for not at all", least=0, most=1
    )
    probes: tuple[str, ...] = option((), "words whose nearest neighbors are logged; without any, some frequent ones")
    evaluate: tuple[str, ...] = option(
        (), "sets to score after each epoch, repeatable: word similarities or analogies", no_path=()
    )
    ledger_every: int = option(
        20, "write every so many steps' digests to the ledger; 0 for no ledger", numbers=False, least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_words % self.block:
            raise ConfigError(f"block: expected a divisor of noise_words, {self.noise_words}, got {self.block}")
        if self.loss == "negative" and self.noise_words < 2:
            raise ConfigError("noise_words: expected 2 or more, as the words of a group are each other's noise, got 1")
        if not self.corpus:
            raise ConfigError("corpus: expected at least one text to read, got none")
        if self.corpus.count("-") > 1:
            raise ConfigError("corpus: expected stdin (-) once at most; it can be read only once")
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
