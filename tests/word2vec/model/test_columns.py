"""Tables by columns: the same bits for any number of processes; the same mathematics as uncut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.meeting import in_threads
from tests.word2vec.model.test_word2vec import VOCAB, random_batch
from training.errors import ConfigError
from training.parallel.group import Group
from word2vec.config import Word2VecConfig
from word2vec.model import whole
from word2vec.model.columns import Columns
from word2vec.model.huffman import HuffmanTree
from word2vec.model.whole import deal_out, put_together
from word2vec.model.word2vec import RowSGD, Word2Vec

OBJECTIVES: list[dict[str, Any]] = [
    {"architecture": a, "loss": b}
    for a, b in itertools.product(["skipgram", "cbow"], ["negative", "softmax", "hierarchical"])
] + [{"architecture": "cbow", "cbow_gradient": "corrected"}]
TABLES = ("input", "output")


def config_of(seed: int, objective: dict[str, Any], shards: int) -> Word2VecConfig:
    generator = np.random.default_rng(seed)
    noise, dim = int(generator.choice([4, 16, 64])), int(generator.integers(shards, 40))
    window, block = int(generator.integers(1, 6)), int(generator.choice([2, 4]))
    sizes = {"dim": dim, "window": window, "noise_words": noise, "block": block}
    return Word2VecConfig.from_dict({**objective, **sizes, "seed": seed, "damping": 0.1, "shards": shards})


def trained(config: Word2VecConfig, group: Group, columns: type[Columns] = Columns) -> tuple[Word2Vec, list[float]]:
    """Three steps and their losses. The output vectors begin with random numbers, too, the same however they are cut."""
    model, losses = Word2Vec(VOCAB, config, group), list[float]()
    if model.tree is not None:  # of so few words the whole tree would be its top
        model.tree = HuffmanTree(VOCAB.counts, top=2 + config.seed)
    model.columns = columns(config.dim, group)
    start = torch.randn(len(VOCAB), config.dim, generator=torch.Generator().manual_seed(config.seed))
    for chunk, own in zip(model.chunks("output"), model.columns.own, strict=True):
        chunk.data.copy_(start[: len(chunk), own])
    optimizer = RowSGD(model, 0.2, config.damping)
    for step in range(3):
        batch = random_batch(np.random.default_rng([config.seed, step]), config, 150)
        losses.append(float(model.step(batch, optimizer.rate)))
        optimizer.step()
    return model, losses


def in_order(models: Sequence[Word2Vec], table: str) -> Tensor:
    """The whole table, from the chunks of all processes."""
    return torch.cat([chunk.detach() for model in models for chunk in model.chunks(table)], 1)


def results(config: Word2VecConfig, world: int, columns: type[Columns] = Columns) -> tuple[Tensor, Tensor, list[float]]:
    """Both tables and the losses, as ``world`` processes find them."""
    found = in_threads(world, config.shards, lambda group: trained(config, group, columns))
    models = [model for model, _ in found]
    assert all(losses == found[0][1] for _, losses in found)
    return in_order(models, "input"), in_order(models, "output"), found[0][1]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_processes_gives_the_same_bits(objective: dict[str, Any], seed: int) -> None:
    shards = (8, 4, 2)[seed]
    config = config_of(seed, objective, shards)
    first = results(config, 1)
    world = 2
    while world <= shards:
        other = results(config, world)
        assert torch.equal(other[0], first[0])
        assert torch.equal(other[1], first[1])
        assert other[2] == first[2]
        world *= 2


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("shards", [2, 8])
def test_chunks_have_the_gradients_of_the_whole(objective: dict[str, Any], shards: int) -> None:
    """Those of the whole stand beside a scalar twin in test_word2vec.py."""
    config = config_of(shards, objective, shards)
    uncut = replace(config, shards=1)
    ours, theirs = Word2Vec(VOCAB, config, Group(0, 1, shards)).double(), Word2Vec(VOCAB, uncut, Group(0, 1, 1)).double()
    if ours.tree is not None:
        ours.tree = theirs.tree = HuffmanTree(VOCAB.counts, top=shards).double()
    generator = torch.Generator().manual_seed(shards)
    for table in TABLES:
        (target,) = theirs.chunks(table)
        target.data.copy_(torch.randn(target.shape, generator=generator, dtype=torch.float64))
        for chunk, own in zip(ours.chunks(table), ours.columns.own, strict=True):
            chunk.data.copy_(target[:, own])
    batch = random_batch(np.random.default_rng(shards), config, 70)
    losses = [model.step(batch, RowSGD(model, 0.2, 0.1).rate) for model in (ours, theirs)]
    torch.testing.assert_close(*losses)
    for table in TABLES:
        found = [ours.gradients[name] for name in ours.columns.names(table)]
        expected = theirs.gradients[table]
        assert all(torch.equal(each.rows, expected.rows) for each in found)
        torch.testing.assert_close(torch.cat([each.values for each in found], 1), expected.values)


class AllReduced(Columns):
    """Local sums, added up over the processes one after another: what an all_reduce does."""

    def add(self, parts: Iterable[Sequence[Tensor]]) -> list[Tensor]:
        own = [sum(each[1:], each[0]) for each in zip(*parts, strict=True)]
        return [sum(each[1:], each[0]) for each in zip(*self.group.gather(own), strict=True)]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_without_the_tree_the_bits_depend_on_the_number_of_processes(objective: dict[str, Any]) -> None:
    config = replace(config_of(0, objective, 8), dim=32)
    tables = [results(config, world, AllReduced)[0] for world in (1, 2, 4, 8)]
    assert len({table.numpy().tobytes() for table in tables}) > 1


@settings(deadline=None, max_examples=40)
@given(
    world=st.sampled_from([1, 2, 4]), each=st.sampled_from([1, 2]), more=st.integers(0, 9), rows=st.integers(1, 12),
    block=st.integers(1, 60), some=st.none() | st.integers(1, 14), seed=st.integers(0, 99),
)  # fmt: skip
def test_tables_are_put_together_and_dealt_out_again(
    world: int, each: int, more: int, rows: int, block: int, some: int | None, seed: int
) -> None:
    shards = 2 * world * each
    dim = shards + more
    table = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))

    def act(group: Group) -> tuple[dict[str, Tensor], list[Tensor]]:
        columns = Columns(dim, group)
        chunks = [table[:, own].clone() for own in columns.own]
        found = put_together(columns, {"table": chunks}, rows=some)
        dealt = [torch.zeros_like(chunk) for chunk in chunks]
        deal_out(columns, {"table": dealt}, {"table": table} if group.writes else {})
        return found, dealt

    before, whole.BLOCK = whole.BLOCK, block
    try:
        done = in_threads(world, shards, act)
    finally:
        whole.BLOCK = before
    assert torch.equal(done[0][0]["table"], table[:some])
    assert all(not found for found, _ in done[1:])
    assert torch.equal(torch.cat([chunk for _, dealt in done for chunk in dealt], 1), table)


def test_a_disk_that_does_not_take_a_table_is_told_by_all(tmp_path: Path) -> None:
    def act(group: Group) -> str:
        columns = Columns(4, group)
        chunks = [torch.zeros(3, own.stop - own.start) for own in columns.own]
        with pytest.raises(FileNotFoundError) as caught:
            put_together(columns, {"table": chunks}, tmp_path / "gone")
        return str(caught.value)

    assert len(set(in_threads(4, 4, act))) == 1


@pytest.mark.parametrize("shape", [(5, 6), (4, 8)])
def test_tables_of_other_sizes_are_refused_by_all(shape: tuple[int, int]) -> None:
    def act(group: Group) -> None:
        columns = Columns(6, group)
        chunks = [torch.zeros(4, own.stop - own.start) for own in columns.own]
        with pytest.raises(RuntimeError, match=r"table: expected a table of the shape \(4, 6\), got \("):
            deal_out(columns, {"table": chunks}, {"table": torch.zeros(shape)} if group.writes else {})

    in_threads(2, 4, act)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_optimizers_state_does_not_depend_on_the_number_of_processes(world: int) -> None:
    config = Word2VecConfig(dim=8, shards=4)

    def act(group: Group) -> dict[str, Any]:
        optimizer = RowSGD(Word2Vec(VOCAB, config, group), 0.1, 0.1)
        state = optimizer.state_dict()
        optimizer.load_state_dict({**state, "param_groups": [{**state["param_groups"][0], "lr": 0.05}]})
        assert optimizer.param_groups[0]["lr"] == 0.05
        assert len(optimizer.param_groups[0]["params"]) == 2 * 4 // world
        return state

    uncut = RowSGD(Word2Vec(VOCAB, replace(config, shards=1), Group(0, 1, 1)), 0.1, 0.1).state_dict()
    assert all(state == uncut for state in in_threads(world, 4, act))


def test_more_chunks_than_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="shards: expected at most as many as vectors have numbers, 4, got 8"):
        Word2VecConfig(dim=4, shards=8)
