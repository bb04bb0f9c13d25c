"""What was logged: step values, epoch means, and the names under which others see them. Lightning's _ResultCollection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from training.errors import ConfigError

REDUCTIONS = ("mean", "sum", "min", "max")
SPELLINGS: dict[Any, str] = {
    "avg": "mean", sum: "sum", min: "min", max: "max",
    torch.mean: "mean", torch.sum: "sum", torch.min: "min", torch.max: "max",
}  # fmt: skip
BATCH_HOOKS_TRAIN = (
    "training_step on_train_batch_start on_train_batch_end on_before_zero_grad on_before_backward on_after_backward "
    "on_before_optimizer_step backward optimizer_step optimizer_zero_grad configure_gradient_clipping"
).split()
BATCH_HOOKS_EVAL = (
    "validation_step test_step on_validation_batch_start on_validation_batch_end on_test_batch_start on_test_batch_end"
).split()
EPOCH_HOOKS = frozenset(
    "on_train_start on_train_epoch_start on_train_epoch_end on_validation_start on_validation_epoch_start "
    "on_validation_epoch_end on_test_start on_test_epoch_start on_test_epoch_end".split()
)
# hook → (default on_step, default on_epoch); in the epoch hooks nothing else is possible
DEFAULTS: dict[str, tuple[bool, bool]] = {
    **dict.fromkeys(BATCH_HOOKS_TRAIN, (True, False)),
    **dict.fromkeys(BATCH_HOOKS_EVAL, (False, True)),
    **dict.fromkeys(EPOCH_HOOKS, (False, True)),
}
# (on_step, on_epoch, prog_bar, logger, reduce_fx, add_dataloader_idx): how a name was logged; None is the hook's default
Arguments = tuple[bool | None, bool | None, bool, bool, str, bool]
Collected = dict[str, dict[str, float]]


class MetricTensors(dict[str, torch.Tensor]):
    """Metrics as Lightning shows them, tensors without dimensions; ``values`` follows what is set here."""

    def __init__(self, values: dict[str, float]) -> None:
        super().__init__({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
        self._plain = values

    def __setitem__(self, name: str, value: Any) -> None:
        self._plain[name] = float(value)
        super().__setitem__(name, torch.tensor(self._plain[name], dtype=torch.float64))

    def update(self, *more: Any, **named: Any) -> None:
        for name, value in dict(*more, **named).items():
            self[name] = value


@dataclass
class Metric:
    """One logged name: the last step's value and the running reduction. Sums are float64."""

    name: str
    arguments: Arguments
    on_step: bool
    on_epoch: bool
    loader: int | None
    """Which of several validation sources; None where there is one."""
    seen: bool = False
    """Logged since the last reset."""
    value: Any = math.nan
    total: Any = 0.0
    weight: float = 0.0

    def update(self, value: torch.Tensor | float | int, batch_size: int | None) -> None:
        """Take a step's value in."""
        number = _number(self.name, value)
        self.value, self.seen = number, True
        if not self.on_epoch:
            return
        reduce_fx = self.arguments[4]
        if reduce_fx == "mean":
            if batch_size is None:
                raise ConfigError(f"log({self.name!r}): its epoch mean needs batch_size=…, the number of examples")
            self.total = self.total + number * batch_size
            self.weight += batch_size
        else:
            self.total = number if self.weight == 0 else _reduce(reduce_fx, self.total, number)
            self.weight = 1.0

    def reduced(self) -> float:
        """The epoch's value; NaN where all batches were empty."""
        return float(self.total) / self.weight if self.weight else math.nan

    def reset(self) -> None:
        """Forget the values, keep how it is logged."""
        self.seen, self.value, self.total, self.weight = False, math.nan, 0.0, 0.0


