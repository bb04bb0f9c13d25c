"""Products of rows with weights: beside float64, and bit by bit for any rows around them and any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ner.model import matmul as products
from ner.model.matmul import FEWEST_ROWS, packed, product, sigmoid_product
from training.determinism import portable
from training.randomness import uniform

SHAPES = [(5, 7), (357, 1024), (201, 100), (33, 4), (256, 101)]  # (K, N)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[True, False], ids=["oneDNN", "mm"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether oneDNN may be used."""
    if not request.param:
        monkeypatch.setattr(products, "_onednn", lambda: False)
    return bool(request.param)


def _given(rows: int, inner: int, outer: int) -> tuple[Tensor, Tensor]:
    return uniform((rows, inner), -1.0, 1.0, 1, "rows"), uniform((outer, inner), -0.3, 0.3, 1, "weights")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("inner", "outer"), SHAPES)
@pytest.mark.parametrize("rows", [1, 4, 33])
def test_equal_to_float64(rows: int, inner: int, outer: int) -> None:
    x, w = _given(rows, inner, outer)
    exact = x.double() @ w.double().T
    for weights in (w, w.T.contiguous().T):
        torch.testing.assert_close(product(x, weights).double(), exact, rtol=0, atol=3e-5)
        torch.testing.assert_close(product(x.T.contiguous().T, weights).double(), exact, rtol=0, atol=3e-5)
        torch.testing.assert_close(sigmoid_product(x, weights).double(), exact.sigmoid(), rtol=0, atol=1e-5)
    assert torch.equal(product(x, packed(w)), product(x, packed(w)))
    torch.testing.assert_close(sigmoid_product(x, packed(w)).double(), exact.sigmoid(), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("library")
def test_float64_is_computed_in_float64() -> None:
    x, w = (each.double() for each in _given(9, 30, 20))
    assert torch.equal(product(x, packed(w)), x @ w.T)
    torch.testing.assert_close(sigmoid_product(x, packed(w)), (x @ w.T).sigmoid(), rtol=1e-14, atol=0)


def test_portable_runs_do_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = _given(9, 30, 20)
    monkeypatch.setattr(portable, "is_set", lambda: True)
    products._onednn.cache_clear()
    try:
        assert torch.equal(packed(w), w)
        assert torch.equal(product(x, w), x @ w.T)
    finally:
        products._onednn.cache_clear()


def test_a_logistic_function_at_its_ends() -> None:
    x, w = torch.tensor([[1e4], [-1e4], [200.0], [-200.0]]), torch.ones(3, 1)
    assert torch.equal(sigmoid_product(x, w), torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None].expand(4, 3))


@pytest.mark.parametrize(("inner", "outer"), SHAPES)
def test_a_row_gets_the_same_bits_among_any_others_and_with_any_number_of_threads(inner: int, outer: int) -> None:
    x, w = _given(300, inner, outer)
    weights = packed(w)
    torch.set_num_threads(1)
    expected = sigmoid_product(x, weights), product(x, w)
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        for count in (FEWEST_ROWS, 5, 17, 64, 129, 300):
            for start in (0, 300 - count):
                part = slice(start, start + count)
                assert torch.equal(sigmoid_product(x[part], weights), expected[0][part])
                assert torch.equal(product(x[part], w), expected[1][part])
