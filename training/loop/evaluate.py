"""Validation, test and prediction: the same pass over batches, in eval mode and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from training.data.batches import Batches, close
from training.errors import ConfigError
from training.generators import kept_generators
from training.loop.evaluation_batches import run_batches
from training.loop.hooks import takes, takes_index
from training.loop.session import Session

Metrics = dict[str, float]


class Evaluation(NamedTuple):
    """What a pass gives, source by source."""

    metrics: list[Metrics]
    outputs: list[list[Any]]
    """What predict_step returned for each batch; of another kind of pass nothing."""


def evaluate(
    session: Session,
    kind: str,
    sources: Sequence[Batches],
    limits: Sequence[int | float],
    *,
    when_final: Callable[[], None] | None = None,
    keep: bool = True,
) -> Evaluation:
    """Run the task's ``kind`` ("validation", "test", "predict") on so many batches of each source; none at all is no pass.

    Without ``keep`` the outputs are not.

    ``when_final`` is called when the metrics are final, before the on_…_end hooks: a checkpoint that those write is of after
    the pass. As in Lightning, without gradients inside of a fit, and in inference mode otherwise.
    """
    if sum(limits) == 0:
        return Evaluation([], [])
    _check_signatures(session, kind, len(sources))
    bare = session.fitting or not session.inference_mode
    session.evaluating = kind
    try:
        with torch.no_grad() if bare else torch.inference_mode(), kept_generators():
            return _pass(session, kind, sources, limits, when_final, keep)
    finally:
        session.evaluating = ""


def _pass(
    session: Session,
    kind: str,
    sources: Sequence[Batches],
    limits: Sequence[int | float],
    when_final: Callable[[], None] | None,
    keep: bool,
) -> Evaluation:
    session.modes = {module: module.training for module in session.task.modules()}
    session.collect()  # what training logged, before evaluation's results take its place
    in_batch, session.results = session.in_batch, session.eval_results
    session.evaluated[session.fn][0] = 0
    session.seed(kind, session.progress.current_epoch)
    session.call(f"on_{kind}_model_eval")
    session.call(f"on_{kind}_start")
    session.call(f"on_{kind}_epoch_start")
    metrics, outputs = [], []
    for i, (source, n) in enumerate(zip(sources, limits, strict=True)):
        several = (i,) if len(sources) > 1 else ()  # dataloader_idx is given where there is more than one
        session.results.loader = i if several else None
        plan = source.plan(session.progress.current_epoch) if n else ()
        outputs.append(_run_batches(session, kind, plan, n, several, keep) if n else [])
        if n:
            metrics.append({} if session.sanity_checking else session.collect())
    session.results.loader = None
    session.seed(f"{kind} end", session.progress.current_epoch)
    session.call(f"on_{kind}_epoch_end")
    closing = session.collect()  # what that logged belongs to every source
    metrics = [{**each, **closing} for each in metrics]
    if not session.sanity_checking:
        session.log_metrics({name: value for each in reversed(metrics) for name, value in each.items()})
        if when_final is not None:
            when_final()
    session.call(f"on_{kind}_end")
    session.eval_results.reset()
    session.in_batch, session.results = in_batch, session.train_results
    if session.overrides(f"on_{kind}_model_train"):
        session.call(f"on_{kind}_model_train")
    else:  # each module to the mode it was in, which need not be train mode
        for module, mode in session.modes.items():
            module.training = mode
    session.modes = {}
    return Evaluation(metrics, outputs)


def _run_batches(
    session: Session, kind: str, plan: Sequence[Any], n: int | float, several: tuple[int, ...], keep: bool
) -> list[Any]:
    outputs = run_batches(session, kind, plan, n, several, keep)
    session.results.batch = session.batch_indices = None  # whose memory the next one may need
    session.collect()
    session.in_batch = False
    close(plan)
    return outputs


def _check_signatures(session: Session, kind: str, sources: int) -> None:
    """ConfigError where the step or a batch's hook does not take what it is called with."""
    step = getattr(session.task, f"{kind}_step")
    wanted = [(f"{kind}_step", 2 if sources > 1 or takes_index(step) else 1, "batch, batch_idx")]
    for hook, count, named in (("start", 2, "batch, batch_idx"), ("end", 3, "outputs, batch, batch_idx")):
        wanted.append((f"on_{kind}_batch_{hook}", count, named))
    for name, count, named in wanted:
        function = getattr(session.task, name)
        if function is None or takes(function, count + (sources > 1)):
            continue
        if sources > 1:
            raise ConfigError(f"{name}: with {sources} sources, expected ({named}, dataloader_idx)")
        raise ConfigError(f"{name}: with one source, expected ({named}); give a default to what comes after")
