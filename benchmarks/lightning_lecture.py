"""The lecture's experiment on PyTorch Lightning 2.6, beside `--preset lecture`.

    python benchmarks/lightning_lecture.py DATA --vectors FILE --rounds 3   # an epoch's time, F1 and memory of each
    python benchmarks/lightning_lecture.py DATA --vectors FILE --same 236   # the losses of both, over 236 steps (2 epochs)

The sides (Lightning; ours with random batches; ours with batches of like lengths) take turns, each in a process of its own.
Memory is the most that was resident while training, and how much more that is than was resident before.

Lightning's side is the lecture's program: padded batches of 128 sentences drawn at random, nn.Embedding, nn.LSTM, nn.Linear,
validation after each quarter of an epoch, strict seqeval F1 of train and valid. With ``--same`` both get the same initial
weights and the same batches, words read as unknown included, and Lightning's LSTM packs its padding away, as ours has none:
then the losses of all steps must agree, and loss and F1 of all validations.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOBES
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import record
from ner.config import PRESETS, TaggerConfig
from ner.corpus.dataset import read_dataset
from ner.inputs.batches import Encoded, SentenceBatches, replace_rare
from ner.inputs.encode import encode_labeled
from ner.inputs.indexer import Indexer
from ner.task import UNKNOWN, TaggerTask
from ner.train import build_task
from ner.vectors.views import RAW, Views
from training.determinism.flags import determinism
from training.loop.callback import Callback
from training.loop.trainer import Trainer
from word2vec.vectors.vectors import WordVectors

PAD_LABEL = -100
SAME = {"loss, ours": 0, "strict F1, ours": 1, "loss, Lightning's": 2, "strict F1, Lightning's": 3}
SIDES = ("Lightning", "samebits-random", "samebits-length")
ROWS = dict(
    zip(
        SIDES,
        ("Lightning, random batches, padded", "samebits, random batches", "samebits, batches of like lengths"),
        strict=True,
    )
)


class Padded(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """One sentence an item."""

    def __init__(self, encoded: Encoded) -> None:
        self.words = torch.from_numpy(encoded.words).split(encoded.lengths.tolist())
        self.labels = torch.from_numpy(encoded.labels).split(encoded.lengths.tolist())

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.words[index], self.labels[index]


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Sentences padded to the longest: words (B, T) with 0, labels (B, T) with -100."""
    words, labels = zip(*items, strict=True)
    pad = nn.utils.rnn.pad_sequence
    return pad(list(words), batch_first=True), pad(list(labels), batch_first=True, padding_value=PAD_LABEL)


