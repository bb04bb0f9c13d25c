"""Word2VecTask: the model on the Trainer. It makes its gradients and its steps itself (manual optimization)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from training.loop.task import Task
from word2vec.config import Word2VecConfig
from word2vec.model.word2vec import RowSGD, Word2Vec
from word2vec.text.batches import Batch
from word2vec.text.vocab import Vocab


class Word2VecTask(Task):
    """Trains a Word2Vec; the learning rate falls in a straight line from ``lr`` to 0 over all batches of the run."""

    automatic_optimization = False
    uses_generators = keeps_attributes = False
    unit = "words"

    def __init__(self, vocab: Vocab, config: Word2VecConfig, batches_per_epoch: int) -> None:
        super().__init__()
        self.config = config
        self.batches_per_epoch = batches_per_epoch
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

    def ledger_tensors(self) -> Mapping[str, Tensor]:
        """The gradients of the rows that the step touched."""
        return {name: gradient.values for name, gradient in self.model.gradients.items()}
