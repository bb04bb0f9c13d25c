"""The Trainer's keywords: each does what it does in Lightning, or is refused with what to do instead."""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import math
import warnings
from typing import Any

import lightning.pytorch as pl
import pytest

from tests.training.toytask import Line, fixed
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.determinism import flags
from training.errors import ConfigError
from training.generators import kept_generators
from training.loop.keywords import REFUSED
from training.loop.trainer import KEYWORDS, Trainer

GIVEN: list[tuple[dict[str, Any], str, Any]] = [
    ({"accelerator": "cpu"}, "device", "cpu"),
    ({"precision": 32}, "precision", "32-true"),
    ({"precision": "32"}, "precision", "32-true"),
    ({"precision": 64}, "precision", "64-true"),
    ({"precision": "64-true"}, "precision", "64-true"),
    ({"precision": "bf16-mixed"}, "precision", "bf16-mixed"),
    ({"max_epochs": -1}, "max_epochs", -1),
    ({"max_steps": 7, "max_epochs": None}, "max_epochs", -1),
    ({"max_steps": 7}, "max_steps", 7),
    ({"min_epochs": 2}, "min_epochs", 2),
    ({"min_steps": 2}, "min_steps", 2),
    ({"max_time": "00:00:00:30"}, "max_time", "00:00:00:30"),
    ({"max_time": datetime.timedelta(minutes=1)}, "max_time", "60.000000s"),
    ({"max_time": {"hours": 1, "seconds": 1}}, "max_time", "3601.000000s"),
    ({"limit_train_batches": 3}, "limit_train_batches", 3),
    ({"limit_val_batches": 0.5}, "limit_val_batches", 0.5),
    ({"limit_test_batches": 0}, "limit_test_batches", 0),
    ({"overfit_batches": 2}, "overfit_batches", 2),
    ({"val_check_interval": 0.25}, "val_check_interval", 0.25),
    ({"val_check_interval": 5, "check_val_every_n_epoch": None}, "check_val_every_n_epoch", None),
    ({"num_sanity_val_steps": -1}, "num_sanity_val_steps", -1),
    ({"log_every_n_steps": 1}, "log_every_n_steps", 1),
    ({"accumulate_grad_batches": 4}, "accumulate_grad_batches", 4),
    ({"gradient_clip_val": 1}, "gradient_clip_val", 1.0),
    ({"gradient_clip_algorithm": "value"}, "gradient_clip_algorithm", "value"),
    ({"deterministic": True}, "deterministic", True),
    ({"enable_progress_bar": False}, "progress", False),
    ({"fast_dev_run": True}, "fast_dev_run", 1),
    ({"fast_dev_run": 3}, "fast_dev_run", 3),
    ({"seed": 5}, "seed", 5),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "last_seed", None)


@pytest.mark.parametrize(("keywords", "name", "value"), GIVEN, ids=[str(each[0]) for each in GIVEN])
def test_each_becomes_a_setting(keywords: dict[str, Any], name: str, value: Any) -> None:
    made = Trainer(**{"max_epochs": 1, "logger": False, **keywords}).config
    assert getattr(made, name) == value
    changed = {item.name for item in dataclasses.fields(made) if getattr(made, item.name) != item.default}
    assert changed <= {name, *keywords, "max_epochs", "max_steps", "device"}
    # beside a TrainConfig it changes that one setting
    beside = Trainer(TrainConfig(max_epochs=1, device="cpu"), **{"logger": False, **keywords}).config
    assert name == "max_epochs" or getattr(beside, name) == value
    assert beside.device == "cpu"


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"accelerator": "tpu"}, "accelerator: expected auto, cpu, gpu or cuda"),
    ({"devices": 2}, "shards: expected a multiple of the 2 processes, got 1; give 2 shards"),
    ({"devices": [0, 1]}, "devices: expected a number of processes, got"),
    ({"precision": "16-mixed"}, "precision: expected 32-true, 64-true or bf16-mixed"),
    ({"precision": []}, "precision: expected"),
    ({"deterministic": "warn"}, "deterministic: expected True or False"),
    ({"max_time": {"weekends": 1}}, "max_time: expected days, hours"),
    ({"max_time": 3}, "max_time: expected"),
    ({"max_epochs": 1.5}, "max_epochs"),
    ({"max_epochs": "3"}, "max_epochs"),
    ({"limit_train_batches": 1.5}, "limit_train_batches"),
    ({"strategy": "ddp"}, "strategy=\"ddp\" is not offered: processes share the shards of a batch"),
    ({"profiler": "simple"}, "profiler=\"simple\" is not offered: profile the program"),
    ({"reload_dataloaders_every_n_epochs": 1}, "is not offered: an epoch's batches are planned"),
    ({"benchmark": True}, "is not offered"),
    ({"enable_checkpointing": False, "callbacks": [ModelCheckpoint()]}, "enable_checkpointing: expected True"),
]  # fmt: skip


@pytest.mark.parametrize("split", ["train", "val", "test", "predict"])
@pytest.mark.parametrize("value", [-1, -0.1, 1.2, "a", True, math.nan, [1]], ids=str)
def test_a_limit_is_a_number_of_batches_or_a_share(split: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"Trainer: limit_{split}_batches: expected"):
        Trainer(max_epochs=1, logger=False, **{f"limit_{split}_batches": value})


@pytest.mark.parametrize(
    ("keywords", "said"), REFUSALS, ids=[f"{i} {next(iter(each[0]))}" for i, each in enumerate(REFUSALS)]
)
def test_what_is_not_offered_is_refused_in_one_line(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Trainer(**{"max_epochs": 1, "logger": False, **keywords})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_of_lightnings_keywords_are_known_and_in_its_defaults_they_do_nothing() -> None:
    theirs = dict(inspect.signature(pl.Trainer.__init__).parameters)
    del theirs["self"]
    assert {*theirs} - KEYWORDS - {*REFUSED} == set()
    defaults = {name: each.default for name, each in theirs.items()}
    Trainer(**{**defaults, "max_epochs": 1, "logger": False})
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_epoch'"):
        Trainer(max_epoch=1)


def test_without_a_limit_there_are_1000_epochs_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="1000 epochs"):
        assert Trainer(logger=False).config.max_epochs == 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Trainer(logger=False, max_steps=3).config.max_epochs == -1
        assert Trainer(TrainConfig(), logger=False).config.max_epochs == 10


def test_the_seed_is_the_programs() -> None:
    assert Trainer(max_epochs=1, logger=False).config.seed == 0
    with kept_generators():
        flags.seed_everything(17, workers=True)
    assert Trainer(max_epochs=1, logger=False).config.seed == 17
    assert Trainer(max_epochs=1, logger=False, seed=3).config.seed == 3
    assert Trainer(TrainConfig(seed=4), logger=False).config.seed == 4


@pytest.mark.parametrize("name", ["checkpoint_every", "keep_checkpoints", "ledger_every"])
def test_a_setting_of_a_runs_folder_is_not_ignored_where_there_is_none(name: str) -> None:
    value: Any = {"checkpoint_every": "3", "keep_checkpoints": True, "ledger_every": 2}[name]
    with pytest.raises(ConfigError, match=f"{name}=.*: expected a run's folder to write to"):
        Trainer(TrainConfig(device="cpu", **{name: value}), logger=False).fit(Line(), fixed())
