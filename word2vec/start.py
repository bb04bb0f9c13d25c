"""Going on from a finished run of train-w2v on more text: its words keep the vectors that they have.

The vocabulary is the start's and the new text's together. Old words begin with their rows of both tables, new ones as in a
new model. The inner nodes of a Huffman tree stand for no words: with the hierarchical softmax the output table begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training import checkpoint
from training.errors import ConfigError, DataError
from training.files import LARGEST_JSON, inside
from training.kept_settings import KeptSettings
from training.run import seal
from training.run.folder import check_finished, read_manifest
from training.run.groups import is_group
from training.run.inputs import Inputs
from training.run.places import check_folder
from word2vec.config import KEPT, KIND, Word2VecConfig
from word2vec.model.whole import deal_rows
from word2vec.task import TABLES, Word2VecTask
from word2vec.text.vocab import Vocab

VOCAB = "vocab.tsv"
PARTS = (seal.CONFIG, VOCAB, seal.MODEL, f"{seal.MODEL}.sha256")


@dataclass(frozen=True)
class Start:
    """A finished run to go on from."""

    folder: Path
    described: Mapping[str, Any]
    vocab: Vocab

    @cached_property
    def tables(self) -> dict[str, Tensor]:
        """The whole tables, "input" and "output", as pages of the file."""
        weights = checkpoint.load(inside(self.folder, seal.MODEL), mapped=True)["weights"]
        return {name: weights[f"model.{name}"] for name in TABLES}

    def facts(self) -> dict[str, str]:
        """For the manifest of the run that goes on: the digest of the weights that it began with."""
        return {"weights_sha256": self.described["weights_sha256"]}


def kept_settings(folder: str) -> KeptSettings:
    """The settings that stay as the start has them. ConfigError where it is no run of train-w2v."""
    path = Path(folder)
    check_folder(path, "start_from", "the folder of a finished run of train-w2v")
    if is_group(path):
        raise ConfigError(
            f"start_from: expected a run, got a group; give one of its runs, {path}/seed_N, N one of its seeds"
        )
    if (kind := read_manifest(path).get("kind")) != KIND:
        raise ConfigError(f"start_from: expected a run of train-w2v, got a run of kind {kind}: {path}")
    config = Word2VecConfig.load(inside(path, seal.CONFIG, largest=LARGEST_JSON))
    return KeptSettings.of(config, KEPT, folder)


def read_start(config: Word2VecConfig, inputs: Inputs, tell: Callable[[str], None]) -> Start | None:
    """The run that ``config.start_from`` names; None where it names none.

    Args:
        config: with paths that lead from here.
        inputs: gets the start's files, before they are read.
        tell: hears what it is.

    Raises:
        DataError: it is not finished, is not what its seal says, or did not keep its tables.
    """
    if not config.start_from:
        return None
    folder = Path(config.start_from)
    for name in (seal.MANIFEST, *PARTS):
        inputs.add(f"start {name}", folder / name)
    described = read_manifest(folder)
    check_finished(folder, described)
    if seal.MODEL not in described.get("files", {}):
        raise DataError(
            f"{folder}: expected a run with its tables in {seal.MODEL}, got one of an earlier version; train again"
        )
    seal.check(folder, described, PARTS, tell)
    vocab = Vocab.load(inside(folder, VOCAB))
    tell(f"start: {folder}, {len(vocab):,} words")
    return Start(folder, described, vocab)


def carry_over(task: Word2VecTask, vocab: Vocab, start: Start | None) -> None:
    """Give the words that the start knows their rows of its tables. All processes call it; process 0 has the start."""
    columns = task.model.columns

    def places() -> Tensor:
        assert start is not None
        of = vocab.ids()
        return torch.tensor([of[word] for word in start.vocab], dtype=torch.int64)

    at: Tensor = columns.group.first(places)
    for name in TABLES if task.model.tree is None else TABLES[:1]:
        deal_rows(columns, task.model.chunks(name), None if start is None else start.tables[name], at)
