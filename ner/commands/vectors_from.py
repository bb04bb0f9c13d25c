"""``train-ner --vectors-from``: word vectors are trained first, on the training sentences and on text that is given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ner.config import TaggerConfig
from training.commands.door import kinds
from training.config import TrainConfig
from training.errors import ConfigError, Preempted
from training.visible import one_line

if TYPE_CHECKING:
    from training.run.experiment import RunOptions

TRAIN = "train"  # the training sentences alone
KIND = "w2v"
READ_WORDS = 3_000_000  # that training should read at least: little text is read more often
FEWEST_EPOCHS, MOST_EPOCHS = 5, 50
BYTES_A_WORD = 6
SHARED = "seed", "device", "threads", "deterministic", "any_threads", "portable", "progress"
"""Settings that the vectors' run takes over from the tagger's."""


def check_alone(config: TaggerConfig) -> None:
    """ConfigError for settings that do not go together with --vectors-from."""
    from training.parallel import launch

    if config.vectors != "auto":
        raise ConfigError(f"vectors_from: expected no --vectors with it, got {config.vectors}")
    if config.devices > 1 or launch.is_started():
        raise ConfigError("vectors_from: expected one process, got several; train the vectors first, with train-w2v")


def with_trained_vectors(config: TaggerConfig, texts: Sequence[str], options: RunOptions) -> TaggerConfig:
    """The settings with the vectors of a run of train-w2v, which is trained, resumed or found first.

    Args:
        config: the tagger's settings.
        texts: files of prose, and ``train``.
        options: the tagger's; the vectors' run is the next version in ``root``/w2v.

    Raises:
        ConfigError: data that cannot be found, or a folder that cannot be written.
        DataError: a text, or the training file, that cannot be read.
        Preempted: it was stopped; the same command resumes it.
    """
    from word2vec.text.corpus import check_texts

    folder = Path(options.root) / KIND
    corpus = [str(_words_file(config, folder)), *(text for text in texts if text != TRAIN)]
    check_texts(corpus[1:])
    return replace(config, vectors=str(_trained(_settings(config, corpus), corpus, folder, options)))


def _words_file(config: TaggerConfig, folder: Path) -> Path:
    """The words of the training sentences, a sentence a line, in a file that is named after them."""
    from training.files import atomic_write

    text = "".join(f"{line}\n" for line in _sentences(config))
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = folder / f"words_{digest[:12]}.txt"
    if not path.is_file() or path.read_bytes() != text.encode():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, text)
        except OSError as error:
            raise ConfigError(f"vectors_from: cannot write into {folder} ({error.strerror})") from None
    return path


def _sentences(config: TaggerConfig) -> Iterator[str]:
    from ner.corpus.alignment import SpanRules
    from ner.corpus.conll import Columns
    from ner.corpus.dataset import split_paths
    from ner.corpus.labeled import read_labeled

    columns, rules = Columns.asked(config.word_column, config.tag_column), SpanRules(config.misaligned, config.overlapping)
    read = read_labeled(split_paths(config).train, columns=columns, docstart="drop", rules=rules)
    return (" ".join(sentence.words) for sentence in read.sentences)


def _settings(config: TaggerConfig, corpus: Sequence[str]) -> TrainConfig:
    """Those of the vectors' run. Little text is read more often, and the sentences alone are in words already."""
    words = sum(Path(text).stat().st_size for text in corpus) // BYTES_A_WORD
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, -(-READ_WORDS // max(1, words))))
    shared = {name: getattr(config, name) for name in SHARED}
    own = {"corpus": list(corpus), "tokenize": len(corpus) > 1, "max_epochs": epochs, "dim": config.word_dim}
    return kinds()[KIND].config_class().from_dict({**shared, **own})


def _trained(settings: TrainConfig, corpus: Sequence[str], folder: Path, options: RunOptions) -> Path:
    """The folder of the finished run: the one that was begun with the same text, settings and code, or a new one."""
    from training.files import sha256_file
    from training.run.earlier import earlier_run

    begun = earlier_run(folder, settings, [sha256_file(text) for text in corpus])
    options.tell(
        one_line(f"vectors: {f'from the earlier run {begun}' if begun else f'trained first, on {len(corpus)} files'}")
    )
    own = replace(options, path="", resume=str(begun) if begun else "", allow_changes=False)
    try:
        return kinds()[KIND].train_function()(settings, own)
    except Preempted as stopped:
        raise Preempted(f"{stopped}; the same command resumes it") from None
