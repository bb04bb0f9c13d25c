"""Numbers of batches and places of validations, against plain counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import TrainConfig
from training.errors import ConfigError
from training.loop import cadence


def places(n: int, interval: int | float, epochs: int = 1, every: int | None = 1) -> list[int]:
    """The batches, counted over all epochs, that a validation follows."""
    k = cadence.validation_interval(interval, n, every)
    return [
        epoch * n + i
        for epoch in range(epochs)
        for i in range(n)
        if cadence.validation_due(i, epoch * n + i, epoch, k, every, stopping=False)
    ]


@pytest.mark.parametrize(
    ("n", "interval", "expected"),
    [
        (1000, 0.25, [249, 499, 749, 999]),
        (10, 0.25, [1, 3, 5, 7, 9]),
        (11, 0.25, [1, 3, 5, 7, 9]),
        (7, 0.25, [0, 1, 2, 3, 4, 5, 6]),
        (3, 0.25, [0, 1, 2]),
        (7, 1.0, [6]),
        (7, 1, [0, 1, 2, 3, 4, 5, 6]),
        (7, 3, [2, 5]),
        (100, 0.29, [27, 55, 83]),
    ],
)
def test_places_within_an_epoch(n: int, interval: int | float, expected: list[int]) -> None:
    assert places(n, interval) == expected


def test_places_across_epochs() -> None:
    assert places(3, 4, epochs=4, every=None) == [3, 7, 11]
    assert places(3, 1.0, epochs=6, every=2) == [5, 11, 17]


@given(st.integers(1, 200), st.floats(0, 1))
def test_a_share_is_truncated_and_at_least_one(n: int, share: float) -> None:
    k = int(cadence.validation_interval(share, n, 1))
    assert k == (int(n * share) if n * share >= 1 else 1)
    assert places(n, share) == list(range(k - 1, n, k))


@given(st.integers(0, 50), st.integers(0, 60))
def test_a_number_of_batches_is_at_most_what_there_is(n: int, limit: int) -> None:
    assert cadence.limit_batches(limit, n, "limit_val_batches") == min(n, limit)


def test_a_share_of_batches() -> None:
    assert cadence.limit_batches(0.29, 100, "limit_val_batches") == 28
    assert cadence.limit_batches(1.0, 7, "limit_val_batches") == 7
    assert cadence.limit_batches(3.0, 7, "limit_val_batches") == 3
    assert cadence.limit_batches(0.0, 7, "limit_val_batches") == 0
    assert cadence.limit_batches(0.5, 0, "limit_val_batches") == 0
    with pytest.raises(ConfigError, match=r"limit_val_batches: a share of 0.1 of 7 batches .* at least 0.143"):
        cadence.limit_batches(0.1, 7, "limit_val_batches")


def test_a_stop_validates_at_once_but_only_in_its_epochs() -> None:
    assert cadence.validation_due(1, 1, 0, 5, 1, stopping=True)
    assert not cadence.validation_due(1, 1, 0, 5, 2, stopping=True)


@pytest.mark.parametrize(
    ("interval", "every", "message"),
    [(8, 1, "8 batches is more than the 7 of an epoch"), (0, 1, "expected 1 batch or more")],
)
def test_intervals_that_cannot_be(interval: int, every: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cadence.validation_interval(interval, 7, every)
    assert cadence.validation_interval(8, 7, None) == 8


def test_what_limits_each_split() -> None:
    assert cadence.limits(TrainConfig(limit_val_batches=3))["val"] == ("limit_val_batches", 3)
    quick = cadence.limits(TrainConfig(fast_dev_run=2, limit_val_batches=0))
    assert set(quick.values()) == {("fast_dev_run", 2)}
    few = cadence.limits(TrainConfig(overfit_batches=0.5, limit_test_batches=4))
    assert few == {
        "train": ("overfit_batches", 0.5), "val": ("overfit_batches", 0.5),
        "test": ("limit_test_batches", 4), "predict": ("limit_predict_batches", 1.0),
    }  # fmt: skip
