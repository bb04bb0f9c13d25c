"""The full and the hierarchical softmax of train-w2v beside a plain autograd loop: seconds a step, and the same losses.

Both take the same batches, the same first weights and the same learning rate, without damping. The plain loop is what one
writes first: indices of all pairs, torch's log-sigmoid or log-softmax, ``backward`` and ``torch.optim.SGD`` on two tables.

Example:
  python benchmarks/w2v_losses.py text.txt --steps 40
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as f

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from word2vec.config import Word2VecConfig
from word2vec.model.huffman import runs
from word2vec.model.word2vec import RowSGD, Word2Vec
from word2vec.text.batches import Batch, TextBatches
from word2vec.text.corpus import encode
from word2vec.text.tokenize import TextRule

LR = 0.025


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("corpus", help="words separated by spaces")
    command.add_argument("--steps", type=int, default=40)
    command.add_argument("--batch-words", type=int, default=512)
    command.add_argument("--max-vocab", type=int, default=10_000)
    command.add_argument("--threads", type=int, default=2)
    record.add_option(command)
    arguments = command.parse_args()
    rows: dict[str, dict[str, record.Figure]] = {}
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        vocab, corpus = encode(
            [arguments.corpus], Path(folder) / "ids", TextRule(tokenize=False), min_count=5, max_vocab=arguments.max_vocab
        )
        print(f"{corpus.read:,} words, vocabulary {len(vocab):,}, {arguments.batch_words} words a step, 100-d")
        for architecture in ("skipgram", "cbow"):
            for loss in ("hierarchical", "softmax"):
                config = Word2VecConfig(
                    architecture=architecture, loss=loss, sample=1e-4, batch_words=arguments.batch_words, damping=0.0,
                    cbow_gradient="corrected",
                )  # fmt: skip
                plan = TextBatches(corpus, vocab, config).plan(0)
                batches = [plan[i] for i in range(arguments.steps)]
                ours, plain = Word2Vec(vocab, config), Word2Vec(vocab, config)
                a, b = ours_steps(ours, batches), plain_steps(plain, batches)
                far = max(abs(x - y) / y for x, y in zip(exact(ours, batches), exact(plain, batches), strict=True))
                apart = float((ours.input - plain.input).detach().abs().max())
                print(
                    f"{architecture}, {loss}: ours {a:.1f} ms a step, plain loop {b:.1f} ms, {b / a:.1f} times; after "
                    f"{len(batches)} steps the losses differ by {far:.1e} of their value, the vectors by {apart:.1e}"
                )
                rows[f"{architecture}, {loss}"] = {
                    "ours, ms": a,
                    "plain loop, ms": b,
                    "ratio": b / a,
                    "vectors apart": apart,
                }
    data, threads = [arguments.corpus], arguments.threads
    record.write(arguments.record, "words-losses", rows, modules=record.WORDS, threads=threads, data=data)


def ours_steps(model: Word2Vec, batches: list[Batch]) -> float:
    """Train; the median step in ms."""
    optimizer = RowSGD(model, LR, model.config.damping)
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        model.step(batch, optimizer.rate)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


def plain_steps(model: Word2Vec, batches: list[Batch]) -> float:
    """The same with autograd."""
    optimizer = torch.optim.SGD(model.parameters(), LR)
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        optimizer.zero_grad()
        plain_loss(model, batch)[0].backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


def exact(model: Word2Vec, batches: list[Batch]) -> list[float]:
    """The mean loss of a prediction on the first batches, with the weights as they are."""
    with torch.no_grad():
        return [float(loss / n) for loss, n in (plain_loss(model, batch) for batch in batches[:4])]


def plain_loss(model: Word2Vec, batch: Batch) -> tuple[Tensor, int]:
    """The summed loss of all predictions, and how many they are."""
    words, left, right = batch.words, batch.left.long(), batch.right.long()
    offset = torch.cat([torch.arange(-model.config.window, 0), torch.arange(1, model.config.window + 1)])
    inside = (offset >= -left.unsqueeze(1)) & (offset <= right.unsqueeze(1))
    center, column = inside.nonzero(as_tuple=True)
    other = center + offset[column]
    if model.config.architecture == "skipgram":
        h, targets = f.embedding(words[center], model.input), words[other]
    else:
        size = left + right
        total = torch.zeros(len(words), model.config.dim).index_add(0, center, f.embedding(words[other], model.input))
        h, targets = (total / size.clamp(min=1).unsqueeze(1))[size > 0], words[size > 0]
    if model.tree is None:
        return f.cross_entropy(h @ model.output.T, targets, reduction="sum"), len(targets)
    begin, lengths = model.tree.begin[targets], model.tree.begin.diff()[targets]
    at, prediction = runs(begin, lengths), torch.repeat_interleave(lengths)
    scores = (f.embedding(model.tree.nodes[at], model.output) * h[prediction]).sum(1)
    return -f.logsigmoid(scores * (2.0 * model.tree.first[at] - 1.0)).sum(), len(targets)


if __name__ == "__main__":
    main()
