"""What shards cost, and what more processes gain: the lecture's experiment beside Lightning's DDP, and skip-gram by columns.

    python benchmarks/processes_speed.py DATA [--text FILE] [--rounds 5] [--batches 60]

Each side is a process group of its own (torchrun's launcher, gloo), one thread a process where nothing else is said; the
sides take turns. Timed is training alone: the tagger's time between its first batches and its last one, without validation,
and word2vec's words a second as its run states them. Lightning's DDP gives each of two processes half of a batch, and other
results than one process; ours are the same bits at the same number of shards.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record

WARM = 5
"""Batches before the clock starts."""
# name → (side, shards, processes, threads of each)
TAGGER = {
    "ours, 1 shard": ("ours", 1, 1, 1),
    "ours, 2 shards": ("ours", 2, 1, 1),
    "ours, 4 shards": ("ours", 4, 1, 1),
    "ours, 8 shards": ("ours", 8, 1, 1),
    "ours, 2 shards, 2 processes": ("ours", 2, 2, 1),
    "ours, 4 shards, 2 processes": ("ours", 4, 2, 1),
    "ours, 1 shard, 2 threads": ("ours", 1, 1, 2),
    "ours, 1 shard, 2 threads, --any-threads": ("any", 1, 1, 2),
    "Lightning": ("lightning", 1, 1, 1),
    "Lightning, 2 processes (DDP)": ("lightning", 1, 2, 1),
}
SKIPGRAM = {
    "skip-gram, 1 shard": ("w2v", 1, 1, 1),
    "skip-gram, 2 shards": ("w2v", 2, 1, 1),
    "skip-gram, 2 shards, 2 processes": ("w2v", 2, 2, 1),
    "skip-gram, 1 shard, 2 threads": ("w2v", 1, 1, 2),
}


def main() -> None:
    """Take turns, and print the median, the least and the most of each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--text", default="", help="a text for skip-gram, 300-d")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--one", default="", help="run this side alone, in the group that the environment tells of")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    record.add_option(parser)
    given = parser.parse_args()
    if given.one:
        found = {"lightning": lightning, "ours": ours, "any": ours}[given.one](given)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found))
        return
    sides = {**TAGGER, **(SKIPGRAM if given.text else {})}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            rates[name].append(skipgram(given, *side[1:]) if side[0] == "w2v" else tagger(given, *side))
            print(f"{name}: {rates[name][-1]:.4g}", file=sys.stderr, flush=True)
    rows: dict[str, dict[str, record.Figure]] = {}
    for group in (TAGGER, SKIPGRAM if given.text else {}):
        first = next((rates[name] for name in group), [])
        for name in group:
            ratios = [a / b for a, b in zip(rates[name], first, strict=True)]
            values = rates[name]
            print(
                f"| {name} | {statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f}) "
                f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
            )
            rows[name] = {"words a second" if group is SKIPGRAM else "tokens a second": values, "of one shard": ratios}
    modules, data = (*record.PROCESSES, *record.TAGGER, *record.WORDS), [given.data, *([given.text] if given.text else [])]
    record.write(given.record, "processes-speed", rows, modules=modules, threads=1, data=data)


def tagger(given: argparse.Namespace, side: str, shards: int, processes: int, threads: int) -> float:
    """Tokens a second."""
    arguments = [__file__, given.data, "--one", side, "--shards", str(shards), "--threads", str(threads)]
    arguments += ["--batches", str(given.batches)]
    return float(json.loads(launched(processes, threads, arguments).splitlines()[-1]))


def launched(processes: int, threads: int, arguments: list[str]) -> str:
    """The output of a program, run by so many processes."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.run([*start, *arguments], capture_output=True, text=True, check=True, env=environment).stdout


def skipgram(given: argparse.Namespace, shards: int, processes: int, threads: int) -> float:
    """Words of the text a second, while training."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        options = f"--dim 300 --epochs 1 --deterministic --no-progress --log-every-n-steps 20 --threads {threads}"
        options += f" --shards {shards} --run {folder}/run --corpus {given.text}"
        launched(processes, threads, [str(root / "cli.py"), "train-w2v", *options.split()])
        lines = [json.loads(line) for line in Path(folder, "run/timings.jsonl").read_text().splitlines()]
    return float(statistics.median([line["words_per_second"] for line in lines if "words_per_second" in line][1:]))


def prepared(given: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """Settings, task, and the encoded splits."""
    from ner.config import PRESETS, TaggerConfig
    from ner.corpus.dataset import read_dataset
    from ner.inputs.encode import encode_labeled
    from ner.inputs.indexer import Indexer
    from ner.train import build_task
    from ner.vectors.views import RAW

    settings = {**PRESETS["lecture"], "data": given.data, "vectors": "none", "batching": "random", "max_epochs": 1}
    settings |= {"deterministic": True, "threads": given.threads, "shards": given.shards}
    settings |= {"limit_train_batches": given.batches, "limit_val_batches": 0, "any_threads": given.one == "any"}
    config = TaggerConfig.from_dict(settings)
    dataset = read_dataset(config)
    indexer = Indexer.build(dataset.train, RAW, config.scheme)
    train = encode_labeled(dataset.train, indexer, config)
    return config, build_task(config, dataset, indexer, None)[0], train, indexer


class Clock:
    """Tokens a second from the end of the first batches to that of the last."""

    def __init__(self) -> None:
        self.tokens, self.begun, self.ended = 0, 0.0, 0.0

    def batch(self, number: int, tokens: int) -> None:
        """A batch has ended."""
        self.ended = time.perf_counter()
        if number < WARM:
            self.begun = self.ended
        else:
            self.tokens += tokens

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / (self.ended - self.begun)


def ours(given: argparse.Namespace) -> float:
    """The loop's side."""
    from ner.inputs.batches import SentenceBatches
    from training.determinism.flags import determinism
    from training.loop.callback import Callback
    from training.loop.trainer import Trainer

    clock = Clock()

    class Timed(Callback):
        """Tells the clock."""

        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            clock.batch(batch_idx, len(batch.words))

    config, task, train, _ = prepared(given)
    source = SentenceBatches(train, config.batch_size, batching=config.batching, seed=config.seed)
    with determinism(config):
        Trainer(config, callbacks=[Timed()], logger=False).fit(task, source)
    return clock.rate


def lightning(given: argparse.Namespace) -> float:
    """Lightning's side: with several processes DDP, each with its part of a batch."""
    import lightning.pytorch as pl
    import torch

    from benchmarks.lightning_lecture import LitNERTagger, Padded, collate

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(given.threads)
    clock, processes = Clock(), int(os.environ.get("WORLD_SIZE", "1"))

    class Timed(pl.Callback):
        """Tells the clock, of all processes' tokens."""

        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            clock.batch(batch_idx, int((batch[0] != 0).sum()) * processes)

    config, task, train, _ = prepared(given)
    module = LitNERTagger(task.model.words.weight.detach(), config.hidden_size, task.labels, False)
    loader = torch.utils.data.DataLoader(
        Padded(train), config.batch_size // processes, shuffle=True, collate_fn=collate
    )  # fmt: skip
    strategy: dict[str, Any] = {"devices": processes, "strategy": "ddp"} if processes > 1 else {}
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_train_batches=given.batches, callbacks=[Timed()], **strategy,
    )  # fmt: skip
    trainer.fit(module, loader)
    return clock.rate


if __name__ == "__main__":
    main()
