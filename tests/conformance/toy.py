"""A toy model that runs on Lightning and on ours: what it does is written once, for both base classes.

A ``Case`` says what the run is like: settings of the Trainer, data, optimizer, what is logged where, callbacks. A
``Record`` is what came of it: every hook with its place, every logged line, every checkpoint file, the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tests.conformance.records import Record, plain, simplify


@dataclass(frozen=True)
class Log:
    """One call of ``log`` in ``hook``; the value is the script's (by number of the call), or the loss without one."""

    hook: str
    name: str
    script: tuple[float, ...] = ()
    every: int = 1
    """In every so many-th call of the hook only."""
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Sched:
    """A scheduler: "step" (StepLR), "exp" (ExponentialLR) or "plateau"."""

    kind: str
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None


@dataclass(frozen=True)
class Case:
    """A run. Settings that are None are left to the default."""

    n_train: int = 4
    n_val: tuple[int, ...] = (2,)
    settings: tuple[tuple[str, Any], ...] = ()
    optimizer: str = "sgd"
    groups: int = 1
    schedulers: tuple[Sched, ...] = ()
    dict_form: bool = False
    """configure_optimizers returns a dict, not two lists."""
    logs: tuple[Log, ...] = ()
    early_stopping: tuple[tuple[str, Any], ...] | None = None
    checkpoints: tuple[tuple[tuple[str, Any], ...], ...] = ()
    lr_monitor: tuple[tuple[str, Any], ...] | None = None
    manual: bool = False
    two_optimizers: bool = False
    none_losses: tuple[int, ...] = ()
    """Batches whose loss is None."""
    dict_loss: bool = False
    skip_at: tuple[int, int] | None = None
    """(epoch, batch) at which on_train_batch_start returns -1."""
    stop_at: tuple[str, int, int] | None = None
    """(hook, epoch, batch) at which trainer.should_stop is set."""
    raise_at: tuple[str, int, int] | None = None
    """(hook, epoch, batch) at which KeyboardInterrupt (hook on_train_batch_start) or ValueError is raised."""
    eval_parts: bool = False
    """One layer is in eval mode from the start: it must be so again after each validation."""
    recorded: bool = True
    """Whether every hook is overridden, and recorded."""
    then: tuple[str, ...] = ()
    """After fit: "validate", "test", "predict"."""


# hook → number of arguments of its own; the task's hooks and the callbacks'
SHARED_HOOKS = (
    "setup teardown on_fit_start on_fit_end on_train_start on_train_end on_train_epoch_start on_train_epoch_end "
    "on_train_batch_start on_train_batch_end on_before_zero_grad on_before_backward on_after_backward "
    "on_before_optimizer_step "
    "on_validation_start on_validation_end on_validation_epoch_start on_validation_epoch_end "
    "on_validation_batch_start on_validation_batch_end "
    "on_test_start on_test_end on_test_epoch_start on_test_epoch_end on_test_batch_start on_test_batch_end "
    "on_predict_start on_predict_end on_predict_epoch_start on_predict_epoch_end on_predict_batch_start "
    "on_predict_batch_end"
).split()
TASK_HOOKS = (
    "configure_model on_validation_model_zero_grad on_validation_model_eval on_test_model_eval on_predict_model_eval "
    "optimizer_step optimizer_zero_grad backward configure_gradient_clipping lr_scheduler_step"
).split()
BATCH_HOOKS = {
    "training_step",
    "validation_step",
    "test_step",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    *(hook for hook in SHARED_HOOKS if "_batch_" in hook),
}
CALLBACK_HOOKS = "on_sanity_check_start on_sanity_check_end on_exception".split()


def batches(n: int, offset: int = 0) -> list[torch.Tensor]:
    """``n`` batches of 1 to 3 rows of multiples of 1/8."""
    return [
        torch.tensor([[((7 * i + 3 * r + c + offset) % 17 - 8) / 8 for c in range(3)] for r in range(1 + i % 3)])
        for i in range(n)
    ]


