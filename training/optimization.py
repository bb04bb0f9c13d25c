"""One optimizer step: forward, zero_grad, backward, clip, step. Learning-rate schedulers. Lightning's order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from training.errors import ConfigError, NonFiniteError

if TYPE_CHECKING:
    from training.loop import Trainer


@dataclass
class Scheduler:
    """A learning-rate scheduler and when it steps."""

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None

    @property
    def on_plateau(self) -> bool:
        """Whether it needs a monitored value."""
        return isinstance(self.scheduler, ReduceLROnPlateau)


class CountingOptimizer:
    """An optimizer whose ``step`` counts global_step: what ``Task.optimizers`` hands out. Else as the optimizer itself."""

    def __init__(self, optimizer: Optimizer, trainer: Trainer) -> None:
        self.optimizer, self._trainer = optimizer, trainer

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the step hooks, step, and count."""
        self._trainer.call("on_before_optimizer_step", self.optimizer)
        result = self.optimizer.step(closure) if closure else self.optimizer.step()
        self._trainer.global_step += 1
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)


def configure(configured: Any) -> tuple[list[Optimizer], list[Scheduler]]:
    """What ``configure_optimizers`` returned, in any of Lightning's forms → optimizers and schedulers."""
    if configured is None:
        return [], []
    if isinstance(configured, Optimizer):
        return [configured], []
    if isinstance(configured, dict):
        found = [configured["lr_scheduler"]] if configured.get("lr_scheduler") else []
        return [configured["optimizer"]], [_scheduler(each) for each in found]
    if isinstance(configured, tuple | list):
        if len(configured) == 2 and all(isinstance(each, list) for each in configured):
            return list(configured[0]), [_scheduler(each) for each in configured[1]]
        if all(isinstance(each, Optimizer) for each in configured):
            return list(configured), []
    raise ConfigError(
        "configure_optimizers: expected an optimizer, a dict with 'optimizer', ([optimizers], [schedulers]) or None, "
        f"got {type(configured).__name__}"
    )


def _scheduler(given: Any) -> Scheduler:
    if not isinstance(given, dict):
        made = Scheduler(given)
    else:
        unknown = set(given) - set(Scheduler.__dataclass_fields__)
        if unknown:
            raise ConfigError(f"lr_scheduler: unknown keys {', '.join(sorted(unknown))}")
        made = Scheduler(**given)
    if made.interval not in ("step", "epoch"):
        raise ConfigError(f"lr_scheduler: interval: expected step or epoch, got {made.interval!r}")
    if made.on_plateau and made.monitor is None:
        raise ConfigError("lr_scheduler: ReduceLROnPlateau needs monitor=…, the name of a logged metric")
    return made


def automatic_step(trainer: Trainer, batch: Any, batch_idx: int) -> Any:
    """training_step, zero_grad, backward; and where the accumulation window ends, clip and step. Returns the outputs."""
    optimizer = trainer.optimizers[0].optimizer
    outputs: Any = {}

    def closure() -> torch.Tensor | None:
        nonlocal outputs
        with torch.enable_grad():
            loss, outputs = _forward(trainer, batch, batch_idx)
            if batch_idx % trainer.accumulate_grad_batches == 0:
                trainer.call("on_before_zero_grad", optimizer)
                trainer.task.optimizer_zero_grad(trainer.current_epoch, batch_idx, optimizer)
            if loss is not None:
                trainer.backward(loss)
        if not trainer.accumulating:
            trainer.call("on_before_optimizer_step", optimizer)
            _guard_and_clip(trainer, optimizer)
        return loss

    if trainer.accumulating:
        closure()
    else:
        optimizer.step(closure)  # type: ignore[arg-type]
        trainer.global_step += 1
    return outputs


