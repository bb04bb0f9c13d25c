"""Every way to write a step, a hook, an optimizer's step, a call of log or of clip_gradients: as on the installed Lightning.

All of them run with ``-m soak``; in the fast suite each SHARE-th, so that every kind is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.conformance.records import simplify
from tests.conformance.toy import CALLBACK_HOOKS, SHARED_HOOKS, TASK_HOOKS
from tests.conformance.variants import FORMS, PLACES, STEPS, Change, put, quiet, run, shown, step_of

SHARE = 18
Case = tuple[str, Change, dict[str, Any]]
OWN_WAY = {  # each is a row of docs/lightning.md
    *(f"None on the task: on_{kind}_batch_{end}" for kind in ("validation", "test", "predict") for end in ("start", "end")),
    "log 1j",
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def _puts(name: str, parameters: str, place: str) -> Change:
    return lambda task, callback, seen: put(task, name, step_of(parameters, seen), place)


def _sets(whose: str, name: str) -> Change:
    """None in the place of a method."""
    return lambda task, callback, seen: setattr({"task": task, "type": type(task), "callback": callback}[whose], name, None)


def steps() -> Iterator[Case]:
    for (stage, name), (form, parameters), place in itertools.product(STEPS.items(), FORMS.items(), PLACES):
        for sources in (1,) if stage == "fit" else (1, 2):
            if place == "class" or form in ("both", "star", "a source"):
                yield f"{name} {form}, {place}", _puts(name, parameters, place), {"stage": stage, "sources": sources}
    for stage, name in STEPS.items():
        yield f"{name} None", _sets("task", name), {"stage": stage}
        yield f"{name} None", _sets("type", name), {"stage": stage}


def hooks() -> Iterator[Case]:
    for hook in (*SHARED_HOOKS, *TASK_HOOKS, "on_save_checkpoint", "on_load_checkpoint", "on_validation_model_train"):
        stage = next((stage for stage, name in STEPS.items() if name.removesuffix("_step") in hook), "fit")
        yield f"None on the task: {hook}", _sets("task", hook), {"stage": stage}
    for hook in (*SHARED_HOOKS, *CALLBACK_HOOKS):
        yield f"None on the callback: {hook}", _sets("callback", hook), {}
    for stage, sources in itertools.product(STEPS, (1, 2)):
        for change in (_on_task, _on_callback, _later, _stars):
            yield f"hooks {change.__name__}", change, {"stage": stage, "sources": sources}
    for empty, window in itertools.product([(0,), (1,), (2,), (0, 1), (0, 1, 2)], (1, 2)):
        yield "batches that are None", _stars, {"empty": empty, "accumulate_grad_batches": window}


def _noting(hook: str, seen: Any, who: str) -> Callable[..., None]:
    def function(*arguments: Any, **named: Any) -> None:
        plain = [simplify(each) for each in arguments if isinstance(each, int | str)]
        seen.events.append((who, hook, plain, len(arguments), sorted(named), torch.is_inference_mode_enabled()))

    return function


def _on_task(task: Any, callback: Any, seen: Any) -> None:
    for hook in (*SHARED_HOOKS, *CALLBACK_HOOKS):
        setattr(task, hook, _noting(hook, seen, "task"))


def _on_callback(task: Any, callback: Any, seen: Any) -> None:
    for hook in (*SHARED_HOOKS, *CALLBACK_HOOKS):
        setattr(callback, hook, _noting(hook, seen, "callback"))


def _later(task: Any, callback: Any, seen: Any) -> None:
    def add() -> None:
        _on_task(task, callback, seen)
        _on_callback(task, callback, seen)

    task.on_train_start = task.on_validation_start = task.on_test_start = task.on_predict_start = add


def _stars(task: Any, callback: Any, seen: Any) -> None:
    """Every hook as (self, *args, **kwargs), doing what it did; validation takes None."""
    for hook in (*SHARED_HOOKS, *TASK_HOOKS):
        setattr(type(task), hook, _star(hook, getattr(type(task), hook), seen))
    type(task).validation_step = lambda self, batch, batch_idx, dataloader_idx=0: seen.events.append(batch is None)


def _star(hook: str, base: Any, seen: Any) -> Any:
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        _noting(hook, seen, "task")(*arguments, **named)
        seen.events.append((self.global_step, self.current_epoch))
        return base(self, *arguments, **named)

    return method


class Own(torch.optim.SGD):
    """Takes a number of its own."""

    def step(self, closure: Any = None, scale: float = 1.0) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            group["lr"] *= scale
        super().step()
        return loss


class Late(torch.optim.SGD):
    """Steps before it calls its closure, which it takes by name only."""

    def step(self, *, closure: Any = None) -> Any:  # type: ignore[override]
        super().step()
        return closure() if closure is not None else None


OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "Own": Own,
    "Late": Late,
    "LBFGS": lambda parameters, lr: torch.optim.LBFGS(parameters, lr=lr, max_iter=2),
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "positional": lambda o, c: o.step(c),
    "by name": lambda o, c: o.step(closure=c),
    "with its own": lambda o, c: o.step(closure=c, scale=0.5),
    "with one it has not": lambda o, c: o.step(closure=c, other=0.5),
    "too many": lambda o, c: o.step(c, 0.5),
    "without": lambda o, c: o.step(),
    "None": lambda o, c: o.step(closure=None),
    "no function": lambda o, c: o.step(5),
    "closure first": lambda o, c: (c(), o.step())[1],
    "twice": lambda o, c: (o.step(c), o.step(c))[1],
}


def optimizer_steps() -> Iterator[Case]:
    for (name, make), (form, call), manual in itertools.product(OPTIMIZERS.items(), CALLS.items(), (False, True)):
        yield f"{name}.step {form}, manual {manual}", _stepping(make, call, manual), {}


def _stepping(make: Any, call: Any, manual: bool) -> Change:
    def change(task: Any, callback: Any, seen: Any) -> None:
        def before(self: Any, optimizer: Any) -> None:
            seen.events.append(([g["lr"] for g in optimizer.param_groups], self.global_step))

        def training_step(self: Any, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()

            def closure() -> Any:
                optimizer.zero_grad()
                loss = self(batch)
                self.manual_backward(loss, retain_graph=True)
                self.manual_backward(loss)
                return loss

            seen.events.append((simplify(call(optimizer, closure)), self.global_step))
            seen.events.append(isinstance(optimizer, torch.optim.Optimizer))
            seen.events.append(type(self.optimizers(use_pl_optimizer=False)).__name__)

        def optimizer_step(self: Any, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            seen.events.append((simplify(call(optimizer, optimizer_closure)), self.global_step))

        type(task).configure_optimizers = lambda self: make(self.parameters(), lr=0.125)
        type(task).on_before_optimizer_step = before
        task.automatic_optimization = not manual
        if manual:
            type(task).training_step = training_step
        else:
            type(task).optimizer_step = optimizer_step

    return change


REDUCTIONS: list[Any] = [
    "mean", "MEAN", "Avg", "avg", "sum", "SUM", "min", "max", "Max", "median", "", None, torch.mean, torch.sum,
    torch.min, torch.max, sum, min, max, np.mean, torch.amax, torch.median, ["mean"], 3,
]  # fmt: skip
VALUES: list[Any] = [
    1, True, np.float32(2), np.int64(3), torch.tensor([1.0]), torch.tensor([[2.0]]), torch.tensor(3),
    torch.tensor(True), torch.tensor(1.0, dtype=torch.float16), torch.tensor([1.0, 2.0]), torch.tensor([]), "a",
    None, [1], {"a": 1}, np.array([1.0]), float("nan"), float("inf"), 1j, np.bool_(True),
]  # fmt: skip
LOGS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((True,), {}),
    ((True, False), {}),
    ((), {"logger": None}),
    ((), {"sync_dist": True}),
    ((), {"rank_zero_only": True}),
    ((), {"enable_graph": True}),
    ((False, True, True, True, "sum", False, False, None, True, 4), {}),
    ((), {"other": 1}),
    ((), {"on_step": False, "on_epoch": False}),
    ((), {"add_dataloader_idx": False}),
]


def logs() -> Iterator[Case]:
    for stage in ("fit", "validate", "test"):
        for reduce_fx in REDUCTIONS:
            named = {"reduce_fx": reduce_fx, "on_epoch": True}
            yield f"reduce_fx {reduce_fx}", _logging(STEPS[stage], 2.0, (), named), {"stage": stage}
        for arguments, named in LOGS:
            yield f"log {arguments} {named}", _logging(STEPS[stage], 2.0, arguments, named), {"stage": stage}
            yield f"log_dict {arguments} {named}", _logging(STEPS[stage], 2.0, arguments, named, True), {"stage": stage}
    for value in VALUES:
        yield f"log {value}", _logging("training_step", value, (), {}), {}


def _logging(step: str, value: Any, arguments: tuple[Any, ...], named: dict[str, Any], several: bool = False) -> Change:
    def change(task: Any, callback: Any, seen: Any) -> None:
        def method(self: Any, batch: Any, batch_idx: int) -> Any:
            more = named if len(arguments) > 9 else {"batch_size": 1, **named}
            if several:
                self.log_dict({"x": value, "y": value}, *arguments, **more)
            else:
                self.log("x", value, *arguments, **more)
            return self(batch)

        def look(self: Any) -> None:
            seen.events += [shown(self.trainer.callback_metrics), shown(self.trainer.logged_metrics)]
            seen.events.append(shown(self.trainer.progress_bar_metrics))

        setattr(type(task), step, method)
        type(task).on_train_epoch_end = type(task).on_validation_end = type(task).on_test_end = look

    return change


CLIPS: list[tuple[Any, ...]] = [
    (), (0.5,), (0.5, "norm"), (0.5, "value"), (0.25,), (0.25, "Norm"), (None, "value"), (None, None), (0.25,
    "VALUE"), (0.25, "other"), ("0.25",), (0,), (-1,), (1,), (float("inf"),), (0.25, 5),
]  # fmt: skip


def clips() -> Iterator[Case]:
    settings: list[dict[str, Any]] = [{}]
    settings += [{"gradient_clip_val": 0.25, "gradient_clip_algorithm": each} for each in ("norm", "value")]
    for given, by_name, manual, set_to in itertools.product(CLIPS, (False, True), (False, True), settings):
        if not (manual and set_to):
            yield f"clip_gradients {given}, by name {by_name}, manual {manual}", _clipping(given, by_name, manual), set_to


def _clipping(given: tuple[Any, ...], by_name: bool, manual: bool) -> Change:
    def clip(self: Any, optimizer: Any, seen: Any) -> None:
        named = dict(zip(["gradient_clip_val", "gradient_clip_algorithm"], given, strict=False))
        self.clip_gradients(optimizer, **named) if by_name else self.clip_gradients(optimizer, *given)
        seen.events.append([p.grad.tolist() for p in self.parameters()])

    def change(task: Any, callback: Any, seen: Any) -> None:
        def configure(self: Any, optimizer: Any, *, gradient_clip_val: Any, gradient_clip_algorithm: Any) -> None:
            clip(self, optimizer, seen)

        def training_step(self: Any, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self(batch))
            clip(self, optimizer, seen)
            clip(self, optimizer, seen)
            optimizer.step()

        task.automatic_optimization = not manual
        type(task).configure_gradient_clipping = configure
        if manual:
            type(task).training_step = training_step

    return change


class NoState:
    """A scheduler without a state."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(self, *arguments: Any) -> None:
        """Does nothing."""


