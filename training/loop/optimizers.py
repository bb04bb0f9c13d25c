"""Optimizers and learning-rate schedulers as ``configure_optimizers`` returns them, in any of Lightning's forms."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from training.errors import ConfigError
from training.loop.parameter_groups import members

# Optimizers of torch that call a closure once, before all else: so it is called here, without what they do around it.
CALLS_FIRST = {torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD}

OF_OPTIMIZERS = ("optimizer", "lr_scheduler", "monitor")
OF_SCHEDULERS = ("scheduler", "interval", "frequency", "monitor", "strict", "name", "reduce_on_plateau")
OF_AUTOMATIC = ("monitor", "strict", "reduce_on_plateau")
"""Keys of the dicts that ``configure_optimizers`` returns; of a scheduler's, those that say how the Trainer steps it."""


@dataclass
class Scheduler:
    """A learning-rate scheduler and when it steps."""

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    reduce_on_plateau: bool = False
    """Whether it steps by a monitored value."""


class NoOptimizer(Optimizer):
    """In the place of an optimizer where ``configure_optimizers`` returns None: all runs as ever, and nothing is trained."""

    def __init__(self) -> None:
        super().__init__([{"params": []}], {"lr": 0.0})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The closure alone."""
        return None if closure is None else closure()


class CountingOptimizer:
    """What ``Task.optimizers`` hands out: ``step`` runs the hooks and counts global_step. Else as the optimizer itself.

    It says that it is of the optimizer's class, so that a scheduler takes it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        before: Callable[[Optimizer], None],
        after: Callable[[], None] | None,
        toggled: Callable[[Any], AbstractContextManager[None]] | None = None,
        turns: Callable[[], Any] | None = None,
    ) -> None:
        """``before`` is called with the optimizer just before its step, ``after``, if any, after each.

        ``turns`` gives what a part of a batch waits by for the others, None outside of one (see training/loop/turns.py).
        """
        self._turns = turns
        self.optimizer, self._before, self._after, self._toggled = optimizer, before, after, toggled
        self._calls_first = type(optimizer) in CALLS_FIRST or not _takes_closure(optimizer)
        self._made_with = members(optimizer)

    def step(self, closure: Callable[[], Any] | None = None, **named: Any) -> Any:
        """The closure, what comes before a step (see ``before_step`` in training/loop/step.py), and the step.

        ``named`` is for the optimizer's own step.
        """
        if closure is not None and not callable(closure):
            raise ConfigError(f"optimizer.step: expected a closure that can be called, got {type(closure).__name__}")
        if self._turns is not None and (turns := self._turns()) is not None:
            return turns.step(self, closure, named)
        if closure is None:  # not one of our own to be called by it: the guard must not hang on that
            self._before(self.optimizer)
            result = self.optimizer.step(**named)
        elif self._calls_first:
            result = self._evaluate(closure)
            self.optimizer.step(**named)
        else:
            result = self.optimizer.step(closure=lambda: self._evaluate(closure), **named)
        if self._after is not None:
            self._after()
        return result

    def __repr__(self) -> str:
        """As the optimizer's."""
        return repr(self.optimizer)

    @property
    def regrouped(self) -> bool:
        """Whether its parameter groups are others than when it was made."""
        return members(self.optimizer) != self._made_with

    def toggle_model(self, sync_grad: bool = True) -> AbstractContextManager[None]:
        """``Task.toggled_optimizer`` of this one; with one process there is nothing to do for ``sync_grad``."""
        return nullcontext() if self._toggled is None else self._toggled(self)

    def _evaluate(self, closure: Callable[[], Any]) -> Any:
        if torch.is_grad_enabled():
            result = closure()
        else:  # torch's optimizers turn gradients on for it, others may not
            with torch.enable_grad():
                result = closure()
        self._before(self.optimizer)
        return result

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return type(self.optimizer)

    def __getattr__(self, name: str) -> Any:
        if name == "optimizer":  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.optimizer, name)


def clear_gradients(optimizer: Optimizer) -> None:
    """``optimizer.zero_grad()``; of torch's own without the note for a profiler, which takes longer than all the rest."""
    if (
        type(optimizer).zero_grad is not Optimizer.zero_grad
        or "zero_grad" in vars(optimizer)
        or torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
    ):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def own_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, of one that ``Task.optimizers`` handed out."""
    return optimizer.optimizer if type(optimizer) is CountingOptimizer else optimizer


def _takes_closure(optimizer: Optimizer) -> bool:
    parameters = inspect.signature(optimizer.step).parameters.values()
    return any(each.name == "closure" or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


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
        _tell_unknown(configured, OF_OPTIMIZERS, "configure_optimizers")
        found = [configured["lr_scheduler"]] if "lr_scheduler" in configured else []
        return [configured["optimizer"]], found, configured.get("monitor")
    if isinstance(configured, tuple | list):
        if len(configured) == 2 and isinstance(configured[0], list):
            second = configured[1]
            return list(configured[0]), list(second) if isinstance(second, list) else [second], None
        if all(isinstance(each, dict) and "optimizer" in each for each in configured):
            for each in configured:
                _tell_unknown(each, OF_OPTIMIZERS, "configure_optimizers")
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
        given = {"scheduler": given, **({"monitor": monitor} if automatic and isinstance(given, ReduceLROnPlateau) else {})}
    if "scheduler" not in given:
        raise ConfigError("lr_scheduler: expected the key 'scheduler', got none")
    _tell_unknown(given, OF_SCHEDULERS, "lr_scheduler")
    ignored = [] if automatic else [key for key in given if key in OF_AUTOMATIC]
    if ignored:
        _tell(f"lr_scheduler: without automatic optimization nothing is done for {', '.join(ignored)}: step it yourself")
    kept = {key: given[key] for key in OF_SCHEDULERS if key in given and key not in ignored}
    made = Scheduler(**{"reduce_on_plateau": automatic and isinstance(given["scheduler"], ReduceLROnPlateau), **kept})
    if made.interval not in ("step", "epoch"):
        raise ConfigError(f"lr_scheduler: interval: expected step or epoch, got {made.interval!r}")
    if made.reduce_on_plateau and made.monitor is None:
        raise ConfigError("lr_scheduler: ReduceLROnPlateau needs monitor=…, the name of a logged metric")
    if automatic and isinstance(made.scheduler, OneCycleLR) and made.interval == "epoch":
        _tell("lr_scheduler: OneCycleLR steps once an epoch; to let it step with each batch, set interval to step")
    return made


def _tell_unknown(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    unknown = [str(key) for key in given if key not in known]
    if unknown:
        _tell(f"{where}: nothing is done for the unknown {', '.join(unknown)}; known are {', '.join(known)}")


def _tell(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
