"""One optimizer step: forward, zero_grad, backward, clip, step. Learning-rate schedulers. Lightning's order."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from training.config import TrainConfig
from training.errors import ConfigError
from training.loop import nonfinite

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

# Optimizers of torch that call a closure once, before all else: so it is called here, without what they do around it.
CALLS_FIRST = {torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD}
SMALL = 32768  # elements up to which torch reduces in one thread (its GRAIN_SIZE)


@dataclass
class Scheduler:
    """A learning-rate scheduler and when it steps."""

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    reduce_on_plateau: bool | None = None

    @property
    def on_plateau(self) -> bool:
        """Whether it needs a monitored value."""
        plateau = self.reduce_on_plateau
        return isinstance(self.scheduler, ReduceLROnPlateau) if plateau is None else plateau


class CountingOptimizer:
    """What ``Task.optimizers`` hands out: ``step`` runs the hooks and counts global_step. Else as the optimizer itself.

    It says that it is of the optimizer's class, so that a scheduler takes it.
    """

    def __init__(self, optimizer: Optimizer, trainer: Trainer, automatic: bool) -> None:
        self.optimizer, self._trainer, self._automatic = optimizer, trainer, automatic
        self._calls_first = type(optimizer) in CALLS_FIRST or not _takes_closure(optimizer)

    def step(self, closure: Callable[[], Any] | None = None, **named: Any) -> Any:
        """The closure, on_before_optimizer_step, the guard, with automatic optimization clipping, and the step.

        ``named`` is for the optimizer's own step.
        """
        if closure is not None and not callable(closure):
            raise ConfigError(f"optimizer.step: expected a closure that can be called, got {type(closure).__name__}")
        if closure is None:  # not one of our own to be called by it: the guard must not hang on that
            self._prepare()
            result = self.optimizer.step(**named)
        elif self._calls_first:
            result = self._evaluate(closure)
            self.optimizer.step(**named)
        else:
            result = self.optimizer.step(closure=lambda: self._evaluate(closure), **named)
        if not self._automatic:
            self._trainer.global_step += 1
        return result

    def _evaluate(self, closure: Callable[[], Any]) -> Any:
        if torch.is_grad_enabled():
            result = closure()
        else:  # torch's optimizers turn gradients on for it, others may not
            with torch.enable_grad():
                result = closure()
        self._prepare()
        return result

    def _prepare(self) -> None:
        trainer, optimizer = self._trainer, self.optimizer
        trainer.call("on_before_optimizer_step", optimizer)
        nonfinite.check_gradients(trainer, optimizer)
        trainer.forget_norm(optimizer)
        if self._automatic:
            c = trainer.config
            trainer.call(
                "configure_gradient_clipping",
                optimizer,
                gradient_clip_val=c.gradient_clip_val,
                gradient_clip_algorithm=c.gradient_clip_algorithm,
            )

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return type(self.optimizer)

    def __getattr__(self, name: str) -> Any:
        if name == "optimizer":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.optimizer, name)


def own_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, of one that ``Task.optimizers`` handed out."""
    return optimizer.optimizer if type(optimizer) is CountingOptimizer else optimizer


