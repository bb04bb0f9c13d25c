"""log(): defaults by hook, suffixes, reductions, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import ConfigError
from training.loop.logged_metrics import Results

DEFAULT = (None, None, False, True, "mean", True)


def log(results: Results, hook: str, name: str, value: Any, size: int | None = 1, **changes: Any) -> None:
    names = ("on_step", "on_epoch", "prog_bar", "logger", "reduce_fx", "add_dataloader_idx")
    results.log(hook, name, value, size, tuple(changes.get(n, d) for n, d in zip(names, DEFAULT, strict=True)))  # type: ignore[arg-type]


def test_a_training_step_logs_steps_and_an_epochs_end_logs_epochs() -> None:
    results = Results(training=True)
    log(results, "training_step", "loss", 1.0)
    log(results, "on_train_epoch_end", "f1", 0.5, None)
    assert results.collect(on_step=True)["log"] == {"loss": 1.0}
    assert results.collect(on_step=False)["log"] == {"f1": 0.5}


def test_both_are_told_apart_by_suffixes_and_callbacks_see_the_plain_name_too() -> None:
    results = Results(training=True)
    log(results, "training_step", "loss", 1.0, 1, on_epoch=True, prog_bar=True)
    log(results, "training_step", "loss", 4.0, 2, on_epoch=True, prog_bar=True)
    step, epoch = results.collect(on_step=True), results.collect(on_step=False)
    assert step == {"log": {"loss_step": 4.0}, "pbar": {"loss_step": 4.0}, "callback": {"loss": 4.0, "loss_step": 4.0}}
    assert epoch == {"log": {"loss_epoch": 3.0}, "pbar": {"loss_epoch": 3.0}, "callback": {"loss": 3.0, "loss_epoch": 3.0}}


def test_callbacks_do_not_see_the_steps_of_a_validation() -> None:
    results = Results(training=False)
    log(results, "validation_step", "loss", 1.0, on_step=True, logger=False)
    assert results.collect(on_step=True) == {"log": {}, "callback": {}, "pbar": {}}
    assert results.collect(on_step=False)["callback"] == {"loss": 1.0, "loss_epoch": 1.0}


VALUES = st.lists(st.tuples(st.floats(-8, 8, width=16), st.integers(1, 9)), min_size=1, max_size=8)


@settings(deadline=None)
@given(VALUES)
def test_reductions(values: list[tuple[float, int]]) -> None:
    expected = {
        "mean": sum(v * n for v, n in values) / sum(n for _, n in values),
        "sum": sum(v for v, _ in values),
        "min": min(v for v, _ in values),
        "max": max(v for v, _ in values),
    }
    results = Results(training=False)
    for value, size in values:
        for name in expected:
            log(results, "validation_step", name, torch.tensor(value), size, reduce_fx=name)
    found = results.collect(on_step=False)["log"]
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


def test_each_call_in_a_batch_counts() -> None:
    """Two optimizers: their hooks run twice in each batch, and another's in between."""
    results = Results(training=True)
    for value in (-2.0, -0.5):
        log(results, "on_before_optimizer_step", "a", value, on_epoch=True)
        log(results, "on_after_backward", "b", value, on_epoch=True)
    assert results.collect(on_step=False)["callback"]["a"] == -1.25


@pytest.mark.parametrize("reduce_fx", ["mean", "sum", "min", "max"])
@pytest.mark.parametrize("values", [[math.nan, 1.0], [1.0, math.nan], [2.0, math.nan, 1.0]])
def test_nan_is_never_lost(reduce_fx: str, values: list[float]) -> None:
    results = Results(training=False)
    for value in values:
        log(results, "validation_step", "a", value, reduce_fx=reduce_fx)
    assert math.isnan(results.collect(on_step=False)["log"]["a"])


NUMBERS = [True, 1, 1.0, np.float32(1), torch.tensor(1), torch.tensor([1.0]), torch.ones(1, 1).bool()]


@pytest.mark.parametrize("value", NUMBERS)
def test_what_counts_as_a_number(value: Any) -> None:
    results = Results(training=True)
    log(results, "training_step", "a", value)
    found = results.collect(on_step=True)["log"]["a"]
    assert (type(found), found) == (float, 1.0)


@pytest.mark.parametrize(
    ("hook", "value", "changes", "message"),
    [
        ("on_fit_start", 1.0, {}, "nothing can be logged in on_fit_start"),
        ("", 1.0, {}, "nothing can be logged in no hook"),
        ("training_step", torch.ones(2), {}, r"expected a scalar, got a tensor of shape \(2,\)"),
        ("training_step", torch.tensor(1j), {}, "expected a real number"),
        ("training_step", "1", {}, "expected a number or a scalar tensor, got str"),
        ("training_step", {"a": 1}, {}, "expected a number or a scalar tensor, got dict"),
        ("training_step", 10**400, {}, "expected a number that a float can hold, got a larger one"),
        ("on_train_epoch_end", 1.0, {"on_step": True}, "expected on_step=False and on_epoch=True"),
        ("on_validation_epoch_end", 1.0, {"on_epoch": False}, "expected on_step=False and on_epoch=True"),
        ("training_step", 1.0, {"on_step": False}, "the value would be lost"),
        ("training_step", 1.0, {"reduce_fx": "median"}, "expected one of mean, sum, min, max"),
        ("validation_step", 1.0, {"size": None}, "its epoch mean needs batch_size"),
    ],
)
def test_errors(hook: str, value: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        log(Results(training=True), hook, "a", value, **changes)


def test_a_name_is_a_text() -> None:
    with pytest.raises(ConfigError, match="log: expected the name of a value, got 3"):
        log(Results(training=True), "training_step", 3, 1.0)  # type: ignore[arg-type]


def test_the_same_name_with_other_arguments_is_an_error_also_in_the_next_epoch() -> None:
    results = Results(training=True)
    log(results, "training_step", "a", 1.0)
    log(results, "training_step", "a", 1.0, on_step=True)  # the default, said
    results.reset()
    with pytest.raises(ConfigError, match="logged with other arguments before"):
        log(results, "training_step", "a", 1.0, prog_bar=True)
    log(results, "on_train_batch_end", "a", 1.0, prog_bar=True)  # another hook


def test_sources_are_kept_apart() -> None:
    results = Results(training=False)
    for loader in (0, 1):
        results.loader = loader
        log(results, "validation_step", "a", float(loader))
        assert results.collect(on_step=False)["log"] == {f"a/dataloader_idx_{loader}": float(loader)}
    log(results, "validation_step", "own", 1.0, add_dataloader_idx=False)
    assert "own" in results.collect(on_step=False)["log"]
    results.loader = 0
    with pytest.raises(ConfigError, match="logged with other arguments"):
        log(results, "validation_step", "own", 1.0, add_dataloader_idx=False)
    with pytest.raises(ConfigError, match="is added automatically"):
        log(results, "validation_step", "a/dataloader_idx_0", 1.0)


def test_state_goes_on_bit_for_bit() -> None:
    whole, first, second = Results(True), Results(True), Results(True)
    for i in range(20):
        value = torch.tensor((i * 7919 % 31) / 7)
        for results in (whole, first if i < 11 else second):
            log(results, "training_step", "a", value, i + 1, on_epoch=True)
        if i == 10:
            second.load_state(first.state())
    assert whole.collect(on_step=False) == second.collect(on_step=False)
    assert whole.collect(on_step=True) == second.collect(on_step=True)
