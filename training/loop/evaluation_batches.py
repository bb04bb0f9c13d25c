"""The batches of one source of an evaluation: one after another; with shards in rounds, which the processes share.

A round has as many batches as a batch has shards: first their steps, each computed by one process, then in order what these
logged and the hooks after them, in all processes. So nothing hangs on how many processes there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from training.data.batches import has
from training.data.tensors import map_tensors, move
from training.errors import ConfigError, portable
from training.loop.kept import Kept, unsent
from training.loop.logged_metrics import number
from training.loop.metric_objects import is_metric
from training.loop.session import Session


def run_batches(
    session: Session, kind: str, plan: Sequence[Any], n: int | float, several: tuple[int, ...], keep: bool
) -> list[Any]:
    """Run ``kind`` ("validation", …) on the first ``n`` batches of a plan; returns what predict_step returned for each.

    ``several`` holds the number of the source where there is more than one. Without ``keep`` nothing is returned.
    """
    made = _Rounds if session.cuts_batches else _Batches
    run = made(session, kind, plan, n, several, keep)
    run.all()
    return run.outputs


@dataclass
class _Batch:
    """A batch that was read, at its place."""

    i: int
    batch: Any
    indices: Any


class _Batches:
    """One batch after another."""

    def __init__(
        self, session: Session, kind: str, plan: Sequence[Any], n: int | float, several: tuple[int, ...], keep: bool
    ) -> None:
        self.session, self.kind, self.plan, self.n, self.several, self.keep = session, kind, plan, n, several, keep
        self.source = several[0] if several else 0
        self.outputs: list[Any] = []

    def all(self) -> None:
        """Run them."""
        i = 0
        while self.has(i):
            self.boundary()
            self.whole(i)
            i += 1

    def has(self, i: int) -> bool:
        """Whether there is a batch i to run."""
        return has(self.plan, i) if math.isinf(self.n) else i < self.n

    def boundary(self) -> None:
        """Where a fit may be left."""
        if self.session.fitting and not self.session.sanity_checking:
            self.session.boundary()

    def whole(self, i: int) -> None:
        """A batch with all that belongs to it."""
        session = self.session
        found = self.read(i)
        session.call(f"on_{self.kind}_batch_start", found.batch, i, *self.several)
        output = session.step(f"{self.kind}_step", found.batch, i, *self.several)
        self.finish(found, output)

    def read(self, i: int) -> _Batch:
        """Batch i, which is the current one from now on."""
        session = self.session
        session.seed(f"{self.kind} batch", session.progress.current_epoch, self.source, i)
        batch = session.place(self.plan[i], self.source)
        session.batch_indices = getattr(self.plan, "batch_indices", None)
        session.evaluated[session.fn] = [n + 1 for n in session.evaluated[session.fn]]
        session.in_batch = True
        return _Batch(i, batch, session.batch_indices)

    def finish(self, found: _Batch, output: Any) -> None:
        """After a batch's step: the hooks, and what is logged at each."""
        session, kind = self.session, self.kind
        session.call(f"on_{kind}_batch_end", output, found.batch, found.i, *self.several)
        if kind == "predict" and self.keep:
            self.outputs.append(output if session.device.type == "cpu" else map_tensors(output, torch.Tensor.cpu))
        if session.sanity_checking:
            return
        step = session.eval_steps.get(self.source, 0)
        if session.loggers:
            session.log_metrics(session.results.collect(on_step=True)["log"], step)
        session.eval_steps[self.source], session.progress.validated = step + 1, True


@dataclass
class _Step:
    """What a batch's step leaves behind, for all processes to know."""

    output: Any = None
    logged: list[tuple[str, str, float, int | None, Any]] = field(default_factory=list)
    """(hook, name, value, batch_size, arguments) of each call of ``log``."""
    kept: list[str] = field(default_factory=list)
    """What it changed beside that."""
    error: Exception | None = None


class _StepLog:
    """In place of ``Session.results`` while a shared step runs: keeps what is logged; else it is as they are."""

    def __init__(self, results: Any, step: _Step) -> None:
        self._results, self._step = results, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._results, name)

    def log(self, hook: str, name: str, value: Any, batch_size: int | None, arguments: Any) -> None:
        """As of Results."""
        if is_metric(value) and not isinstance(value, torch.Tensor):
            self._step.kept.append(f"the metric that is logged as {name!r}")
        else:
            self._step.logged.append((hook, name, float(number(name, value)), batch_size, arguments))


