"""A step of train-w2v (negative sampling or hierarchical softmax) beside its floor: what it cannot do without.

That is the products, the sums over windows, the gathers and the row updates; with hierarchical softmax the visits to nodes,
too. What is not in it is to find out which rows these are.

Each part is timed by itself on tensors of the step's shapes; the whole step is timed in its own order, with real batches.

Example:
  python benchmarks/w2v_step.py text.txt --option noise_words=32 --threads 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record
from training.config import TrainConfig
from training.determinism.flags import determinism
from training.loop.memory import keep_freed_memory
from word2vec.config import Word2VecConfig
from word2vec.model import hierarchical, negative, windows
from word2vec.model.huffman import HuffmanTree
from word2vec.model.word2vec import RowSGD, Word2Vec
from word2vec.text.batches import Batch, TextBatches
from word2vec.text.corpus import encode
from word2vec.text.tokenize import TextRule
from word2vec.train import LARGEST_KEPT


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("corpus", help="words separated by spaces")
    command.add_argument("--steps", type=int, default=200)
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--option", nargs="*", default=[], metavar="NAME=VALUE", help="settings")
    record.add_option(command)
    arguments = command.parse_args()
    more = {key: json.loads(value) for key, _, value in (each.partition("=") for each in arguments.option)}
    config = Word2VecConfig.from_dict({"sample": 1e-4, "tokenize": False, **more})
    with (
        tempfile.TemporaryDirectory() as folder,
        determinism(TrainConfig(deterministic=True, threads=arguments.threads)),
        torch.no_grad(),
    ):
        keep_freed_memory(LARGEST_KEPT)  # as training does
        vocab, corpus = encode([arguments.corpus], Path(folder) / "ids", TextRule(tokenize=False), min_count=5)
        source, model = TextBatches(corpus, vocab, config), Word2Vec(vocab, config)
        optimizer, plan = RowSGD(model, config.lr, config.damping), source.plan(0)
        parts: dict[str, list[float]] = {"batch": [], "gradients": [], "row updates": []}
        read = 0
        for i in range(arguments.steps):
            at = [time.perf_counter()]
            batch = plan[i % len(plan)]
            at.append(time.perf_counter())
            model.step(batch, optimizer.rate)
            at.append(time.perf_counter())
            optimizer.step()
            at.append(time.perf_counter())
            for times, begin, end in zip(parts.values(), at, at[1:], strict=False):
                times.append(end - begin)
            read += batch.read
        whole = {name: 1e3 * statistics.median(times) for name, times in parts.items()}
        least = floor(model, batch.words) if model.tree is None else hierarchical_floor(model, model.tree, batch)
    print(f"{config.architecture}, {config.dim}-d, {len(batch.words)} places, {read / arguments.steps:.0f} raw words a step")
    print("step, ms:", ", ".join(f"{name} {ms:.2f}" for name, ms in whole.items()), f"= {sum(whole.values()):.2f}")
    print("floor, ms:", ", ".join(f"{name} {ms:.2f}" for name, ms in least.items()), f"= {sum(least.values()):.2f}")
    print(f"the step takes {sum(whole.values()) / sum(least.values()):.2f} times its floor")
    step, parts_of_floor = sum(whole.values()), sum(least.values())
    figures: dict[str, record.Figure] = {"raw words": round(read / arguments.steps), **whole, "step": step}
    figures |= {"floor": parts_of_floor, "step ÷ floor": step / parts_of_floor}
    kind = {"skipgram": "skip-gram", "cbow": "CBOW"}[config.architecture]
    row = f"{kind}, {config.dim}-d" + (", hierarchical softmax" if config.loss == "hierarchical" else "")
    data, threads = [arguments.corpus], arguments.threads
    record.write(arguments.record, "words-step", {row: figures}, modules=record.WORDS, threads=threads, data=data)


def floor(model: Word2Vec, words: torch.Tensor) -> dict[str, float]:
    """ms of the products, the sums over windows, the gathers and the row updates alone."""
    config, p = model.config, len(words)
    window, block, noise = config.window, config.block, config.noise_words
    u = windows.margined(model.output, words, window)
    x = u[window : window + p].clone()
    groups = negative.grouped(x, noise) if config.architecture == "skipgram" else x.view(-1, noise, config.dim)
    miss = torch.bmm(groups, groups.transpose(1, 2))
    combined = torch.bmm if config.architecture == "skipgram" else negative.combined
    places = windows.around(torch.arange(len(u)), window).contiguous()
    weights = torch.ones(places.shape)
    rows, table = words.unsqueeze(1).expand(p, config.dim), torch.zeros_like(model.input)

    def products() -> None:
        if config.architecture == "skipgram":
            negative.scores(x, u, window, block)
        torch.bmm(groups, groups.transpose(1, 2))
        combined(miss, groups)
        combined(miss.transpose(1, 2), groups)

    def sums() -> None:
        windows.weighted_sum(u, places, weights)
        windows.weighted_sum(u, places, weights)

    def gathers() -> None:
        model.input.index_select(0, words)
        model.output.index_select(0, words)

    def updates() -> None:
        table.scatter_add_(0, rows, x)
        table.scatter_add_(0, rows, x)

    timings = {"products": products, "sums over windows": sums, "gathers": gathers, "row updates": updates}
    return {name: timed(work) for name, work in timings.items()}


def hierarchical_floor(model: Word2Vec, tree: HuffmanTree, batch: Batch) -> dict[str, float]:
    """ms of a batch's products, visits, sums over windows, gathers and row updates alone."""
    config, words, window = model.config, batch.words, model.config.window
    inside = model.masks.index_select(0, windows.mask_rows(batch.left, batch.right, window))
    skipgram = config.architecture == "skipgram"
    plan = hierarchical.skipgram(tree, words, inside) if skipgram else hierarchical.cbow(tree, words, inside.amax(1))
    visits, nodes = plan.visits, plan.nodes[len(tree.top) :]
    h, top = windows.margined(model.input, words, window), model.output.index_select(0, tree.top)
    own, below = h[window:-window], model.output.index_select(0, nodes)
    parts = hierarchical.parts_of(own, len(nodes), visits.begin, plan.column)
    places = windows.around(torch.arange(len(h), dtype=torch.int32), window).contiguous()
    score, weights = hierarchical.products(own, top.t()), torch.ones(len(plan.column))
    inputs, outputs = torch.zeros_like(model.input), torch.zeros_like(model.output)

    def products() -> None:
        hierarchical.products(own, top.t())
        hierarchical.products(score, top)
        hierarchical.summed_products(score, own)

    def of_visits() -> None:
        for part in parts:
            hierarchical.scores(own, below, part)
        windows.bags(below, plan.column, visits.begin, weights)
        windows.bags(own, visits.position, visits.node_begin, weights)

    def sums() -> None:
        windows.weighted_sum(h, places, inside)
        windows.weighted_sum(h, places, inside)

    def gathers() -> None:
        model.input.index_select(0, words)
        model.output.index_select(0, nodes)

    def updates() -> None:
        inputs.scatter_add_(0, words.unsqueeze(1).expand_as(own), own)
        outputs.scatter_add_(0, nodes.unsqueeze(1).expand_as(below), below)

    timings = {"products": products, "visits": of_visits, "gathers": gathers, "row updates": updates}
    return {name: timed(work) for name, work in (timings if skipgram else timings | {"sums over windows": sums}).items()}


def timed(work: Callable[[], None], times: int = 100) -> float:
    """The median time of ``work``, ms."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


if __name__ == "__main__":
    main()
