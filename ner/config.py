"""The tagger's settings, and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.config import COMMON, DATA, DETERMINISM, MODEL, TRAINING, VECTORS, TrainConfig, option
from training.errors import ConfigError

MISALIGNED = ("error", "skip", "expand")  # spans that begin or end within a word
OVERLAPPING = ("error", "outermost", "first")  # spans that share a word
KIND = "ner"  # of a tagger's run
KEPT = (
    "scheme", "word_form", "affix_vectors", "word_dim", "characters", "char_dim", "char_hidden", "subwords", "subword_dim",
    "features_dim", "topic_dim", "mentions", "lm_place", "lm_dim", "hidden_size", "decoder",
)  # fmt: skip
"""What a tagger's weights and tables were made for: with ``start_from`` these are the start's."""
LARGEST_SIZE = 1 << 16  # numbers for a word, a character, a unit
MOST_BUCKETS = 1 << 24


@dataclass(frozen=True)
class TaggerConfig(TrainConfig):
    """The settings of ``train-ner``, a field for each option. Data: either ``data``, or ``train``, ``valid`` and ``test``.

    Raises:
        ConfigError: an invalid value, or fields that contradict each other.

    Example:
        >>> from ner.config import PRESETS, TaggerConfig
        >>> config = TaggerConfig(decoder="softmax", max_epochs=3)
        >>> config.hidden_size, config.reads_documents
        (128, True)
        >>> TaggerConfig(**PRESETS["lecture"]).decoder
        'softmax'
    """

    data: str = option(
        "data/sample",
        "Folder with the train, valid and test files: CoNLL columns, JSON or BRAT.",
        section=COMMON,
        no_path=(),
    )
    train: str = option("", "Training file; give --valid and --test, too, instead of --data.", section=DATA, no_path=())
    valid: str = option("", "Validation file.", section=DATA, no_path=())
    test: str = option("", "Test file.", section=DATA, no_path=())
    word_column: int | None = option(
        None,
        "Column of the word, counted from 0, or from the end if negative; none for the first, or the one that the content "
        "shows.",
        section=DATA,
    )
    tag_column: int | None = option(
        None,
        "Column of the tag, counted in the same way; none for the last, or the one that the content shows.",
        section=DATA,
    )
    docstart: str = option(
        "drop", "Drop -DOCSTART- rows, or keep each as a sentence.", section=DATA, choices=("drop", "keep")
    )
    repair: bool = option(False, "Read ill-formed tags as conlleval does instead of refusing them.", section=DATA)
    misaligned: str = option(
        "error",
        "Spans of characters that begin or end within a word: refuse them, leave them out, or extend them to whole words.",
        section=DATA,
        choices=MISALIGNED,
    )
    overlapping: str = option(
        "error",
        "Spans that share a word: refuse them, keep the longer one, or keep the one that begins first.",
        section=DATA,
        choices=OVERLAPPING,
    )
    unknown_types: str = option(
        "error",
        "Entities of valid and test whose types the training data does not have: refuse them, or read them as O.",
        section=DATA,
        choices=("error", "ignore"),
    )
    scheme: str = option("IOBES", "Tagging scheme that the model is trained in.", section=DATA, choices=("IOBES", "IOB2"))

    start_from: str = option(
        "",
        "Train the tagger of this finished run or bundle further on new data: its words, types and weights are kept.",
        section=MODEL,
        no_path=(),
    )
    rehearse: str = option(
        "auto",
        "With --start-from, mix this share (0 to 1) of the old training sentences into each epoch, and test on the old test "
        "sentences, too. DATA: a folder, auto for the data of the old run, or none.  [default: auto 0]",
        section=DATA,
        no_path=("auto", "none"),
        second="rehearse_share",
        metavar="DATA SHARE",
    )
    rehearse_share: float = option(0.0, "The share.", section=DATA, least=0, most=1)
    teacher: str = option(
        "",
        "Learn from the predictions of this tagger, too: a finished run, a group of runs, or a bundle of either.",
        section=MODEL,
        no_path=(),
    )
    teacher_share: float = option(
        0.5,
        "With --teacher, the weight of its prediction for a training sentence, 0 to 1; its own tags have the rest.",
        section=TRAINING,
        least=0,
        most=1,
    )
    unlabeled: tuple[str, ...] = option(
        (),
        "With --teacher, a text without tags to learn from, as predict reads it. May be repeated.",
        section=DATA,
        no_path=(),
        also="unlabelled",
    )
    unlabeled_share: float = option(
        1.0,
        "With --unlabeled, mix its sentences into each epoch: this multiple of the number of training sentences.",
        section=DATA,
        above=0,
        most=1000,
        also="unlabelled-share",
    )

    vectors: str = option(
        "auto",
        "Word vectors: a file, a train-w2v run, none, or auto: those of --start-from, otherwise of the newest finished "
        "train-w2v run.",
        section=COMMON,
        no_path=("auto", "none"),
    )
    more_vectors: tuple[str, ...] = option(
        (), "More word vectors, concatenated with those of --vectors. May be repeated.", section=VECTORS, no_path=()
    )
    word_form: str = option(
        "vectors",
        "Look words up in the normalized form of the vectors' text, or as the file spells them.",
        section=VECTORS,
        choices=("vectors", "raw"),
    )
    unseen_vectors: bool = option(
        True, "In validation, test and prediction, use the vectors of words outside the training data.", section=VECTORS
    )
    affix_vectors: bool = option(
        False, "Give a word without a vector the mean vector of words that begin and end like it.", section=VECTORS
    )
    freeze_vectors: bool = option(False, "Do not train the word vectors.", section=VECTORS)
    tune_min_count: int = option(
        1, "Train only the vectors of words that occur at least this often in the training data.", section=VECTORS, least=1
    )
    word_dim: int = option(
        100, "Size of random word vectors, used where none are given.", section=VECTORS, least=1, most=LARGEST_SIZE
    )
    characters: str = option("cnn", "Character encoder.", section=MODEL, choices=("none", "cnn", "lstm"))
    char_dim: int = option(30, "Size of character embeddings.", section=MODEL, least=1, most=LARGEST_SIZE)
    char_hidden: int = option(
        50,
        "Number of filters of the character CNN, or of units of the character LSTM, both directions together (then even).",
        section=MODEL,
        least=1,
        most=LARGEST_SIZE,
    )
    subwords: int = option(
        0,
        "Number of buckets of a word's character n-grams, whose mean vector is trained; 0 for none.",
        section=MODEL,
        least=0,
        most=MOST_BUCKETS,
    )
    subword_dim: int = option(50, "Size of a subword's vector.", section=MODEL, least=1, most=LARGEST_SIZE)
    features_dim: int = option(
        16,
        "Size of the embedding of spelling, position and use in the document; 0 for none.",
        section=MODEL,
        least=0,
        most=LARGEST_SIZE,
    )
    topic_dim: int = option(
        0,
        "Size of the topic vector that each token gets from its document; 0 for none.",
        section=MODEL,
        least=0,
        most=LARGEST_SIZE,
    )
    mentions: bool = option(True, "Use a word's other mentions in the document, too.", section=MODEL)
    lm: str = option(
        "",
        "Read the states of this language model, too: a finished run of train-lm, whose weights become part of the tagger.",
        section=MODEL,
        no_path=(),
    )
    lm_place: str = option(
        "output",
        "Where the language model's states enter: with the BiLSTM's states at the output layer, or at the BiLSTM's input.",
        section=MODEL,
        choices=("output", "input"),
    )
    lm_dim: int = option(
        128, "Size that the states of the language model are projected to.", section=MODEL, least=1, most=LARGEST_SIZE
    )
    hidden_size: int = option(128, "Units of the BiLSTM in each direction.", section=MODEL, least=1, most=LARGEST_SIZE)
    decoder: str = option(
        "crf", "Decode with a CRF, or with a softmax for each token.", section=MODEL, choices=("softmax", "crf")
    )
    dropout: float = option(0.5, "Dropout before and after the BiLSTM.", section=MODEL, least=0, below=1)
    word_dropout: float = option(
        0.0, "Probability of reading any word as unknown in training.", section=MODEL, least=0, below=1
    )
    unk_replace: float = option(
        0.3, "Probability of reading a word that occurs once as unknown in training.", section=MODEL, least=0, below=1
    )

    batch_size: int = option(
        0, "Sentences in a batch; 0 for a number that depends on the size of the training data.", section=COMMON, least=0
    )
    batching: str = option(
        "length",
        "Put sentences of similar length into a batch, or random ones.",
        section=TRAINING,
        choices=("length", "random"),
    )
    train_f1: bool = option(True, "Compute F1 on the training predictions, too.", section=TRAINING, numbers=False)
    shuffle_valid: bool = option(False, "Validate in random order.", section=TRAINING)
    lr: float = option(
        0.0, "Learning rate of Adam; 0 for one that depends on the training data and the vectors.", section=COMMON, least=0
    )
    lr_schedule: str = option(
        "linear",
        "Learning rate from epoch to epoch: constant, or falling linearly to 0.",
        section=TRAINING,
        choices=("constant", "linear"),
    )
    average: float = option(
        0.99,
        "Decay of the exponential moving average (EMA) of the weights, which is validated and tested; 0 for no average.",
        section=TRAINING,
        least=0,
        below=1,
    )
    patience: int = option(
        0, "Stop after this many validations without a better F1; 0 for never.", section=TRAINING, least=0
    )
    test_weights: str = option(
        "best",
        "Weights to test: those with the best validation F1, or the last.",
        section=TRAINING,
        choices=("best", "last"),
    )
    max_epochs: int = option(
        0,
        "Train for at most this many epochs; -1 for no limit, 0 for a number that depends on the size of the training data.",
        section=COMMON,
        least=-1,
    )
    gradient_clip_val: float = option(
        5.0, "Clip gradients to this norm or value; 0 for no clipping.", section=TRAINING, least=0
    )
    ledger_every: int = option(
        4, "Write digests to the ledger every N steps; 0 for no ledger.", section=DETERMINISM, numbers=False, least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any((self.train, self.valid, self.test)) and not all((self.train, self.valid, self.test)):
            given = [name for name in ("train", "valid", "test") if getattr(self, name)]
            raise ConfigError(f"expected --train, --valid and --test together, got only {', '.join(given)}")
        if not self.start_from and (self.rehearse != "auto" or self.rehearse_share):
            raise ConfigError(
                "rehearse: expected --start-from with it, got none; without it there is no old data to rehearse"
            )
        if self.rehearse == "none" and self.rehearse_share:
            raise ConfigError(f"rehearse: expected the share 0 with none, got {self.rehearse_share}")
        if self.unlabeled and not self.teacher:
            raise ConfigError("unlabeled: expected --teacher with it, which tags the text, got none")
        for needed, name in (("teacher", "teacher_share"), ("unlabeled", "unlabeled_share")):
            if not getattr(self, needed) and getattr(self, name) != getattr(type(self), name):
                raise ConfigError(f"{name}: expected --{needed} with it, got none")
        if self.lm and self.start_from:
            raise ConfigError(
                "lm: expected no --start-from with it, got one; the tagger that --start-from names keeps its own"
            )
        if self.teacher and self.start_from:
            raise ConfigError("teacher: expected no --start-from with it, got one; give one of the two")

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
        "lr": 2e-3,
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
