"""One training step: forward, zero_grad, backward, clip, step. Lightning's order."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from training.errors import ConfigError
from training.loop import nonfinite, optimizers
from training.loop.finite import check_loss
from training.loop.optimizers import CountingOptimizer, NoOptimizer, configure
from training.loop.session import Session
from training.loop.shards import forward_backward
from training.loop.turns import Turns


def configure_optimizers(session: Session) -> None:
    """Make the task's optimizers and schedulers, so that each step runs the hooks and is counted."""
    automatic = session.automatic = session.task.automatic_optimization
    given = session.call("configure_optimizers")
    if given is None and automatic and session.overrides("configure_optimizers"):
        warnings.warn("configure_optimizers: it returned None, so nothing is trained", stacklevel=2)
        given = NoOptimizer()
    optimizers, session.schedulers = configure(given, automatic, own_step=session.overrides("lr_scheduler_step"))

    def count() -> None:
        session.progress.global_step += 1

    after = None if automatic else count  # automatic_step counts: the task's optimizer_step may step as often as it likes
    turns = (lambda: session.turn) if session.cuts_batches and not automatic else None
    session.optimizers = [
        CountingOptimizer(each, partial(before_step, session), after, session.task.toggled_optimizer, turns)
        for each in optimizers
    ]


def take_step(session: Session, batch: Any, batch_idx: int) -> Any:
    """The batch's step. Returns its outputs, for the hooks."""
    session.told = False
    if session.automatic:
        outputs = automatic_step(session, batch, batch_idx)
        if not outputs and session.progress.total_batches == 0:  # where a return was forgotten, it shows in the first batch
            session.tell("fit: training_step returned None for the first batch: where it does, no loss is minimized")
    elif session.cuts_batches:
        outputs = Turns(session, batch, batch_idx, lambda part: manual_step(session, part, batch_idx)).run()
    else:
        outputs = manual_step(session, batch, batch_idx)
    if session.group.world > 1 and not session.told:
        session.tell_all(None)  # stops that were asked for; mostly they went with what else had to be told
    return outputs


def automatic_step(session: Session, batch: Any, batch_idx: int) -> Any:
    """training_step, zero_grad, backward; and where the accumulation window ends, clip and step. Returns the outputs."""
    progress, accumulating = session.progress, session.accumulating
    wrapped = session.optimizers[0]
    outputs: Any = None

    def closure() -> torch.Tensor | None:
        """What the optimizer steps by: it may run it more than once, as LBFGS does."""
        nonlocal outputs
        if session.cuts_batches:
            loss, outputs = sharded(session, batch, batch_idx)
            if accumulating:
                nonfinite.check_gradients(session, wrapped.optimizer)
            return loss
        # forward: the loss, already divided for the mean over the accumulation window
        loss, outputs = _forward(session, batch, batch_idx)
        clear_gradients(session, batch_idx)
        if loss is not None:
            session.backward(loss)
            # a loss that is not finite must not reach the weights; after backward, since on a GPU it costs less to wait here
            check_loss(loss, progress.where)
            if accumulating:  # at the window's end it would be too late to say which batch it was
                nonfinite.check_gradients(session, wrapped.optimizer)
        return loss

    if accumulating:
        closure()  # gradients only: the step is taken at the window's end
        return outputs
    # optimizer.step(closure), in which before_step runs between the closure and the step
    if session.chains["optimizer_step"]:
        session.call("optimizer_step", progress.current_epoch, batch_idx, wrapped, closure)
    else:
        session.hook = "optimizer_step"
        wrapped.step(closure)
        session.hook = ""
    if outputs is None:
        raise ConfigError("optimizer_step: expected it to call optimizer.step(optimizer_closure), got no call")
    progress.global_step += 1
    return outputs


def sharded(session: Session, batch: Any, batch_idx: int) -> tuple[torch.Tensor | None, Any]:
    """zero_grad, then forward and backward of each of the batch's parts, whose sum the gradients become."""
    clear_gradients(session, batch_idx)
    return forward_backward(session, batch, batch_idx, lambda part: _forward(session, part, batch_idx))


def clear_gradients(session: Session, batch_idx: int) -> None:
    """Clear the gradients, but within an accumulation window they add up."""
    if batch_idx % session.accumulate_grad_batches == 0:
        optimizer, chains = session.optimizers[0].optimizer, session.chains
        if chains["on_before_zero_grad"]:
            session.call("on_before_zero_grad", optimizer)
        if chains["optimizer_zero_grad"]:
            session.call("optimizer_zero_grad", session.progress.current_epoch, batch_idx, optimizer)
        else:
            optimizers.clear_gradients(optimizer)


def before_step(session: Session, optimizer: Optimizer) -> None:
    """Between the gradients and the optimizer's step."""
    if session.chains["on_before_optimizer_step"]:
        session.call("on_before_optimizer_step", optimizer)
    nonfinite.check_gradients(session, optimizer)  # what is not finite must not reach the weights
    session.forget_norm(optimizer)  # the norm is that of these gradients, before they are clipped
    if session.automatic and session.chains["configure_gradient_clipping"]:
        session.call(
            "configure_gradient_clipping",
            optimizer,
            gradient_clip_val=session.config.gradient_clip_val,
            gradient_clip_algorithm=session.config.gradient_clip_algorithm,
        )


def _forward(session: Session, batch: Any, batch_idx: int) -> tuple[torch.Tensor | None, Any]:
    """The step's loss ÷ accumulate_grad_batches, and its outputs for the hooks."""
    result = session.step("training_step", batch, batch_idx)
    if result is None:
        return None, {}
    loss, extra = result, {}
    if not isinstance(result, torch.Tensor) and isinstance(result, Mapping):
        loss, extra = result.get("loss"), {k: v for k, v in result.items() if k != "loss"}
    if not isinstance(loss, torch.Tensor):
        raise ConfigError(f"training_step: expected a loss tensor, a dict with 'loss' or None, got {type(result).__name__}")
    if session.accumulate_grad_batches > 1:
        loss = loss / session.accumulate_grad_batches
    return loss, {"loss": loss.detach(), **extra}


def manual_step(session: Session, batch: Any, batch_idx: int) -> Any:
    """training_step alone, which does the rest itself. Returns the outputs for the hooks."""
    result = session.step("training_step", batch, batch_idx)
    if result is None:
        return {}
    if isinstance(result, torch.Tensor):
        result = {"loss": result}
    if not isinstance(result, Mapping):
        raise ConfigError(f"training_step: expected a loss tensor, a dict or None, got {type(result).__name__}")
    loss = result.get("loss")
    if not isinstance(loss, torch.Tensor):
        return result
    check_loss(loss, session.progress.where, "its steps were taken: call check_finite(loss) before them")
    return {**result, "loss": loss.detach()}
