"""The CRF's loss with its gradient, and decoding, beside pytorch-crf's (pip install pytorch-crf==0.7.2).

    PYTHONPATH=. python benchmarks/crf_speed.py [--batches 10] [--repeats 7]

Sentences have CoNLL-2003's kind of lengths: mean 14.5, from 1 to about 60. Both get the same scores, pytorch-crf padded
and with its mask, ours packed. What is timed: from scores to loss and all gradients, or from scores to labels, on one
thread, in processor time (what else the machine does counts less). Per batch the best of the repeats, both libraries in
turn; the mean over batches. pytorch-crf allows all transitions, ours those of IOBES.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchcrf
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.corpus.scheme import allowed_transitions, labels_of
from ner.model.crf import CRF
from ner.model.packing import packing

NAMES = labels_of(["LOC", "MISC", "ORG", "PER"], "IOBES")


def lengths_like_conll(sentences: int, batch: int, of: int, bucketed: bool) -> Tensor:
    """Lengths (B,): gamma-distributed around 14.5; ``bucketed``: batch ``batch`` of ``of`` after sorting all of them."""
    rng = np.random.default_rng(0)
    draw = np.clip(np.round(rng.gamma(1.5, 14.5 / 1.5, sentences * of)), 1, 120).astype(np.int64)
    return torch.from_numpy((np.sort(draw) if bucketed else draw)[batch * sentences : (batch + 1) * sentences].copy())


def seconds(call: Callable[[], object]) -> float:
    """One call's processor time."""
    start = time.process_time()
    call()
    return time.process_time() - start


@torch.no_grad()
def decode(theirs: torchcrf.CRF, padded: Tensor, mask: Tensor) -> None:
    """pytorch-crf's decoding at its best, without a graph."""
    theirs.decode(padded, mask=mask)


def compare(sentences: int, bucketed: bool, batches: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Mean seconds a batch of ours and of theirs, for loss with gradients and for decoding."""
    ours, theirs = CRF(len(NAMES), allowed_transitions(NAMES, "IOBES"), seed=0), torchcrf.CRF(len(NAMES), batch_first=True)
    totals: dict[str, tuple[float, float]] = {"loss and gradients": (0.0, 0.0), "decoding": (0.0, 0.0)}
    for batch in range(batches):
        lengths = lengths_like_conll(sentences, batch, batches, bucketed)
        plan = packing(lengths)
        scores = (torch.randn(int(lengths.sum()), len(NAMES)) * 3).requires_grad_()
        gold = ours.decode(torch.randn(scores.shape), plan)
        parts = lengths.tolist()
        padded = pad_sequence(list(torch.split(scores.detach(), parts)), batch_first=True).requires_grad_()
        labels = pad_sequence(list(torch.split(gold, parts)), batch_first=True)
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        calls = {
            "loss and gradients": (
                lambda: ours.loss(scores, gold, plan).backward(),  # noqa: B023
                lambda: (-theirs(padded, labels, mask=mask)).backward(),  # noqa: B023
            ),
            "decoding": (lambda: ours.decode(scores, plan), lambda: decode(theirs, padded, mask)),  # noqa: B023
        }
        for name, pair in calls.items():
            times = [[seconds(call) for call in pair] for _ in range(repeats)]
            one, other = (min(each) / batches for each in zip(*times, strict=True))
            totals[name] = (totals[name][0] + one, totals[name][1] + other)
    return totals


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    record.add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    how = f"{len(NAMES)} labels, {options.batches} batches, best of {options.repeats}"
    print(f"torch {torch.__version__}, one thread, {how}")
    print("| sentences | batches | what | ours, ms | pytorch-crf, ms | ratio |\n| --- | --- | --- | --- | --- | --- |")
    found: dict[str, dict[str, record.Figure]] = {}
    for sentences in (16, 32, 128):
        for bucketed in (False, True):
            for what, (mine, other) in compare(sentences, bucketed, options.batches, options.repeats).items():
                kind = "of like lengths" if bucketed else "random"
                print(f"| {sentences} | {kind} | {what} | {mine * 1e3:.2f} | {other * 1e3:.2f} | {other / mine:.1f} |")
                row = f"{what}, {sentences} {kind if bucketed else 'random sentences'}"
                found[row] = {"ours, ms": mine * 1e3, "pytorch-crf, ms": other * 1e3, "ratio": other / mine}
    modules = ("ner/model/crf.py", "ner/model/crf_recursions.py", "ner/model/packing.py")
    record.write(options.record, "crf", found, modules=modules, threads=1)


if __name__ == "__main__":
    main()