class NoStep:
    """A scheduler that can't step."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing."""


class Like(NoState, NoStep):
    """Has all that is needed, but is none of torch's."""


SCHEDULERS: list[Any] = [
    NoState,
    NoStep,
    Like,
    lambda optimizer: None,
    lambda optimizer: 5,
    lambda optimizer: object(),
    lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
]
CONFIGURED: list[Any] = [
    lambda o, s: ([o], [s]),
    lambda o, s: {"optimizer": o, "lr_scheduler": s},
    lambda o, s: ([o], s),
    lambda o, s: [{"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step"}}],
]


def schedulers() -> Iterator[Case]:
    for make, form, how in itertools.product(SCHEDULERS, CONFIGURED, ("torch's", "own", "manual")):
        yield f"scheduler {getattr(make, '__name__', '')}, {how}", _scheduling(make, form, how), {}
    yield "a scheduler of self.optimizers()", _scheduled_later, {}


def _scheduling(make: Any, form: Any, how: str) -> Change:
    def configure_optimizers(self: Any) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125)
        return form(optimizer, make(optimizer))

    def change(task: Any, callback: Any, seen: Any) -> None:
        type(task).configure_optimizers = configure_optimizers
        task.automatic_optimization = how != "manual"
        if how == "own":
            type(task).lr_scheduler_step = lambda self, scheduler, metric: seen.events.append("step")
        if how == "manual":
            type(task).training_step = lambda self, batch, batch_idx: None

    return change


