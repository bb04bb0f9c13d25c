"""The character encoders against their definitions, word by word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ner.model.characters import CharCNN, CharLSTM
from training.errors import ConfigError, DataError

Encoder = TypeVar("Encoder", CharCNN, CharLSTM)
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def spelled(lengths: list[int], n_characters: int, seed: int) -> Tensor:
    return torch.randint(1, n_characters, (sum(lengths),), generator=torch.Generator().manual_seed(seed))


def convolved(model: CharCNN, ids: Tensor) -> Tensor:
    """One word by torch's own convolution, (F,)."""
    filters = model.filters.view(len(model.filters), 3, -1).transpose(1, 2)
    rows = torch.conv1d(model.embeddings[ids].T[None], filters, model.bias, padding=1)
    return torch.tanh(rows[0].amax(1))


def recurrent(model: CharLSTM, ids: Tensor) -> Tensor:
    """One word by nn.LSTM, (H,)."""
    size = model.lstm.hidden_size
    lstm = torch.nn.LSTM(model.lstm.input_size, size, bidirectional=True)
    lstm = lstm.to(model.embeddings.dtype)
    states = torch.func.functional_call(lstm, dict(model.lstm.named_parameters()), model.embeddings[ids])[0]
    return torch.cat([states[-1, :size], states[0, size:]])


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.integers(3, 6), st.integers(0, 99))
def test_the_cnn_is_a_convolution_of_each_word_alone(lengths: list[int], n_characters: int, seed: int) -> None:
    model = CharCNN(n_characters, 5, 7, seed=seed).double()
    torch.nn.init.uniform_(model.bias, -1, 1, generator=torch.Generator().manual_seed(seed))
    compare(model, convolved, lengths, n_characters, seed)


@settings(deadline=None, max_examples=20)
@given(LENGTHS, st.integers(3, 6), st.integers(0, 99))
def test_the_lstm_is_that_of_each_word_alone(lengths: list[int], n_characters: int, seed: int) -> None:
    compare(CharLSTM(n_characters, 5, 6, seed=seed).double(), recurrent, lengths, n_characters, seed)


def compare(
    model: Encoder, word_alone: Callable[[Encoder, Tensor], Tensor], lengths: list[int], n_characters: int, seed: int
) -> None:
    """Values and all gradients, in float64.

    Few characters make equal maxima common; their windows are equal too, so the first one's gradient is anyone's.
    """
    ids = spelled(lengths, n_characters, seed)
    got = model(ids, torch.tensor(lengths))
    wanted = torch.stack([word_alone(model, part) for part in torch.split(ids, lengths)])
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    weights = torch.rand(got.shape, generator=torch.Generator().manual_seed(seed), dtype=got.dtype)
    parameters = list(model.parameters())
    ours = torch.autograd.grad((got * weights).sum(), parameters)
    theirs = torch.autograd.grad((wanted * weights).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert (ours[0][0] == 0).all()


@pytest.mark.parametrize("kind", [CharCNN, CharLSTM])
def test_same_bits_for_any_number_of_threads_and_beside_any_words(kind: type[CharCNN] | type[CharLSTM]) -> None:
    """But for the CNN's gradient of its filters, one long product, which MKL cuts up by threads on some CPUs."""
    lengths = [1 + (i * i) % 13 for i in range(700)] + [60]
    ids, sizes = spelled(lengths, 90, 1), torch.tensor(lengths)
    model = kind(90, 30, 50, seed=3)
    weights = torch.rand(len(lengths), 50, generator=torch.Generator().manual_seed(2))
    results = []
    for threads in (1, 2, 4, 1):
        torch.set_num_threads(threads)
        model.zero_grad()
        out = model(ids, sizes)
        (out * weights).sum().backward()
        results.append({"out": out.detach(), **{name: parameter.grad for name, parameter in model.named_parameters()}})
    torch.set_num_threads(1)
    for threads, other in zip((2, 4, 1), results[1:], strict=True):
        names = results[0].keys() - ({"filters"} if threads > 1 else set())
        assert all(torch.equal(results[0][name], other[name]) for name in names)
    for i in (0, 3, 50, 700):
        part = slice(sum(lengths[:i]), sum(lengths[: i + 1]))
        assert torch.equal(model(ids[part], sizes[i : i + 1])[0], results[0]["out"][i])


@pytest.mark.parametrize("kind", [CharCNN, CharLSTM])
def test_no_words_bad_words_and_seeds(kind: type[CharCNN] | type[CharLSTM]) -> None:
    model, none = kind(9, 4, 6, seed=1), torch.zeros(0, dtype=torch.int64)
    assert model(none, none).shape == (0, 6)
    for lengths in ([2, 0, 1], [2, 2]):
        with pytest.raises(DataError, match="characters: expected"):
            model(torch.ones(3, dtype=torch.int64), torch.tensor(lengths))
    same, other = kind(9, 4, 6, seed=1), kind(9, 4, 6, seed=2)
    assert torch.equal(model.embeddings, same.embeddings)
    assert not torch.equal(model.embeddings, other.embeddings)
    assert (model.embeddings[0] == 0).all()


def test_an_odd_size_is_no_lstm() -> None:
    with pytest.raises(ConfigError, match="char_hidden: expected an even number"):
        CharLSTM(9, 4, 7, seed=1)