class LitNERTagger(pl.LightningModule):
    """The lecture's module: embedding, BiLSTM, linear; strict F1 of what train and valid predicted."""

    def __init__(self, matrix: Tensor, hidden_size: int, labels: list[str], packed: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(matrix.clone(), freeze=False, padding_idx=0)
        self.lstm = nn.LSTM(matrix.shape[1], hidden_size, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * hidden_size, len(labels))
        self.tags, self.packed = labels, packed
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": []}

    def forward(self, words: Tensor) -> Tensor:
        x = self.embedding(words)
        if self.packed:
            lengths = (words != 0).sum(dim=1)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        else:
            x, _ = self.lstm(x)
        scores: Tensor = self.linear(x)
        return scores

    def _step(self, name: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        words, labels = batch
        scores = self(words)
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=PAD_LABEL)
        self.seen[name].append((labels, scores.detach().argmax(dim=2)))
        self.log(f"{name}_loss", loss, batch_size=int((labels != PAD_LABEL).sum()), prog_bar=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step("val", batch)

    def _f1(self, name: str) -> None:
        gold, predicted = [], []
        for labels, guesses in self.seen[name]:
            for row, guess in zip(labels, guesses, strict=True):
                kept = row != PAD_LABEL
                gold.append([self.tags[i] for i in row[kept].tolist()])
                predicted.append([self.tags[i] for i in guess[kept].tolist()])
        self.seen[name] = []
        self.log(f"{name}_f1", f1_score(gold, predicted, mode="strict", scheme=IOBES, zero_division=0))

    def on_validation_epoch_end(self) -> None:
        self._f1("val")

    def on_train_epoch_end(self) -> None:
        self._f1("train")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Seen:
    """A callback for both trainers: the loss of each step; loss and F1 of each validation."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.validations: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_validation_end(self, trainer: Any, task: Any) -> None:
        metrics = trainer.callback_metrics
        self.validations.append((float(metrics["val_loss"]), float(metrics["val_f1"])))


class OurSeen(Seen, Callback):
    """On ours."""


class LightningSeen(Seen, pl.Callback):
    """On Lightning."""


class PaddedPlan:
    """Our batches, padded, with the words that ``task`` would read as unknown; each pass over them is an epoch's plan."""

    def __init__(self, source: SentenceBatches, task: TaggerTask, training: bool) -> None:
        self.source, self.task, self.training, self.passes = source, task, training, 0

    def __len__(self) -> int:
        return len(self.source.plan(0))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.passes if self.training else 0
        self.passes += 1
        for i, batch in enumerate(self.source.plan(epoch)):
            words, sizes, c = batch.words, batch.lengths.tolist(), self.task.config
            if self.training:
                words = replace_rare(batch, self.task.rare, c.unk_replace, UNKNOWN, c.seed, epoch, i)
            yield collate(list(zip(words.split(sizes), batch.labels.split(sizes), strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--vectors", default="none")
    parser.add_argument("--hidden-size", type=int, default=PRESETS["lecture"]["hidden_size"])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--same", type=int, default=0, metavar="STEPS")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--one", choices=SIDES, help="run this side alone, and print its figures as JSON")
    record.add_option(parser)
    options = parser.parse_args()
    if not (options.one or options.same):
        compare(options)
        return
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)  # Lightning's order of sentences
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    settings = {**PRESETS["lecture"], "data": options.data, "vectors": options.vectors, "hidden_size": options.hidden_size}
    settings |= {"max_epochs": options.epochs, "threads": options.threads, "seed": options.seed, "deterministic": True}
    settings["batching"] = "length" if options.one == SIDES[2] else "random"
    if options.same:
        settings |= {"max_epochs": 1000, "max_steps": options.same, "num_sanity_val_steps": 0, "shuffle_valid": False}
    config = TaggerConfig.from_dict(settings)
    dataset = read_dataset(config)
    vectors = Views([WordVectors.load(options.vectors)]) if options.vectors != "none" else None
    indexer = Indexer.build(dataset.train, RAW, config.scheme)
    train, valid = (encode_labeled(part, indexer, config) for part in (dataset.train, dataset.valid))
    if options.same:
        rows = same_losses(config, dataset, indexer, vectors, train, valid)
        record.write(
            options.record, "same-losses", rows, modules=record.TAGGER, threads=options.threads, data=[options.data]
        )
        return
    run = run_lightning if options.one == SIDES[0] else run_ours
    print(json.dumps(run(config, ours(config, dataset, indexer, vectors), train, valid)))


def compare(options: argparse.Namespace) -> None:
    """Each side in a process of its own, in turn, each round with the next seed; then median, least and most of each."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for number in range(options.rounds):
        for side in options.sides:
            command = [sys.executable, *sys.argv, "--one", side, "--seed", str(options.seed + number)]
            line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            found[side].append(json.loads(line))
            print(side, line, flush=True)
    for side, results in found.items():
        cells = []
        for name in results[0]:
            values = [each[name] for each in results]
            cells.append(f"{name} {statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})")
        print(f"{side}: {', '.join(cells)}")
    keep(options, found)


def keep(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    """The record."""
    rows: dict[str, dict[str, record.Figure]] = {}
    names = {"seconds an epoch": "s an epoch", "valid F1": "valid F1", "MB at most": "MB at most",
             "MB more than before": "MB more than before"}  # fmt: skip
    for side, results in found.items():
        rows[ROWS[side]] = {shown: [each[name] for each in results] for name, shown in names.items()}
        if SIDES[0] in found:
            pairs = zip(found[SIDES[0]], results, strict=True)
            rows[ROWS[side]]["Lightning's time ÷ its"] = [a["seconds an epoch"] / b["seconds an epoch"] for a, b in pairs]
    data = [options.data, *([] if options.vectors == "none" else [options.vectors])]
    record.write(options.record, "epoch", rows, modules=record.TAGGER, threads=options.threads, data=data)


def begin() -> tuple[float, float]:
    """The time, and the MB that are resident; the count of the most resident memory begins anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return time.perf_counter(), memory("VmRSS")


def memory(field: str) -> float:
    """This process's VmRSS (resident now) or VmHWM (the most since ``begin``), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def figures(config: TaggerConfig, start: float, resident: float, f1: float) -> dict[str, float]:
    """What is reported of a side; ``start`` and ``resident`` as ``begin`` returned them."""
    seconds = (time.perf_counter() - start) / config.max_epochs
    most = memory("VmHWM")
    return {"seconds an epoch": seconds, "valid F1": f1, "MB at most": most, "MB more than before": most - resident}


def ours(config: TaggerConfig, dataset: Any, indexer: Indexer, vectors: Views | None) -> TaggerTask:
    return build_task(config, dataset, indexer, vectors)[0]


def lightning(task: TaggerTask, config: TaggerConfig, packed: bool) -> LitNERTagger:
    """Lightning's module with our initial weights."""
    module = LitNERTagger(task.model.words.weight.detach(), config.hidden_size, task.labels, packed)
    module.lstm.load_state_dict(task.model.lstm.state_dict())
    module.linear.load_state_dict(task.model.linear.state_dict())
    return module


def pl_trainer(config: TaggerConfig, **changes: Any) -> pl.Trainer:
    settings = {"max_epochs": config.max_epochs, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    settings |= {"enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(**{**settings, **changes})


def same_losses(
    config: TaggerConfig, dataset: Any, indexer: Indexer, vectors: Views | None, train: Encoded, valid: Encoded
) -> dict[str, dict[str, record.Figure]]:
    """Train both with the same batches; prints and returns loss and F1 of both."""
    rows: dict[str, dict[str, record.Figure]] = {}
    sources = [
        SentenceBatches(train, config.batch_size, batching=config.batching, seed=config.seed),
        SentenceBatches(valid, config.batch_size, batching=config.batching, shuffle=False),
    ]
    task = ours(config, dataset, indexer, vectors)
    module = lightning(task, config, packed=True)
    mine, theirs = OurSeen(), LightningSeen()
    Trainer(config, callbacks=[mine], logger=False).fit(task, sources[0], sources[1])
    train_loader, valid_loader = PaddedPlan(sources[0], task, True), PaddedPlan(sources[1], task, False)
    changes: dict[str, Any] = {
        "max_steps": config.max_steps,
        "val_check_interval": config.val_check_interval,
        "num_sanity_val_steps": 0,
    }
    pl_trainer(config, callbacks=[theirs], **changes).fit(module, train_loader, valid_loader)
    for i, (a, b) in enumerate(zip(mine.validations, theirs.validations, strict=True), 1):
        print(f"validation {i}: loss {a[0]:.7f} and Lightning's {b[0]:.7f}, F1 {a[1]:.7f} and {b[1]:.7f}")
        both = (*a, *b)
        rows[f"validation {i}"] = {name: f"{both[at]:.7f}" for name, at in SAME.items()}
    gaps = [abs(a - b) / abs(b) for a, b in zip(mine.losses, theirs.losses, strict=True)]
    for step in [i for i in (0, 9, 49, 99, 117, 149, 199, 235) if i < len(gaps)]:
        print(
            f"step {step}: loss {mine.losses[step]:.7f} and {theirs.losses[step]:.7f}, largest gap so far "
            f"{max(gaps[: step + 1]):.1e}"
        )
        losses = f"{mine.losses[step]:.7f}", f"{theirs.losses[step]:.7f}"
        rows[f"step {step + 1}"] = dict(zip(("loss, ours", "loss, Lightning's"), losses, strict=True))
    print(f"{len(gaps)} steps; largest relative difference of a loss {max(gaps):.2e}")
    return {**rows, "largest relative difference of a loss": {"loss, ours": f"{max(gaps):.2e}"}}


def run_lightning(config: TaggerConfig, task: TaggerTask, train: Encoded, valid: Encoded) -> dict[str, float]:
    module = lightning(task, config, packed=False)
    loader = torch.utils.data.DataLoader
    loaders = [loader(Padded(part), config.batch_size, shuffle=True, collate_fn=collate) for part in (train, valid)]
    trainer = pl_trainer(config, val_check_interval=0.25)
    del task
    start, resident = begin()
    trainer.fit(module, loaders[0], loaders[1])
    return figures(config, start, resident, float(trainer.callback_metrics["val_f1"]))


def run_ours(config: TaggerConfig, task: TaggerTask, train: Encoded, valid: Encoded) -> dict[str, float]:
    sources = [
        SentenceBatches(
            part, config.batch_size, batching=config.batching, seed=config.seed, purpose=purpose, keep=part is valid
        )
        for part, purpose in ((train, "order"), (valid, "order/valid"))
    ]
    with determinism(config):
        trainer = Trainer(config, logger=False)
        start, resident = begin()
        trainer.fit(task, sources[0], sources[1])
    return figures(config, start, resident, float(trainer.callback_metrics["val_f1"]))


if __name__ == "__main__":
    main()
