"""The state of a run, as a checkpoint holds it: taken at any place of a fit, it goes on exactly there.

Nothing random is drawn from a generator (see training/randomness.py), so that there is no generator state in it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from training.errors import CheckpointError
from training.loop.callback import key_of

if TYPE_CHECKING:
    from training.loop.trainer import Trainer

COUNTERS = (
    "current_epoch epochs_processed global_step batches_that_stepped total_batches batch_idx stage should_stop "
    "gradient_norm validated"
).split()
IN_BATCH = ("stepped", "validate", "finish")  # the stages after a batch's step, before the next batch


def capture(trainer: Trainer) -> dict[str, Any]:
    """Weights, optimizers, schedulers, counters, metrics, callbacks. Inside a validation: as it was before it began."""
    if trainer.resume_point is not None:
        return trainer.resume_point
    if trainer.uncollected:
        trainer.collect()
    checkpoint: dict[str, Any] = {
        "weights": dict(trainer.task.state_dict()),
        "optimizers": [each.optimizer.state_dict() for each in trainer.optimizers],
        "schedulers": [each.scheduler.state_dict() for each in trainer.schedulers],
        "progress": {name: getattr(trainer, name) for name in COUNTERS},
        "eval_steps": dict(trainer.eval_steps),
        "callbacks": {key_of(callback): callback.state_dict() for callback in trainer.callbacks},
        "metrics": dict(trainer.callback_values),
        "bar_metrics": dict(trainer.bar_values),
        "results": trainer.train_results.state(),
        "gradients": _open_gradients(trainer),
        "cut": trainer.cut,
    }
    trainer.call("on_save_checkpoint", checkpoint)
    return checkpoint


def capture_weights(trainer: Trainer) -> dict[str, Any]:
    """Weights and counters alone: enough to test and predict, not to go on."""
    checkpoint: dict[str, Any] = {
        "weights_only": True,
        "weights": dict(trainer.task.state_dict()),
        "progress": {name: getattr(trainer, name) for name in COUNTERS},
    }
    trainer.call_own("on_save_checkpoint", checkpoint)
    return checkpoint


def restore_weights(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """What ``capture_weights`` and ``capture`` both hold."""
    trainer.call_own("on_load_checkpoint", checkpoint)
    trainer.task.load_state_dict(checkpoint["weights"])
    for name in COUNTERS:
        value = checkpoint["progress"][name]
        if type(value) is not type(getattr(trainer, name)) and name != "gradient_norm":
            kind = type(getattr(trainer, name)).__name__
            raise CheckpointError(f"the checkpoint's {name}: expected {kind}, got {value!r}"[:300])
        setattr(trainer, name, value)


def restore_model(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Weights, counters and callbacks back to where ``capture`` was called; before there are optimizers, as in Lightning."""
    with _fitting():
        restore_weights(trainer, checkpoint)
    trainer.call_callbacks("on_load_checkpoint", checkpoint)
    with _fitting():
        for callback in trainer.callbacks:
            if state := checkpoint["callbacks"].get(key_of(callback)):
                callback.load_state_dict(copy.deepcopy(state))


def restore(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """All the rest but the gradients: optimizers, schedulers, metrics."""
    with _fitting():
        for each, optimizer_state in zip(trainer.optimizers, checkpoint["optimizers"], strict=True):
            each.optimizer.load_state_dict(optimizer_state)
        for scheduler, scheduler_state in zip(trainer.schedulers, checkpoint["schedulers"], strict=True):
            scheduler.scheduler.load_state_dict(scheduler_state)
        trainer.eval_steps = dict(checkpoint["eval_steps"])
        trainer.callback_values = dict(checkpoint["metrics"])
        trainer.bar_values = dict(checkpoint["bar_metrics"])
        trainer.train_results.load_state(checkpoint["results"])
        cut = checkpoint.get("cut")
        trainer.cut = None if cut is None else {"batch_idx": int(cut["batch_idx"]), "results": list(cut["results"])}
        _reopen_epoch(trainer)
    trainer.accumulating = trainer.accumulates()
    trainer.in_batch = trainer.stage in (*IN_BATCH, "end") or (trainer.stage == "batch" and trainer.batch_idx > 0)


def _reopen_epoch(trainer: Trainer) -> None:
    """Back into an epoch that max_steps ended, where it is now higher: as a run that was never stopped goes on."""
    cut = trainer.cut
    if cut is None or trainer.should_stop or trainer.global_step >= trainer.step_limit:
        return
    if not 0 < cut["batch_idx"] < trainer.num_training_batches:
        return  # fewer batches an epoch than there were: it is over
    if trainer.stage == "start":
        trainer.current_epoch -= 1
    trainer.epochs_processed -= 1
    trainer.batch_idx, trainer.stage, trainer.cut = cut["batch_idx"], "batch", None
    trainer.train_results.load_state(cut["results"])


def restore_gradients(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Those that a later step still adds to; after the fit's own zero_grad."""
    with _fitting():
        parameters = dict(trainer.task.named_parameters())
        for name, gradient in checkpoint["gradients"].items():
            parameters[name].grad = gradient.to(parameters[name].device, copy=True)


@contextmanager
def _fitting() -> Iterator[None]:
    """A state that does not fit becomes one line."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the checkpoint is of another model, other data or other settings: {said}") from None


def _open_gradients(trainer: Trainer) -> dict[str, Any]:
    """The gradients that a later step still adds to: in an open accumulation window, and with manual optimization all."""
    if trainer.task.automatic_optimization:
        if trainer.stage in IN_BATCH:
            window_open = trainer.accumulating
        else:
            window_open = trainer.stage == "batch" and trainer.batch_idx % trainer.accumulate_grad_batches != 0
        if not window_open:
            return {}
    return {name: p.grad for name, p in trainer.task.named_parameters() if p.grad is not None}