class Results:
    """All metrics of one kind of pass (training, or evaluation), keyed by the hook that logged, the name and the source."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.metrics: dict[tuple[str, str, int | None], Metric] = {}
        self.loader: int | None = None
        """Of several validation sources, the one that is being run."""

    def log(
        self, hook: str, name: str, value: torch.Tensor | float | int, batch_size: int | None, arguments: Arguments
    ) -> None:
        """``Task.log`` with the name of the hook that it was called from."""
        key = (hook, name, self.loader if arguments[5] else None)
        metric = self.metrics.get(key)
        if metric is None:
            metric = self.metrics[key] = _declare(hook, name, arguments, self.loader)
        elif metric.arguments != arguments or metric.loader != self.loader:
            _check_same(metric, _declare(hook, name, arguments, self.loader), hook)
        metric.update(value, 1 if batch_size is None and hook in EPOCH_HOOKS else batch_size)

    def collect(self, on_step: bool) -> Collected:
        """{"log", "callback", "pbar"} → name → value: inside a batch the steps' values, else the reduced ones.

        A step's value stands until it is logged again, or the epoch ends.
        """
        found: Collected = {"log": {}, "callback": {}, "pbar": {}}
        for metric in self.metrics.values():
            if not metric.seen or metric.loader != self.loader or not (metric.on_step if on_step else metric.on_epoch):
                continue
            value = float(metric.value) if on_step else metric.reduced()
            suffix = f"/dataloader_idx_{metric.loader}" if metric.loader is not None and metric.arguments[5] else ""
            fork = ("_step" if on_step else "_epoch") if metric.on_step and metric.on_epoch else ""
            _, _, prog_bar, logger, _, _ = metric.arguments
            name = metric.name + fork + suffix
            if logger:
                found["log"][name] = value
            if prog_bar:
                found["pbar"][name] = value
            if self.training or not on_step:
                found["callback"][metric.name + suffix] = found["callback"][name] = value
        return found

    def reset(self) -> None:
        """Forget the values; that a name must be logged with the same arguments is remembered."""
        for metric in self.metrics.values():
            metric.reset()

    def state(self) -> list[dict[str, Any]]:
        """Plain values for a checkpoint."""
        return [
            {
                **vars(metric),
                "key": list(key),
                "arguments": list(metric.arguments),
                "value": float(metric.value),
                "total": float(metric.total),
            }
            for key, metric in self.metrics.items()
            if metric.seen
        ]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Back from ``state``, bit for bit: sums are float64."""
        self.metrics = {}
        for item in state:
            hook, name, loader = item["key"]
            values = {k: v for k, v in item.items() if k not in ("key", "arguments")}
            self.metrics[hook, name, loader] = Metric(**values, arguments=tuple(item["arguments"]))


def reduction(reduce_fx: Any) -> Any:
    """One of REDUCTIONS, however it is spelled; what is none of them stays as it is."""
    name = reduce_fx.lower() if isinstance(reduce_fx, str) else reduce_fx
    try:
        return SPELLINGS.get(name, name)
    except TypeError:  # something that can't be looked up, such as a list
        return reduce_fx


def _number(name: str, value: Any) -> Any:
    """A float; on another device a scalar float64 tensor, so that logging does not wait for it."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ConfigError(f"log({name!r}): expected a scalar, got a tensor of shape {tuple(value.shape)}")
        if value.is_complex():
            raise ConfigError(f"log({name!r}): expected a real number, got {value.item()}")
        return value.item() * 1.0 if value.device.type == "cpu" else value.detach().double().reshape(())
    if not isinstance(value, Real):
        raise ConfigError(f"log({name!r}): expected a number or a scalar tensor, got {type(value).__name__}")
    return float(value)


def _reduce(reduce_fx: str, total: Any, value: Any) -> Any:
    if reduce_fx == "sum":
        return total + value
    if isinstance(value, torch.Tensor) or isinstance(total, torch.Tensor):
        pair = torch.as_tensor(total), torch.as_tensor(value)
        return torch.minimum(*pair) if reduce_fx == "min" else torch.maximum(*pair)
    if math.isnan(total) or math.isnan(value):
        return math.nan
    return min(total, value) if reduce_fx == "min" else max(total, value)


def _check_same(metric: Metric, declared: Metric, hook: str) -> None:
    first, second = ((m.on_step, m.on_epoch, *m.arguments[2:], m.loader) for m in (metric, declared))
    if first != second:
        raise ConfigError(f"log({metric.name!r}) in {hook}: the same name was logged with other arguments before")


def _declare(hook: str, name: str, arguments: Arguments, loader: int | None) -> Metric:
    on_step, on_epoch, _, _, reduce_fx, add_dataloader_idx = arguments
    if hook not in DEFAULTS:
        raise ConfigError(f"log({name!r}): nothing can be logged in {hook or 'no hook'}; use a step or an epoch hook")
    on_step = DEFAULTS[hook][0] if on_step is None else on_step
    on_epoch = DEFAULTS[hook][1] if on_epoch is None else on_epoch
    if hook in EPOCH_HOOKS and (on_step or not on_epoch):
        raise ConfigError(f"log({name!r}): in {hook}, which runs once an epoch, expected on_step=False and on_epoch=True")
    if not on_step and not on_epoch:
        raise ConfigError(f"log({name!r}, on_step=False, on_epoch=False): the value would not go anywhere")
    if reduce_fx not in REDUCTIONS:
        raise ConfigError(f"log({name!r}, reduce_fx={reduce_fx!r}): expected one of {', '.join(REDUCTIONS)}")
    if add_dataloader_idx and "/dataloader_idx_" in name:
        raise ConfigError(f"log({name!r}): /dataloader_idx_ is added by itself; or log with add_dataloader_idx=False")
    return Metric(name, arguments, on_step, on_epoch, loader)
