"""Where the time of the tagger's first epoch goes, part by part, beside the floor.

    PYTHONPATH=. python benchmarks/epoch_profile.py DATA [--preset lecture|conll2003] [--batching length|random]

The lecture's experiment has 256 units here, and four validations an epoch. Parts do not overlap: what one calls of another
counts for the other. The floor is the number of multiplications and additions of the LSTM's products (for training three
times those of the forward pass), over the rate of a large product on this machine, by the library that we use, in the same
run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.config import PRESETS, TaggerConfig
from ner.corpus.dataset import read_dataset
from ner.inputs import batches
from ner.inputs.batches import SentenceBatches
from ner.inputs.encode import encode_labeled
from ner.inputs.indexer import Indexer
from ner.model import characters, crf, linear, word_table
from ner.model import tagger as model
from ner.model.bilstm_onednn import FusedLSTM
from ner.model.bilstm_steps import StepwiseLSTM
from ner.model.matmul import product
from ner.schedule import resolved
from ner.scoring import metrics
from ner.train import build_task, without_rare_words
from ner.vectors.views import RAW
from training.determinism.flags import determinism
from training.loop import nonfinite, task
from training.loop import session as core
from training.loop.trainer import Trainer
from training.randomness import uniform

LSTMS = (FusedLSTM, StepwiseLSTM)


class Parts:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.open: list[str] = ["the rest: loop, hooks, logging, other gradients"]
        self.since = time.perf_counter()

    def switch(self) -> None:
        """The time since the last switch goes to the innermost part that is open."""
        now = time.perf_counter()
        self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def watch(self, holder: Any, name: str, part: str) -> None:
        """Have ``holder.name`` count for ``part``."""
        function: Callable[..., Any] = getattr(holder, name)

        def timed(*args: Any, **named: Any) -> Any:
            self.switch()
            self.open.append(part)
            try:
                return function(*args, **named)
            finally:
                self.switch()
                self.open.pop()

        setattr(holder, name, staticmethod(timed) if holder in LSTMS else timed)


def watch_all(parts: Parts) -> None:
    """The parts of an epoch."""
    parts.watch(batches.Encoded, "batch", "batches: ids, packing")
    parts.watch(word_table.WordTable, "forward", "word vectors, forward")
    parts.watch(characters.CharCNN, "forward", "character CNN, forward")
    for each in LSTMS:
        parts.watch(each, "forward", "LSTM, forward (training and validation)")
        parts.watch(each, "backward", "LSTM, backward")
    parts.watch(linear.Linear, "forward", "output layer, forward")
    parts.watch(model.Tagger, "loss", "loss, forward")
    parts.watch(model.Tagger, "decode", "decoding")
    parts.watch(crf.CRF, "decode", "decoding")
    parts.watch(metrics.SpanCounter, "count", "strict F1 of train and valid")
    parts.watch(core.Session, "backward", "backward, all but the LSTM")
    parts.watch(nonfinite, "check_gradients", "gradients finite?")
    parts.watch(task, "clip", "clipping, with the gradients' norm")
    parts.watch(torch.optim.Adam, "step", "optimizer")
    parts.watch(core.Session, "collect", "logging")
    parts.watch(core.Session, "log_metrics", "logging")


def rate() -> float:
    """Floating-point operations a second of a large product of ours: the best of twenty."""
    square = uniform((1024, 1024), -1.0, 1.0, 1, "square")
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        product(square, square)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--preset", choices=["lecture", "conll2003"], default="lecture")
    parser.add_argument("--batching", choices=["length", "random"], default="length")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dim", type=int, default=100, help="size of the word vectors, which are random")
    record.add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = {**PRESETS[options.preset], **({"hidden_size": 256} if options.preset == "lecture" else {})}
    config = TaggerConfig.from_dict(
        {**chosen, "data": options.data, "vectors": "none", "word_dim": options.dim, "batching": options.batching,
         "threads": options.threads, "deterministic": True, "max_epochs": 1}
    )  # fmt: skip
    dataset = read_dataset(config)
    config = resolved(config, dataset.train)
    indexer = without_rare_words(config, dataset, Indexer.build(dataset.train, RAW, config.scheme), None)
    task, _ = build_task(config, dataset, indexer, None)
    train, valid = (encode_labeled(part, indexer, config) for part in (dataset.train, dataset.valid))
    sources = [
        SentenceBatches(part, config.batch_size, batching=options.batching, keep=part is valid) for part in (train, valid)
    ]
    with determinism(config):
        speed = rate()
        parts = Parts()
        watch_all(parts)
        Trainer(config, logger=False).fit(task, sources[0], sources[1])
        parts.switch()
    width = task.model.lstm.input_size + config.hidden_size
    forward = 2 * 2 * 4 * config.hidden_size * width
    checks = round(1 / config.val_check_interval)
    floor = forward * (3 * len(train.words) + checks * len(valid.words)) / speed
    total, steps = sum(parts.seconds.values()), -(-len(train) // config.batch_size)
    print(f"{options}; {speed / 1e9:.0f} GFLOP/s")
    print(f"epoch {total:.2f} s, floor {floor:.2f} s: {total / floor:.2f} times; {steps} steps")
    for part, seconds in sorted(parts.seconds.items(), key=lambda item: -item[1]):
        print(f"| {part} | {seconds:.2f} s | {100 * seconds / total:.1f}% | {1e3 * seconds / steps:.2f} ms a step |")
    lengths = "like lengths" if options.batching == "length" else options.batching
    column = f"{options.preset}, {lengths}, {config.hidden_size} units"
    rows: dict[str, dict[str, record.Figure]] = {part: {column: seconds} for part, seconds in parts.seconds.items()}
    rows |= {"**the epoch**": {column: total}, "its floor": {column: floor}, "epoch ÷ floor": {column: total / floor}}
    data, threads = [options.data], options.threads
    record.write(options.record, "profile", rows, modules=record.TAGGER, threads=threads, data=data)


if __name__ == "__main__":
    main()
