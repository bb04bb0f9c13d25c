"""What benchmarks/processes_network.py looks at: trainings, and what a step of theirs exchanges and computes."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ner.task import TaggerTask
from training.config import TrainConfig
from training.loop import session
from training.loop import shards as training_shards
from training.loop.callback import Callback
from training.loop.trainer import Trainer
from training.parallel.group import Group
from word2vec.config import Word2VecConfig
from word2vec.model import word2vec
from word2vec.task import Word2VecTask
from word2vec.text.batches import TextBatches

WORLDS = (2, 4, 8, 16, 32, 64)
WARM = 3
"""Steps before anything is counted or timed."""
NUMBER = 4
"""Bytes of a float32."""


class Exchange(NamedTuple):
    """Something that processes exchange in a step."""

    kind: str
    """"sum", "largest" or "message"."""
    size: int
    """Bytes in each process; of a message those of the longest one."""


@dataclass
class Work:
    """A training whose steps are looked at."""

    name: str
    make: Callable[[int, int], tuple[Any, Any, Any]]
    """Shards, batches → settings, task, batches."""
    vocab: Any = None
    """Of word vectors."""
    dim: int = 0


PLAIN = {name: getattr(TrainConfig, name) for name in ("checkpoint_every", "keep_checkpoints", "ledger_every")}
PLAIN |= {"deterministic": True, "threads": 1, "max_epochs": 1, "progress": False}
"""Settings of all: nothing is written, on one thread a process."""


def works(given: argparse.Namespace, folder: str) -> Iterator[Work]:
    """Those whose name begins with ``given.only``, with their data read."""
    for preset in ("lecture", "default"):
        if f"tagger, {preset}".startswith(given.only):
            yield tagger(given, preset)
    if given.only.startswith("skip") or not given.only:
        yield from (each for each in skipgrams(given, folder) if each.name.startswith(given.only))


def tagger(given: argparse.Namespace, preset: str) -> Work:
    """The tagger with random word vectors (100-d)."""
    from ner.config import PRESETS, TaggerConfig
    from ner.corpus.dataset import read_dataset
    from ner.inputs.batches import SentenceBatches
    from ner.inputs.encode import encode_labeled
    from ner.inputs.indexer import Indexer
    from ner.schedule import resolved
    from ner.train import build_task
    from ner.vectors.views import RAW

    settings = {**PRESETS[preset], **PLAIN, "data": given.data, "vectors": "none", "limit_val_batches": 0}
    config = TaggerConfig.from_dict(settings)
    dataset = read_dataset(config)
    config = resolved(config, dataset.train)
    indexer = Indexer.build(dataset.train, RAW, config.scheme)
    train = encode_labeled(dataset.train, indexer, config)

    def make(shards: int, batches: int) -> tuple[Any, Any, Any]:
        own = replace(config, shards=shards, limit_train_batches=batches)
        source = SentenceBatches(train, own.batch_size, batching=own.batching, seed=own.seed)
        return own, build_task(own, dataset, indexer, None)[0], source

    return Work(f"tagger, {preset}", make)


def skipgrams(given: argparse.Namespace, folder: str) -> list[Work]:
    """Skip-gram with negative sampling, 100-d and 300-d."""
    from word2vec.text.corpus import encode
    from word2vec.text.tokenize import TextRule

    vocab, corpus = encode([given.text], f"{folder}/ids", TextRule(tokenize=False), min_count=5)

    def work(dim: int) -> Work:
        def make(shards: int, batches: int) -> tuple[Any, Any, Any]:
            settings = {**PLAIN, "dim": dim, "shards": shards, "limit_train_batches": batches}
            config = Word2VecConfig.from_dict(settings)
            source = TextBatches(corpus, vocab, config)
            return config, Word2VecTask(vocab, config, source.batches_per_epoch), source

        return Work(f"skip-gram, {dim}-d", make, vocab, dim)

    return [work(100), work(300)]


# -- in one process: what a step exchanges, and computes --------------------------------------------------------------


class Recorder(Callback):
    """Writes down what a step in one process would tell others, if there were some."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.steps: list[list[tuple[str, Any]]] = []
        self._found: list[tuple[str, Any]] = []
        patched: list[tuple[Any, str, Any]] = [
            (Group, "gather", self._gather), (Group, "sum", self._sum), (training_shards, "exchanged", self._exchanged)
        ]  # fmt: skip
        for owner, name, own in patched:
            setattr(owner, name, own(getattr(owner, name)))

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        self._found = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not any(kind == "message" for kind, _ in self._found):
            # in one process nobody asks whether the others' gradients are finite, and whether they are to stop
            self._found.append(("message", dict.fromkeys(WORLDS, 0)))
        self.steps.append(self._found)

    def exchanges(self, world: int) -> list[list[Exchange]]:
        """Of each step, for so many processes."""
        return [
            [Exchange(kind, size[world] if kind == "message" else size) for kind, size in step] for step in self.steps[WARM:]
        ]

    def _gather(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def gather(group: Group, value: Any) -> Any:
            told, word = value if isinstance(value, tuple) else (value, None)
            lengths = {}
            for world in (w for w in WORLDS if w <= self.shards):
                each = self.shards // world
                parts = [told[i : i + each] for i in range(0, len(told), each)] if isinstance(told, list) else [told]
                lengths[world] = max(len(pickle.dumps((part, word), pickle.HIGHEST_PROTOCOL)) for part in parts)
            self._found.append(("message", lengths))
            return plain(group, value)

        return gather

    def _sum(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def added(group: Group, tensors: Any) -> Any:
            self._found.append(("sum", sum(each.numel() for each in tensors) * NUMBER))
            return plain(group, tensors)

        return added

    def _exchanged(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def exchanged(group: Group, parts: Any) -> Any:
            by_rows = [own for own, _, rows in parts.values() if rows]
            if by_rows:
                self._found.append(("largest", sum(len(own) for own in by_rows)))
            dense = sum(like.numel() for _, like, rows in parts.values() if not rows)
            touched = sum(_touched(own) * own[0].numel() for own in by_rows)
            self._found.append(("sum", (dense + touched) * NUMBER))
            return plain(group, parts)

        return exchanged


def _touched(own: torch.Tensor) -> int:
    if own.is_sparse:
        return int(own.coalesce().indices().shape[1])
    return int((own.flatten(1) != 0).any(1).sum())


def train(work: Work, shards: int, batches: int, callback: Callback) -> Any:
    """Train on so many batches after the warm ones; the task."""
    from training.determinism.flags import determinism

    config, task, source = work.make(shards, WARM + batches)
    with determinism(config), warnings.catch_warnings(), contextlib.redirect_stderr(open(os.devnull, "w")):
        warnings.simplefilter("ignore")
        Trainer(config, callbacks=[callback], logger=False, enable_checkpointing=False).fit(task, source)
    return task


class Alone(Group):
    """A process that computes what it would among others, and hears nothing of them: what comes out means nothing."""

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.world

    def broadcast(self, value: Any) -> Any:
        return value

    def first(self, function: Callable[[], Any]) -> Any:
        return function()

    def share(self, tensors: Sequence[torch.Tensor]) -> None:
        pass

    def largest(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def sum(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return list(tensors)


class Processor(Callback):
    """Seconds of processor time of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.process_time()
        self.seconds.append(now - self._begun)
        self._begun = now


def alone(work: Work, rank: int, world: int, batches: int) -> list[float]:
    """Seconds of processor time that steps take this one of ``world`` processes, with as many shards."""
    for module in (session, word2vec):
        vars(module)["join"] = lambda config: Alone(rank, world, config.shards)
    plain = TaggerTask.fold_shards

    def fold(task: TaggerTask, outputs: Any, batch: Any) -> None:
        """It counts the labels of all shards, whose numbers nobody has told."""
        labels = torch.zeros(len(batch.labels), dtype=torch.int64)
        found = outputs.get("labels", labels[:0])[: len(labels)]
        labels[: len(found)] = found
        plain(task, {**outputs, "labels": labels}, batch)

    setattr(TaggerTask, "fold_shards", fold)  # noqa: B010
    processor = Processor()
    train(work, world, batches, processor)
    return processor.seconds[WARM:]


def touched_rows(work: Work, batches: int) -> float:
    """Rows of a table that a step of skip-gram touches, on the average: as many of the other one."""
    _, _, source = work.make(1, batches)
    made = [source.make(0, WARM + index) for index in range(batches)]
    return statistics.mean(len(batch.words[: batch.n].unique()) for batch in made)
