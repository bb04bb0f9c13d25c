"""The loop: fit. What runs when is Lightning 2.6's; where it differs, docs/lightning.md says so.

It is the only owner of ``stage``, which says where in an epoch the fit is, so that it can be left there and taken up again
(see training/loop/progress.py).
"""

from __future__ import annotations

import inspect
import math
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, storable
from training.data.batches import Batches, close, has
from training.errors import ConfigError, NonFiniteError
from training.generators import kept_generators
from training.loop import cadence, nonfinite
from training.loop.attributes import Attributes
from training.loop.evaluate import evaluate
from training.loop.hooks import overridden, takes, takes_index
from training.loop.loggers import save_loggers
from training.loop.metric_objects import restore_metrics, states_of
from training.loop.progress import IN_BATCH
from training.loop.schedulers import step_schedulers
from training.loop.session import Session
from training.loop.snapshot import capture, restore, restore_attributes, restore_gradients, restore_model, restoring
from training.loop.sources import Data
from training.loop.states import TrainerFn
from training.loop.step import configure_optimizers, take_step
from training.loop.task import Task

SKIP_EPOCH = -1


def fit(session: Session, task: Task, data: Data, state: dict[str, Any] | None = None) -> None:
    """Train ``task`` on the sources of ``data``; with ``state`` go on exactly where that was taken."""
    session.fitting, session.progress.should_stop, session.cut, session.watched = True, False, None, 0
    session.resumed_from = Path(state.path).resolve() if isinstance(state, checkpoint.Loaded) else None
    try:
        _check_task(session, task)
        with ExitStack() as stack:
            if data.is_given:  # what does not fit is refused before any hook has run
                val = _measured(session, task, *stack.enter_context(data.sources()))
            stack.enter_context(session.attached(task, "fit", data.module))
            stack.enter_context(torch.enable_grad())
            if not data.is_given:
                val = _measured(session, task, *stack.enter_context(data.sources()))
            if state is not None:
                restore_model(session, state)  # before there are optimizers, as in Lightning
                _check_epochs(session)
            configure_optimizers(session)
            session.attributes = Attributes(task, session.callbacks) if task.keeps_attributes else None
            if state is not None:
                _take_up(session, state)
            with kept_generators():
                _run(session, val, state)
    finally:
        session.fitting = False


def _run(session: Session, val: list[Batches], state: dict[str, Any] | None) -> None:
    """All that is run: a sanity check, epoch after epoch, and the hooks around them."""
    session.seed("fit")
    session.call("on_fit_start")
    session.begin_loggers()
    session.task.zero_grad()
    _check_storable(session)
    if state is None:
        _sanity_check(session, val)
    else:
        restore_gradients(session, state)
    if state is not None or not _done(session):  # left after its last batch, it still has its end to come
        session.seed("train")
        session.call("on_train_start")
        if state is not None:
            restore_attributes(session, state)
        while not _done(session):
            _run_epoch(session, val)
        nonfinite.check_weights(session)
        session.seed("train end")
        session.call("on_train_end")
    session.call("on_fit_end")


# -- an epoch, and a batch of it -----------------------------------------------------------------------------------------


def _run_epoch(session: Session, val: list[Batches]) -> None:
    """One epoch, or what is left of one: it is taken up at its stage."""
    progress = session.progress
    session.forget_hooks()  # one that was set meanwhile counts from here on
    session.seed("epoch", progress.current_epoch)
    # known before the epoch starts, so that one that is taken up at batch k goes on in the same plan
    plan = _plan_epoch(session)
    if progress.stage == "start":
        session.call("on_train_epoch_start")
        progress.batch_idx = session.batches_ready = session.evaluated[TrainerFn.FITTING][1] = 0
        progress.stage = _next_stage(session)
    while progress.stage not in ("end", "log"):
        _run_batch(session, plan, val)
        if session.keep_going is not None:
            session.boundary()  # here, and between validation batches, a fit is left
    if progress.stage == "end":
        if session.uncollected:
            session.collect()  # the last step's metrics, before the epoch's
        session.in_batch = False  # from here on metrics are the epoch's, not the last step's
        progress.epochs_processed += 1
        progress.stage = "log"  # before the hooks: a checkpoint that they write is of after them
        _note_cut(session)
        session.seed("epoch end", progress.current_epoch)
        session.call("on_train_epoch_end")
        session.agree()
    _log_epoch(session)
    close(plan)  # a limit may have ended the epoch before its last batch
    progress.current_epoch += 1
    progress.batch_idx, progress.stage = 0, "start"
    session.boundary()


