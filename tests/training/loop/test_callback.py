"""EarlyStopping, LearningRateMonitor, and callbacks of one's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.training.toytask import Kept, Line, fixed, trainer
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.learning_rate_monitor import LearningRateMonitor
from training.errors import ConfigError
from training.loop.callback import Callback


def judged(stopping: EarlyStopping, values: list[float]) -> int | None:
    """The number of the value at which it stops; None where it never does."""
    for i, value in enumerate(values):
        if stopping.evaluate_stopping_criteria(value)[0]:
            return i
    return None


def test_equality_with_min_delta_is_no_improvement() -> None:
    assert judged(EarlyStopping("a", min_delta=0.5, patience=1), [1.0, 0.5]) == 1
    assert judged(EarlyStopping("a", min_delta=0.5, patience=1), [1.0, 0.25, 0.0]) == 2
    assert judged(EarlyStopping("a", min_delta=0.5, patience=1, mode="max"), [1.0, 1.75, 2.25]) == 2


def test_the_order_of_reasons() -> None:
    both = EarlyStopping("a", stopping_threshold=1.0, divergence_threshold=0.0)
    assert both.evaluate_stopping_criteria(math.nan) == (True, "a = nan is not finite")
    assert "past the stopping threshold" in both.evaluate_stopping_criteria(0.5)[1]
    assert both.evaluate_stopping_criteria(1.0)[0]  # not past 1.0, but past 0.0
    assert "past the divergence threshold" in both.evaluate_stopping_criteria(1.0)[1]
    assert EarlyStopping("a", check_finite=False, patience=2).evaluate_stopping_criteria(math.inf) == (False, "")


@given(st.lists(st.integers(0, 3).map(float), max_size=12), st.integers(1, 4), st.sampled_from(["min", "max"]))
def test_patience_counts_checks_without_improvement(values: list[float], patience: int, mode: str) -> None:
    """Against the plain definition: the first place where the last ``patience`` values brought nothing better."""
    expected = None
    for end in range(1, len(values) + 1):
        best = min if mode == "min" else max
        before, recent = values[: max(0, end - patience)], values[max(0, end - patience) : end]
        if before and best([*before, *recent]) == best(before):
            expected = end - 1
            break
    assert judged(EarlyStopping("a", patience=patience, mode=mode), values) == expected


def test_its_state_goes_on() -> None:
    first, second = EarlyStopping("a", patience=3), EarlyStopping("a", patience=3)
    assert judged(first, [1.0, 2.0, 2.0]) is None
    second.load_state_dict(first.state_dict())
    assert judged(second, [2.0]) == 0
    assert second.state_key == "EarlyStopping{'monitor': 'a', 'mode': 'min'}"


def test_a_metric_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="expected the metric 'f1' to be logged, got loss, loss_step, val"):
        trainer(EarlyStopping("f1", check_on_train_epoch_end=False)).fit(Line(), fixed(), fixed())
    trainer(EarlyStopping("f1", strict=False)).fit(Line(), fixed(), fixed())


@pytest.mark.parametrize("make", [lambda: EarlyStopping("a", mode="up"), lambda: LearningRateMonitor("day")])
def test_arguments_that_cannot_be(make: Any) -> None:
    with pytest.raises(ConfigError, match="expected"):
        make()


def test_learning_rates_are_logged_where_they_change() -> None:
    logger = Kept()
    trainer(LearningRateMonitor(), logger=logger, max_epochs=1).fit(Line(schedule="step"), fixed(4))
    rates = {step: line["lr-Adam"] for step, line in logger.lines if "lr-Adam" in line}
    assert rates == {0: 0.05, 1: 0.05, 2: 0.05, 3: pytest.approx(0.0375)}


def test_learning_rates_need_a_logger() -> None:
    with pytest.raises(ConfigError, match="expected a Trainer with loggers"):
        trainer(LearningRateMonitor()).fit(Line(), fixed())


def test_callbacks_can_log_and_be_monitored() -> None:
    class Counting(Callback):
        def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
            self.log("epochs", trainer.current_epoch + 1.0)
            self.log_dict({"twice": 2.0 * trainer.current_epoch})

    stopping = EarlyStopping("epochs", mode="min", patience=2, check_on_train_epoch_end=True)
    made = trainer(stopping, Counting(), max_epochs=9)
    made.fit(Line(), fixed())
    assert made.current_epoch == 3
    assert stopping.stopped_epoch == 2
    assert made.callback_metrics["twice"] == 4.0


def test_two_callbacks_that_would_overwrite_each_others_state_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"same state_key \(EarlyStopping{'monitor': 'a', 'mode': 'min'}\)"):
        trainer(EarlyStopping("a"), EarlyStopping("a", patience=5))
    trainer(EarlyStopping("a"), EarlyStopping("a", mode="max"))


def test_minus_one_skips_the_rest_of_the_epoch_only_from_the_task() -> None:
    class Skips(Callback):
        def on_train_batch_start(self, trainer: Any, task: Any, batch: Tensor, batch_idx: int) -> int:  # type: ignore[override]
            return -1

    made = trainer(Skips(), max_epochs=1)
    made.fit(Line(), fixed(4))
    assert made.global_step == 4
