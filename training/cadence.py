"""When things happen: how many batches an epoch has, and after which of them validation runs. Pure functions."""

from __future__ import annotations

from training.errors import ConfigError


def limit_batches(limit: int | float, n: int, name: str) -> int:
    """How many of ``n`` batches to run: an int takes at most so many, a float such a share (truncated, as Lightning does).

    ConfigError where a positive share gives no batch at all, or the value is out of range.
    """
    if isinstance(limit, int):
        if limit < 0:
            raise ConfigError(f"{name}: expected 0 or more batches, or a share from 0.0 to 1.0, got {limit}")
        return min(limit, n)
    if not 0.0 <= limit <= 1.0:
        raise ConfigError(f"{name}: expected a share from 0.0 to 1.0, or a whole number of batches, got {limit}")
    kept = int(n * limit)
    if kept == 0 and limit > 0.0 and n > 0:
        raise ConfigError(f"{name}: a share of {limit} of {n} batches is less than one batch; give at least {1 / n:.3g}")
    return kept


def validation_interval(interval: int | float, n: int, every_n_epoch: int | None) -> int:
    """After how many training batches validation runs, for an epoch of ``n`` batches.

    A float is a share of the epoch: max(1, int(n·interval)); an int is a number of batches. With ``every_n_epoch`` None
    the count runs across epochs, an int may exceed n, and a float is a ConfigError.
    """
    if isinstance(interval, int):
        if interval < 1:
            raise ConfigError(f"val_check_interval: expected 1 batch or more, or a share up to 1.0, got {interval}")
        if interval > n and every_n_epoch is not None:
            raise ConfigError(
                f"val_check_interval: {interval} batches is more than the {n} of an epoch; give at most {n}, or set "
                "check_val_every_n_epoch to none to count across epochs"
            )
        return interval
    if every_n_epoch is None:
        raise ConfigError(f"val_check_interval: with check_val_every_n_epoch none, expected a whole number, got {interval}")
    if not 0.0 <= interval <= 1.0:
        raise ConfigError(f"val_check_interval: expected a share from 0.0 to 1.0 or a whole number, got {interval}")
    return max(1, int(n * interval))


def validation_due(
    batch_idx: int, total_batch_idx: int, epoch: int, interval: int, every_n_epoch: int | None, stopping: bool
) -> bool:
    """Whether validation runs after this batch; ``stopping`` is a stop that was asked for and may happen now."""
    if every_n_epoch is not None and (epoch + 1) % every_n_epoch != 0:
        return False
    if stopping:
        return True
    count = total_batch_idx if every_n_epoch is None else batch_idx
    return (count + 1) % interval == 0
