"""The language model that a tagger reads: of a finished run its words and the weights that make its states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ner.inputs.language_words import LanguageWords
from ner.lm.config import KIND, LanguageModelConfig
from ner.lm.train import VOCAB, text_rule
from ner.model.language_model import FrozenLanguageModel
from ner.tagging.load import WEIGHTS, frozen
from training import checkpoint
from training.errors import ConfigError
from training.files import LARGEST_JSON, inside
from training.run import seal
from training.run.folder import check_finished, read_manifest
from training.run.groups import is_group, seeds_of
from training.run.inputs import Inputs
from training.run.places import check_folder
from word2vec.text.vocab import Vocab

PARTS = (seal.CONFIG, VOCAB, seal.MODEL, f"{seal.MODEL}.sha256")
TABLE, LSTM = "words.weight", "lstm."


@dataclass(frozen=True)
class LanguageModelRun:
    """A trained language model.

    Args:
        words: its vocabulary.
        model: its states.
        weights_sha256: the digest of all its weights, as its run states it.
    """

    words: LanguageWords
    model: FrozenLanguageModel
    weights_sha256: str

    def facts(self) -> dict[str, str]:
        """For the manifest of the run that reads it."""
        return {"weights_sha256": self.weights_sha256}


def read_language_model(folder: str, inputs: Inputs, tell: Callable[[str], None]) -> LanguageModelRun | None:
    """The language model of a finished run of train-lm; None for "".

    Args:
        folder: the run's.
        inputs: gets its files, before they are read.
        tell: hears what it is.

    Raises:
        ConfigError: it is no folder, a group, or a run of another kind.
        DataError, CheckpointError: it is not finished, or not what its seal says.
    """
    if not folder:
        return None
    path = Path(folder)
    check_folder(path, "lm", "the folder of a finished run of train-lm")
    if is_group(path):
        one = path / f"seed_{seeds_of(path)[0]}"
        raise ConfigError(f"lm: expected a run, got a group; give one of its runs, such as {one}")
    described = read_manifest(path)
    if (kind := described.get("kind")) != KIND:
        raise ConfigError(f"lm: expected a run of train-lm, got a run of kind {kind}: {path}")
    check_finished(path, described)
    for name in (seal.MANIFEST, *PARTS):
        inputs.add(f"lm {name}", path / name)
    seal.check(path, described, PARTS, tell)
    config = LanguageModelConfig.load(inside(path, seal.CONFIG, largest=LARGEST_JSON))
    words = LanguageWords(Vocab.load(inside(path, VOCAB)).words, text_rule(config))
    weights = checkpoint.load_weights(inside(path, seal.MODEL))
    seal.check_weights(path, described, weights)
    named = {str(name).removeprefix(WEIGHTS): value for name, value in weights.items()}
    own = {"words": named[TABLE]} if TABLE in named else {}
    own |= {name: value for name, value in named.items() if name.startswith(LSTM)}
    model = frozen(own, len(words), str(path))
    tell(f"language model: {path}, {len(words.words):,} words, states of {model.size} numbers")
    return LanguageModelRun(words, model, str(described["weights_sha256"]))