def _plan_epoch(session: Session) -> Any:
    """The training batches of the current epoch."""
    session.begin_plan(session.sources[0].plan(0 if session.config.overfit_batches else session.progress.current_epoch))
    return session.plan


def _run_batch(session: Session, plan: Any, val: list[Batches]) -> None:
    """One batch, or what is left of it, in the order in which things happen."""
    progress = session.progress
    if progress.stage == "batch":
        session.seed("batch", progress.current_epoch, progress.batch_idx)  # before the batch is made, which may draw, too
        batch = plan[progress.batch_idx]
        session.batch_indices = getattr(plan, "batch_indices", None)  # now, since to ask for the next batch may change it
        _train_batch(session, batch)
    if progress.stage == "stepped":
        if session.loggers and not session.accumulating and session.should_log:  # one line a step, not one a batch
            session.log_metrics(session.collect())
        progress.stage = "validate"
    if progress.stage == "validate":
        if session.validates and _validation_is_due(session):
            _validate(session, val)
        progress.stage = "finish"
    if progress.stage == "finish":
        if session.schedulers:
            session.seed("schedulers", progress.current_epoch, progress.batch_idx)
            step_schedulers(session, "step", on_plateau=True)  # now, since they may need what the validation logged
        if session.loggers and progress.should_stop:
            save_loggers(session.loggers)
        if not session.accumulating:  # as in Lightning, even if training_step returned None and no step was taken
            progress.batches_that_stepped += 1
        progress.batch_idx += 1
        progress.total_batches += 1
        progress.stage = _next_stage(session)


def _train_batch(session: Session, batch: Any) -> None:
    """A batch's step, with the hooks around it."""
    progress = session.progress
    batch = session.place(batch)
    if session.in_batch and session.uncollected and session.may_skip:
        session.collect()  # now, since what is logged in a batch that is then skipped does not count
    session.in_batch = session.uncollected = True
    session.batches_ready = progress.batch_idx + 1
    session.accumulating = session.accumulate_grad_batches > 1 and session.accumulates()
    outputs: Any = None
    if batch is not None:  # a batch that is None is skipped, but counted
        if session.chains["on_train_batch_start"] and (
            session.call("on_train_batch_start", batch, progress.batch_idx) == SKIP_EPOCH
        ):
            _skip_rest(session)
            return
        try:
            outputs = take_step(session, batch, progress.batch_idx)
        except NonFiniteError as error:
            nonfinite.keep(session, batch, error)  # for Trainer.replay
            raise
    if session.schedulers:
        step_schedulers(session, "step", on_plateau=False)
        if session.is_last_batch:
            step_schedulers(session, "epoch", on_plateau=False)
    progress.stage = "stepped"  # before the hooks: a checkpoint that they write is of after the step
    session.call("on_train_batch_end", outputs, batch, progress.batch_idx)
    session.agree()
    session.results.batch = None  # whose memory the next one may need


def _skip_rest(session: Session) -> None:
    """on_train_batch_start said so: the epoch ends here."""
    session.progress.total_batches += 1
    session.uncollected = False
    step_schedulers(session, "step", on_plateau=False, last=True)
    step_schedulers(session, "epoch", on_plateau=False)
    n = session.num_training_batches
    session.progress.batch_idx = session.progress.batch_idx if math.isinf(n) else int(n)
    session.progress.stage = "end"


def _validate(session: Session, val: list[Batches]) -> None:
    if session.keep_going is not None:
        session.resume_point = capture(session)  # left inside the validation, the run goes on from its beginning
        weights = session.resume_point["weights"]
        weights |= {name: weights[name].clone() for name, _ in session.task.named_buffers() if name in weights}
    if not session.accumulating:
        session.keep_norm()  # while there are gradients
        session.call("on_validation_model_zero_grad")

    def when_final() -> None:
        """A checkpoint that the on_validation_end hooks write is of after the validation."""
        session.progress.stage, session.resume_point = "finish", None

    evaluate(session, "validation", val, session.batches_to_run("val", val), when_final=when_final)
    session.agree()


