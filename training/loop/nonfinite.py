"""A loss or a gradient that is not finite: the run stops before the optimizer's step, and the batch is kept.

Weights are looked at before a checkpoint is written and at the end of a fit: a step may break them though its loss and its
gradients are finite.

``checkpoints/nonfinite.ckpt`` of the run folder holds that batch, the ids of what is in it, the place in the run and the
weights that the batch met. ``Trainer.replay`` runs it again; then the task can be looked at:

    task, _ = build_task(config, dataset, indexer, vectors)     # as for the training
    error = Trainer(config).replay(task, "runs/ner/version_0/checkpoints/nonfinite.ckpt", Batch)
    print(error, {name: p.grad.isfinite().all() for name, p in task.named_parameters() if p.grad is not None})
"""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from training import checkpoint
from training.callbacks.weight_averaging import WeightAveraging
from training.errors import CheckpointError, ConfigError, NonFiniteError
from training.loop import snapshot as state

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

FILE = "nonfinite.ckpt"
LARGE = 1 << 18  # numbers


def check_loss(trainer: Trainer, loss: Tensor, what: str = "no step was taken") -> None:
    """NonFiniteError for a loss that is NaN or infinite."""
    value = loss.item()
    if not math.isfinite(value):
        raise NonFiniteError(f"{trainer.where()}: the loss is {value}; {what}")


def check_gradients(trainer: Trainer, optimizer: Optimizer) -> None:
    """NonFiniteError that names the gradients that are not finite; of a task that makes its own, of those."""
    if all_finite([*trainer.task.ledger_tensors().values()] if trainer.own_gradients else gradients(optimizer)):
        return
    bad = [name for name, tensor in trainer.task.ledger_tensors().items() if not bool(tensor.isfinite().all())]
    names = ", ".join(bad) or "a parameter that is not the task's"
    raise NonFiniteError(f"{trainer.where()}: the gradient of {names} is not finite; no step was taken")


def check_weights(trainer: Trainer) -> None:
    """NonFiniteError that names the trained weights, or running means of them, that are not finite."""
    found = {
        name: p.detach() for name, p in trainer.task.named_parameters()
        if (p.requires_grad or trainer.own_gradients) and not isinstance(p, UninitializedParameter)
    }  # fmt: skip
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging):
            found |= {f"the running mean of {name}": mean for name, mean in callback.mean.items()}
    bad = [name for name, tensor in found.items() if not is_finite(tensor)]
    if bad:
        names = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise NonFiniteError(
            f"{trainer.where()}: the weights are not finite ({names}), so that they are not kept; begin anew with a lower "
            "learning rate, or clip the gradients"
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of it is NaN or infinite. A sum that is finite says so, and is read faster than each number."""
    values = tensor._values() if tensor.is_sparse else tensor
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """The gradients that the optimizer's step will use."""
    return [g for group in optimizer.param_groups for p in group["params"] if (g := p.grad) is not None]


def all_finite(tensors: list[Tensor]) -> bool:
    """Whether no number of them is NaN or infinite: exact, and read once. All on one device."""
    tensors = [t for t in tensors if t.numel() < LARGE or not _sum_is_finite(t)]
    if not tensors:
        return True
    found, one = _buffers(tensors[0].device)
    # Made for gradients that were scaled up; scaled by one, it changes none of their bits.
    try:
        torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, one)
    except NotImplementedError:  # some are sparse
        return all_finite([t._values() if t.is_sparse else t for t in tensors])
    if not found.item():
        return True
    found.zero_()
    return False


def _sum_is_finite(tensor: Tensor) -> bool:
    """For a dense tensor on the CPU: then all its terms are. Reading a large one is faster than what also writes."""
    return tensor.is_cpu and not tensor.is_sparse and math.isfinite(tensor.sum().item())


@functools.cache
def _buffers(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.zeros(1, device=device), torch.ones(1, device=device)


# -- the batch is kept -----------------------------------------------------------------------------------------------


def keep(trainer: Trainer, batch: Any, error: NonFiniteError) -> None:
    """Give the error the batch and its ids, and where the trainer has a folder for checkpoints, write FILE into it."""
    error.batch, error.ids = batch, trainer.task.batch_ids(batch)
    if trainer.checkpoint_dir is None:
        return
    path = Path(trainer.checkpoint_dir) / FILE
    kept = {
        **state.capture_weights(trainer),
        "reason": str(error),
        "num_training_batches": trainer.num_training_batches,
        "batch": plain(batch),
        "ids": plain(error.ids),
    }
    try:
        checkpoint.save(path, kept)
    except (CheckpointError, ConfigError, OSError) as problem:  # what went wrong first is what the user must hear of
        error.args = (f"{error}; the batch could not be kept ({problem})",)
        return
    error.path = path
    error.args = (f"{error}; the batch and the weights that it met are in {path} (Trainer.replay runs it again)",)


def plain(batch: Any) -> Any:
    """The batch for a checkpoint: dataclasses and named tuples become dicts, tensors copies on the CPU."""
    if isinstance(batch, Tensor):
        return batch.detach().cpu().clone()
    if dataclasses.is_dataclass(batch):
        return {f.name: plain(getattr(batch, f.name)) for f in dataclasses.fields(batch) if f.init}
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return {name: plain(value) for name, value in zip(batch._fields, batch, strict=True)}
    if isinstance(batch, list | tuple):
        return type(batch)(plain(value) for value in batch)
    return batch


def rebuilt(kept: Any, batch_type: Any) -> Any:
    """Back from ``plain``; ``batch_type`` is the class, or the annotation, of what it was."""
    if not isinstance(kept, dict):
        return kept
    for kind in (batch_type, *get_args(batch_type)):
        if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
            hints = get_type_hints(kind)
            return kind(**{name: rebuilt(value, hints[name]) for name, value in kept.items()})
    return kept
