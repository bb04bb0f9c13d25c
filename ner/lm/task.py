"""The language model as a Task: steps, losses, perplexity."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ner.inputs.language_words import END, UNK, LanguageWords
from ner.lm.config import LanguageModelConfig
from ner.lm.text import Batch
from ner.model.language_model import LanguageModel
from training.loop.memory import keep_freed_memory
from training.loop.task import Task
from training.randomness import keep_mask

MARKS = {END: "</s>", UNK: "<unk>"}


class LanguageModelTask(Task):
    """Trains ``model``; the learning rate falls in a straight line from ``lr`` to 0 over the ``steps`` of the run."""

    uses_generators = keeps_attributes = False
    unit = "tokens"

    def __init__(self, config: LanguageModelConfig, model: LanguageModel, words: LanguageWords, steps: int) -> None:
        super().__init__()
        self.config, self.model, self.vocabulary, self.steps = config, model, words, steps
        self.held_out = 0.0, 0
        """Of the validation: the sum of the losses of its words, and how many there were."""

    def configure_optimizers(self) -> Any:
        adam = torch.optim.Adam(self.parameters(), lr=self.config.lr, fused=True)
        falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: max(0.0, 1.0 - step / self.steps))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def on_fit_start(self) -> None:
        keep_freed_memory()

    def cut_batch(self, batch: Batch, shards: int) -> list[Batch | None]:
        return batch.cut(shards)

    def loss_count(self, batch: Batch) -> int:
        return len(batch.words)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        place = self.current_epoch, batch_idx, *self.shard
        self.model.words.by_rows = bool(self.shard)
        vectors = self._drop(self.model.words(batch.words), "input", place)
        states = self._drop(self.model.states(vectors, batch.plain_lengths), "output", place)
        loss = self.model.loss(states, batch.after, batch.before)
        self.log("train_loss", loss, batch_size=len(batch.words), on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def _drop(self, x: Tensor, name: str, place: tuple[int, ...]) -> Tensor:
        """Dropout by a mask that is a pure function of (seed, layer, place)."""
        c = self.config
        return x * keep_mask(tuple(x.shape), c.dropout, c.seed, f"dropout/{name}", *place).to(x) if c.dropout else x

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.trainer.should_log:
            self.log("gradient_norm", self.trainer.gradient_norm)
            for name, rate in self.trainer.learning_rates().items():
                self.log(name, rate)

    def on_validation_epoch_start(self) -> None:
        self.held_out = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        states = self.model.states(self.model.words(batch.words), batch.plain_lengths)
        loss = self.model.loss(states, batch.after, batch.before)
        self.log("val_loss", loss, batch_size=len(batch.words), prog_bar=True)
        return loss

    def on_validation_batch_end(self, outputs: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        total, count = self.held_out
        self.held_out = total + float(outputs) * len(batch.words), count + len(batch.words)

    def on_validation_epoch_end(self) -> None:
        """The perplexity of a word that is held out, by either direction: the exponential of its mean loss."""
        total, count = self.held_out
        self.log("val_perplexity", math.exp(total / count) if count else math.nan, prog_bar=True)

    def units(self, batch: Batch) -> int:
        return len(batch.words)

    def batch_ids(self, batch: Batch) -> Tensor:
        return batch.pieces

    def describe_batch(self, batch: Batch) -> list[str]:
        """Its pieces, a line each; words that are not in the vocabulary are <unk>."""
        words = self.vocabulary.words
        texts = [MARKS.get(i) or words[i - len(MARKS)] for i in batch.words.tolist()]
        rest = iter(texts)
        return [" ".join(next(rest) for _ in range(length)) for length in batch.plain_lengths]
