"""Manual optimization in shards: a batch is cut, and each part's training_step runs in a thread, one at a time.

Each runs until an optimizer is to step. There the gradients of all are added over the tree, one step is taken, and each
goes on with the weights after it. Then it finds what it left: its gradients, buffers, attributes, generators, and which
parameters are trained. A step in which the shards halt at different places is refused.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.data.tensors import map_tensors
from training.errors import ConfigError, portable
from training.generators import State, get_generators, put_generators
from training.loop.gradients import clip
from training.loop.kept import Watch
from training.loop.session import Session
from training.loop.shards import (
    DENSE,
    NONE,
    SPARSE,
    Buffers,
    ShardLog,
    Told,
    all_told,
    cut,
    finish,
    sent,
    set_buffers,
    tables,
)
from training.parallel.exchange import exchanged
from training.parallel.tree import Tree

SUMMED = 3
"""Beside NONE, DENSE and SPARSE: a gradient that is the sum of all shards' as it was last made, which all processes have."""


@dataclass(frozen=True)
class Halt:
    """What a shard waits for, that is done once for all."""

    what: str
    """"step", "clip" or "schedule"; "closure" at the end of one that an optimizer steps by."""
    number: int
    """Which optimizer, or scheduler."""
    arguments: Any = None
    """What it was called with."""

    def __str__(self) -> str:
        return {
            "step": f"a step of optimizer {self.number}", "clip": f"clip_gradients of optimizer {self.number}",
            "schedule": f"a step of scheduler {self.number}", "closure": "the end of a closure", "end": "its end",
        }[self.what]  # fmt: skip


END = Halt("end", 0)


@dataclass
class Progress:
    """How far a shard has come, for all processes to know."""

    shard: int
    halt: Halt
    gradients: list[int]
    loss: float = 0.0
    """Of a closure."""
    error: Exception | None = None


class Abandoned(BaseException):
    """Ends a shard that waits, since another has failed."""


class Turn:
    """A shard at work."""

    def __init__(self, told: Told, part: Any, share: float) -> None:
        self.told, self.part, self.share = told, part, share
        self.halt, self.loss, self.answer = END, 0.0, None
        self.error: Exception | None = None
        self.started = self.ended = self.abandoned = False
        self.backwards = 0
        """The calls of manual_backward since it went on."""
        self.gradients: list[Tensor | None] = []
        self.trained: list[bool] = []
        self.toggled: dict[Any, bool] = {}
        self.buffers: dict[str, Tensor] = {}
        self.attributes: list[dict[str, Any]] = []
        self.generators: State | None = None
        self.hook = ""
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def start(self, body: Callable[[], None], device: torch.device) -> None:
        """Run ``body`` to its first halt."""
        context = contextvars.copy_context()

        def run() -> None:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            try:
                with torch.enable_grad():
                    context.run(body)
            except Abandoned:
                pass
            except Exception as error:
                self.error = error
            self.ended, self.halt = True, END
            self._back.release()

        self.started = True
        threading.Thread(target=run, daemon=True).start()
        self._back.acquire()

    def go_on(self, answer: Any) -> None:
        """Run it to its next halt."""
        self.answer = answer
        self._go.release()
        self._back.acquire()

    def wait(self, halt: Halt, loss: float = 0.0) -> Any:
        """Called in the shard: the answer, once the others have come as far."""
        self.halt, self.loss = halt, loss
        self._back.release()
        self._go.acquire()
        if self.abandoned:
            raise Abandoned
        return self.answer

    def abandon(self) -> None:
        """End it where it waits."""
        self.abandoned = True
        while self.started and not self.ended:
            self.go_on(None)