def _forward(trainer: Trainer, batch: Any, batch_idx: int) -> tuple[torch.Tensor | None, Any]:
    """The step's loss ÷ accumulate_grad_batches, and its outputs for the hooks."""
    result = trainer.step("training_step", batch, batch_idx)
    if result is None:
        return None, {}
    loss = result.get("loss") if isinstance(result, dict) else result
    if not isinstance(loss, torch.Tensor):
        raise ConfigError(f"training_step: expected a loss tensor, a dict with 'loss' or None, got {type(result).__name__}")
    if not math.isfinite(float(loss.detach())):
        raise NonFiniteError(f"{trainer.where()}: the loss is {float(loss.detach())}; no step was taken")
    scaled = loss / trainer.accumulate_grad_batches
    extra = {k: v for k, v in result.items() if k != "loss"} if isinstance(result, dict) else {}
    return scaled, {"loss": scaled.detach(), **extra}


def _guard_and_clip(trainer: Trainer, optimizer: Optimizer) -> None:
    """Stop at a gradient that is not finite, before it reaches the weights; clip by norm or by value."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = gradient_norm(p.grad for p in parameters if p.grad is not None)
    if not math.isfinite(norm):
        bad = [n for n, p in trainer.task.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
        raise NonFiniteError(f"{trainer.where()}: the gradient of {', '.join(bad)} is not finite; no step was taken")
    trainer.gradient_norm = norm
    limit = trainer.config.gradient_clip_val
    if limit <= 0:
        return
    if trainer.config.gradient_clip_algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, limit)
        return
    scale = min(1.0, limit / (norm + 1e-6))  # torch's clip_grad_norm_ has the same 1e-6
    for p in parameters:
        if p.grad is not None and scale < 1.0:
            p.grad.mul_(scale)


def gradient_norm(gradients: Iterable[torch.Tensor]) -> float:
    """The Euclidean norm of all gradients together, float64.

    Summed along rows by torch and over rows by NumPy, since a full sum in torch changes with the number of threads.
    """
    total = 0.0
    for gradient in gradients:
        if gradient.is_sparse:
            gradient = gradient.coalesce().values()
        rows = gradient.detach()
        rows = rows.reshape(-1, rows.shape[-1]) if rows.dim() > 1 else rows.reshape(1, -1) if rows.numel() else rows
        if rows.numel():
            squares = torch.linalg.vecdot(rows, rows) if rows.shape[0] > 1 else rows.square().reshape(-1)
            total += float(np.sum(squares.double().cpu().numpy()))
    return math.sqrt(total) if total >= 0 else math.nan


def step_schedulers(trainer: Trainer, interval: str, on_plateau: bool) -> None:
    """Step those schedulers whose interval and frequency say so; plateau ones separately, with their metric."""
    if not trainer.schedulers or not trainer.task.automatic_optimization:
        return
    if interval == "step" and trainer.accumulating:
        return
    count = 1 + (trainer.batch_idx if interval == "step" else trainer.current_epoch)
    for each in trainer.schedulers:
        if each.on_plateau != on_plateau or each.interval != interval or count % each.frequency != 0:
            continue
        metric = None
        if each.on_plateau:
            metric = trainer.callback_metrics.get(each.monitor or "")
            if metric is None:
                if not each.strict:
                    continue
                known = ", ".join(trainer.callback_metrics) or "none"
                raise ConfigError(f"ReduceLROnPlateau: expected the metric {each.monitor!r} to be logged, got {known}")
        trainer.task.lr_scheduler_step(each.scheduler, metric)


def learning_rates(optimizers: Iterable[Optimizer]) -> dict[str, float]:
    """``lr-Adam`` → rate; ``lr-Adam/pg1`` where there are parameter groups, ``lr-Adam-1`` for a second of its kind."""
    rates: dict[str, float] = {}
    seen: dict[str, int] = {}
    for optimizer in optimizers:
        kind = type(optimizer).__name__
        seen[kind] = seen.get(kind, 0) + 1
        base = f"lr-{kind}" + (f"-{seen[kind] - 1}" if seen[kind] > 1 else "")
        groups = optimizer.param_groups
        for i, group in enumerate(groups):
            rates[f"{base}/pg{i + 1}" if len(groups) > 1 else base] = float(group["lr"])
    return rates