def _log_epoch(session: Session) -> None:
    progress = session.progress
    metrics = session.collect()
    session.seed("epoch log", progress.current_epoch)
    if not session.has_batch(progress.batch_idx):
        step_schedulers(session, "epoch", on_plateau=True)
    progress.batches_that_stepped -= 1  # an epoch's metrics carry the step of its last batch
    session.log_metrics(metrics)
    progress.batches_that_stepped += 1
    session.train_results.reset()


# -- where next ----------------------------------------------------------------------------------------------------------


def _next_stage(session: Session) -> str:
    """ "batch", or "end" where the epoch's batches, max_steps or a stop is reached."""
    progress = session.progress
    over = progress.global_step >= session.step_limit or not session.has_batch(progress.batch_idx)
    return "end" if over or (progress.should_stop and _may_stop(session)) else "batch"


def _validation_is_due(session: Session) -> bool:
    progress = session.progress
    return cadence.validation_due(
        progress.batch_idx,
        progress.total_batches,
        progress.current_epoch,
        session.validation_interval,
        session.check_val_every_n_epoch,
        stopping=progress.should_stop and _may_stop(session),
        is_last=math.isinf(session.validation_interval) and session.is_last_batch,
    )


def _done(session: Session) -> bool:
    """Whether fit ends here; never inside an epoch that was begun."""
    return session.progress.stage == "start" and limit_reached(session)


def limit_reached(session: Session) -> bool:
    """Whether there is nothing to train on, or no more to be trained; or a stop that was asked for may happen."""
    progress = session.progress
    return (
        session.num_training_batches == 0
        or progress.global_step >= session.step_limit
        or (session.max_epochs != -1 and progress.epochs_processed >= session.max_epochs)
        or (progress.should_stop and _may_stop(session))
    )


def _may_stop(session: Session) -> bool:
    """Whether a stop that was asked for may happen already."""
    min_epochs, min_steps = session.config.min_epochs, session.config.min_steps
    # As in Lightning: min_steps alone also asks for a first epoch, so that a stop before it is not one.
    enough = session.progress.epochs_processed >= (min_epochs or bool(min_steps))
    return enough and session.progress.global_step >= min_steps


def _check_epochs(session: Session) -> None:
    """ConfigError for a state that has more epochs behind it than are asked for: nothing would be trained."""
    behind = session.progress.current_epoch
    if session.max_epochs != -1 and behind > session.max_epochs:
        raise ConfigError(
            f"max_epochs: expected {behind} or more, since the checkpoint has {behind} epochs behind it, got "
            f"{session.max_epochs}"
        )


# -- going on from a state -------------------------------------------------------------------------------------------------


def _take_up(session: Session, state: dict[str, Any]) -> None:
    """Back to where ``state`` was taken; its weights, counters and callbacks are there already."""
    restore(session, state)
    _plan_epoch(session)
    with restoring():
        _reopen_epoch(session)
    stage, batch_idx = session.progress.stage, session.progress.batch_idx
    session.batches_ready = batch_idx + (stage in IN_BATCH)
    if stage in IN_BATCH:
        session.accumulating = session.accumulates()
    else:  # what the batch before did: whether there is one after the next cannot be asked yet without reading the next
        session.accumulating = stage == "batch" and batch_idx % session.accumulate_grad_batches != 0
    session.in_batch = stage in (*IN_BATCH, "end") or (stage == "batch" and batch_idx > 0)


def _note_cut(session: Session) -> None:
    """Where max_steps ends an epoch before its last batch: for a fit that goes on from here with more steps."""
    progress = session.progress
    if session.has_batch(progress.batch_idx) and progress.global_step >= session.step_limit and not progress.should_stop:
        session.cut = {"batch_idx": progress.batch_idx, "results": session.train_results.state()}
        session.cut["metrics"] = states_of(session.task)