def _takes_closure(optimizer: Optimizer) -> bool:
    parameters = inspect.signature(optimizer.step).parameters.values()
    return any(each.name == "closure" or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


# -- configure_optimizers --------------------------------------------------------------------------------------------


def configure(configured: Any, automatic: bool, own_step: bool = False) -> tuple[list[Optimizer], list[Scheduler]]:
    """What ``configure_optimizers`` returned, in any of Lightning's forms → optimizers and schedulers.

    ``own_step`` says that the task steps schedulers itself (lr_scheduler_step), so that they need not be torch's.
    """
    found, given, monitor = _parse(configured)
    optimizers: list[Optimizer] = [own_optimizer(each) for each in found]
    schedulers = [_scheduler(each, monitor, automatic) for each in given]
    for each in schedulers:
        _check_scheduler(each.scheduler, automatic and not own_step)
    if automatic and len(optimizers) != 1:
        raise ConfigError(
            f"configure_optimizers: expected one optimizer, got {len(optimizers)}; "
            "set automatic_optimization = False to step them yourself"
        )
    if any(own_optimizer(each.scheduler.optimizer) not in optimizers for each in schedulers):
        raise ConfigError("configure_optimizers: a scheduler belongs to an optimizer that was not returned with it")
    return optimizers, schedulers


def _parse(configured: Any) -> tuple[list[Optimizer], list[Any], str | None]:
    """Optimizers, schedulers as given, and the monitor of a dict's top level."""
    if configured is None:
        return [], [], None
    if isinstance(configured, Optimizer):
        return [configured], [], None
    if isinstance(configured, dict) and "optimizer" in configured:
        found = [configured["lr_scheduler"]] if "lr_scheduler" in configured else []
        return [configured["optimizer"]], found, configured.get("monitor")
    if isinstance(configured, tuple | list):
        if len(configured) == 2 and isinstance(configured[0], list):
            second = configured[1]
            return list(configured[0]), list(second) if isinstance(second, list) else [second], None
        if all(isinstance(each, dict) and "optimizer" in each for each in configured):
            found = [each["lr_scheduler"] for each in configured if "lr_scheduler" in each]
            return [each["optimizer"] for each in configured], found, None
        if all(isinstance(each, Optimizer) for each in configured):
            return list(configured), [], None
    raise ConfigError(
        "configure_optimizers: expected an optimizer, a dict with 'optimizer', ([optimizers], [schedulers]) or None, "
        f"got {type(configured).__name__}"
    )


def _check_scheduler(scheduler: Any, steps: bool) -> None:
    """ConfigError for what would fail at the first step or the first checkpoint; with ``steps``, the Trainer steps it."""
    name = type(scheduler).__name__
    for method in ("state_dict", "load_state_dict"):
        if not callable(getattr(scheduler, method, None)):
            raise ConfigError(f"lr_scheduler: expected {name} to have {method}, which checkpoints need, got none")
    if steps and not isinstance(scheduler, LRScheduler | ReduceLROnPlateau):
        raise ConfigError(
            f"lr_scheduler: expected a scheduler of torch's class LRScheduler, got {name}; step others in the task's own "
            "lr_scheduler_step"
        )
    if getattr(scheduler, "optimizer", None) is None:
        raise ConfigError(f"lr_scheduler: expected {name} to have an optimizer, got none")


def _scheduler(given: Any, monitor: str | None, automatic: bool) -> Scheduler:
    if not isinstance(given, dict):
        made = Scheduler(given, monitor=monitor if isinstance(given, ReduceLROnPlateau) else None)
    else:
        unknown = set(given) - set(Scheduler.__dataclass_fields__)
        if unknown or "scheduler" not in given:
            what = f"unknown keys {', '.join(sorted(unknown))}" if unknown else "expected the key 'scheduler', got none"
            raise ConfigError(f"lr_scheduler: {what}")
        made = Scheduler(**given)
    if made.interval not in ("step", "epoch"):
        raise ConfigError(f"lr_scheduler: interval: expected step or epoch, got {made.interval!r}")
    if automatic and made.on_plateau and made.monitor is None:
        raise ConfigError("lr_scheduler: ReduceLROnPlateau needs monitor=…, the name of a logged metric")
    return made


# -- one step --------------------------------------------------------------------------------------------------------


def automatic_step(trainer: Trainer, batch: Any, batch_idx: int) -> Any:
    """training_step, zero_grad, backward; and where the accumulation window ends, clip and step. Returns the outputs."""
    wrapped, accumulating = trainer.optimizers[0], trainer.accumulating
    outputs: Any = None

    def closure() -> torch.Tensor | None:
        nonlocal outputs
        loss, outputs = _forward(trainer, batch, batch_idx)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            trainer.call("on_before_zero_grad", wrapped.optimizer)
            trainer.call("optimizer_zero_grad", trainer.current_epoch, batch_idx, wrapped.optimizer)
        if loss is not None:
            trainer.backward(loss)
            nonfinite.check_loss(trainer, loss)  # after backward: on a GPU it costs less to wait here
            if accumulating:  # at the window's end it would be too late to say which batch it was
                nonfinite.check_gradients(trainer, wrapped.optimizer)
        return loss

    if accumulating:
        closure()
    else:
        trainer.call("optimizer_step", trainer.current_epoch, batch_idx, wrapped, closure)
        if outputs is None:
            raise ConfigError("optimizer_step: expected it to call optimizer.step(optimizer_closure), got no call")
        trainer.global_step += 1
    return outputs


def _forward(trainer: Trainer, batch: Any, batch_idx: int) -> tuple[torch.Tensor | None, Any]:
    """The step's loss ÷ accumulate_grad_batches, and its outputs for the hooks."""
    result = trainer.step("training_step", batch, batch_idx)
    if result is None:
        return None, {}
    loss = result.get("loss") if isinstance(result, Mapping) else result
    if not isinstance(loss, torch.Tensor):
        raise ConfigError(f"training_step: expected a loss tensor, a dict with 'loss' or None, got {type(result).__name__}")
    if trainer.accumulate_grad_batches > 1:
        loss = loss / trainer.accumulate_grad_batches
    extra = {k: v for k, v in result.items() if k != "loss"} if isinstance(result, Mapping) else {}
    return loss, {"loss": loss.detach(), **extra}


def manual_step(trainer: Trainer, batch: Any, batch_idx: int) -> Any:
    """training_step alone, which does the rest itself. Returns the outputs for the hooks."""
    result = trainer.step("training_step", batch, batch_idx)
    if result is None:
        return {}
    if isinstance(result, torch.Tensor):
        result = {"loss": result}
    if not isinstance(result, Mapping):
        raise ConfigError(f"training_step: expected a loss tensor, a dict or None, got {type(result).__name__}")
    loss = result.get("loss")
    if not isinstance(loss, torch.Tensor):
        return result
    nonfinite.check_loss(trainer, loss, "its steps were taken: call check_finite(loss) before them")
    return {**result, "loss": loss.detach()}


def clip(trainer: Trainer, optimizer: Optimizer, limit: float | None, algorithm: str | None) -> None:
    """Clip to the norm ``limit`` (with torch's arithmetic) or by value; 0 does nothing."""
    limit, algorithm = _clipping(trainer.config, limit, algorithm)
    if limit <= 0:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not parameters:
        return
    # The gradients as they are now: in manual optimization they are not the last step's, and they may be clipped twice.
    before = gradient_norm(nonfinite.gradients(optimizer))
    trainer.note_norm(before)
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, limit)
        return
    norm = torch.tensor(before, dtype=parameters[0].dtype, device=parameters[0].device)
    torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)


