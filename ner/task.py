"""The tagger as a Task: steps, losses, F1 as it trains, predictions at the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ner.batches import Batch, replace_rare
from ner.config import TaggerConfig
from ner.metrics import SpanCounter, SpanCounts
from ner.model import Masks, Tagger
from training.memory import keep_freed_memory
from training.randomness import keep_mask
from training.task import Task

UNKNOWN = 1  # the unknown word's row


class TaggerTask(Task):
    """Trains ``model`` on batches of sentences. ``rare`` (V,) marks words that training may read as unknown."""

    unit = "tokens"

    def __init__(self, config: TaggerConfig, model: Tagger, labels: Sequence[str], rare: Tensor) -> None:
        super().__init__()
        self.config, self.model, self.labels = config, model, list(labels)
        self.counter = SpanCounter(self.labels, config.scheme)
        self.rare = rare
        self.counts = {"train": SpanCounts(), "val": SpanCounts(), "test": SpanCounts()}
        self.predicted: dict[int, list[int]] = {}
        """Sentence number → label ids, filled by test_step."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # Fused: one pass over each tensor instead of ten; the word vectors alone are millions of numbers.
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.config.lr, fused=True)

    def on_fit_start(self) -> None:
        keep_freed_memory()
        self.rare = self.rare.to(self.device)

    # -- training -----------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        c, epoch = self.config, self.current_epoch
        words = replace_rare(batch, self.rare, c.unk_replace, UNKNOWN, c.seed, epoch, batch_idx)
        scores = self.model(batch, words, self._masks(epoch, batch_idx))
        loss = self.model.loss(scores, batch)
        if c.train_f1:
            with torch.no_grad():
                self._count("train", batch, self.model.decode(scores.detach(), batch))
        self.log("train_loss", loss, batch_size=len(batch.labels), on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def _masks(self, epoch: int, batch_idx: int) -> Masks:
        """Dropout masks: pure functions of (seed, layer, epoch, batch)."""
        c = self.config
        return lambda name, shape: keep_mask(shape, c.dropout, c.seed, f"dropout/{name}", epoch, batch_idx)

    def on_train_epoch_start(self) -> None:
        self.counts["train"] = SpanCounts()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.trainer.should_log:
            self.log("gradient_norm", self.trainer.gradient_norm)
            for name, rate in self.trainer.learning_rates().items():
                self.log(name, rate)

    def on_train_epoch_end(self) -> None:
        if self.config.train_f1:
            self._log_f1("train")

    # -- validation and test ------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.counts["val"] = SpanCounts()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_f1("val")

    def on_test_epoch_start(self) -> None:
        self.counts["test"] = SpanCounts()
        self.predicted = {}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        labels = self._evaluate("test", batch)
        for number, part in zip(batch.sentences.tolist(), torch.split(labels.cpu(), batch.lengths.tolist()), strict=True):
            self.predicted[number] = part.tolist()

    def on_test_epoch_end(self) -> None:
        self._log_f1("test")

    def _evaluate(self, split: str, batch: Batch) -> Tensor:
        scores = self.model(batch)
        labels = self.model.decode(scores, batch)
        self._count(split, batch, labels)
        self.log(f"{split}_loss", self.model.loss(scores, batch), batch_size=len(batch.labels), prog_bar=split == "val")
        return labels

    def _count(self, split: str, batch: Batch, predicted: Tensor) -> None:
        gold, lengths = batch.labels.cpu().numpy(), batch.lengths.cpu().numpy()
        self.counts[split] += self.counter.count(gold, predicted.cpu().numpy().astype(np.int64), lengths)

    def _log_f1(self, split: str) -> None:
        counts = self.counts[split]
        self.log(f"{split}_f1", counts.f1(), prog_bar=True)
        self.log(f"{split}_precision", counts.precision())
        self.log(f"{split}_recall", counts.recall())
        for kind in sorted({label.partition("-")[2] for label in self.labels} - {""}):
            scores = counts.per_type().get(kind)
            self.log(f"{split}_f1/{kind}", scores.f1 if scores else 0.0)

    # -- the trainer's side -------------------------------------------------------------------------------------------

    def units(self, batch: Batch) -> int:
        return len(batch.words)

    def batch_ids(self, batch: Batch) -> Tensor:
        return batch.sentences

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_counts"] = self.counts["train"].to_dict()

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self.counts["train"] = SpanCounts.from_dict(checkpoint["train_counts"])
