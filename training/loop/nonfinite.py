"""A loss or a gradient that is not finite: the run stops before the optimizer's step, and the batch is kept.

Weights are looked at before a checkpoint is written and at the end of a fit: a step may break them though its loss and its
gradients are finite.

``checkpoints/nonfinite.ckpt`` of the run folder holds that batch, the ids of what is in it, the place in the run and the
weights that the batch met. ``Trainer.replay`` runs it again; then the task can be looked at:

    task, _ = build_task(config, dataset, indexer, vectors)     # as for the training
    error = Trainer(config, logger=False).replay(task, "runs/ner/version_0/checkpoints/nonfinite.ckpt", Batch)
    print(error, {name: p.grad.isfinite().all() for name, p in task.named_parameters() if p.grad is not None})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from torch import Tensor
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from training import checkpoint
from training.errors import CheckpointError, ConfigError, NonFiniteError
from training.loop.finite import all_finite, is_finite
from training.loop.gradients import gradients
from training.loop.session import Session
from training.loop.snapshot import capture_weights
from training.visible import listed

FILE = "nonfinite.ckpt"


def check_gradients(session: Session, optimizer: Optimizer) -> None:
    """NonFiniteError that names the gradients that are not finite; of a task that makes its own, of those."""
    finite = all_finite([*session.task.ledger_tensors().values()] if session.own_gradients else gradients(optimizer))
    if finite and session.group.world == 1:
        return
    bad = [] if finite else _bad_gradients(session)
    if names := in_all(session, bad, session.tell_all):  # stops travel with it: one message a step
        raise NonFiniteError(
            f"{session.progress.where()}: the gradient of {', '.join(names)} is not finite; no step was taken"
        )


def _bad_gradients(session: Session) -> list[str]:
    bad = [name for name, tensor in session.task.ledger_tensors().items() if not bool(tensor.isfinite().all())]
    return bad or ["a parameter that is not the task's"]


def in_all(session: Session, names: list[str], tell: Callable[[Any], list[Any]]) -> list[str]:
    """The names found in all processes, where the task has a part of its weights in each; else those found here.

    ``tell`` gives what each process has, as ``Group.gather`` does.
    """
    if session.group.world == 1 or session.task.cuts_batches:
        return names
    return list(dict.fromkeys(name for told in tell(names) for name in told))


def check_weights(session: Session) -> None:
    """NonFiniteError that names the trained weights, or running means of them, that are not finite."""
    found = {
        name: p.detach() for name, p in session.task.named_parameters()
        if (p.requires_grad or session.own_gradients) and not isinstance(p, UninitializedParameter)
    }  # fmt: skip
    for callback in session.callbacks:
        found |= callback.weights_to_check()
    if bad := in_all(session, [name for name, tensor in found.items() if not is_finite(tensor)], session.group.gather):
        raise session.group.shared(
            NonFiniteError(
                f"{session.progress.where()}: the weights are not finite ({listed(bad, 3)}), so that they are not kept; "
                "start over with a lower learning rate, or clip the gradients"
            )
        )


# -- the batch is kept -----------------------------------------------------------------------------------------------


def keep(session: Session, batch: Any, error: NonFiniteError) -> None:
    """Give the error the batch and its ids, and where there is a folder for checkpoints, write FILE into it."""
    session.group.shared(error)  # they have all found it
    error.batch, error.ids = batch, session.task.batch_ids(batch)
    if (folder := session.view.checkpoint_dir) is None:
        return
    path = Path(folder) / FILE
    kept = {
        **capture_weights(session),
        "reason": str(error),
        "num_training_batches": session.num_training_batches,
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
