"""Arguments of callbacks: each that is a number is one, and in its range, or is refused where the callback is made."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.finetuning import BackboneFinetuning, BaseFinetuning
from training.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from training.callbacks.lambda_callback import LambdaCallback
from training.callbacks.learning_rate_monitor import LearningRateMonitor
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.model_summary import ModelSummary
from training.callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from training.callbacks.polyak_averaging import PolyakAveraging
from training.callbacks.prediction_writer import BasePredictionWriter
from training.callbacks.progress_bar import ProgressBar
from training.callbacks.timer import Timer
from training.callbacks.watch import Watch
from training.callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging
from training.errors import ConfigError
from training.loop.callback import Callback
from training.values import argument

NEEDED: dict[type[Callback], dict[str, Any]] = {
    EarlyStopping: {"monitor": "loss"},
    ModelCheckpoint: {"monitor": "loss"},
    LearningRateMonitor: {},
    PolyakAveraging: {"decay": 0.5},
    ProgressBar: {},
    Watch: {"names": ["layer"]},
    ModelSummary: {},
    Timer: {},
    LambdaCallback: {},
    GradientAccumulationScheduler: {"scheduling": {0: 2}},
    OnExceptionCheckpoint: {"dirpath": "x"},
    BasePredictionWriter: {},
    BaseFinetuning: {},
    BackboneFinetuning: {},
    WeightAveraging: {},
    EMAWeightAveraging: {},
}
NO_NUMBERS: tuple[Any, ...] = (
    math.nan, 10**400, "3", "nan", b"1", True, False, [1], (), {}, {3}, 1j, np.float32("nan"), np.array([1, 2]),
    np.bool_(True), torch.tensor(math.nan), torch.tensor([1.0, 2.0]), object(), len,
)  # fmt: skip
INFINITE = ("stopping_threshold", "divergence_threshold")  # as in Lightning: no metric is past them
OUTSIDE: dict[str, tuple[Any, ...]] = {
    "patience": (-1, -(10**6)),
    "save_top_k": (-2, -100),
    "every_n_epochs": (-1,),
    "every_n_train_steps": (-1,),
    "decay": (-0.1, 1.5),
    "update_every_n_steps": (-1,),
    "update_starting_at_step": (-1,),
    "update_starting_at_epoch": (-1,),
    "refresh_rate": (-1,),
    "process_position": (-1, 1),
    "max_depth": (-2,),
    "unfreeze_backbone_at_epoch": (-1,),
    "backbone_initial_ratio_lr": (-0.1,),
    "backbone_initial_lr": (-1e-9,),
    "initial_denom_lr": (0, -1.0),
    "rounding": (-1,),
    "first_step": (0, -1),
    "last_step": (0, -5),
}
TAKEN: dict[str, tuple[Any, ...]] = {
    "patience": (0, 1, 100),
    "min_delta": (0, 0.0, -0.5, 1e-9, 3),
    "stopping_threshold": (None, 0, -1.5, math.inf, -math.inf),
    "divergence_threshold": (None, 3, 1e30, math.inf),
    "save_top_k": (-1, 0, 1, 7),
    "every_n_epochs": (None, 0, 1, 5),
    "every_n_train_steps": (None, 0, 1, 5),
    "decay": (0.001, 0.999),
    "update_every_n_steps": (0, 1, 8),
    "update_starting_at_step": (None, 0, 100),
    "update_starting_at_epoch": (None, 0, 3),
    "refresh_rate": (0, 1, 20),
    "process_position": (0,),
    "max_depth": (-1, 0, 2),
    "unfreeze_backbone_at_epoch": (0, 10),
    "backbone_initial_ratio_lr": (0.0, 0.1, 2),
    "backbone_initial_lr": (None, 1e-5),
    "initial_denom_lr": (1, 10.0),
    "rounding": (0, 12),
    "first_step": (1, 400),
    "last_step": (None, 1, 420),
}


def callbacks() -> list[type[Callback]]:
    """All callbacks that users make."""
    public = [getattr(training, name) for name in training.__all__]
    return [each for each in public if inspect.isclass(each) and issubclass(each, Callback) and each is not Callback]


def numeric(callback: type[Callback]) -> Iterator[tuple[str, set[Any]]]:
    """Its arguments that are numbers, with their types."""
    for name, hint in typing.get_type_hints(callback.__init__).items():
        kinds = set(getattr(hint, "__args__", (hint,))) if typing.get_origin(hint) not in (Mapping, Callable) else set()
        if name != "return" and kinds & {int, float}:
            yield name, kinds


def refused(make: Callable[[], object], callback: type[Callback], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    message = str(caught.value)
    assert message.startswith(f"{callback.__name__}: {name}: expected "), message
    assert ", got " in message
    assert "\n" not in message
    assert len(message) < 300


def test_the_callbacks_are_all_here() -> None:
    assert set(callbacks()) == set(NEEDED)
    assert {name for each in NEEDED for name, _ in numeric(each)} == set(TAKEN)


@pytest.mark.parametrize("callback", NEEDED)
def test_what_is_no_number_or_out_of_range_is_refused_at_once(callback: type[Callback]) -> None:
    for name, kinds in numeric(callback):
        wrong = [*NO_NUMBERS, *OUTSIDE.get(name, ())]
        wrong += [] if name in INFINITE else [math.inf, -math.inf]
        wrong += [] if float in kinds else [1.5, 0.5, 2.0, 1e30, np.float64(1.5), torch.tensor(0.5)]
        wrong += [] if type(None) in kinds else [None]
        for value in wrong:
            refused(lambda: callback(**{**NEEDED[callback], name: value}), callback, name)  # noqa: B023


@pytest.mark.parametrize("callback", NEEDED)
def test_what_lightning_takes_is_taken_and_is_a_plain_number(callback: type[Callback]) -> None:
    for name, kinds in numeric(callback):
        numbers = [value for value in TAKEN[name] if value is not None]
        for value in TAKEN[name]:
            callback(**{**NEEDED[callback], name: value})
        for make in (np.float64, torch.tensor) if float in kinds else (np.int64, np.int32, torch.tensor):
            for value in numbers:
                given: Any = make(value)
                found = getattr(callback(**{**NEEDED[callback], name: given}), name)
                assert type(found) in (int, float)
                assert abs(found) == pytest.approx(abs(value))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EarlyStopping("loss", mode="x"), "EarlyStopping: mode: expected min or max, got 'x'"),
        (lambda: ModelCheckpoint(mode="x"), "ModelCheckpoint: mode: expected min or max, got 'x'"),
        (lambda: LearningRateMonitor("batch"), "LearningRateMonitor: expected step, epoch or None, got 'batch'"),
        (lambda: LearningRateMonitor(3), "LearningRateMonitor: expected step, epoch or None, got 3"),  # type: ignore[arg-type]
    ],
)
def test_words_that_are_none_of_the_choices(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == said


def test_lightning_takes_what_is_taken_here(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch.callbacks")
    for callback, needed in NEEDED.items():
        called = "TQDMProgressBar" if callback is ProgressBar else callback.__name__
        if not hasattr(lightning, called):
            continue
        for name, _ in numeric(callback):
            for value in TAKEN[name]:
                getattr(lightning, called)(**{**needed, name: value})


@pytest.mark.parametrize(("mode", "threshold"), [("max", 0.75), ("min", 0.25)])
def test_a_threshold_given_as_a_tensor_is_compared_as_a_number(mode: str, threshold: float) -> None:
    stopping = EarlyStopping("f1", mode=mode, stopping_threshold=torch.tensor(threshold))  # type: ignore[arg-type]
    assert not stopping.evaluate_stopping_criteria(0.5)[0]
    assert stopping.evaluate_stopping_criteria(0.9 if mode == "max" else 0.1)[0]


def test_an_argument_of_another_type_says_what_was_expected() -> None:
    with pytest.raises(ConfigError, match=r"x: expected int or NoneType, got 1\.5"):
        argument(1.5, int | None, "x")
    assert argument(None, int | None, "x", least=0) is None
    assert argument(3, float, "x", most=3) == 3.0
