"""A trained tagger as it is kept: settings, tables, weights, word vectors; read from a run's folder and put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner.config import TaggerConfig
from ner.corpus.scheme import allowed_transitions
from ner.inputs.indexer import Indexer
from ner.model.conformal import Conformal
from ner.model.language_model import FrozenLanguageModel
from ner.model.tagger import Tagger
from ner.tagging.bundle_vectors import WITH_VECTORS, read_vectors
from ner.vectors.views import Views
from training import checkpoint
from training.errors import DataError
from training.files import LARGEST_JSON, inside
from training.run import seal
from training.run.folder import check_finished, read_manifest
from training.run.inputs import Inputs
from training.run.places import looked_for, start_folder
from training.visible import short_digest
from word2vec.vectors.vectors import WordVectors

LM = "lm."  # what the model puts before the names of a language model's weights
WEIGHTS = "model."  # what the task puts before the names of the model's weights
PARTS = (seal.CONFIG, "indexer.json", seal.MODEL, f"{seal.MODEL}.sha256")  # the files that a tagger is read from
LARGEST_INDEXER = 1 << 30  # bytes
BUNDLED_VECTORS = tuple(f"start {name}" for name in WITH_VECTORS)  # among the inputs of a run that started from a bundle
TEXT_RULE = "' text rule"  # behind the name of the vectors that it belongs to
TEMPERATURE = "confidence_temperature"  # its name in a run's manifest and metrics.jsonl
CONFORMAL = "conformal"  # the entry with the bounds of sets of readings in a run's manifest, a bundle's, and ensemble.json


@dataclass(frozen=True)
class Saved:
    """The parts of a tagger. ``vectors`` are for words that training did not see; None where there are none to use."""

    config: TaggerConfig
    indexer: Indexer
    weights: Mapping[str, Tensor]
    vectors: Views | None
    where: str
    """The folder, for messages."""
    temperature: float = 1.0
    """Of confidences: what all scores are divided by (ner/model/calibration.py)."""
    conformal: Conformal | None = None
    """What sets of readings are made by (ner/model/conformal.py); None where an earlier version trained it."""

    def model(self) -> Tagger:
        """The network with its weights. DataError where settings, tables and weights do not belong together."""
        wrong = f"{self.where}: expected weights that fit the settings and the tables"
        labels, c = self.indexer.labels, self.config
        tables = [self.weights[name] for name in ("words.weight", "words.fixed") if name in self.weights]
        if not tables or any(table.dim() != 2 or table.shape[1:] != tables[0].shape[1:] for table in tables) or not labels:
            raise DataError(f"{wrong}, got {_shape(tables[0] if tables else None)} word vectors and {len(labels)} labels")
        rows, dim = sum(map(len, tables)), tables[0].shape[1]
        if rows != self.indexer.num_words:
            raise DataError(f"{wrong}, got {rows} word vectors for {self.indexer.num_words} words")
        # What is made below is as large as the settings say: they may not ask for more than the weights can fill.
        elements = sum(tensor.numel() for tensor in self.weights.values())
        spelled = c.char_hidden if c.characters != "none" else 0
        inputs = dim + spelled + (c.subword_dim if c.subwords else 0) + c.features_dim + c.topic_dim
        lm = self.lm()
        inputs += c.lm_dim if lm and c.lm_place == "input" else 0
        parts = spelled * c.char_dim, c.subwords * c.subword_dim, c.lm_dim * lm.size if lm else 0
        largest = max(8 * c.hidden_size * (c.hidden_size + inputs), *parts)
        if largest > elements:
            raise DataError(f"{wrong}, got {elements} numbers for {inputs} inputs and a hidden_size of {c.hidden_size}")
        allowed = allowed_transitions(labels, self.indexer.scheme)
        matrix = torch.zeros(rows, dim)
        model = Tagger(c, matrix, self.indexer.num_characters, len(labels), allowed, len(tables[0]), lm)
        if c.precision == "64-true":
            model.double()
        wanted = model.state_dict()
        for name in sorted({*wanted, *self.weights}):
            there, fits = self.weights.get(name), wanted.get(name)
            if there is None or fits is None or there.shape != fits.shape or there.dtype != fits.dtype:
                raise DataError(f"{wrong}, got {_shape(there)} for {name} in place of {_shape(fits)}")
            if not bool(there.isfinite().all()):
                raise DataError(f"{self.where}: expected finite weights, got NaN or infinity in {name}")
        if self.vectors is not None and sum(self.vectors.sizes) != dim:
            raise DataError(f"{wrong}, got vectors of {sum(self.vectors.sizes)} numbers for words of {dim}")
        model.load_state_dict(dict(self.weights))
        return model

    def lm(self) -> FrozenLanguageModel | None:
        """The language model whose states the tagger reads, with its weights; None where there is none.

        DataError where tables and weights do not belong together.
        """
        if self.indexer.lm is None:
            return None
        weights = {name.removeprefix(LM): value for name, value in self.weights.items() if name.startswith(LM)}
        return frozen(weights, len(self.indexer.lm), self.where)


def frozen(weights: Mapping[str, Tensor], words: int, where: str) -> FrozenLanguageModel:
    """A language model of so many ``words`` with these weights, in float32. DataError (``where``) if they do not fit."""
    table, outer, inner = (weights.get(name) for name in ("words", "lstm.weight_ih_l0", "lstm.weight_hh_l0"))
    wrong = f"{where}: expected the weights of a language model of {words} words"
    shapes = [() if each is None else tuple(each.shape) for each in (table, outer, inner)]
    dim, hidden_size = (shape[-1] if shape else 0 for shape in shapes[::2])
    # What is made below may not be larger than the weights can fill.
    fits = shapes == [(words, dim), (4 * hidden_size, dim), (4 * hidden_size, hidden_size)] and dim and hidden_size
    if not fits:
        raise DataError(f"{wrong}, got {_shape(table)} word vectors, {_shape(outer)} and {_shape(inner)} for the states")
    model = FrozenLanguageModel(words, dim, hidden_size)
    for name, wanted in model.state_dict().items():
        there = weights.get(name)
        if there is None or there.shape != wanted.shape:
            raise DataError(f"{wrong}, got {_shape(there)} for {name} in place of {_shape(wanted)}")
    model.load_state_dict(dict(weights))
    return model


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")


def read_run(folder: Path, tell: Callable[[str], None] = lambda line: None, *, all_vectors: bool = False) -> Saved:
    """A finished run's tagger. DataError where it is none, is not what its seal says, or its word vectors' file is gone or
    has changed; CheckpointError for damaged weights. ``tell`` hears where there is no seal. ``all_vectors``: also those of a
    tagger that does not look unseen words up in them."""
    described = read_manifest(folder)
    if described.get("kind") != "ner":
        raise DataError(f"{folder}: expected a tagger's run, got one of kind {described.get('kind')}")
    check_finished(folder, described)
    seal.check(folder, described, PARTS, tell)
    config = TaggerConfig.load(inside(folder, seal.CONFIG, largest=LARGEST_JSON))
    indexer = Indexer.load(inside(folder, "indexer.json", largest=LARGEST_INDEXER))
    weights = checkpoint.load_weights(inside(folder, seal.MODEL))
    seal.check_weights(folder, described, weights)
    named = {str(name).removeprefix(WEIGHTS): value for name, value in weights.items()}
    vectors = None
    if config.unseen_vectors or all_vectors:
        vectors = read_views(vector_inputs(folder, described), affixes=config.affix_vectors)
    conformal = read_conformal(described, folder / "manifest.json")
    return Saved(config, indexer, named, vectors, str(folder), _temperature(described, folder), conformal)


def _temperature(described: dict[str, Any], folder: Path) -> float:
    """The run's temperature of confidences; 1 where it has none, as where it did not validate."""
    value = described.get(TEMPERATURE, 1.0)
    if not is_temperature(value):
        raise DataError(f"{folder}: expected a positive {TEMPERATURE} in manifest.json, got {value!r}")
    return float(value)


