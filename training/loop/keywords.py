"""The Trainer's keywords, which are Lightning's, as the settings of a TrainConfig; what is not offered, with a remedy."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from training.config import TrainConfig
from training.errors import ConfigError
from training.intervals import as_timedelta
from training.values import checked, field_types, shown

DEVICES = {"auto": "auto", "cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}
PRECISIONS: dict[Any, str] = {
    **dict.fromkeys((32, "32", "32-true"), "32-true"),
    **dict.fromkeys((64, "64", "64-true"), "64-true"),
    **dict.fromkeys(("bf16", "bf16-mixed"), "bf16-mixed"),
}
SAME = (
    "min_epochs", "min_steps", "limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval",
    "num_sanity_val_steps", "shards", "log_every_n_steps", "gradient_clip_val", "gradient_clip_algorithm",
)  # fmt: skip
"""Keywords of the settings' own names, which are None where they are not given."""
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "strategy": (("auto",), "processes share the shards of a batch: give devices and shards"),
    "num_nodes": ((1,), "start the program on each host with torchrun"),
    "benchmark": ((None, False), "what cuDNN finds fastest differs from run to run; leave it out"),
    "use_distributed_sampler": ((True, False), ""),
    "profiler": ((None,), "profile the program with torch.profiler, or with python -m cProfile"),
    "barebones": ((False,), "leave out loggers, checkpoints and callbacks one by one"),
    "plugins": ((None, []), "precision and device have keywords of their own"),
    "sync_batchnorm": ((False,), "with shards, the running means are the means of the shards'; leave it out"),
    "reload_dataloaders_every_n_epochs": (
        (0,),
        "an epoch's batches are planned from (seed, epoch); draw new data in a sampler",
    ),
    "enable_autolog_hparams": ((True, False), ""),
    "model_registry": ((None,), "copy the run's folder, whose seal says what it is"),
}
"""Lightning's other keywords: values that change nothing here, and what to do in place of any other."""


def settings(config: TrainConfig | None, given: Mapping[str, Any]) -> TrainConfig:
    """``config``, or the defaults, with the keywords that were given. ConfigError for what has no meaning here."""
    values = dict((config or TrainConfig()).to_dict())
    values |= {name: given[name] for name in SAME if given.get(name) is not None}
    values |= _limits(config, given)
    for name, default in (("overfit_batches", 0.0), ("accumulate_grad_batches", 1), ("check_val_every_n_epoch", 1)):
        if given[name] != default or config is None:
            values[name] = given[name]
    if given["fast_dev_run"] is not False:
        values["fast_dev_run"] = int(given["fast_dev_run"]) if given["fast_dev_run"] is True else given["fast_dev_run"]
    if given["accelerator"] != "auto" or config is None:
        values["device"] = _device(given["accelerator"])
    if (devices := _devices(given["devices"])) is not None:
        values["devices"] = devices
    if given["precision"] is not None:
        values["precision"] = _precision(given["precision"])
    if given["deterministic"] is not None:
        values["deterministic"] = _deterministic(given["deterministic"])
    if given["max_time"] is not None:
        values["max_time"] = duration(given["max_time"])
    if given["enable_progress_bar"] is not None:
        values["progress"] = given["enable_progress_bar"]
    if given["seed"] is not None:
        values["seed"] = given["seed"]
    return type(config or TrainConfig()).from_dict(values, "Trainer")


def predict_limit(given: Any) -> int | float:
    """``limit_predict_batches``, which stands in no TrainConfig, held to what ``limit_test_batches`` is held to."""
    if given is None:
        return 1.0
    alike = next(each for each in dataclasses.fields(TrainConfig) if each.name == "limit_test_batches")
    limit: int | float = checked(given, field_types(TrainConfig)[alike.name], alike, "Trainer: limit_predict_batches")
    return limit


def refuse(others: Mapping[str, Any]) -> None:
    """ConfigError for a keyword of Lightning's that is not offered, unless its value changes nothing."""
    for name, value in others.items():
        if name not in REFUSED:
            raise TypeError(f"Trainer() got an unexpected keyword argument {name!r}")
        harmless, remedy = REFUSED[name]
        if not any(value is each or (type(value) is type(each) and value == each) for each in harmless):
            raise ConfigError(f"Trainer: {name}={shown(value)} is not offered: {remedy}")


def duration(given: Any) -> str:
    """A time limit as a setting: of "DD:HH:MM:SS", a timedelta, or a dict of its arguments."""
    return given if isinstance(given, str) else f"{as_timedelta(given, 'max_time').total_seconds():.6f}s"


def _limits(config: TrainConfig | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """max_epochs and max_steps; where neither is given there are 1000 epochs, as in Lightning."""
    values = {} if given["max_steps"] == -1 and config is not None else {"max_steps": given["max_steps"]}
    if given["max_epochs"] is not None:
        return {**values, "max_epochs": given["max_epochs"]}
    if config is not None:
        return values
    if given["max_steps"] == -1 and given["max_time"] is None and not given["fast_dev_run"]:
        warnings.warn("max_epochs was not set: 1000 epochs; -1 is for no limit", stacklevel=4)
        return {**values, "max_epochs": 1000}
    return {**values, "max_epochs": -1}


def _device(accelerator: Any) -> str:
    if not isinstance(accelerator, str) or accelerator not in DEVICES:
        raise ConfigError(f"accelerator: expected auto, cpu, gpu or cuda, got {shown(accelerator)}")
    return DEVICES[accelerator]


def _devices(devices: Any) -> int | None:
    """How many processes; None for as many as the settings say. A list of one number is one device."""
    if devices in ("auto", -1, "-1") and not isinstance(devices, bool):
        return None
    if devices in ([0], [1], "0", "0,"):
        return 1
    if isinstance(devices, int) and not isinstance(devices, bool) and devices > 0:
        return devices
    if isinstance(devices, str) and devices.isdecimal():
        return int(devices)
    raise ConfigError(f"devices: expected a number of processes, got {shown(devices)}; which ones they get can't be chosen")


def _precision(given: Any) -> str:
    try:
        return PRECISIONS[given]
    except (KeyError, TypeError):
        raise ConfigError(f"precision: expected 32-true, 64-true or bf16-mixed, got {shown(given)}") from None


def _deterministic(given: Any) -> Any:
    if given == "warn":
        raise ConfigError(
            "deterministic: expected True or False, got 'warn': an operation without a deterministic algorithm is an error"
        )
    return given
