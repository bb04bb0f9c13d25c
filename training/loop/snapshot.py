"""The state of a run, as a checkpoint holds it: taken at any place of a fit, it goes on exactly there.

The global generators are set before each batch (see Session.seed), so that their state is not in it. That of generators
which the task, its optimizers, the data module or a callback hold is, wherever they hold them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.data.own_generators import named_generators
from training.errors import CheckpointError
from training.generators import put_state, state_of
from training.loop.callback import key_of
from training.loop.checkpoint_names import both_names
from training.loop.loggers import logger_states, take_up_loggers
from training.loop.metric_objects import restore_metrics, states_of
from training.loop.parameter_groups import member_names, regroup
from training.loop.progress import IN_BATCH
from training.loop.session import Session
from training.visible import shortened


def capture(session: Session) -> dict[str, Any]:
    """Weights, optimizers, schedulers, counters, metrics, callbacks. Inside a validation: as it was before it began."""
    if session.resume_point is not None:
        return session.resume_point
    if session.uncollected:
        session.collect()
    checkpoint: dict[str, Any] = {
        "weights": dict(session.task.state_dict()),
        "optimizers": [each.optimizer.state_dict() for each in session.optimizers],
        "schedulers": [each.scheduler.state_dict() for each in session.schedulers],
        "progress": session.progress_state(),
        "eval_steps": dict(session.eval_steps),
        "callbacks": {key_of(callback): callback.state_dict() for callback in session.callbacks},
        "metrics": dict(session.callback_values),
        "bar_metrics": dict(session.bar_values),
        "results": session.train_results.state(),
        "gradients": _open_gradients(session),
        "cut": session.cut,
        **_flags(session),
        **_metric_objects(session),
        **_hyperparameters(session),
    }
    # An epoch's metrics carry the step before; a validation's steps are counted for themselves.
    steps = [max(0, session.progress.batches_that_stepped - 1), *(session.eval_steps.values() or [0])]
    if any(states := logger_states(session.loggers, min(steps))):
        checkpoint["loggers"] = states
    if generators := {name: state_of(each) for name, each in held_generators(session).items()}:
        checkpoint["generators"] = generators
    if attributes := _attributes(session):
        checkpoint["attributes"] = attributes
    if groups := _parameter_groups(session):
        checkpoint["parameter_groups"] = groups
    if sources := {str(i): state for i, each in _kept_sources(session) if (state := each.state_dict())}:
        checkpoint["sources"] = sources
    with both_names(checkpoint):
        session.call("on_save_checkpoint", checkpoint)
    return checkpoint


def capture_weights(session: Session) -> dict[str, Any]:
    """Weights and counters alone: enough to test and predict, not to go on."""
    checkpoint: dict[str, Any] = {
        "weights_only": True,
        "weights": dict(session.task.state_dict()),
        "progress": session.progress_state(),
        **_hyperparameters(session),
    }
    with both_names(checkpoint):
        session.call_own("on_save_checkpoint", checkpoint)
    return checkpoint


def load_weights(session: Session, checkpoint: dict[str, Any]) -> None:
    """The task's weights, and what its hook takes."""
    with both_names(checkpoint):
        session.call_own("on_load_checkpoint", checkpoint)
    session.task.load_state_dict(checkpoint["weights"], strict=session.task.strict_loading)


def restore_weights(session: Session, checkpoint: dict[str, Any]) -> None:
    """What ``capture_weights`` and ``capture`` both hold."""
    load_weights(session, checkpoint)
    session.load_progress(checkpoint["progress"])


def restore_model(session: Session, checkpoint: dict[str, Any]) -> None:
    """Weights, counters and callbacks back to where ``capture`` was called; before there are optimizers, as in Lightning."""
    with restoring():
        restore_weights(session, checkpoint)
    if session.datamodule is not None:
        session.datamodule.restore(checkpoint)
    for key in _unclaimed(session, checkpoint):
        session.tell(f"the checkpoint has the state of {key}, which belongs to none of the callbacks: it is ignored")
    with both_names(checkpoint):
        session.call_callbacks("on_load_checkpoint", checkpoint)
    with restoring():
        for callback in session.callbacks:
            if state := checkpoint["callbacks"].get(key_of(callback)):
                callback.load_state_dict(copy.deepcopy(state))


def restore(session: Session, checkpoint: dict[str, Any]) -> None:
    """All the rest but the gradients: optimizers, schedulers, metrics."""
    with restoring():
        for i, groups in checkpoint.get("parameter_groups", {}).items():
            regroup(session.optimizers[int(i)].optimizer, groups, session.task)
        for each, optimizer_state in zip(session.optimizers, checkpoint["optimizers"], strict=True):
            each.optimizer.load_state_dict(optimizer_state)
        for scheduler, scheduler_state in zip(session.schedulers, checkpoint["schedulers"], strict=True):
            scheduler.scheduler.load_state_dict(scheduler_state)
        session.eval_steps = dict(checkpoint["eval_steps"])
        session.callback_values = dict(checkpoint["metrics"])
        session.bar_values = dict(checkpoint["bar_metrics"])
        _restore_flags(session, checkpoint)  # now: what is frozen later may have had an optimizer
        _restore_metric_objects(session, checkpoint.get("metric_objects", {}))
        session.train_results.load_state(checkpoint["results"])
        for i, source in _kept_sources(session):
            source.load_state_dict(copy.deepcopy(checkpoint.get("sources", {}).get(str(i), {})))
        take_up_loggers(session.loggers, checkpoint.get("loggers", ()))
        _restore_generators(session, checkpoint.get("generators", {}))
        session.cut = _cut(checkpoint.get("cut"))


