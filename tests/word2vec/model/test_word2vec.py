"""Each of the six objectives: gradients against autograd over a scalar twin; the optimizer; the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.reference import word2vec_scalar as slow
from word2vec.config import Word2VecConfig
from word2vec.model.beside import helped
from word2vec.model.huffman import HuffmanTree
from word2vec.model.word2vec import LARGEST, RowGradient, RowSGD, Word2Vec, noise_weights
from word2vec.text.batches import Batch
from word2vec.text.vocab import Vocab

COUNTS = np.array([90, 40, 30, 30, 20, 9, 9, 5, 4, 4, 1])
VOCAB = Vocab(tuple("abcdefghijk"), COUNTS)
SETTINGS = list(itertools.product(["skipgram", "cbow"], ["negative", "softmax", "hierarchical"]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_batch(generator: np.random.Generator, config: Word2VecConfig, n: int) -> Batch:
    """n words in sentences of random lengths, padded as batches are."""
    padded = max(1, -(-n // config.noise_words)) * config.noise_words
    words = np.zeros(padded, dtype=np.int64)
    left, right = np.zeros((2, padded), dtype=np.int8)
    words[:n] = generator.integers(0, len(VOCAB), n)
    begin = 0
    while begin < n:
        end = min(n, begin + int(generator.integers(1, 12)))
        for i in range(begin, end):
            reach = int(generator.integers(1, config.window + 1))
            left[i], right[i] = min(reach, i - begin), min(reach, end - 1 - i)
        begin = end
    return Batch(torch.from_numpy(words), torch.from_numpy(left), torch.from_numpy(right), n, n)


def random_model(generator: np.random.Generator, config: Word2VecConfig) -> Word2Vec:
    """Tables of numbers that are neither small nor zero, in float64."""
    model = Word2Vec(VOCAB, config).double()
    if model.tree is not None:  # of so few words the whole tree would be its top
        model.tree = HuffmanTree(COUNTS, top=int(generator.integers(1, len(VOCAB)))).double()
    for table in (model.input, model.output):
        table.data.copy_(torch.from_numpy(generator.normal(size=tuple(table.shape))))
    return model


def slow_loss(model: Word2Vec, v: Tensor, u: Tensor, batch: Batch) -> tuple[Tensor, int]:
    """The whole loss and the number of predictions, in loops over the words."""
    config, words = model.config, batch.words.tolist()
    left, right = batch.left.tolist(), batch.right.tolist()
    ways = slow.huffman_ways(COUNTS.tolist())
    weight = noise_weights(VOCAB, config).double().tolist()

    def term(h: Tensor, i: int, target: int) -> Tensor:
        if config.loss == "negative":
            places = slow.others_of(i, len(words), config.noise_words)
            noise = [(words[m], weight[words[m]] if m < batch.n else 0.0) for m in places]
            return slow.negative_term(h, u, target, noise, config.negative)
        if config.loss == "softmax":
            return slow.softmax_term(h, u, target)
        return slow.hierarchical_term(h, u, ways[target])

    if config.architecture == "skipgram":
        terms = [term(v[words[i]], i, words[j]) for i, j in slow.pairs(left, right)]
    else:
        hidden = [(i, slow.hidden(v, words, left, right, i)) for i in range(len(words))]
        terms = [term(h, i, words[i]) for i, h in hidden if h is not None]
    return sum(terms, torch.zeros((), dtype=torch.float64)), len(terms)


def dense(model: Word2Vec, name: str) -> Tensor:
    rows, values = model.gradients[name]
    return torch.zeros_like(model.get_parameter(name).detach()).index_add_(0, rows, values)


@pytest.mark.parametrize(("architecture", "loss"), SETTINGS)
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.integers(0, 23), st.integers(1, 6), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_gradients_are_those_of_the_written_objective(
    architecture: str, loss: str, seed: int, n: int, window: int, block: int, blocks: int
) -> None:
    if loss == "negative" and block * blocks == 1:
        blocks = 2  # a group of one would have no noise
    config = Word2VecConfig(
        architecture=architecture, loss=loss, dim=3, window=window, block=block, noise_words=block * blocks, sample=0.2,
        cbow_gradient="corrected",
    )  # fmt: skip
    generator = np.random.default_rng(seed)
    model, batch = random_model(generator, config), random_batch(generator, config, n)
    reported = model.step(batch)
    v, u = (table.detach().clone().requires_grad_() for table in (model.input, model.output))
    expected, predictions = slow_loss(model, v, u, batch)
    if predictions == 0:
        assert float(reported) == 0.0
        assert not dense(model, "input").any()
        assert not dense(model, "output").any()
        return
    expected.backward()
    torch.testing.assert_close(dense(model, "input"), v.grad, check_dtype=False)
    torch.testing.assert_close(dense(model, "output"), u.grad, check_dtype=False)
    assert len(batch.words) <= 256  # the loss is reported from the first words
    assert float(reported) == pytest.approx(float(expected.detach()) / predictions)


def test_word2vec_c_hands_the_gradient_of_the_mean_on_undivided() -> None:
    config = Word2VecConfig(architecture="cbow", cbow_gradient="corrected", dim=3, window=2, block=4, noise_words=4)
    generator = np.random.default_rng(3)
    model, batch = random_model(generator, config), random_batch(generator, config, 9)
    as_in_c = random_model(np.random.default_rng(3), replace(config, cbow_gradient="word2vec.c"))
    model.step(batch)
    as_in_c.step(batch)
    assert torch.equal(dense(model, "output"), dense(as_in_c, "output"))
    size = (batch.left + batch.right).double()
    # Of each position's gradient dh, its context gets dh/size in one and dh in the other; sizes differ, so no common factor.
    ratio = dense(as_in_c, "input").abs().sum() / dense(model, "input").abs().sum()
    assert size[size > 0].min() <= ratio <= size.max()
    assert ratio > 1.0
    sizes_of_one = replace(batch, left=(batch.left > 0).to(torch.int8), right=torch.zeros_like(batch.right))
    model.step(sizes_of_one)
    as_in_c.step(sizes_of_one)
    assert torch.equal(dense(model, "input"), dense(as_in_c, "input"))


def test_noise_weights_make_the_text_the_noise_distribution() -> None:
    config = Word2VecConfig(sample=0.01, noise_exponent=0.75)
    read = VOCAB.keep_probabilities(0.01) * COUNTS
    reweighted = noise_weights(VOCAB, config).double().numpy() * read / read.sum()
    np.testing.assert_allclose(reweighted, COUNTS**0.75 / (COUNTS**0.75).sum(), rtol=1e-6)


def predicted(batch: Batch, architecture: str) -> list[int]:
    """The words that are predicted by any: those of some window, or those that have one."""
    pairs = slow.pairs(batch.left.tolist(), batch.right.tolist())
    return [int(batch.words[i]) for i in sorted({pair[architecture == "skipgram"] for pair in pairs})]


@pytest.mark.parametrize(("architecture", "loss"), SETTINGS)
def test_gradients_are_scaled_by_the_rate_of_their_rows(architecture: str, loss: str) -> None:
    """Whatever the rate, and though it is multiplied in at different places of the six objectives."""
    config = Word2VecConfig(architecture=architecture, loss=loss, dim=3, window=2, block=4, noise_words=4, damping=0.2)
    model, batch = random_model(np.random.default_rng(5), config), random_batch(np.random.default_rng(6), config, 21)
    model.step(batch)
    plain = {name: dense(model, name) for name in ("input", "output")}
    given: list[tuple[Tensor, Tensor]] = []
    optimizer = RowSGD(model, lr=0.5, damping=config.damping)

    def rate(seen: Tensor, curvature: Tensor) -> Tensor:
        given.append((seen, curvature))
        return optimizer.rate(seen, curvature)

    model.step(batch, rate)
    words = batch.words[: batch.n]
    count = torch.bincount(words, minlength=len(VOCAB)).double()
    assert len(given) == 2
    curvatures = {float(curvature) for _, curvature in given}
    for name in ("input", "output"):
        if name == "output" and loss == "hierarchical":  # each of its rows is an inner node
            passed = [
                node for word in predicted(batch, architecture) for node, _ in slow.huffman_ways(COUNTS.tolist())[word]
            ]
            count = torch.bincount(torch.tensor(passed), minlength=len(VOCAB) - 1).double()
        scaled = dense(model, name)
        expected = [plain[name] * -0.5 / (1 + (count - 1).clamp(min=0) * 0.5 * 0.2 * k).unsqueeze(1) for k in curvatures]
        assert any(torch.allclose(scaled, one, rtol=1e-5, atol=1e-9) for one in expected)


def test_a_row_that_occurs_often_is_damped() -> None:
    optimizer = RowSGD(Word2Vec(VOCAB, Word2VecConfig(dim=2)), lr=0.5, damping=0.2)
    rate = optimizer.rate(torch.tensor([0.0, 1.0, 2.0, 4.0]), torch.tensor(3.0))
    per_repeat = 0.5 * 0.2 * 3.0
    torch.testing.assert_close(rate, torch.tensor([-0.5, -0.5, -0.5 / (1 + per_repeat), -0.5 / (1 + 3 * per_repeat)]))


def test_what_a_row_gets_several_times_is_added_up() -> None:
    model = Word2Vec(VOCAB, Word2VecConfig(dim=2))
    before = model.input.detach().clone()
    rows, values = torch.tensor([5, 1, 5, 5, 5, 1, 2]), torch.arange(14.0).view(7, 2) / 20.0
    model.gradients = {"input": RowGradient(rows, values)}
    RowSGD(model, lr=0.5, damping=0.2).step()
    moved = model.input.detach() - before
    torch.testing.assert_close(moved, torch.zeros_like(moved).index_add_(0, rows, values))


def test_a_huge_gradient_is_bounded() -> None:
    model = Word2Vec(VOCAB, Word2VecConfig(dim=2))
    before = model.input.detach().clone()
    model.gradients = {"input": RowGradient(torch.tensor([3]), torch.tensor([[1e30, -0.5]]))}
    RowSGD(model, lr=0.5, damping=0.1).step()
    torch.testing.assert_close(model.input.detach()[3] - before[3], torch.tensor([LARGEST, -0.5]))


def trained(config: Word2VecConfig, threads: int, steps: int = 2) -> Word2Vec:
    """A few steps on larger batches, so that torch does split the work."""
    torch.set_num_threads(threads)
    counts = np.sort(np.random.default_rng(0).integers(1, 500, 2000))[::-1].copy()
    model = Word2Vec(Vocab(tuple(str(i) for i in range(2000)), counts), config)
    optimizer = RowSGD(model, config.lr, config.damping)
    for step in range(steps):
        generator = np.random.default_rng(step)
        batch = random_batch(generator, config, 1000)
        batch.words[:1000] = torch.from_numpy(generator.zipf(1.3, 1000) % 2000)
        model.step(batch, optimizer.rate)
        optimizer.step()
    return model


@pytest.mark.parametrize(("architecture", "loss"), SETTINGS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_bits_twice_and_for_any_number_of_threads(architecture: str, loss: str, deterministic: bool) -> None:
    """The full softmax is one large product, which MKL cuts up by threads on some CPUs: it is only the same twice."""
    config = Word2VecConfig(architecture=architecture, loss=loss, dim=64)
    torch.use_deterministic_algorithms(deterministic)
    try:
        first, second, two = trained(config, 1), trained(config, 1), trained(config, 2)
    finally:
        torch.use_deterministic_algorithms(False)
    assert first.input.isfinite().all()
    for other in (second,) if loss == "softmax" else (second, two):
        assert torch.equal(first.input, other.input)
        assert torch.equal(first.output, other.output)


@pytest.mark.parametrize(("architecture", "loss"), SETTINGS)
def test_prepared_ahead_and_by_two_threads_steps_have_the_same_bits(architecture: str, loss: str) -> None:
    config = Word2VecConfig(architecture=architecture, loss=loss, dim=16)
    plain, ahead = Word2Vec(VOCAB, config), Word2Vec(VOCAB, config)
    optimizers = [RowSGD(model, config.lr, config.damping) for model in (plain, ahead)]
    batches = [random_batch(np.random.default_rng(seed), config, 300) for seed in range(3)]
    torch.set_num_threads(2)
    with helped():
        prepared = [ahead.prepare(batch) for batch in batches]
        assert {batch.prepared is not None for batch in prepared} == {loss == "hierarchical"}
        for batch in [*prepared, *prepared]:  # a step leaves its batch as it was
            ahead.step(batch, optimizers[1].rate)
            optimizers[1].step()
    torch.set_num_threads(1)
    for batch in [*batches, *batches]:
        plain.step(batch, optimizers[0].rate)
        optimizers[0].step()
    assert torch.equal(plain.input, ahead.input)
    assert torch.equal(plain.output, ahead.output)


@pytest.mark.parametrize(("architecture", "loss"), SETTINGS)
def test_text_of_one_single_word_stays_finite(architecture: str, loss: str) -> None:
    config = Word2VecConfig(architecture=architecture, loss=loss, dim=8, lr=0.2)
    model = Word2Vec(VOCAB, config)
    optimizer = RowSGD(model, config.lr, config.damping)
    words = torch.zeros(512, dtype=torch.int64)
    reach = torch.full((512,), 5, dtype=torch.int8)
    left, right = reach.clone(), reach.clone()
    left[:5], right[-5:] = torch.arange(5).char(), torch.arange(4, -1, -1).char()
    for _ in range(100):
        loss_value = model.step(Batch(words, left, right, 512, 512), optimizer.rate)
        optimizer.step()
        assert torch.isfinite(loss_value)
    assert model.input.isfinite().all()
    assert model.output.isfinite().all()
