"""What was logged: step values, epoch means, and the names under which others see them. Lightning's _ResultCollection."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import nn

from training.data.tensors import first_dimensions
from training.errors import ConfigError
from training.loop.metric_objects import is_metric, metrics_of, name_of
from training.values import shown

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
class Logged:
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

    @property
    def weighs(self) -> bool:
        """Whether the epoch's value needs the number of examples."""
        return self.on_epoch and self.arguments[4] == "mean"

    def update(self, value: Any, batch_size: int | None) -> None:
        """Take a step's value in; ``batch_size`` is given where it weighs."""
        taken = number(self.name, value)
        self.value, self.seen = taken, True
        if not self.on_epoch:
            return
        reduce_fx = self.arguments[4]
        if reduce_fx == "mean":
            assert batch_size is not None
            self.total = self.total + taken * batch_size
            self.weight += batch_size
        else:
            self.total = taken if self.weight == 0 else _reduce(reduce_fx, self.total, taken)
            self.weight = 1.0

    def of_step(self) -> float | None:
        """The last step's value; None where there is none."""
        return float(self.value)

    def of_epoch(self) -> float | None:
        """The epoch's value; NaN where all batches were empty."""
        return float(self.total) / self.weight if self.weight else math.nan

    def reset(self) -> None:
        """Forget the values, keep how it is logged."""
        self.seen, self.value, self.total, self.weight = False, math.nan, 0.0, 0.0

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        values = {**vars(self), "arguments": list(self.arguments)}
        return {**values, "value": float(self.value), "total": float(self.total)}


@dataclass
class LoggedMetric(Logged):
    """One logged name whose values a metric object computes: its own state is not here (see metric_objects.py)."""

    value: Any = None
    task: nn.Module | None = None
    """Whose metric it is."""
    metric: Any = None
    attribute: str = ""
    """The metric object's name among those of the task."""
    computed: float | None = None
    """The epoch's value, since it was last logged."""

    @property
    def weighs(self) -> bool:
        """The metric counts for itself."""
        return False

    def update(self, value: Any, batch_size: int | None) -> None:
        """Take the metric as it is now; its value of the step is what its ``forward`` returned last."""
        if value is not self.metric:
            assert self.task is not None
            self.metric, self.attribute = value, name_of(self.task, value, self.name)
        step = getattr(value, "_forward_cache", None)
        if step is None and not self.on_epoch:
            warnings.warn(
                f"log({self.name!r}): the metric {self.attribute!r} has no value of the step, since it was updated without "
                "forward, and the epoch's was not asked for: log it with on_epoch=True",
                stacklevel=5,
            )
        self.value = None if step is None or not self.on_step else number(self.name, step)
        self.seen, self.computed = True, None

    def of_step(self) -> float | None:
        """What the metric's ``forward`` returned; None where it was updated without."""
        return None if self.value is None else float(self.value)

    def of_epoch(self) -> float | None:
        """What the metric computes."""
        if self.computed is None:
            source = f" from compute() of the metric {self.attribute!r}"
            self.computed = float(number(self.name, self.metric.compute(), source))
        return self.computed

    def reset(self) -> None:
        """Reset the metric."""
        self.seen, self.value, self.computed = False, None, None
        self.metric.reset()

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint, with the metric's name in place of itself."""
        kept = ("name", "on_step", "on_epoch", "loader", "seen", "attribute")
        return {**{name: getattr(self, name) for name in kept}, "arguments": list(self.arguments), "value": self.of_step()}


