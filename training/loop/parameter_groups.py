"""Parameter groups that an optimizer got after it was made: which parameters they hold, for a resume to find them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer


def members(optimizer: Optimizer) -> list[list[int]]:
    """Which parameters each group holds, by identity."""
    return [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]


def member_names(optimizer: Optimizer, task: nn.Module) -> list[list[str]] | None:
    """The names of each group's parameters in ``task``; None where one is no parameter of the task."""
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    found = [[names.get(each, "") for each in group] for group in members(optimizer)]
    return found if all(name for group in found for name in group) else None


def regroup(optimizer: Optimizer, groups: Sequence[Sequence[str]], task: nn.Module) -> None:
    """Groups of these parameters, by name, in place of the optimizer's. Their settings come with its ``load_state_dict``.

    Raises:
        KeyError: for a name that is no parameter's of ``task``.
    """
    parameters = dict(task.named_parameters())
    regrouped: list[dict[str, Any]] = [{"params": [parameters[name] for name in group]} for group in groups]
    optimizer.param_groups = regrouped