def restore_gradients(session: Session, checkpoint: dict[str, Any]) -> None:
    """Those that a later step still adds to; after the fit's own zero_grad."""
    with restoring():
        parameters = dict(session.task.named_parameters())
        for name, gradient in checkpoint["gradients"].items():
            parameters[name].grad = gradient.to(parameters[name].device, copy=True)


def restore_attributes(session: Session, checkpoint: dict[str, Any]) -> None:
    """What users' code keeps in plain attributes; after on_train_start, in which they may be made anew."""
    if session.attributes is not None:
        session.attributes.restore(copy.deepcopy(checkpoint.get("attributes", {})))
    with restoring():
        gone = _restore_generators(session, checkpoint.get("generators", {}))
    for name in sorted(gone):
        session.tell(f"{name}: it is a generator that was made after the fit began; a resume does not restore it")


def _unclaimed(session: Session, checkpoint: dict[str, Any]) -> list[str]:
    """The callbacks whose state is in the checkpoint, and who are not there."""
    own = {key_of(callback) for callback in session.callbacks}
    return sorted(key for key, state in checkpoint["callbacks"].items() if state and key not in own)


@contextmanager
def restoring() -> Iterator[None]:
    """A state that does not fit becomes one line."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        said = shortened(" ".join(str(error).split()), 200)
        raise CheckpointError(f"the checkpoint is of another model, other data or other settings: {said}") from None


def _attributes(session: Session) -> dict[str, dict[str, Any]]:
    """Attributes of the task and of users' callbacks that have changed, as far as they can be stored."""
    if session.attributes is None:
        return {}
    found = session.attributes.changed()
    for name, key, line in list(session.attributes.refused(found)):
        del found[name][key]
        if line:
            session.tell(line)
    return found


def _parameter_groups(session: Session) -> dict[str, list[list[str]]]:
    """The names of the parameters in each group, of optimizers with other groups than configure_optimizers gave them."""
    changed = {str(i): each.optimizer for i, each in enumerate(session.optimizers) if each.regrouped}
    named = {i: member_names(optimizer, session.task) for i, optimizer in changed.items()}
    return {i: names for i, names in named.items() if names is not None}


def _kept_sources(session: Session) -> Iterator[tuple[int, Any]]:
    """The sources that say where their reading stands, with their numbers."""
    for i, source in enumerate(session.sources):
        if callable(getattr(source, "state_dict", None)):
            yield i, source


def held_generators(session: Session) -> dict[str, Any]:
    """The generator objects that the task, its optimizers, the data module and the callbacks hold, by name."""
    holders: dict[str, Any] = {"task": session.task, "datamodule": session.datamodule}
    holders |= {f"optimizers.{i}": each.optimizer for i, each in enumerate(session.optimizers)}
    holders |= {f"schedulers.{i}": each.scheduler for i, each in enumerate(session.schedulers)}
    holders |= {f"callbacks.{key_of(callback)}.{i}": callback for i, callback in enumerate(session.callbacks)}
    return named_generators(holders, apart_from=(session.view, session, *session.loggers))


def _restore_generators(session: Session, states: dict[str, Any]) -> set[str]:
    """Those that are there go on as in ``states``; returns the names of the others."""
    there = held_generators(session)
    for name in there.keys() & states.keys():
        put_state(there[name], states[name])
    return states.keys() - there.keys()


def _flags(session: Session) -> dict[str, list[str]]:
    """The parameters that are not trained, and the modules in eval mode, but for a validation that is running."""
    modes = session.modes
    frozen = [name for name, parameter in session.task.named_parameters() if not parameter.requires_grad]
    evaluated = [name for name, module in session.task.named_modules() if not modes.get(module, module.training)]
    return {"frozen": frozen, "in_eval_mode": evaluated}


def _restore_flags(session: Session, checkpoint: dict[str, Any]) -> None:
    if "frozen" not in checkpoint:
        return
    frozen, evaluated = set(checkpoint["frozen"]), set(checkpoint["in_eval_mode"])
    for name, parameter in session.task.named_parameters():
        parameter.requires_grad = name not in frozen
    for name, module in session.task.named_modules():
        module.training = name not in evaluated


def _hyperparameters(session: Session) -> dict[str, Any]:
    """The arguments that task and data module are built from, as far as they keep them; and the data module's state."""
    datamodule = session.datamodule
    return {**session.task.hyperparameters_state(), **(datamodule.checkpoint_state() if datamodule is not None else {})}


def _metric_objects(session: Session) -> dict[str, Any]:
    """The states of the task's metric objects, and which of them a validation's end resets: it may be just there."""
    states = states_of(session.task)
    if not states:
        return {}
    over = session.results is session.eval_results
    return {"metric_objects": {"states": states, "evaluation": session.eval_results.state(), "evaluated": over}}


def _restore_metric_objects(session: Session, state: dict[str, Any]) -> None:
    restore_metrics(session.task, state.get("states", {}))
    session.eval_results.load_state(state.get("evaluation", []))
    if state.get("evaluated"):
        session.eval_results.reset()


def _cut(cut: Any) -> dict[str, Any] | None:
    if cut is None:
        return None
    return {"batch_idx": int(cut["batch_idx"]), "results": list(cut["results"]), "metrics": dict(cut.get("metrics", {}))}


def _open_gradients(session: Session) -> dict[str, Any]:
    """The gradients that a later step still adds to: in an open accumulation window, and with manual optimization all."""
    progress = session.progress
    if session.task.automatic_optimization:
        if progress.stage in IN_BATCH:
            window_open = session.accumulating
        else:
            window_open = progress.stage == "batch" and progress.batch_idx % session.accumulate_grad_batches != 0
        if not window_open:
            return {}
    return {name: p.grad for name, p in session.task.named_parameters() if p.grad is not None}