class Results:
    """All metrics of one kind of pass (training, or evaluation), keyed by the hook that logged, the name and the source."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.logged: dict[tuple[str, str, int | None], Logged] = {}
        self.loader: int | None = None
        """Of several validation sources, the one that is being run."""
        self.task: nn.Module | None = None
        """Whose metric objects are logged."""
        self.batch: Any = None
        """The batch that is being run."""
        self.batch_size: int | None = None
        """The number of examples in it, once somebody asked for it."""

    def begin(self, task: nn.Module) -> None:
        """What follows is of ``task``; what was logged before is forgotten."""
        if task is not self.task:
            self.logged = {key: each for key, each in self.logged.items() if not isinstance(each, LoggedMetric)}
        self.task = task
        self.reset()

    def log(self, hook: str, name: str, value: Any, batch_size: int | None, arguments: Arguments) -> None:
        """``Task.log`` with the name of the hook that it was called from."""
        key = (hook, name, self.loader if arguments[5] else None)
        logged = self.logged.get(key)
        if logged is None:
            logged = self.logged[key] = self._declare(hook, name, arguments, value)
        elif logged.arguments != arguments or logged.loader != self.loader:
            _check_same(logged, _declare(hook, name, arguments, self.loader), hook)
        if batch_size is None and logged.weighs:
            batch_size = 1 if hook in EPOCH_HOOKS else self._examples(name)
        logged.update(value, batch_size)

    def _declare(self, hook: str, name: str, arguments: Arguments, value: Any) -> Logged:
        declared = _declare(hook, name, arguments, self.loader)
        if isinstance(value, torch.Tensor | Real) or not is_metric(value):
            return declared
        if self.task is None:
            raise ConfigError(f"log({name!r}): expected a task that runs, to log one of its metrics, got none")
        how = (name, arguments, declared.on_step, declared.on_epoch, self.loader)
        return LoggedMetric(*how, task=self.task, metric=value, attribute=name_of(self.task, value, name))

    def _examples(self, name: str) -> int:
        """The number of examples in the batch, where its tensors leave no doubt."""
        if self.batch_size is None:
            sizes = first_dimensions(self.batch)
            if len(sizes) != 1:
                got = f"tensors of {sizes[0]} and {sizes[1]} rows" if sizes else "a batch without tensors"
                needs = "its epoch mean needs batch_size=…, the number of examples"
                raise ConfigError(f"log({name!r}): {needs}, which can't be told from {got}")
            self.batch_size = sizes[0]
        return self.batch_size

    def collect(self, on_step: bool) -> Collected:
        """{"log", "callback", "pbar"} → name → value: inside a batch the steps' values, else the reduced ones.

        A step's value stands until it is logged again, or the epoch ends.
        """
        found: Collected = {"log": {}, "callback": {}, "pbar": {}}
        for each in self.logged.values():
            if not each.seen or each.loader != self.loader or not (each.on_step if on_step else each.on_epoch):
                continue
            value = each.of_step() if on_step else each.of_epoch()
            if value is None:
                continue
            suffix = f"/dataloader_idx_{each.loader}" if each.loader is not None and each.arguments[5] else ""
            fork = ("_step" if on_step else "_epoch") if each.on_step and each.on_epoch else ""
            _, _, prog_bar, logger, _, _ = each.arguments
            name = each.name + fork + suffix
            if logger:
                found["log"][name] = value
            if prog_bar:
                found["pbar"][name] = value
            if self.training or not on_step:
                found["callback"][each.name + suffix] = found["callback"][name] = value
        return found

    def reset(self) -> None:
        """Forget the values; that a name must be logged with the same arguments is remembered."""
        for each in self.logged.values():
            each.reset()

    def state(self) -> list[dict[str, Any]]:
        """Plain values for a checkpoint; with each metric object that was ever logged, since it is reset with the rest."""
        return [
            {**each.state(), "key": list(key)}
            for key, each in self.logged.items()
            if each.seen or isinstance(each, LoggedMetric)
        ]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Back from ``state``, bit for bit: sums are float64."""
        self.logged = {}
        metrics = metrics_of(self.task) if self.task is not None and any("attribute" in item for item in state) else {}
        for item in state:
            hook, name, loader = item["key"]
            values = {k: v for k, v in item.items() if k not in ("key", "arguments")}
            arguments = tuple(item["arguments"])
            if "attribute" not in item:
                self.logged[hook, name, loader] = Logged(**values, arguments=arguments)
            elif item["attribute"] in metrics:  # a task that has it no more has been told so
                metric = metrics[item["attribute"]]
                self.logged[hook, name, loader] = LoggedMetric(**values, arguments=arguments, task=self.task, metric=metric)


def reduction(reduce_fx: Any) -> Any:
    """One of REDUCTIONS, however it is spelled; what is none of them stays as it is."""
    name = reduce_fx.lower() if isinstance(reduce_fx, str) else reduce_fx
    try:
        return SPELLINGS.get(name, name)
    except TypeError:  # something that can't be looked up, such as a list
        return reduce_fx


def number(name: str, value: Any, source: str = "") -> Any:
    """A float; on another device a scalar float64 tensor, so that logging does not wait for it. ``source`` is for errors."""
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ConfigError(f"log({name!r}): expected a scalar{source}, got a tensor of shape {tuple(value.shape)}")
        if value.is_complex():
            raise ConfigError(f"log({name!r}): expected a real number{source}, got {value.item()}")
        return value.item() * 1.0 if value.device.type == "cpu" else value.detach().double().reshape(())
    if not isinstance(value, Real):
        raise ConfigError(f"log({name!r}): expected a number or a scalar tensor{source}, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"log({name!r}): expected a number that a float can hold{source}, got a larger one") from None


def _reduce(reduce_fx: str, total: Any, value: Any) -> Any:
    if reduce_fx == "sum":
        return total + value
    if isinstance(value, torch.Tensor) or isinstance(total, torch.Tensor):
        pair = torch.as_tensor(total), torch.as_tensor(value)
        return torch.minimum(*pair) if reduce_fx == "min" else torch.maximum(*pair)
    if math.isnan(total) or math.isnan(value):
        return math.nan
    return min(total, value) if reduce_fx == "min" else max(total, value)


def _check_same(logged: Logged, declared: Logged, hook: str) -> None:
    first, second = ((each.on_step, each.on_epoch, *each.arguments[2:], each.loader) for each in (logged, declared))
    if first != second:
        raise ConfigError(f"log({logged.name!r}) in {hook}: the same name was logged with other arguments before")


def _declare(hook: str, name: str, arguments: Arguments, loader: int | None) -> Logged:
    on_step, on_epoch, _, _, reduce_fx, add_dataloader_idx = arguments
    if hook not in DEFAULTS:
        raise ConfigError(f"log({name!r}): nothing can be logged in {hook or 'no hook'}; use a step or an epoch hook")
    if not isinstance(name, str):
        raise ConfigError(f"log: expected the name of a value, got {shown(name)}")
    on_step = DEFAULTS[hook][0] if on_step is None else on_step
    on_epoch = DEFAULTS[hook][1] if on_epoch is None else on_epoch
    if hook in EPOCH_HOOKS and (on_step or not on_epoch):
        raise ConfigError(f"log({name!r}): in {hook}, which runs once an epoch, expected on_step=False and on_epoch=True")
    if not on_step and not on_epoch:
        raise ConfigError(f"log({name!r}, on_step=False, on_epoch=False): the value would be lost")
    if reduce_fx not in REDUCTIONS:
        raise ConfigError(f"log({name!r}, reduce_fx={reduce_fx!r}): expected one of {', '.join(REDUCTIONS)}")
    if add_dataloader_idx and "/dataloader_idx_" in name:
        raise ConfigError(f"log({name!r}): /dataloader_idx_ is added automatically; or log with add_dataloader_idx=False")
    return Logged(name, arguments, on_step, on_epoch, loader)