def _reopen_epoch(session: Session) -> None:
    """Back into an epoch that max_steps ended, where it is now higher: as a run that was never stopped goes on."""
    cut, progress = session.cut, session.progress
    if cut is None or progress.should_stop or progress.global_step >= session.step_limit:
        return
    if not 0 < cut["batch_idx"] < session.num_training_batches:
        return  # fewer batches an epoch than there were: it is over
    if progress.stage == "start":
        progress.current_epoch -= 1
    progress.epochs_processed -= 1
    progress.batch_idx, progress.stage, session.cut = cut["batch_idx"], "batch", None
    restore_metrics(session.task, cut["metrics"])
    session.train_results.load_state(cut["results"])


# -- before anything runs --------------------------------------------------------------------------------------------------


def _check_task(session: Session, task: Task) -> None:
    """ConfigError for a task that cannot be trained so, before anything has run."""
    if not overridden(task, "training_step", Task):
        raise ConfigError(f"fit: expected {type(task).__name__} to have a training_step, got none")
    if not takes(task.training_step, 2 if takes_index(task.training_step) else 1):
        old = "optimizer_idx" in inspect.signature(task.training_step).parameters
        remedy = "; with several optimizers set automatic_optimization = False and step each yourself" if old else ""
        raise ConfigError(f"training_step of {type(task).__name__}: expected (batch, batch_idx) or (batch){remedy}")
    config = session.config
    if not task.automatic_optimization and (config.gradient_clip_val > 0 or config.accumulate_grad_batches != 1):
        raise ConfigError(
            "gradient_clip_val and accumulate_grad_batches: not possible with automatic_optimization = False; "
            "clip and accumulate in training_step"
        )
    session.may_skip = overridden(task, "on_train_batch_start", Task)


def _tell_of_data(session: Session, task: Task, val: list[Batches], has_step: bool) -> None:
    """A validation that somebody may expect, and that is not; where nothing is logged, nobody does."""
    if session.limits["val"][1] == 0 or not session.loggers:
        return
    if has_step and not val:
        session.tell(f"fit: {type(task).__name__} has a validation_step, but there is no data for it: no validation")
    elif session.validates and sum(session.num_val_batches) == 0:
        session.tell("fit: the data to validate on has no batches: no validation")


def _measured(session: Session, task: Task, sources: list[Batches], val: list[Batches]) -> list[Batches]:
    """The sources to validate on, once their numbers of batches, and the interval between validations, are known."""
    has_step = overridden(task, "validation_step", Task)
    if val and not has_step:
        warnings.warn("fit: there are batches to validate on, but no validation_step: no validation", stacklevel=5)
    if not sources:
        raise ConfigError(
            f"fit: expected training batches, or {type(task).__name__} to have a train_dataloader, got neither"
        )
    train, session.sources = sources[0], [*sources, *val]
    if not has(train.plan(0), 0):
        raise ConfigError("fit: expected training batches, got none")
    n = session.num_training_batches = session.batches_to_run("train", [train])[0]
    session.validates = bool(val) and session.limits["val"][1] > 0 and has_step
    session.batches_of[TrainerFn.FITTING] = session.batches_to_run("val", val) if session.validates else []
    _tell_of_data(session, task, val, has_step)
    if n and session.limits["val"][1]:
        every = session.check_val_every_n_epoch
        session.validation_interval = cadence.validation_interval(session.val_check_interval, n, every)
    return val


def _check_storable(session: Session) -> None:
    """ConfigError for what a checkpoint can't hold, before anything is trained that could then not be saved.

    on_save_checkpoint is called for it, which may need what only training makes: then the first checkpoint tells.
    """
    saves = any(hasattr(each, "best_model_path") for each in session.callbacks) and not session.fast_dev_run
    if session.keep_going is None and not saves:
        return
    states_of(session.task)
    try:
        state = capture(session)
    except Exception:
        return
    storable.encode(state)


def _sanity_check(session: Session, val: list[Batches]) -> None:
    """A few validation batches, to fail early; their metrics are wiped."""
    most = session.num_sanity_val_steps
    if most == 0 or not session.validates:
        return
    session.sanity_checking = True
    try:
        session.call("on_sanity_check_start")
        evaluate(session, "validation", val, [min(most, n) for n in session.batches_to_run("val", val)])
        session.call("on_sanity_check_end")
    finally:
        session.sanity_checking = False
    session.evaluated[TrainerFn.FITTING] = [0, 0]
    session.forget_metrics()
