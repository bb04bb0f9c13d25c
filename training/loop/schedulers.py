"""Learning rates: when schedulers step, and the names under which rates are logged. As Lightning does both."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from torch.optim import Optimizer

from training.errors import ConfigError
from training.loop.optimizers import Scheduler, own_optimizer
from training.loop.session import Session


def step_schedulers(session: Session, interval: str, on_plateau: bool, last: bool = False) -> None:
    """Step those schedulers whose interval and frequency say so; plateau ones separately, with their metric.

    ``last`` says that the epoch ends here although more batches were planned: then step-wise ones do not wait for a window.
    """
    if not session.schedulers or not session.task.automatic_optimization:
        return
    if interval == "step" and session.accumulating and not last:
        return
    count = 1 + (session.progress.batch_idx if interval == "step" else session.progress.current_epoch)
    for each in session.schedulers:
        if each.reduce_on_plateau != on_plateau or each.interval != interval or count % each.frequency != 0:
            continue
        metric = None
        if each.reduce_on_plateau:
            metric = session.metrics.get(each.monitor or "")
            if metric is None:
                known = ", ".join(session.metrics) or "none"
                message = f"ReduceLROnPlateau: expected the metric {each.monitor!r} to be logged, got {known}"
                if each.strict:
                    raise ConfigError(message)
                warnings.warn(f"{message}; the learning rate stays", RuntimeWarning, stacklevel=2)
                continue
        session.call("lr_scheduler_step", each.scheduler, metric)


def optimizer_names(optimizers: Iterable[Optimizer], schedulers: Sequence[Scheduler]) -> list[tuple[Optimizer, str]]:
    """Each optimizer with the name of its learning rate: ``lr-Adam``, ``lr-Adam-1`` for a second; or its scheduler's name.

    Those with a scheduler come first, as in Lightning's LearningRateMonitor.
    """
    with_scheduler = [(own_optimizer(each.scheduler.optimizer), each.name) for each in schedulers]
    scheduled = [id(optimizer) for optimizer, _ in with_scheduler]
    rest = [(optimizer, None) for optimizer in optimizers if id(optimizer) not in scheduled]
    seen: dict[str, int] = {}
    named = []
    for optimizer, name in [*with_scheduler, *rest]:
        kind = type(optimizer).__name__
        if name is None:
            seen[kind] = seen.get(kind, 0) + 1
        suffix = f"-{seen[kind] - 1}" if seen.get(kind, 0) > 1 else ""
        named.append((optimizer, (name or f"lr-{kind}") + suffix))
    return named


def group_names(optimizer: Optimizer, name: str) -> list[str]:
    """``lr-Adam/pg1``, ``lr-Adam/pg2`` (or the groups' own names) where there are several parameter groups."""
    groups = optimizer.param_groups
    own = [group.get("name", f"pg{i}" if len(groups) > 1 else None) for i, group in enumerate(groups, 1)]
    if len(set(own)) < len(own):
        raise ConfigError(f"{name}: two parameter groups of the optimizer have the same name ({', '.join(map(str, own))})")
    return [f"{name}/{each}" if each else name for each in own]


def by_name(
    session: Session, interval: str = "any", *, momentum: bool = False, weight_decay: bool = False
) -> dict[str, float]:
    """The learning rates by name; of optimizers with a scheduler, those whose scheduler has that interval."""
    found: dict[str, float] = {}
    intervals = [each.interval for each in session.schedulers]
    named = optimizer_names([each.optimizer for each in session.optimizers], session.schedulers)
    for i, (optimizer, name) in enumerate(named):
        if i < len(intervals) and interval not in ("any", intervals[i]):
            continue
        for group, full in zip(optimizer.param_groups, group_names(optimizer, name), strict=True):
            found[full] = float(group["lr"])
            if momentum:
                found[f"{full}-momentum"] = group["betas"][0] if "betas" in group else group.get("momentum", 0)
            if weight_decay:
                found[f"{full}-weight_decay"] = group["weight_decay"]
    return found
