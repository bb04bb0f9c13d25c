"""oneDNN's LSTM over rows of sentences beside torch's, one sentence at a time, and beside the hand-written one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ner.model import bilstm_onednn as lstm_rows
from ner.model.bilstm import BiLSTM
from ner.model.bilstm_onednn import FusedLSTM
from ner.model.bilstm_steps import StepwiseLSTM
from ner.model.packing import packing
from ner.model.sentence_rows import arrange
from training.randomness import below, uniform

needs_avx512 = pytest.mark.skipif(not lstm_rows.serves(torch.zeros(1)), reason="no oneDNN with its code for AVX-512")
lengths_of_a_batch = st.lists(st.one_of(st.just(0), st.just(1), st.integers(0, 40)), max_size=40).filter(any)
MANY = below(60, 128, 3, "many").tolist()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _given(lengths: list[int], inputs: int) -> tuple[Tensor, Tensor]:
    """The tokens, and how much the loss weighs each state."""
    n = sum(lengths)
    return uniform((n, inputs), -2.0, 2.0, 5, "tokens").requires_grad_(), uniform((n, 50), -1.0, 1.0, 6, "weights")


def _results(kind: type[torch.autograd.Function], model: BiLSTM, lengths: list[int]) -> list[Tensor]:
    """By one implementation: the states, and the gradients of the tokens and of all parameters."""
    tokens, weights = _given(lengths, model.input_size)
    output = kind.apply(tokens, packing(torch.tensor(lengths)), True, *model.parameters())
    return [output, *torch.autograd.grad(output, [tokens, *model.parameters()], weights)]


def _torch_results(model: BiLSTM, lengths: list[int]) -> list[Tensor]:
    """By nn.LSTM, one sentence at a time."""
    twin = nn.LSTM(model.input_size, model.hidden_size, bidirectional=True)
    twin.load_state_dict(model.state_dict())
    tokens, weights = _given(lengths, model.input_size)
    parts = [part for part in torch.split_with_sizes(tokens, lengths) if len(part)]
    output = torch.cat([twin(part)[0] for part in parts])
    return [output, *torch.autograd.grad(output, [tokens, *twin.parameters()], weights)]


def _assert_close(results: list[Tensor], expected: list[Tensor]) -> None:
    """Within 2e-6 for states, 2e-5 of the largest element for gradients: sums of some thousand terms, in another order."""
    torch.testing.assert_close(results[0], expected[0], rtol=0, atol=2e-6)
    for gradient, other in zip(results[1:], expected[1:], strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=2e-5 * max(1.0, float(other.abs().max())))


@given(lengths_of_a_batch)
@settings(deadline=None, max_examples=80)
def test_every_token_has_a_place_and_separators_stand_between_sentences(lengths: list[int]) -> None:
    where = arrange(tuple(lengths))
    n, size = sum(lengths), where.steps * where.rows
    assert where.rows >= 2  # oneDNN has other code for a single row
    assert where.tokens.shape == (2, size)
    assert where.places.shape == (2, n)
    starts = [sum(lengths[:s]) for s in range(len(lengths))]
    for direction in (0, 1):
        tokens, places = where.tokens[direction].tolist(), where.places[direction].tolist()
        assert sorted(token for token in tokens if token < n) == list(range(n))
        assert [tokens[place] for place in places] == list(range(n))
        for start, length in zip(starts, lengths, strict=True):
            order = places[start : start + length][:: 1 - 2 * direction]
            if order:
                assert order == list(range(order[0], order[-1] + 1, where.rows))  # one row, one step after another
                assert order[0] < where.rows or tokens[order[0] - where.rows] == n
                assert order[-1] + where.rows >= size or tokens[order[-1] + where.rows] == n


@pytest.mark.parametrize("lengths", [MANY, [15] * 64 + [14] * 64, [14] * 33, [9] * 32, [1200, *MANY]])
def test_few_steps_are_of_no_use(lengths: list[int]) -> None:
    where = arrange(tuple(lengths))
    assert sum(lengths) + len(lengths) >= 0.7 * where.rows * where.steps


@needs_avx512
@given(lengths_of_a_batch, st.sampled_from([(7, 25), (100, 25)]))
@settings(deadline=None, max_examples=25)
def test_equal_to_torch_and_to_the_hand_written_one(lengths: list[int], sizes: tuple[int, int]) -> None:
    model = BiLSTM(*sizes, seed=1)
    results = _results(FusedLSTM, model, lengths)
    _assert_close(results, _torch_results(model, lengths))
    _assert_close(results, _results(StepwiseLSTM, model, lengths))


@needs_avx512
@pytest.mark.parametrize("lengths", [[1], [1200], [1200, 0, 1, 1, 30], MANY])
def test_equal_also_for_single_and_long_sentences(lengths: list[int]) -> None:
    model = BiLSTM(19, 25, seed=2)
    results = _results(FusedLSTM, model, lengths)
    _assert_close(results, _torch_results(model, lengths))
    again = _results(FusedLSTM, model, lengths)
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))


@needs_avx512
@pytest.mark.parametrize(("inputs", "hidden"), [(100, 256), (37, 99), (5, 7), (187, 200)])
def test_a_sentence_gets_the_same_bits_in_any_company(inputs: int, hidden: int) -> None:
    model = BiLSTM(inputs, hidden, seed=3)
    tokens = uniform((sum(MANY), inputs), -2.0, 2.0, 5, "tokens")
    sentences = [part for part in torch.split_with_sizes(tokens, MANY) if len(part)]
    with torch.no_grad():
        alone = [model(part, torch.tensor([len(part)])) for part in sentences]
        for count, threads in ((2, 1), (3, 2), (9, 1), (33, 2), (len(sentences), 4)):
            torch.set_num_threads(threads)
            chosen = sentences[-count:]
            together = model(torch.cat(chosen), torch.tensor([len(part) for part in chosen]))
            parts = torch.split_with_sizes(together, [len(part) for part in chosen])
            assert all(torch.equal(a, b) for a, b in zip(parts, alone[-count:], strict=True))
    trained = model(tokens, torch.tensor(MANY))
    assert torch.equal(trained, torch.cat(alone))  # with what the backward pass needs or without


@needs_avx512
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_nothing_flows_across_a_separator(scale: float) -> None:
    model, lengths = BiLSTM(7, 13, seed=4), [5, 3, 9, 1, 2, 8, 30]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    tokens = uniform((sum(lengths), 7), -2.0, 2.0, 5, "tokens").requires_grad_()
    output = model(tokens, torch.tensor(lengths))
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        gradient = torch.autograd.grad(output[part].sum(), tokens, retain_graph=True)[0]
        assert bool(gradient.isfinite().all())
        assert scale > 1 or gradient[part].any()
        gradient[part] = 0
        assert not gradient.any()
        start += length


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_other_types_and_other_code_go_step_by_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not lstm_rows.serves(torch.zeros(1, dtype=torch.float64))
    assert not lstm_rows.serves(torch.zeros(1, device="meta"))
    with torch.autocast("cpu"):
        assert not lstm_rows.serves(torch.zeros(1))
    lstm_rows._trusted.cache_clear()
    monkeypatch.setenv(name, "AVX2")
    try:
        assert not lstm_rows.serves(torch.zeros(1))
    finally:
        lstm_rows._trusted.cache_clear()
