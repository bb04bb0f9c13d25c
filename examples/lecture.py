"""The lecture's program: a BiLSTM finds named entities in CoNLL-2003's form. Its names and settings, with other imports."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOBES
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

import training.lightning_names as pl  # in the lecture: import pytorch_lightning as pl
from ner import Indexer, Sentence, read_conll
from ner.corpus.scheme import from_spans, to_spans
from word2vec import TextRule, WordVectors

PAD, NO_LABEL = 0, -100  # what shorter sentences are filled up with


class ReaderCoNLL:
    """Reads a CoNLL file, with tags in IOB1 or IOB2; they become IOBES."""

    def read(self, path: str | Path) -> list[Sentence]:
        return [
            Sentence(each.words, tuple(from_spans(to_spans(each.tags), len(each.tags), "IOBES")), each.line, each.path)
            for each in read_conll(path)
        ]


class CoNLLDataset(Dataset[tuple[Tensor, Tensor]]):
    """Sentences as ids of words (T,) and of labels (T,)."""

    def __init__(self, sentences: Sequence[Sentence], indexer: Indexer) -> None:
        self.sentences, self.indexer = sentences, indexer

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sentence = self.sentences[index]
        words, labels = self.indexer.encode(sentence.words), self.indexer.encode_labels(sentence)
        return torch.from_numpy(words), torch.from_numpy(labels)


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch: words (B, T) and labels (B, T), padded."""
    words, labels = ([item[side] for item in items] for side in (0, 1))
    return pad_sequence(words, True, PAD), pad_sequence(labels, True, NO_LABEL)


def load_embeddings(path: str, indexer: Indexer, dim: int = 100) -> Tensor:
    """A vector for each word, (words, d): from a file of word2vec or GloVe, or drawn at random where it has none."""
    vectors = WordVectors.load(path) if path else None
    matrix = 0.1 * torch.randn(indexer.num_words, vectors.dim if vectors else dim)
    for word, row in indexer.words.items():
        for form in (word, word.lower()):
            if vectors and form in vectors:
                matrix[row] = vectors.vector(form)
                break
    return matrix


class NERTagger(nn.Module):
    """A BiLSTM over words, and a linear layer over its states: words (B, T) to scores (B, T, labels)."""

    def __init__(self, embeddings: Tensor, hidden_size: int, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(embeddings, freeze=False, padding_idx=PAD)
        self.lstm = nn.LSTM(embeddings.shape[1], hidden_size, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden_size, labels)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(words))
        scores: Tensor = self.linear(states)
        return scores


def transform_predictions_to_labels(ids: Tensor, labels: Tensor, indexer: Indexer) -> list[list[str]]:
    """The tags of ids (B, T), sentence by sentence, without those where ``labels`` (B, T) is padding."""
    return [indexer.decode(row[gold != NO_LABEL].tolist()) for row, gold in zip(ids, labels, strict=True)]


class LitNERTagger(pl.LightningModule):
    """Trains and scores the tagger; it brings its own data."""

    def __init__(
        self, data: str, vectors: str = "", hidden_size: int = 500, batch_size: int = 128, lr: float = 0.001
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        reader = ReaderCoNLL()
        self.train_set, self.valid_set, self.test_set = (
            reader.read(Path(data) / f"{name}.conll") for name in ("train", "valid", "test")
        )
        self.indexer = Indexer.build(self.train_set, TextRule(tokenize=False))
        self.tagger = NERTagger(load_embeddings(vectors, self.indexer), hidden_size, len(self.indexer.labels))
        self.cross_entropy = nn.CrossEntropyLoss(ignore_index=NO_LABEL)
        self.gold: list[list[str]] = []
        self.predicted: list[list[str]] = []

    def forward(self, words: Tensor) -> Tensor:
        scores: Tensor = self.tagger(words)
        return scores

    def loader(self, sentences: Sequence[Sentence], shuffle: bool = False) -> DataLoader[tuple[Tensor, Tensor]]:
        data = CoNLLDataset(sentences, self.indexer)
        return DataLoader(data, self.hparams.batch_size, shuffle=shuffle, collate_fn=collate)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.loader(self.valid_set)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.loader(self.test_set)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        words, labels = batch
        loss: Tensor = self.cross_entropy(self(words).flatten(0, 1), labels.flatten())
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def evaluation_step(self, batch: tuple[Tensor, Tensor], name: str) -> None:
        words, labels = batch
        scores = self(words)
        self.log(f"{name}_loss", self.cross_entropy(scores.flatten(0, 1), labels.flatten()), prog_bar=True)
        self.gold += transform_predictions_to_labels(labels, labels, self.indexer)
        self.predicted += transform_predictions_to_labels(scores.argmax(2), labels, self.indexer)

    def evaluation_end(self, name: str) -> None:
        f1 = f1_score(self.gold, self.predicted, mode="strict", scheme=IOBES, zero_division=0)
        self.log(f"{name}_f1", float(f1), prog_bar=True)
        self.gold, self.predicted = [], []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.evaluation_step(batch, "val")

    def on_validation_epoch_end(self) -> None:
        self.evaluation_end("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.evaluation_step(batch, "test")

    def on_test_epoch_end(self) -> None:
        self.evaluation_end("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/sample", help="a folder with train.conll, valid.conll and test.conll")
    parser.add_argument("--vectors", default="", help="word vectors to begin with; random ones if left out")
    parser.add_argument("--hidden-size", type=int, default=500, help="of each direction")
    parser.add_argument("--batch-size", type=int, default=128, help="sentences")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--root", default="runs", help="where runs are kept")
    parser.add_argument("--resume", default=None, metavar="RUN", help='resume this run; "last" is the newest')
    given = parser.parse_args()

    pl.seed_everything(0)
    model = LitNERTagger(given.data, given.vectors, given.hidden_size, given.batch_size)
    trainer = pl.Trainer(
        accelerator="cpu", logger=True, max_epochs=given.epochs, val_check_interval=0.25, deterministic=True,
        callbacks=[pl.callbacks.EarlyStopping("val_loss", patience=10)], default_root_dir=given.root,
    )  # fmt: skip
    trainer.fit(model, ckpt_path=given.resume)
    trainer.test(model)


if __name__ == "__main__":
    main()