class Turns:
    """The shards of one batch. ``step`` runs training_step on a part, and returns its outputs."""

    def __init__(self, session: Session, batch: Any, batch_idx: int, step: Callable[[Any], Any]) -> None:
        self.session, self.batch, self.batch_idx, self._step = session, batch, batch_idx, step
        task, group = session.task, session.group
        parts = cut(task, batch, group.shards)
        counts = [0 if part is None else task.loss_count(part) for part in parts]
        self.counts, self.count = counts, sum(counts)
        self.first = next(i for i, part in enumerate(parts) if part is not None)
        """The shard that finds the gradients of before, and after a halt their sum: the others add to it."""
        self.turns = [Turn(Told(i, counts[i]), parts[i], counts[i] / max(1, self.count)) for i in group.own]
        self.parameters = [p for p in task.parameters() if p.requires_grad]
        self._tables = tables(task, self.parameters)
        self._buffers, self._watch = Buffers(task), Watch(session, batch)
        self._places = {id(p): i for i, p in enumerate(self.parameters)}
        self._summed: list[tuple[Tensor, int] | None] = [None] * len(self.parameters)
        """The last sums, with their versions: a shard may have added to one since."""
        self._halts = 0
        self._told: list[Progress] = []
        self.current: Turn | None = None
        for turn in self.turns:
            turn.trained = [True] * len(self.parameters)
            turn.gradients = [p.grad if turn.told.shard == self.first else None for p in self.parameters]
            turn.hook = session.hook

    def run(self) -> dict[str, Any]:
        """All of it; returns the outputs for the hooks."""
        self.session.turns = self
        try:
            self._go_on(self.turns, None)
            while (halt := self._agreed()) != END:
                answer = self._do(halt)
                self._go_on(self.turns, answer)
            return self._finish()
        finally:
            for turn in self.turns:
                turn.abandon()
            self.session.turns, self.session.shard = None, None

    # -- one after another -------------------------------------------------------------------------------------------------

    def _go_on(self, turns: list[Turn], answer: Any) -> None:
        """Run each to its next halt, until one fails."""
        for turn in turns:
            if turn.part is None or turn.ended or any(each.error for each in self.turns):
                continue
            before = self._enter(turn)
            try:
                if turn.started:
                    turn.go_on(answer)
                else:
                    turn.start(lambda turn=turn: self._body(turn), self.session.device)  # type: ignore[misc]
            finally:
                self._leave(turn, before)

    def _body(self, turn: Turn) -> None:
        told, outputs = turn.told, self._step(turn.part)
        loss = outputs.get("loss")
        told.loss = float(loss) if isinstance(loss, Tensor) else None
        told.outputs = sent(self.session, outputs)

    def _enter(self, turn: Turn) -> Any:
        session, task = self.session, self.session.task
        results, hook = session.results, session.hook
        if turn.generators is None:
            session.seed("shard", session.progress.current_epoch, self.batch_idx, turn.told.shard)
        elif session.uses_generators:
            put_generators(turn.generators)
        for p, gradient, trained in zip(self.parameters, turn.gradients, turn.trained, strict=True):
            p.grad, p.requires_grad = gradient, trained
        task._toggled = turn.toggled
        for name, value in turn.buffers.items():
            self._buffers.buffer(name).copy_(value)
        self._watch.begin()
        if turn.started:
            self._watch.put(turn.attributes)
        session.results, session.hook = ShardLog(results, turn.told, turn.part), turn.hook  # type: ignore[assignment]
        session.shard, self.current, turn.backwards = turn.told.shard, turn, 0
        return results, hook, [p._version for p in self.parameters], self._schedules()

    def _leave(self, turn: Turn, before: Any) -> None:
        session, task = self.session, self.session.task
        session.results, hook, versions, schedules = before
        turn.hook, session.hook, session.shard, self.current = session.hook, hook, None, None
        if session.uses_generators:
            turn.generators = get_generators()
        found = [p.grad for p in self.parameters]
        if turn.error is None:
            turn.error = self._misuse(turn, found, versions, schedules)
        turn.gradients, turn.trained = found, [p.requires_grad for p in self.parameters]
        turn.toggled, task._toggled = task._toggled, {}
        for p in self.parameters:
            p.grad, p.requires_grad = None, True
        turn.buffers = self._buffers.swap()
        try:
            turn.attributes = self._watch.take()
        except ConfigError as error:
            turn.error = turn.error or error

    def _schedules(self) -> list[Any]:
        return [getattr(each.scheduler, "last_epoch", None) for each in self.session.schedulers]

    def _misuse(self, turn: Turn, found: list[Tensor | None], versions: list[int], schedules: list[Any]) -> Exception | None:
        """What a shard must not do by itself."""
        if any(p._version != version for p, version in zip(self.parameters, versions, strict=True)):
            return ConfigError(
                "training_step: with shards, expected weights to change in a step of one of self.optimizers() alone, which "
                "is taken once for all parts of a batch, got another change; make it in on_train_batch_end"
            )
        if self._schedules() != schedules:
            return ConfigError(
                "training_step: with shards, expected schedulers to be stepped as self.lr_schedulers() gives them, once for "
                "all parts of a batch, got another step"
            )
        new = any(a is None and b is not None for a, b in zip(turn.gradients, found, strict=True))
        if new and not turn.backwards:
            return ConfigError(
                "training_step: with shards, expected self.manual_backward(loss), which weighs a part of the batch, got "
                "gradients from elsewhere, such as loss.backward()"
            )
        return None

    # -- what a shard calls ------------------------------------------------------------------------------------------------

    def weighed(self, loss: Tensor) -> Tensor:
        """A part's loss as its share in that of the batch."""
        assert self.current is not None
        self.current.backwards += 1
        return loss * self.current.share

    def step(self, optimizer: Any, closure: Callable[[], Any] | None, named: Mapping[str, Any]) -> Any:
        """Step an optimizer, once for all shards."""
        turn, number = self._turn(), self._number(optimizer)
        answer = turn.wait(Halt("step", number, (dict(named), closure is not None)))
        while answer is _CLOSURE:
            assert closure is not None
            loss = closure()
            answer = turn.wait(Halt("closure", number), 0.0 if loss is None else float(torch.as_tensor(loss).detach()))
        return answer

    def clip(self, optimizer: Any, limit: float, algorithm: str) -> float | None:
        """Clip the gradients of an optimizer, once they are added up."""
        found: float | None = self._turn().wait(Halt("clip", self._number(optimizer), (limit, algorithm)))
        return found

    def scheduler(self, number: int) -> Any:
        """A scheduler whose step is taken once for all shards."""
        return _Scheduler(self, number, self.session.schedulers[number].scheduler)

    def schedule(self, number: int, arguments: Any) -> None:
        """Step a scheduler."""
        self._turn().wait(Halt("schedule", number, map_tensors(arguments, lambda t: t.detach().cpu())))

    def _turn(self) -> Turn:
        assert self.current is not None
        return self.current

    def _number(self, optimizer: Any) -> int:
        for i, each in enumerate(self.session.optimizers):
            if optimizer is each or optimizer is each.optimizer:
                return i
        raise ConfigError("training_step: with shards, expected one of self.optimizers(), got another optimizer")

    # -- what is done once for all -----------------------------------------------------------------------------------------

    def _agreed(self) -> Halt:
        """What all shards of all processes wait for; the first error is raised."""
        group = self.session.group
        own = [
            Progress(
                turn.told.shard, turn.halt, self._kinds(turn), turn.loss,
                None if turn.error is None else portable(turn.error, group.rank, group.world),
            )
            for turn in self.turns if turn.part is not None
        ]  # fmt: skip
        self._told = [each for some in self.session.tell_all(own) for each in some]
        for each in self._told:
            if each.error is not None:
                raise each.error
        first, *others = self._told
        for each in others:
            if not _same(each.halt, first.halt):
                raise ConfigError(
                    f"training_step: with shards, expected the same steps in all parts of a batch, got {first.halt} in "
                    f"shard {first.shard}, and {each.halt} in shard {each.shard}, or other arguments; what decides must "
                    "not depend on a part of the batch"
                )
        return first.halt

    def _kinds(self, turn: Turn) -> list[int]:
        found = []
        for i, gradient in enumerate(turn.gradients):
            summed = self._summed[i]
            if gradient is None:
                found.append(NONE)
            elif summed is not None and gradient is summed[0] and gradient._version == summed[1]:
                found.append(SUMMED)
            else:
                found.append(SPARSE if gradient.is_sparse else DENSE)
        return found

    def _do(self, halt: Halt) -> Any:
        session = self.session
        session.seed("shards at a halt", session.progress.current_epoch, self.batch_idx, self._halts)
        self._halts += 1
        if halt.what == "schedule":
            arguments, named = halt.arguments
            return session.schedulers[halt.number].scheduler.step(*arguments, **named)
        if halt.what == "closure":
            raise ConfigError("training_step: a closure ended that no optimizer had called")
        optimizer = session.optimizers[halt.number]
        places = [self._places[id(p)] for p in _members(optimizer.optimizer) if id(p) in self._places]
        if halt.what == "step" and halt.arguments[1]:
            return self._step_by_closure(halt, places)
        self._add_up(places)
        if halt.what == "clip":
            answer: Any = clip(optimizer.optimizer, *halt.arguments)
        else:
            answer = optimizer.step(**halt.arguments[0])
        self._hand_out(places)
        return answer

    def _step_by_closure(self, halt: Halt, places: list[int]) -> Any:
        """An optimizer's step that runs the shards' closures, perhaps several times."""

        def closure() -> Tensor:
            self._go_on(self.turns, _CLOSURE)
            ended = self._agreed()
            if ended != Halt("closure", halt.number):
                raise ConfigError(
                    f"training_step: with shards, expected a closure that steps nothing itself, got {ended} in it"
                )
            self._add_up(places)
            self._hand_out(places, keep=True)
            return torch.tensor(sum(each.loss * self.counts[each.shard] for each in self._told) / max(1, self.count))

        answer = self.session.optimizers[halt.number].step(closure, **halt.arguments[0])
        self._hand_out(places)
        return answer

    def _add_up(self, places: list[int]) -> None:
        """The gradients at these places become the sums over all shards."""
        kinds = {i: {each.gradients[i] for each in self._told} - {NONE} for i in places}
        new = [i for i in places if kinds[i] - {SUMMED}]
        summed = self._exchanged(new, kinds)
        for i in places:
            p, before = self.parameters[i], self._summed[i]
            p.grad = summed[i] if i in summed else before[0] if kinds[i] and before is not None else None

    def _exchanged(self, places: list[int], kinds: Mapping[int, set[int]]) -> dict[int, Tensor]:
        tree, group = Tree(), self.session.group
        for turn in self.turns:
            tree.add([None if g is None else g.clone() for g in (turn.gradients[i] for i in places)])
        totals = dict(zip(places, tree.total(), strict=True))
        by_rows = {i for i in places if i in self._tables or SPARSE in kinds[i]}
        found = exchanged(group, {i: (totals[i], self.parameters[i], i in by_rows) for i in places})
        return {i: value.to_dense() if value.is_sparse and self._tables.get(i) else value for i, value in found.items()}

    def _hand_out(self, places: list[int], keep: bool = False) -> None:
        """The sums go to the first shard, for it to clear or to add to; ``keep`` leaves them at the parameters, too."""
        for i in places:
            p = self.parameters[i]
            self._summed[i] = None if p.grad is None else (p.grad, p.grad._version)
            for turn in self.turns:
                turn.gradients[i] = p.grad if turn.told.shard == self.first else None
            if not keep:
                p.grad = None

    # -- its end -----------------------------------------------------------------------------------------------------------

    def _finish(self) -> dict[str, Any]:
        """All have ended: gradients that are left, buffers, and what was logged and returned."""
        session = self.session
        for turn in self.turns:
            turn.told.attributes = self._watch.names(turn.attributes) if turn.started else []
            if not all(turn.trained):
                raise ConfigError(
                    "training_step: expected untoggle_optimizer at its end, got parameters that are not trained"
                )
        places = list(range(len(self.parameters)))
        self._add_up(places)
        tree = Tree()
        for turn in self.turns:
            for name, value in turn.buffers.items():
                self._buffers.buffer(name).copy_(value)
            tree.add(self._buffers.end(turn.told))
        told = all_told(session, [turn.told for turn in self.turns])
        set_buffers(session.group, tree.total(), told, self._buffers)
        session.seed("shards", session.progress.current_epoch, self.batch_idx)
        return finish(session, told, self.count, self.batch)


_CLOSURE = object()


class _Scheduler:
    """A scheduler, as a shard sees it."""

    def __init__(self, turns: Turns, number: int, scheduler: Any) -> None:
        self._turns, self._number, self._scheduler = turns, number, scheduler

    def step(self, *arguments: Any, **named: Any) -> None:
        """Its step, once for all shards."""
        self._turns.schedule(self._number, (arguments, named))

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return type(self._scheduler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def _members(optimizer: Any) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _same(a: Halt, b: Halt) -> bool:
    plain = [map_tensors(each.arguments, lambda t: t.tolist()) for each in (a, b)]  # type: ignore[arg-type, return-value]
    return (a.what, a.number, plain[0]) == (b.what, b.number, plain[1])