class OwnOptimizer(torch.optim.SGD):
    """Calls its closure with gradients off, and after something of its own."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] *= 0.75
        loss = closure() if closure is not None else None
        super().step()
        return loss


class Behavior(nn.Module):
    """The toy; combined with LightningModule or Task."""

    case: Case
    record: Record
    calls: dict[str, int]
    rows: int
    """Of the current batch."""
    # Of the base that it is combined with:
    trainer: Any
    _trainer: Any
    log: Any
    optimizers: Any
    manual_backward: Any
    current_epoch: int

    def build(self, case: Case, record: Record) -> None:
        """The layers, with fixed weights."""
        self.case, self.record, self.calls = case, record, {}
        self.automatic_optimization = not case.manual
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)
        self.unused = nn.Linear(2, 2)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.arange(p.numel()).reshape(p.shape).sub(p.numel() / 3).div(16))
        if case.eval_parts:
            self.second.eval()
        self.parts, self.weights = tuple(self.modules()), tuple(self.parameters())

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.second(torch.tanh(self.first(batch)))
        return outputs

    # -- steps --------------------------------------------------------------------------------------------------------

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> Any:
        self.note("task", "training_step", batch_idx)
        loss = self(batch).square().mean()
        self.log_in("training_step", loss, batch)
        if self.case.manual:
            optimizers = self.optimizers()
            for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
                optimizer.zero_grad()
                self.manual_backward(self(batch).square().mean())
                optimizer.step()
        if batch_idx in self.case.none_losses:
            return None
        return {"loss": loss, "extra": batch_idx} if self.case.dict_loss else loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int, dataloader_idx: int = 0) -> torch.Tensor:
        self.note("task", "validation_step", batch_idx, dataloader_idx)
        loss: torch.Tensor = self(batch).square().mean()
        self.log_in("validation_step", loss, batch)
        return loss

    def test_step(self, batch: torch.Tensor, batch_idx: int, dataloader_idx: int = 0) -> torch.Tensor:
        self.note("task", "test_step", batch_idx, dataloader_idx)
        loss: torch.Tensor = self(batch).square().mean()
        self.log_in("test_step", loss, batch)
        return loss

    def predict_step(self, batch: torch.Tensor, batch_idx: int, dataloader_idx: int = 0) -> list[float]:
        self.note("task", "predict_step", batch_idx, dataloader_idx)
        values: list[float] = self(batch).flatten().tolist()
        return values

    def configure_optimizers(self) -> Any:
        self.note("task", "configure_optimizers")
        case = self.case
        parts = [list(self.first.parameters()), list(self.second.parameters())]
        groups: Any = [{"params": p} for p in parts] if case.groups == 2 else [p for part in parts for p in part]
        make: Callable[[Any], torch.optim.Optimizer] = {
            "sgd": lambda g: torch.optim.SGD(g, lr=0.125),
            "momentum": lambda g: torch.optim.SGD(g, lr=0.125, momentum=0.5),
            "adam": lambda g: torch.optim.Adam(g, lr=0.125),
            "lbfgs": lambda g: torch.optim.LBFGS(g, lr=0.125, max_iter=3),
            "own": lambda g: OwnOptimizer(g, lr=0.125),
        }[case.optimizer]
        optimizers = [make(parts[0]), make(parts[1])] if case.two_optimizers else [make(groups)]
        if not case.schedulers:
            return optimizers if case.two_optimizers else optimizers[0]
        schedulers = [self.scheduler(each, optimizers[0]) for each in case.schedulers]
        if case.dict_form:
            return {"optimizer": optimizers[0], "lr_scheduler": schedulers[0]}
        return optimizers, schedulers

    @staticmethod
    def scheduler(spec: Sched, optimizer: torch.optim.Optimizer) -> Any:
        made: Any
        if spec.kind == "plateau":
            made = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        elif spec.kind == "step":
            made = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        else:
            made = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.75)
        if spec == Sched(spec.kind):
            return made
        keys = {"scheduler": made, "interval": spec.interval, "frequency": spec.frequency, "strict": spec.strict}
        if spec.monitor is not None:
            keys["monitor"] = spec.monitor
        if spec.name is not None:
            keys["name"] = spec.name
        return keys

    # -- recording ----------------------------------------------------------------------------------------------------

    def note(self, who: str, hook: str, *arguments: Any) -> None:
        """An event: who, hook, its plain arguments, and where the run is."""
        trainer = self._trainer
        if trainer is None or not self.case.recorded:
            return
        rates = [group["lr"] for each in trainer.optimizers for group in each.param_groups]
        gradients = [p.grad is not None for p in self.weights]
        place = (trainer.current_epoch, trainer.global_step, torch.is_grad_enabled(), trainer.should_stop)
        modes = [module.training for module in self.parts]
        metrics = {} if hook in ("setup", "configure_model", "teardown") else plain(trainer.callback_metrics)
        shown = tuple(simplify(each) for each in arguments)
        self.record.events.append((who, hook, shown, place, rates, modes, gradients, metrics))

    def log_in(self, hook: str, loss: torch.Tensor | None, batch: torch.Tensor | None, log: Any = None) -> None:
        """Make the calls of ``log`` that the case has for ``hook``."""
        if batch is not None:
            self.rows = len(batch)
        for spec in self.case.logs:
            if spec.hook != hook:
                continue
            key = f"{spec.hook}/{spec.name}"
            call = self.calls[key] = self.calls.get(key, -1) + 1
            if call % spec.every:
                continue
            value: Any = spec.script[call % len(spec.script)] if spec.script else loss
            size = {"batch_size": self.rows} if hook.removeprefix("callback:") in BATCH_HOOKS else {}
            (log or self.log)(spec.name, value, **size, **dict(spec.arguments))

    def react(self, hook: str, batch_idx: int) -> int | None:
        """What the case wants to happen in a hook."""
        case, here = self.case, (hook, self.current_epoch, batch_idx)
        if case.stop_at == here:
            self.trainer.should_stop = True
        if case.raise_at == here:
            raise KeyboardInterrupt if hook == "on_train_batch_start" else ValueError("as the case wants")
        if hook == "on_train_batch_start" and case.skip_at == (self.current_epoch, batch_idx):
            return -1
        return None


def batch_of(hook: str, arguments: tuple[Any, ...]) -> tuple[Any, int]:
    """The batch and its index among a hook's arguments; (None, 0) where it has none."""
    if hook.endswith("batch_start"):
        return arguments[0], arguments[1]
    if hook.endswith("batch_end"):
        return arguments[1], arguments[2]
    return None, 0


