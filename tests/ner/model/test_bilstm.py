"""The BiLSTM beside torch.nn.LSTM, by numerical gradients, and bit by bit across threads and batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ner.model import bilstm_onednn as lstm_rows
from ner.model.bilstm import BiLSTM
from ner.model.matmul import FEWEST_ROWS
from ner.model.packing import packing
from training.errors import DataError
from training.randomness import uniform

LENGTHS = [3, 1, 6, 0, 3, 9, 2, 6]
lengths_of_a_batch = st.lists(st.integers(0, 12), max_size=9).filter(any)


@pytest.fixture(autouse=True, params=["by oneDNN where it can", "step by step"])
def _implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "step by step":
        monkeypatch.setattr(lstm_rows, "serves", lambda tokens: False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _tokens(lengths: list[int], size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return uniform((sum(lengths), size), -2.0, 2.0, 5, "tokens").to(dtype).requires_grad_()


def _sentences(tokens: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
    return torch.split_with_sizes(tokens, lengths)


def _torch_lstm(model: BiLSTM) -> nn.LSTM:
    twin = nn.LSTM(model.input_size, model.hidden_size, bidirectional=True, dtype=model.weight_ih_l0.dtype)
    twin.load_state_dict(model.state_dict())
    return twin


def _run_torch(twin: nn.LSTM, tokens: Tensor, lengths: list[int]) -> Tensor:
    """nn.LSTM on one sentence at a time: no padding at all."""
    return torch.cat([twin(sentence)[0] for sentence in _sentences(tokens, lengths) if len(sentence)])


def _results(model: BiLSTM, tokens: Tensor, lengths: list[int]) -> list[Tensor]:
    """The output, and the gradients of the tokens and of all parameters."""
    output = model(tokens, torch.tensor(lengths))
    weights = uniform(tuple(output.shape), -1.0, 1.0, 6, "weights").to(output.dtype)
    return [output, *torch.autograd.grad(output, [tokens, *model.parameters()], weights)]


@given(lengths_of_a_batch)
@settings(deadline=None, max_examples=60)
def test_packing_is_each_sentence_step_by_step(lengths: list[int]) -> None:
    plan = packing(torch.tensor(lengths))
    steps = max(lengths)
    assert plan.sizes == tuple(max(FEWEST_ROWS, sum(n > t for n in lengths)) for t in range(steps))
    order = sorted(range(len(lengths)), key=lambda s: -lengths[s])
    starts = [sum(lengths[:s]) for s in range(len(lengths))]
    offsets = [sum(plan.sizes[:t]) for t in range(steps)]
    spare = set(range(sum(plan.sizes)))
    for rank, sentence in enumerate(order):
        for t in range(lengths[sentence]):
            row = offsets[t] + rank
            spare.discard(row)
            places = starts[sentence] + t, starts[sentence] + lengths[sentence] - 1 - t
            for direction, place in enumerate(places):
                assert plan.tokens[direction, row] == place
                assert plan.rows[direction, place] == row
            if t:
                assert plan.previous[row - plan.sizes[0]] == offsets[t - 1] + rank
    assert all(plan.tokens[0, row] == plan.tokens[1, row] == sum(lengths) for row in spare)


def test_parameters_are_those_of_torch_and_depend_on_seed_and_name() -> None:
    model = BiLSTM(7, 5, seed=1)
    twin = _torch_lstm(model)
    assert [(n, p.shape) for n, p in model.named_parameters()] == [(n, p.shape) for n, p in twin.named_parameters()]
    everything = torch.cat([p.flatten() for p in model.parameters()])
    assert everything.abs().max() < 5**-0.5 < everything.abs().max() * 1.01
    assert torch.equal(model.weight_hh_l0, BiLSTM(7, 5, seed=1).weight_hh_l0)
    assert not torch.equal(model.weight_hh_l0, model.weight_hh_l0_reverse)
    assert not torch.equal(model.weight_hh_l0, BiLSTM(7, 5, seed=2).weight_hh_l0)
    assert not torch.equal(model.weight_hh_l0, BiLSTM(7, 5, seed=1, name="characters").weight_hh_l0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("lengths", [LENGTHS, [1], [5], [1, 1, 1], list(range(1, 30))])
def test_equal_to_torch(lengths: list[int], dtype: torch.dtype, tolerance: float) -> None:
    model = BiLSTM(7, 5, seed=1).to(dtype)
    twin, tokens = _torch_lstm(model), _tokens(lengths, 7, dtype)
    output, *gradients = _results(model, tokens, lengths)
    expected = _run_torch(twin, tokens, lengths)
    weights = uniform(tuple(output.shape), -1.0, 1.0, 6, "weights").to(dtype)
    expected_gradients = torch.autograd.grad(expected, [tokens, *twin.parameters()], weights)
    torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=10 * tolerance, atol=10 * tolerance)


def test_gradients_by_differences() -> None:
    model, lengths = BiLSTM(3, 2, seed=4).double(), [2, 4, 0, 1]
    names = [name for name, _ in model.named_parameters()]

    def run(tokens: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        output: Tensor = torch.func.functional_call(model, state, (tokens, torch.tensor(lengths)))
        return output

    assert torch.autograd.gradcheck(run, (_tokens(lengths, 3), *model.parameters()))


@given(lengths_of_a_batch, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_a_sentence_gets_the_same_bits_in_any_batch(lengths: list[int], random: object) -> None:
    model, tokens = BiLSTM(19, 25, seed=3), _tokens(lengths, 19, torch.float32).detach()
    with torch.no_grad():
        together = model(tokens, torch.tensor(lengths))
        order = list(range(len(lengths)))
        random.shuffle(order)  # type: ignore[attr-defined]
        parts, sentences = _sentences(together, lengths), _sentences(tokens, lengths)
        shuffled = model(torch.cat([sentences[s] for s in order]), torch.tensor([lengths[s] for s in order]))
        for s, states in zip(order, _sentences(shuffled, [lengths[s] for s in order]), strict=True):
            assert torch.equal(states, parts[s])
            assert torch.equal(model(sentences[s], torch.tensor([lengths[s]])), parts[s])


@pytest.mark.parametrize(
    ("size", "hidden", "count"), [(100, 256, 40), (150, 100, 32), (37, 99, 9), (101, 150, 3), (30, 25, 500)]
)
def test_any_number_of_threads_gives_the_same_bits(size: int, hidden: int, count: int) -> None:
    lengths = [1 + (7 * n * n + 3 * n) % 23 for n in range(count)]
    model, tokens = BiLSTM(size, hidden, seed=1), _tokens(lengths, size, torch.float32)
    torch.set_num_threads(1)
    expected = _results(model, tokens, lengths)
    for threads in (2, 4):
        torch.set_num_threads(threads)
        assert torch.get_num_threads() == threads
        for result, other in zip(_results(model, tokens, lengths), expected, strict=True):
            assert torch.equal(result, other)


def test_again_gives_the_same_bits_and_a_graph_can_be_walked_twice() -> None:
    model, tokens = BiLSTM(7, 5, seed=1), _tokens(LENGTHS, 7, torch.float32)
    first, second = (_results(model, tokens, LENGTHS) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    output = model(tokens, packing(torch.tensor(LENGTHS)))
    once = torch.autograd.grad(output.sum(), tokens, retain_graph=True)[0]
    assert torch.equal(once, torch.autograd.grad(output.sum(), tokens)[0])


def test_gates_at_their_ends_stay_finite() -> None:
    model, tokens = BiLSTM(7, 5, seed=1), _tokens(LENGTHS, 7, torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1000)
    assert all(bool(result.isfinite().all()) for result in _results(model, tokens, LENGTHS))


def test_frozen_inputs_and_no_gradients() -> None:
    model, tokens = BiLSTM(7, 5, seed=1), _tokens(LENGTHS, 7, torch.float32)
    expected = _results(model, tokens, LENGTHS)
    frozen = model(tokens.detach(), torch.tensor(LENGTHS))
    weights = uniform(tuple(frozen.shape), -1.0, 1.0, 6, "weights")
    for gradient, other in zip(torch.autograd.grad(frozen, list(model.parameters()), weights), expected[2:], strict=True):
        assert torch.equal(gradient, other)
    with torch.no_grad():
        # With AVX2 oneDNN evaluates by other code than it trains by.
        torch.testing.assert_close(model(tokens, torch.tensor(LENGTHS)), expected[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_nothing_in_nothing_out(lengths: list[int]) -> None:
    assert BiLSTM(7, 5, seed=1)(torch.zeros(0, 7), torch.tensor(lengths, dtype=torch.int64)).shape == (0, 10)


@pytest.mark.parametrize(
    ("tokens", "lengths", "message"),
    [
        (torch.zeros(5, 7), torch.tensor([2, 2]), r"expected shape \(4, 7\), got \(5, 7\)"),
        (torch.zeros(4, 6), torch.tensor([2, 2]), r"expected shape \(4, 7\), got \(4, 6\)"),
        (torch.zeros(4, 7), torch.tensor([5, -1]), "non-negative integers"),
        (torch.zeros(4, 7), torch.tensor([2.0, 2.0]), "non-negative integers"),
        (torch.zeros(4, 7), torch.tensor(4), "a vector"),
    ],
)
def test_wrong_shapes_are_told(tokens: Tensor, lengths: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        BiLSTM(7, 5, seed=1)(tokens, lengths)


def test_a_plan_moves_to_a_device_whole() -> None:
    plan = packing(torch.tensor(LENGTHS)).to(torch.device("meta"))
    assert {index.device.type for index in (plan.tokens, plan.rows, plan.previous)} == {"meta"}