def _scheduled_later(task: Any, callback: Any, seen: Any) -> None:
    def start(self: Any) -> None:
        self.later = torch.optim.lr_scheduler.StepLR(self.optimizers(), 1, 0.5)

    def end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.later.step()
        seen.events.append([group["lr"] for group in self.optimizers().param_groups])

    type(task).on_train_start, type(task).on_train_batch_end = start, end


BUFFERS = [
    torch.tensor([1 + 1j]),
    torch.tensor([1]),
    torch.tensor([True]),
    torch.tensor([1.0], dtype=torch.float16),
    torch.tensor([1j], dtype=torch.complex128),
    torch.tensor([0.1]),
]


def precisions() -> Iterator[Case]:
    names = ("32-true", "64-true", "bf16-mixed")
    for precision, buffer, where in itertools.product(names, BUFFERS, ("init", "model", "batch")):
        yield f"{precision} with {buffer.dtype} in the {where}", _typed(buffer, where), {"precision": precision}


def _typed(buffer: torch.Tensor, where: str) -> Change:
    def configure_model(self: Any) -> None:
        self.register_buffer("kept", buffer.clone())
        self.register_buffer("made", torch.complex(torch.full((1,), 0.1), torch.ones(1)))

    def change(task: Any, callback: Any, seen: Any) -> None:
        def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
            seen.events.append([(name, str(b.dtype), b.tolist()) for name, b in sorted(self.named_buffers())])
            seen.events.append((str(batch["x"].dtype), str(torch.zeros(1).dtype), torch.is_autocast_enabled("cpu")))
            return self.layer.weight.sum()

        if where == "init":
            task.register_buffer("kept", buffer.clone())
        elif where == "model":
            type(task).configure_model = configure_model
        seen.batch = {"x": buffer}
        type(task).training_step = training_step
        type(task).validation_step = None

    return change


KINDS = (steps, hooks, optimizer_steps, logs, clips, schedulers, precisions)


def differs(case: Case) -> str:
    """Where the two differ; "" where they do not."""
    name, change, settings = case
    ours, theirs = (run(library, change, **settings) for library in ("ours", "Lightning"))
    same = bool(ours.error) == bool(theirs.error) and (
        bool(ours.error) or (str(ours.events) == str(theirs.events) and str(ours.found) == str(theirs.found))
    )
    return "" if same or name in OWN_WAY else f"{name} {settings}\n{ours}\n{theirs}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_it_is_as_there(kind: Callable[[], Iterator[Case]]) -> None:
    found = [differs(case) for case in itertools.islice(kind(), 0, None, SHARE)]
    assert not [each for each in found if each]


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_all_of_it_is_as_there(kind: Callable[[], Iterator[Case]]) -> None:
    found = [differs(case) for case in kind()]
    assert not [each for each in found if each]