def read_conformal(described: Mapping[str, Any], where: Path) -> Conformal | None:
    """What a file says of sets of readings; None where it has nothing of them. DataError for what is none."""
    if described.get(CONFORMAL) is None:
        return None
    try:
        return Conformal.from_dict(described[CONFORMAL])
    except ValueError as error:
        raise DataError(f"{where}: {CONFORMAL}: {error}, got something else; restore it, or train again") from None


def is_temperature(value: Any) -> bool:
    """Whether scores can be divided by it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 1e-3 <= value <= 1e3


def vector_inputs(run: Path, described: Mapping[str, Any]) -> dict[str, Path]:
    """Of a run's inputs those that its word vectors are read from, by name, where they are now, in order: the files of its
    views, or those of the bundle that it started from. DataError where vectors are gone or have changed."""
    inputs, found = described.get("inputs", {}), dict[str, Path]()
    for name in (*BUNDLED_VECTORS, *_view_names(inputs)):
        if (given := inputs.get(name)) is None:
            continue
        path = start_folder(run, described, "start vectors" if name in BUNDLED_VECTORS else "vectors") / given["path"]
        if name.endswith(TEXT_RULE):
            found |= {name: path} if path.is_file() else {}
            continue
        if not os.path.isfile(path):
            raise DataError(
                f"{path}: the tagger was trained with these word vectors and looks unseen words up in them; put them back "
                f"({looked_for(run, described)})"
            )
        read = Inputs()
        if read.add(name, path) != given["sha256"]:
            raise DataError(
                f"{path}: the tagger was trained with other word vectors (SHA-256 {short_digest(given['sha256'])})"
            )
        found[name] = path
    return found


def _view_names(inputs: Mapping[str, Any]) -> Iterator[str]:
    """The names of the views' files among a run's inputs, each with that of its text rule: "vectors", "vectors 2", …"""
    for number in count(1):
        name = "vectors" if number == 1 else f"vectors {number}"
        if name not in inputs:
            return
        yield from (name, f"{name}{TEXT_RULE}")


def read_views(inputs: Mapping[str, Path], *, affixes: bool) -> Views | None:
    """The word vectors in these files (see ``vector_inputs``), view by view; None where there are none."""
    if BUNDLED_VECTORS[1] in inputs:
        return read_vectors(inputs[BUNDLED_VECTORS[1]].parent, affixes)
    views = [WordVectors.load(path) for name, path in inputs.items() if not name.endswith(TEXT_RULE)]
    return Views(views, affixes=affixes) if views else None