class _Rounds(_Batches):
    """In rounds, after a first batch that all processes run.

    Where its step keeps something beside what it returns and logs, or a hook comes before it, they run all batches.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._changes: list[str] = []
        """What the first batch's step changed beside what it returned and logged."""

    def all(self) -> None:
        hook = f"on_{self.kind}_batch_start"
        kept = Kept(self.session, tensors=True)
        alone, i = [hook] if self.session.has_hook(hook) else [], 0
        while self.has(i):
            self.boundary()
            if alone:
                self.whole(i)
                i += 1
            elif i == 0:
                self.whole(i, kept)
                alone = self._agreed()
                i += 1
            else:
                i += self._round(i, kept)
        if alone and self.session.group.world > 1:
            self._tell(alone)

    def boundary(self) -> None:
        """Stops are agreed on by all processes before each round."""
        session = self.session
        if session.fitting and not session.sanity_checking and session.keep_going is not None:
            session.tell_all(None)
        super().boundary()

    def whole(self, i: int, kept: Kept | None = None) -> None:
        """As of one after another; with ``kept`` it is noted what the step changes."""
        session, found = self.session, self.read(i)
        session.call(f"on_{self.kind}_batch_start", found.batch, i, *self.several)
        session.seed(f"{self.kind} step", *self._place(i))
        before = kept.marks() if kept is not None else {}
        output = session.step(f"{self.kind}_step", found.batch, i, *self.several)
        if kept is not None:
            self._changes = kept.changed(before) or self._unsent(output)
        self.finish(found, output)

    def finish(self, found: _Batch, output: Any) -> None:
        self.session.seed(f"{self.kind} batch end", *self._place(found.i))
        super().finish(found, output)

    def _place(self, i: int) -> tuple[int, ...]:
        return self.session.progress.current_epoch, self.source, i

    def _unsent(self, output: Any) -> list[str]:
        """What is said of a step's outputs where they can't be sent to other processes."""
        why = unsent(output) if self.session.group.world > 1 else ""
        return [f"what it returns, which can't be sent to them ({why})"] if why else []

    def _agreed(self) -> list[str]:
        """What the first step changed, as all processes find it."""
        return next((each for each in self.session.tell_all(self._changes) if each), [])

    def _tell(self, alone: list[str]) -> None:
        kind = self.kind
        if alone == [f"on_{kind}_batch_start"]:
            line = f"{kind} is not shared among the processes, since there is an {alone[0]}: each runs all batches"
        else:
            line = (
                f"{kind} is not shared among the processes, since {kind}_step changes {', '.join(alone[:3])}: each runs all "
                f"batches; to share them, return that from {kind}_step, and use it in on_{kind}_batch_end"
            )
        self.session.tell_once(line)

    def _round(self, first: int, kept: Kept) -> int:
        """The next batches, as many as there are shards; returns how many there were."""
        session, group = self.session, self.session.group
        evaluated = session.evaluated[session.fn]
        found, own = list[_Batch](), dict[int, _Step]()
        for i in range(first, first + group.shards):
            if not self.has(i):
                break
            found.append(self.read(i))
            session.evaluated[session.fn] = [n + 1 + i - first for n in evaluated]
        for each in found:
            if each.i % group.world == group.rank:
                session.evaluated[session.fn] = [n + 1 + each.i - first for n in evaluated]
                self._current(each)
                own[each.i] = self._step(each, kept)
                if own[each.i].error or own[each.i].kept:
                    break
        steps = {i: step for some in session.tell_all(own) for i, step in some.items()}
        for each in found:
            session.evaluated[session.fn] = [n + 1 + each.i - first for n in evaluated]
            self._take_in(each, steps[each.i])
        return len(found)

    def _current(self, found: _Batch) -> None:
        session = self.session
        session.results.batch, session.results.batch_size, session.batch_indices = found.batch, None, found.indices

    def _step(self, found: _Batch, kept: Kept) -> _Step:
        """Compute a batch's step; an error is told to the other processes before it is raised."""
        session, step, before = self.session, _Step(), kept.marks()
        results = session.results
        session.seed(f"{self.kind} step", *self._place(found.i))
        session.results = _StepLog(results, step)  # type: ignore[assignment]
        try:
            step.output = session.step(f"{self.kind}_step", found.batch, found.i, *self.several)
            if session.group.world > 1 and session.device.type != "cpu":
                step.output = _on_cpu(step.output)
            step.kept += kept.changed(before) or self._unsent(step.output)
            if step.kept:
                step.output = None
        except Exception as error:
            step.error, step.output = portable(error, session.group.rank, session.group.world), None
        finally:
            session.results = results
        return step

    def _take_in(self, found: _Batch, step: _Step) -> None:
        """What a step logged and returned, as if it had been computed here."""
        session = self.session
        if step.error is not None:
            raise step.error
        if step.kept:
            raise ConfigError(
                f"{self.kind}_step: it changes {', '.join(step.kept[:3])} in batch {found.i}, but not in the first, so that "
                f"the processes would differ; return that from {self.kind}_step, and use it in on_{self.kind}_batch_end"
            )
        self._current(found)
        hook = session.hook
        for session.hook, name, value, batch_size, arguments in step.logged:
            session.log_value(name, value, batch_size, arguments)
        session.hook = hook
        self.finish(found, move(step.output, session.device))


def _on_cpu(output: Any) -> Any:
    return map_tensors(output, torch.Tensor.cpu)