def _clipping(config: TrainConfig, limit: Any, algorithm: str | None) -> tuple[float, str]:
    """What ``clip_gradients`` was given, or where it was not, what the settings say; ConfigError where they differ."""
    given = config.gradient_clip_val > 0
    if limit is None:
        limit = config.gradient_clip_val
    elif not isinstance(limit, int | float):
        raise ConfigError(f"clip_gradients: gradient_clip_val: expected a number, got {limit!r}")
    elif given and limit != config.gradient_clip_val:
        raise ConfigError(
            f"clip_gradients: gradient_clip_val={limit} contradicts the Trainer's {config.gradient_clip_val}; "
            "give one of them"
        )
    if algorithm is None:
        return limit, config.gradient_clip_algorithm
    if str(algorithm).lower() not in ("norm", "value"):
        raise ConfigError(f"clip_gradients: gradient_clip_algorithm: expected norm or value, got {algorithm!r}")
    if given and algorithm.lower() != config.gradient_clip_algorithm:
        raise ConfigError(
            f"clip_gradients: gradient_clip_algorithm={algorithm!r} contradicts the Trainer's "
            f"{config.gradient_clip_algorithm!r}; give one of them"
        )
    return limit, algorithm.lower()


def gradient_norm(gradients: Sequence[torch.Tensor]) -> float:
    """The Euclidean norm of all gradients together: the norm of their norms, bit for bit as torch's get_total_norm has it.

    But for large tensors: there a full sum in torch changes with the number of threads, so that they are summed along rows
    by torch and over rows by NumPy, in float64. Gradients whose squares overflow are summed in float64 too.
    """
    if not gradients:
        return 0.0
    dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    if all(g.numel() <= SMALL or g.device.type != "cpu" for g in dense):
        norms = list(torch._foreach_norm(dense))
    else:
        norms = [torch.linalg.vector_norm(g) if g.numel() <= SMALL else _large_norm(g.detach()) for g in dense]
    norm = float(torch.linalg.vector_norm(torch.stack(norms)).item())
    if not math.isfinite(norm) and dense[0].dtype != torch.float64:
        return gradient_norm([gradient.double() for gradient in dense])
    return norm


def _large_norm(gradient: torch.Tensor) -> torch.Tensor:
    width = gradient.shape[-1] if gradient.dim() > 1 and gradient.shape[-1] <= SMALL else 1
    rows = gradient.reshape(-1, width)
    squares = torch.linalg.vecdot(rows, rows).double().numpy()
    return torch.tensor(math.sqrt(np.sum(squares)), dtype=gradient.dtype)
