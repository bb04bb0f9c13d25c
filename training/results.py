"""What was logged: step values, epoch means, and the names under which others see them. Lightning's _ResultCollection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from training.errors import ConfigError

REDUCTIONS = ("mean", "sum", "min", "max")
BATCH_HOOKS_TRAIN = (
    "training_step on_train_batch_start on_train_batch_end on_before_zero_grad on_before_backward on_after_backward "
    "on_before_optimizer_step"
).split()
BATCH_HOOKS_EVAL = (
    "validation_step test_step on_validation_batch_start on_validation_batch_end on_test_batch_start on_test_batch_end"
).split()
EPOCH_HOOKS = (
    "on_train_start on_train_epoch_start on_train_epoch_end on_validation_start on_validation_epoch_start "
    "on_validation_epoch_end on_test_start on_test_epoch_start on_test_epoch_end"
).split()
# hook → (default on_step, default on_epoch, whether on_step is allowed)
DEFAULTS: dict[str, tuple[bool, bool, bool]] = {
    **dict.fromkeys(BATCH_HOOKS_TRAIN, (True, False, True)),
    **dict.fromkeys(BATCH_HOOKS_EVAL, (False, True, True)),
    **dict.fromkeys(EPOCH_HOOKS, (False, True, False)),
}


@dataclass
class Metric:
    """One logged name: the last step's value and the running reduction. Sums are float64."""

    name: str
    on_step: bool
    on_epoch: bool
    prog_bar: bool
    logger: bool
    reduce_fx: str
    value: Any = math.nan
    total: Any = 0.0
    weight: float = 0.0
    fresh: bool = False
    """Logged in the current batch."""

    def update(self, value: torch.Tensor | float | int, batch_size: int | None) -> None:
        """Take a step's value in."""
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                raise ConfigError(f"log({self.name!r}): expected a scalar, got a tensor of shape {tuple(value.shape)}")
            value = value.detach()
            value = float(value) if value.device.type == "cpu" else value.double().reshape(())
        elif not isinstance(value, int | float):
            raise ConfigError(f"log({self.name!r}): expected a number or a scalar tensor, got {type(value).__name__}")
        self.value, self.fresh = value, True
        if not self.on_epoch:
            return
        if self.reduce_fx == "mean":
            if batch_size is None:
                raise ConfigError(f"log({self.name!r}): its epoch mean needs batch_size=…, the number of examples")
            self.total = self.total + value * batch_size
            self.weight += batch_size
            return
        if self.reduce_fx == "sum":
            self.total = self.total + value
        elif self.weight == 0:
            self.total = value
        else:
            self.total = (min if self.reduce_fx == "min" else max)(self.total, value)
        self.weight += 1

    def reduced(self) -> float:
        """The epoch's value."""
        return float(self.total) / self.weight if self.reduce_fx == "mean" else float(self.total)

    def names(self) -> tuple[str, str]:
        """The names of the step's and of the epoch's value: forked by suffix only where both are on."""
        return (f"{self.name}_step", f"{self.name}_epoch") if self.on_step and self.on_epoch else (self.name, self.name)


class Results:
    """All metrics of one pass (training epoch, validation, test), keyed by the hook that logged and the name."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}

    def log(
        self,
        hook: str,
        name: str,
        value: torch.Tensor | float | int,
        batch_size: int | None,
        on_step: bool | None,
        on_epoch: bool | None,
        prog_bar: bool,
        logger: bool,
        reduce_fx: str,
    ) -> None:
        """``Task.log`` with the name of the hook that it was called from."""
        metric = self.metrics.get(f"{hook}.{name}")
        if metric is None:
            metric = self.metrics[f"{hook}.{name}"] = _declare(
                hook, name, on_step, on_epoch, prog_bar, logger, reduce_fx
            )
        elif (metric.prog_bar, metric.logger, metric.reduce_fx) != (prog_bar, logger, reduce_fx) or (
            (on_step is not None and on_step != metric.on_step) or (on_epoch is not None and on_epoch != metric.on_epoch)
        ):
            raise ConfigError(f"log({name!r}) in {hook}: the same name was logged with other arguments before")
        if batch_size is None and hook in EPOCH_HOOKS:
            batch_size = 1
        metric.update(value, batch_size)

    def start_batch(self) -> None:
        """A new batch begins: step values of the last one are no longer current."""
        for metric in self.metrics.values():
            metric.fresh = False

    def collect(self, on_step: bool) -> dict[str, dict[str, Any]]:
        """{"log", "callback", "pbar"} → name → value: the step's values, or at an epoch's end the reduced ones."""
        found: dict[str, dict[str, Any]] = {"log": {}, "callback": {}, "pbar": {}}
        for metric in self.metrics.values():
            step_name, epoch_name = metric.names()
            if on_step and metric.on_step and metric.fresh:
                name, value = step_name, metric.value
            elif not on_step and metric.on_epoch and metric.weight:
                name, value = epoch_name, metric.reduced()
            else:
                continue
            if metric.logger:
                found["log"][name] = value
            if metric.prog_bar:
                found["pbar"][name] = value
            found["callback"][name] = found["callback"][metric.name] = value
        return found

    def reset(self) -> None:
        """Forget everything."""
        self.metrics.clear()

    def state(self) -> list[dict[str, Any]]:
        """Plain values for a checkpoint."""
        plain = []
        for key, metric in self.metrics.items():
            values = {**vars(metric), "key": key}
            plain.append({k: float(v) if isinstance(v, torch.Tensor) else v for k, v in values.items()})
        return plain

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Back from ``state``, bit for bit: sums are float64."""
        self.metrics = {item["key"]: Metric(**{k: v for k, v in item.items() if k != "key"}) for item in state}


def _declare(
    hook: str, name: str, on_step: bool | None, on_epoch: bool | None, prog_bar: bool, logger: bool, reduce_fx: str
) -> Metric:
    if hook not in DEFAULTS:
        raise ConfigError(f"log({name!r}): nothing can be logged in {hook or 'no hook'}; use a step or an epoch hook")
    step_default, epoch_default, step_allowed = DEFAULTS[hook]
    on_step = step_default if on_step is None else on_step
    on_epoch = epoch_default if on_epoch is None else on_epoch
    if on_step and not step_allowed:
        raise ConfigError(f"log({name!r}, on_step=True): not possible in {hook}, which runs once an epoch")
    if not on_epoch and hook in EPOCH_HOOKS:
        raise ConfigError(f"log({name!r}, on_epoch=False): not possible in {hook}, which runs once an epoch")
    if reduce_fx not in REDUCTIONS:
        raise ConfigError(f"log({name!r}, reduce_fx={reduce_fx!r}): expected one of {', '.join(REDUCTIONS)}")
    return Metric(name, on_step, on_epoch, prog_bar, logger, reduce_fx)