def recording_task(base: type) -> type:
    """The toy on ``base`` with every hook overridden."""

    def make(hook: str) -> Callable[..., Any]:
        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            values = (*arguments, *named.values())
            self.note("task", hook, *values)
            batch, batch_idx = batch_of(hook, values)
            if hook.startswith("on_") and "model" not in hook:
                self.log_in(hook, None, batch)
            inherited = getattr(super(made, self), hook)(*arguments, **named)
            reaction = self.react(hook, batch_idx)
            return inherited if reaction is None else reaction

        return method

    made = type("Recorded", (Behavior, base), {hook: make(hook) for hook in [*SHARED_HOOKS, *TASK_HOOKS]})
    return made


def plain_task(base: type) -> type:
    """The toy on ``base`` with the hooks that a case can react in, and no others."""

    def on_train_batch_start(self: Any, batch: Any, batch_idx: int) -> int | None:
        reaction: int | None = self.react("on_train_batch_start", batch_idx)
        return reaction

    return type("Plain", (Behavior, base), {"on_train_batch_start": on_train_batch_start})


def recording_callback(base: type) -> type:
    """A callback on ``base`` that records every hook and makes the case's log calls for ``callback:HOOK``."""

    def make(hook: str) -> Callable[..., None]:
        def method(self: Any, trainer: Any, task: Any, *arguments: Any, **named: Any) -> None:
            values = (*arguments, *named.values())
            task.note("callback", hook, *values)
            batch, _ = batch_of(hook, values)
            task.log_in(f"callback:{hook}", None, batch, self.log)

        return method

    return type("RecordingCallback", (base,), {hook: make(hook) for hook in [*SHARED_HOOKS, *CALLBACK_HOOKS]})
