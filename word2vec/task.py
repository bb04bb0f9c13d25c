"""Word2VecTask: the model on the Trainer. It makes its gradients and its steps itself (manual optimization)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from training.digest import weights_sha256
from training.loop.task import Task
from training.visible import counted
from word2vec.config import Word2VecConfig
from word2vec.model.whole import deal_out, put_together
from word2vec.model.word2vec import RowSGD, Word2Vec
from word2vec.text.batches import Batch
from word2vec.text.vocab import Vocab

TABLES = ("input", "output")


class Word2VecTask(Task):
    """Trains a Word2Vec; the learning rate falls in a straight line from ``lr`` to 0 over all batches of the run."""

    automatic_optimization = False
    uses_generators = keeps_attributes = cuts_batches = False
    unit = "words"

    def __init__(self, vocab: Vocab, config: Word2VecConfig, batches_per_epoch: int, scratch: Path | None = None) -> None:
        """``scratch``: a folder with room for whole tables, where they are put together if processes share their columns."""
        super().__init__()
        self.config, self.vocab = config, vocab
        self.batches_per_epoch = batches_per_epoch
        self.scratch = scratch
        self.model = Word2Vec(vocab, config)

    def configure_optimizers(self) -> RowSGD:
        return RowSGD(self.model, self.config.lr, self.config.damping)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on a batch; returns the mean loss of a prediction (nats)."""
        optimizer = self.optimizers()
        lr = self.learning_rate(self.current_epoch, batch_idx)
        optimizer.param_groups[0]["lr"] = lr
        loss = self.model.step(batch, optimizer.rate)
        self.check_finite(loss)
        optimizer.step()
        predicts = bool(loss)  # a batch that subsampling left without a context has no loss, and no part in the mean
        self.log("train_loss", loss, on_step=True, on_epoch=True, batch_size=batch.n if predicts else 0, prog_bar=True)
        self.log("lr", lr)
        return loss

    def learning_rate(self, epoch: int, batch_idx: int) -> float:
        """The rate of one batch: a function of its place alone, so that nothing of it needs to be saved."""
        done = epoch * self.batches_per_epoch + batch_idx
        return self.config.lr * (1.0 - done / (self.config.max_epochs * self.batches_per_epoch))

    def units(self, batch: Batch) -> int:
        """Words of the text, before subsampling."""
        return batch.read

    def batch_ids(self, batch: Batch) -> Tensor:
        return batch.words

    def describe_batch(self, batch: Batch) -> list[str]:
        """How many words it has, and the words, in the order of the text without those that subsampling left out."""
        words = [self.vocab.words[word] for word in batch.words[: batch.n].tolist()]
        return [f"{counted(batch.read, 'word')} of the text, {len(words):,} of them kept", " ".join(words)]

    def ledger_tensors(self) -> Mapping[str, Tensor]:
        """The gradients of the rows that the step touched."""
        return {name: gradient.values for name, gradient in self.model.gradients.items()}

    # -- tables whose columns are cut ---------------------------------------------------------------------------------

    def tables(self, *names: str, rows: int | None = None) -> dict[str, Tensor]:
        """In process 0 these tables, or their first rows, whole; elsewhere nothing. All processes call it.

        Args:
            names: of "input" and "output".
            rows: how many of each; None for all.
        """
        chunks = {name: self.model.chunks(name) for name in names}
        return put_together(self.model.columns, chunks, self.scratch, rows)

    def ledger_digests(self) -> Mapping[str, str]:
        """Of a table whose columns are cut: that of the digests of all its chunks, in order."""
        columns, own = self.model.columns, super().ledger_digests()
        if columns.whole:
            return own
        told = {name: digest for each in columns.group.gather(own) for name, digest in each.items()}
        chunks = range(columns.group.shards)
        return {table: _digest([told[f"{table}_{chunk}"] for chunk in chunks]) for table in TABLES}

    def weights_digest(self) -> str:
        """The SHA-256 of the whole tables, however they are cut."""
        if self.model.columns.whole:
            return super().weights_digest()
        whole = self._whole()
        digest: str = self.model.columns.group.first(lambda: weights_sha256(whole))
        return digest

    def _whole(self) -> dict[str, Tensor]:
        """The weights as they are where nothing is cut: in process 0."""
        return {f"model.{name}": table for name, table in self.tables(*TABLES).items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint has the whole tables, however they are cut."""
        if not self.model.columns.whole:
            checkpoint["weights"] = self._whole()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Each process takes its columns."""
        if self.model.columns.whole:
            return
        chunks = {f"model.{name}": self.model.chunks(name) for name in TABLES}
        deal_out(self.model.columns, chunks, checkpoint["weights"])
        checkpoint["weights"] = dict(self.state_dict())


def _digest(digests: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
