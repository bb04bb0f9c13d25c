"""oneDNN's LSTM over rows of sentences beside torch's, one sentence at a time, and beside the hand-written one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from random import Random

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
from ner.model.sentence_rows import TILE, arrange
from training.randomness import below, uniform

needs_onednn = pytest.mark.skipif(not lstm_rows.serves(torch.zeros(1)), reason="no oneDNN with its code for AVX2 or AVX-512")
lengths_of_a_batch = st.lists(st.one_of(st.just(0), st.just(1), st.integers(0, 40)), max_size=40).filter(any)
TILED = lstm_rows._code() == "AVX2"
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


@given(lengths_of_a_batch, st.booleans())
@settings(deadline=None, max_examples=120)
def test_every_token_has_a_place_and_separators_stand_between_sentences(lengths: list[int], in_tiles: bool) -> None:
    where = arrange(tuple(lengths), in_tiles)
    n, size = sum(lengths), where.steps * where.rows
    assert where.rows >= 2  # oneDNN has other code for a single row
    if in_tiles:
        assert where.rows % TILE in (0, 4)
        assert size % TILE == 0
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
@pytest.mark.parametrize("in_tiles", [False, True])
def test_few_steps_are_of_no_use(lengths: list[int], in_tiles: bool) -> None:
    where = arrange(tuple(lengths), in_tiles)
    assert sum(lengths) + len(lengths) >= 0.7 * where.rows * where.steps


@needs_onednn
@given(lengths_of_a_batch, st.sampled_from([(7, 25), (100, 25)]))
@settings(deadline=None, max_examples=25)
def test_equal_to_torch_and_to_the_hand_written_one(lengths: list[int], sizes: tuple[int, int]) -> None:
    model = BiLSTM(*sizes, seed=1)
    results = _results(FusedLSTM, model, lengths)
    _assert_close(results, _torch_results(model, lengths))
    _assert_close(results, _results(StepwiseLSTM, model, lengths))


@needs_onednn
@pytest.mark.parametrize("lengths", [[1], [1200], [1200, 0, 1, 1, 30], MANY])
def test_equal_also_for_single_and_long_sentences(lengths: list[int]) -> None:
    model = BiLSTM(19, 25, seed=2)
    results = _results(FusedLSTM, model, lengths)
    _assert_close(results, _torch_results(model, lengths))
    again = _results(FusedLSTM, model, lengths)
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))


@needs_onednn
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
    if TILED:  # by other code than in evaluation
        torch.testing.assert_close(trained, torch.cat(alone), rtol=0, atol=2e-6)
    else:
        assert torch.equal(trained, torch.cat(alone))


@needs_onednn
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=300),
    st.tuples(st.integers(1, 400), st.integers(1, 320)),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=25)
def test_in_evaluation_a_sentence_gets_the_same_bits_in_any_company_and_number_of_threads(
    lengths: list[int], sizes: tuple[int, int], threads: int, random: Random
) -> None:
    model, tokens = BiLSTM(*sizes, seed=3), uniform((sum(lengths), sizes[0]), -2.0, 2.0, 5, "tokens")
    parts = list(tokens.split_with_sizes(lengths))
    random.shuffle(parts)
    chosen = parts[: 1 + random.randrange(len(parts))]
    with torch.no_grad():
        torch.set_num_threads(threads)
        together = model(torch.cat(chosen), torch.tensor([len(part) for part in chosen]))
        torch.set_num_threads(1)
        alone = [model(part, torch.tensor([len(part)])) for part in chosen]
    assert torch.equal(together, torch.cat(alone))


@needs_onednn
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


@needs_onednn
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
    st.tuples(st.integers(1, 90), st.integers(1, 90)) | st.sampled_from([(50, 150), (19, 260)]),
    st.integers(1, 8 if TILED else 2),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=12)
def test_a_sentence_gets_the_same_bits_in_any_company_and_number_of_threads(
    lengths: list[int], sizes: tuple[int, int], threads: int, random: Random
) -> None:
    """What a sentence gets alone in one thread, and among others in any order; by the code for AVX2 also its gradients."""
    model, tokens = BiLSTM(*sizes, seed=3), uniform((sum(lengths), sizes[0]), -2.0, 2.0, 5, "tokens")
    weights = uniform((sum(lengths), 2 * sizes[1]), -1.0, 1.0, 6, "weights")
    parts = list(zip(tokens.split_with_sizes(lengths), weights.split_with_sizes(lengths), strict=True))
    random.shuffle(parts)
    chosen = parts[: 1 + random.randrange(len(parts))]

    def results(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([part for part, _ in pairs]).requires_grad_()
        output = model(inputs, torch.tensor([len(part) for part, _ in pairs]))
        return output.detach(), torch.autograd.grad(output, inputs, torch.cat([weight for _, weight in pairs]))[0]

    torch.set_num_threads(threads)
    together = results(chosen)
    torch.set_num_threads(1)
    alone = [results([pair]) for pair in chosen]
    assert torch.equal(together[0], torch.cat([states for states, _ in alone]))
    assert not TILED or torch.equal(together[1], torch.cat([gradient for _, gradient in alone]))


@needs_onednn
@pytest.mark.parametrize(("inputs", "hidden"), [(19, 260), (37, 99)])
def test_gradients_are_the_same_with_other_numbers_of_threads(inputs: int, hidden: int) -> None:
    model = BiLSTM(inputs, hidden, seed=3)
    found = []
    for threads in (1, 2, 5) if TILED else (1, 2):
        torch.set_num_threads(threads)
        tokens = uniform((sum(MANY), inputs), -2.0, 2.0, 5, "tokens").requires_grad_()
        output = model(tokens, torch.tensor(MANY))
        found.append([output, *torch.autograd.grad(output.square().sum(), [tokens, *model.parameters()])])
    for results in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results, found[0], strict=True))


@pytest.mark.skipif(lstm_rows._code() != "AVX512", reason="AVX2 is what this CPU has, or it has neither")
def test_the_bits_are_kept_by_the_code_for_avx2_too() -> None:
    """The tests of this file once more, in a process in which this CPU is taken for one with AVX2."""
    lowered = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    chosen = "number or threads or any_company and 99"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        __file__,
        "-k",
        chosen,
    ]
    done = subprocess.run(command, env={**os.environ, **lowered}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(("allowed", "code"), [("AVX2", "AVX2"), ("avx2", "AVX2"), ("SSE41", ""), ("AVX512_CORE", "")])
def test_code_that_the_environment_asks_for(name: str, allowed: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512") or not torch.backends.mkldnn.is_available():
        code = ""
    for each in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(each, raising=False)
    lstm_rows._code.cache_clear()
    monkeypatch.setenv(name, allowed)
    try:
        assert lstm_rows._code() == code
        assert lstm_rows.serves(torch.zeros(1)) == bool(code)
    finally:
        lstm_rows._code.cache_clear()


def test_other_types_go_step_by_step() -> None:
    assert not lstm_rows.serves(torch.zeros(1, dtype=torch.float64))
    assert not lstm_rows.serves(torch.zeros(1, device="meta"))
    with torch.autocast("cpu"):
        assert not lstm_rows.serves(torch.zeros(1))
