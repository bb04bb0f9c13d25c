"""The tagger as a Task: steps, losses, F1 as it trains, predictions at the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ner.config import TaggerConfig
from ner.corpus.conll import Sentence
from ner.corpus.scheme import parse_tag, to_spans
from ner.inputs.batches import Batch, replace_rare
from ner.model.tagger import Masks, Tagger
from ner.scoring.metrics import SpanCounter, SpanCounts
from training.loop.memory import keep_freed_memory
from training.loop.task import Task
from training.randomness import keep_mask

UNKNOWN = 1  # the unknown word's row


class TaggerTask(Task):
    """Trains ``model`` on batches of sentences. ``rare`` (V,) marks words that training may read as unknown."""

    uses_generators = keeps_attributes = False
    unit = "tokens"

    def __init__(self, config: TaggerConfig, model: Tagger, labels: Sequence[str], rare: Tensor) -> None:
        super().__init__()
        self.config, self.model, self.labels = config, model, list(labels)
        self.counter = SpanCounter(self.labels, config.scheme)
        self.rare = rare
        self.counts = {"train": SpanCounts(), "val": SpanCounts(), "test": SpanCounts()}
        self.sentences: Sequence[Sentence] = ()
        """Those that are trained on, in the order of their numbers, for whoever asks what was in a batch."""
        self.labeled: int | None = None
        """How many of them, the first, have labels; None for all. The others have a teacher's readings alone."""
        self.predicted: dict[int, list[int]] = {}
        """Sentence number → label ids, filled as the test goes on."""
        self.type_probabilities: dict[int, Tensor] = {}
        """Sentence number → (words, types): how probable it is that a word is part of an entity of each of ``types``."""
        kinds = [parse_tag(label)[1] if label != "O" else None for label in self.labels]
        self.types = sorted({kind for kind in kinds if kind is not None})
        self._labels_of = [[i for i, kind in enumerate(kinds) if kind == name] for name in self.types]

    def configure_optimizers(self) -> Any:
        c = self.config
        # Fused: one pass over each tensor instead of ten; the word vectors alone are millions of numbers.
        adam = torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=c.lr, fused=True)
        if c.lr_schedule == "constant" or c.max_epochs < 1:
            return adam
        return [adam], [torch.optim.lr_scheduler.LambdaLR(adam, lambda epoch: max(0.0, 1.0 - epoch / c.max_epochs))]

    def on_fit_start(self) -> None:
        keep_freed_memory()
        self.rare = self.rare.to(self.device)

    # -- training -----------------------------------------------------------------------------------------------------

    def cut_batch(self, batch: Batch, shards: int) -> list[Batch | None]:
        return batch.cut(shards)

    def loss_count(self, batch: Batch) -> int:
        return len(batch.labels)

    def describe_batch(self, batch: Batch) -> list[str]:
        """Its sentences, each with the line that it stands on, its words and the types of its entities."""
        return [_as_text(self.sentences[number]) for number in batch.sentences.tolist() if number < len(self.sentences)]

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        c, place = self.config, (self.current_epoch, batch_idx, *self.shard)
        for table in (self.model.words, self.model.subwords):
            if table is not None:
                table.by_rows = bool(self.shard)
        words = replace_rare(batch, self.rare, c.unk_replace, UNKNOWN, c.seed, *place)
        if c.word_dropout:
            kept = keep_mask((len(words),), c.word_dropout, c.seed, "word dropout", *place).to(words.device)
            words = torch.where(kept > 0, words, UNKNOWN)
        scores = self.model(batch, words, self._masks(place))
        loss = self.model.loss(scores, batch)
        self.log("train_loss", loss, batch_size=len(batch.labels), on_step=True, on_epoch=True, prog_bar=True)
        if not c.train_f1:
            return loss
        with torch.no_grad():
            labels = self.model.decode(scores.detach(), batch)
        if self.shard:
            return {"loss": loss, "labels": labels}  # counted in fold_shards, for the whole batch
        self._count("train", batch, labels)
        return loss

    def fold_shards(self, outputs: Any, batch: Batch) -> None:
        if self.config.train_f1:
            self._count("train", batch, outputs["labels"])

    def _masks(self, place: tuple[int, ...]) -> Masks:
        """Dropout masks: pure functions of (seed, layer, place)."""
        c = self.config
        return lambda name, shape: keep_mask(shape, c.dropout, c.seed, f"dropout/{name}", *place)

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

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._evaluate("val", batch)[1]

    def on_validation_batch_end(self, outputs: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._count("val", batch, outputs)

    def on_validation_epoch_end(self) -> None:
        self._log_f1("val")

    def on_test_epoch_start(self) -> None:
        self.counts["test"] = SpanCounts()
        self.predicted, self.type_probabilities = {}, {}

    def test_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        scores, labels = self._evaluate("test", batch)
        return labels, self._of_types(scores, batch)

    def on_test_batch_end(
        self, outputs: tuple[Tensor, Tensor], batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("test", batch, outputs[0])
        lengths = batch.lengths.tolist()
        parts = (torch.split(each.cpu(), lengths) for each in outputs)
        for number, part, probabilities in zip(batch.sentences.tolist(), *parts, strict=True):
            self.predicted[number] = part.tolist()
            self.type_probabilities[number] = probabilities

    def _of_types(self, scores: Tensor, batch: Batch) -> Tensor:
        """P(word is part of an entity of type t), (N, T): the sum over the type's labels, of marginals with a CRF."""
        each = self.model.marginals(scores, batch)
        return torch.stack([each[:, labels].sum(1) for labels in self._labels_of], 1) if self.types else each[:, :0]

    def on_test_epoch_end(self) -> None:
        self._log_f1("test")

    def _evaluate(self, split: str, batch: Batch) -> tuple[Tensor, Tensor]:
        scores = self.model(batch)
        labels = self.model.decode(scores, batch)
        self.log(f"{split}_loss", self.model.loss(scores, batch), batch_size=len(batch.labels), prog_bar=split == "val")
        return scores, labels

    def _count(self, split: str, batch: Batch, predicted: Tensor) -> None:
        gold, lengths = batch.labels.cpu().numpy(), batch.lengths.cpu().numpy()
        found = predicted.cpu().numpy().astype(np.int64)
        if split == "train" and self.labeled is not None:
            known = batch.sentences.cpu().numpy() < self.labeled
            of_known = np.repeat(known, lengths)
            gold, found, lengths = gold[of_known], found[of_known], lengths[known]
        self.counts[split] += self.counter.count(gold, found, lengths)

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


def _as_text(sentence: Sentence) -> str:
    """ "file:line: words", entities in brackets after their types: [PER Ada Lovelace] ran."""
    words = list(sentence.words)
    for span in to_spans(sentence.tags):
        words[span.start] = f"[{span.type} {words[span.start]}"
        words[span.end - 1] += "]"
    return f"{sentence.where()}: {' '.join(words)}"
