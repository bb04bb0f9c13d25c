"""When things happen: how many batches an epoch has, and after which of them validation runs. Pure functions."""

from __future__ import annotations

import math

from training.config import TrainConfig
from training.errors import ConfigError


def limits(config: TrainConfig, predict: int | float | None = None) -> dict[str, tuple[str, int | float]]:
    """Of "train", "val", "test" and "predict": the setting that limits their batches, and its value."""
    found: dict[str, tuple[str, int | float]] = {}
    for split in ("train", "val", "test", "predict"):
        name = f"limit_{split}_batches"
        if config.overfit_batches and split in ("train", "val"):
            found[split] = ("overfit_batches", config.overfit_batches)
        elif config.fast_dev_run:
            found[split] = ("fast_dev_run", config.fast_dev_run)
        elif split == "predict":
            found[split] = (name, 1.0 if predict is None else predict)
        else:
            found[split] = (name, getattr(config, name))
    return found


def limit_batches(limit: int | float, n: int | float, name: str) -> int | float:
    """How many of ``n`` batches to run: an int takes at most so many, a float such a share (truncated, as Lightning does).

    ConfigError where a positive share gives no batch at all, or is one of a number that is not known.
    """
    if isinstance(limit, int) or limit > 1:
        return min(int(limit), n)
    if math.isinf(n):
        if limit not in (0.0, 1.0):
            raise ConfigError(f"{name}: expected a number of batches, as the loader has no length, got a share of {limit}")
        return n if limit else 0
    kept = int(n * limit)
    if kept == 0 and limit > 0.0 and n > 0:
        raise ConfigError(f"{name}: a share of {limit} of {n} batches is less than one batch; give at least {1 / n:.3g}")
    return kept


def train_batches(config: TrainConfig, n: int) -> int:
    """How many of an epoch's ``n`` batches are trained on. ConfigError where there is nothing to train on."""
    name, limit = limits(config)["train"]
    number = int(limit_batches(limit, n, name))
    if not number or config.max_steps == 0:
        raise ConfigError(f"{name if not number else 'max_steps'}: nothing to train on: expected at least one batch, got 0")
    return number


def validation_interval(interval: int | float, n: int | float, every_n_epoch: int | None) -> int | float:
    """After how many training batches validation runs, for an epoch of ``n`` batches.

    A float is a share of the epoch: max(1, int(n·interval)); an int is a number of batches. With ``every_n_epoch`` None
    the count runs across epochs, and an int may exceed n.
    """
    if isinstance(interval, float) and interval <= 1:
        if math.isinf(n) and interval != 1.0:
            raise ConfigError(
                f"val_check_interval: expected 1.0 or a number of batches, as the loader has no length, got {interval}"
            )
        return n if math.isinf(n) else max(1, int(n * interval))
    if interval < 1:
        raise ConfigError(f"val_check_interval: expected 1 batch or more, or a share up to 1.0, got {interval}")
    if interval > n and every_n_epoch is not None:
        raise ConfigError(
            f"val_check_interval: {interval} batches is more than the {n} of an epoch; give at most {n}, or set "
            "check_val_every_n_epoch to none to count across epochs, or limit_val_batches to 0 for no validation"
        )
    return int(interval)


def validates_in(epoch: int, every_n_epoch: int | None) -> bool:
    """Whether the epoch (from 0) is one in which validation runs."""
    return every_n_epoch is None or (epoch + 1) % every_n_epoch == 0


def validation_due(
    batch_idx: int, total_batch_idx: int, epoch: int, interval: int | float, every_n_epoch: int | None, stopping: bool,
    is_last: bool = False,
) -> bool:  # fmt: skip
    """Whether validation runs after this batch; ``stopping`` is a stop that was asked for and may happen now.

    An infinite interval is that of an epoch whose length is not known: after the batch that ``is_last``.
    """
    if not validates_in(epoch, every_n_epoch):
        return False
    if stopping:
        return True
    if math.isinf(interval):
        return is_last
    count = total_batch_idx if every_n_epoch is None else batch_idx
    return (count + 1) % interval == 0
