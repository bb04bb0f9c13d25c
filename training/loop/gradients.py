"""Gradients before a step: their norm, and clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.config import TrainConfig
from training.errors import ConfigError

SMALL = 32768  # elements up to which torch reduces in one thread (its GRAIN_SIZE)


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients that the optimizer's step will use."""
    return [g for group in optimizer.param_groups for p in group["params"] if (g := p.grad) is not None]


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


def grad_norm(module: nn.Module, norm_type: float | str, group_separator: str = "/") -> dict[str, Tensor]:
    """The norms of the parameters' gradients, by ``grad_2.0_norm/name``, and that of all together, to be logged.

    Args:
        module: the task, or a part of it, after backward.
        norm_type: which p-norm; "inf" is the largest number.
        group_separator: what stands between ``grad_2.0_norm`` and the name.

    Returns:
        The norms, tensors without dimensions; with those the total ``grad_2.0_norm_total``; nothing without gradients.

    Raises:
        ConfigError: for a norm that is none.

    Source: Lightning 2.6's ``grad_norm``.
    """
    try:
        p = float(norm_type)
    except (TypeError, ValueError):
        p = math.nan
    if not p > 0:
        raise ConfigError(f"grad_norm: norm_type: expected a number above 0, or inf, got {norm_type!r}")
    named = [(name, each.grad) for name, each in module.named_parameters()]
    norms = {f"grad_{p}_norm{group_separator}{name}": grad.detach().norm(p) for name, grad in named if grad is not None}
    return {**norms, f"grad_{p}_norm_total": torch.tensor(list(norms.values())).norm(p)} if norms else {}


def _large_norm(gradient: torch.Tensor) -> torch.Tensor:
    width = gradient.shape[-1] if gradient.dim() > 1 and gradient.shape[-1] <= SMALL else 1
    rows = gradient.reshape(-1, width)
    squares = torch.linalg.vecdot(rows, rows).double().numpy()
    return torch.tensor(math.sqrt(np.sum(squares)), dtype=gradient.dtype)


def clip(optimizer: Optimizer, limit: float, algorithm: str) -> float | None:
    """Clip to the norm ``limit`` (with torch's arithmetic), or each number by value; 0 does nothing.

    Returns the norm as it was before; None where nothing was clipped.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if limit <= 0 or not parameters:
        return None
    # The gradients as they are now: in manual optimization they are not the last step's, and they may be clipped twice.
    before = gradient_norm(gradients(optimizer))
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, limit)
    else:
        norm = torch.tensor(before, dtype=parameters[0].dtype, device=parameters[0].device)
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return before


def clipping(config: TrainConfig, limit: Any, algorithm: str | None) -> tuple[float, str]:
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
