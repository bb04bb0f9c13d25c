"""How long a step of our BiLSTM takes, beside torch.nn.LSTM (packed and padded) and beside the time of its products alone.

    PYTHONPATH=. python benchmarks/lstm_speed.py --threads 2 --batch 128 --inputs 100 --hidden 256

The floor is the number of multiplications and additions that the padding-free LSTM needs (twice as many again in the
backward pass), over the rate of the product of two 1024 x 1024 matrices, by torch.mm or ner.model.matmul, whichever is
faster, in the same run. Sentence
lengths follow the quantiles of CoNLL-2003's training split. All candidates take turns; the best time of each batch counts,
since other work on the machine only ever adds to it. With one thread it is CPU time, else wall time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from ner.model.bilstm import BiLSTM
from ner.model.matmul import product
from training.randomness import uniform, unit

BATCHES = 4


def conll_like(count: int, batch: int) -> list[int]:
    """``count`` lengths whose quantiles are CoNLL-2003's: median 9, three quarters up to 21, one in twenty above 37."""
    places = np.interp(unit(count, 1, "lengths", batch), [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], [1, 1, 5, 9, 21, 37, 60])
    return [round(float(place)) for place in places]


def candidates(inputs: int, hidden: int, batch: int) -> tuple[dict[str, list[Callable[[], Tensor]]], float]:
    """The outputs to time, by name, one call per batch; and the floating-point operations of a mean batch's forward pass."""
    ours = BiLSTM(inputs, hidden, seed=1)
    theirs = nn.LSTM(inputs, hidden, bidirectional=True, batch_first=True)
    theirs.load_state_dict(ours.state_dict())

    def our(tokens: Tensor, lengths: list[int]) -> Tensor:
        output: Tensor = ours(tokens, torch.tensor(lengths))
        return output

    def packed(tokens: Tensor, lengths: list[int]) -> Tensor:
        output: Tensor = theirs(pack_sequence([*torch.split_with_sizes(tokens, lengths)], enforce_sorted=False))[0].data
        return output

    def padded(tokens: Tensor, lengths: list[int]) -> Tensor:
        output: Tensor = theirs(pad_sequence([*torch.split_with_sizes(tokens, lengths)], batch_first=True))[0]
        return output

    batches = [conll_like(batch, k) for k in range(BATCHES)]
    tokens = [uniform((sum(lengths), inputs), -1.0, 1.0, 1, "tokens", k) for k, lengths in enumerate(batches)]
    arguments = [(x.requires_grad_(), lengths) for x, lengths in zip(tokens, batches, strict=True)]
    functions = {"ours": our, "nn.LSTM packed": packed, "nn.LSTM padded": padded}
    calls: dict[str, list[Callable[[], Tensor]]] = {
        name: [partial(function, *each) for each in arguments] for name, function in functions.items()
    }
    return calls, 2 * 2 * 4 * hidden * (inputs + hidden) * sum(map(sum, batches)) / BATCHES


def forward(output: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        output()


def training(output: Callable[[], Tensor]) -> None:
    result = output()
    torch.autograd.backward(result, torch.ones_like(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128, help="sentences in a batch")
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=256, help="units per direction")
    parser.add_argument("--rounds", type=int, default=10)
    record.add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    outputs, work = candidates(options.inputs, options.hidden, options.batch)
    square = uniform((1024, 1024), -1.0, 1.0, 1, "square")
    calls: dict[str, list[Callable[[], object]]] = {
        "torch.mm": [partial(torch.mm, square, square)] * BATCHES,
        "ner.model.matmul": [partial(product, square, square)] * BATCHES,
    }
    for mode in (forward, training):
        calls |= {f"{name}, {mode.__name__}": [partial(mode, one) for one in each] for name, each in outputs.items()}
    best = {name: [float("inf")] * BATCHES for name in calls}
    for _ in range(options.rounds):
        for name, runs in calls.items():
            for k, run in enumerate(runs):
                start = clock()
                run()
                best[name][k] = min(best[name][k], clock() - start)
    rates = {name: 2 * 1024**3 / min(best.pop(name)) for name in ("torch.mm", "ner.model.matmul")}
    rate = max(rates.values())
    shown = ", ".join(f"{name} {each / 1e9:.0f} GFLOP/s" for name, each in rates.items())
    print(f"torch {torch.__version__}, {options.threads} threads, {shown}; batches of {options.batch}")
    found: dict[str, dict[str, record.Figure]] = {}
    for name, times in best.items():
        floor = work / rate * (3 if name.endswith("training") else 1)
        mean = sum(times) / BATCHES
        print(f"{name:25s}{mean * 1e3:8.1f} ms {mean / floor:6.2f} x floor ({floor * 1e3:.1f} ms)")
        row = f"{name}, {options.batch} sentences, {options.inputs} inputs, {options.hidden} units"
        found[row] = {"ms a batch": mean * 1e3, "÷ floor": mean / floor}
    record.write(options.record, "lstm", found, modules=record.MODEL, threads=options.threads)


if __name__ == "__main__":
    main()
