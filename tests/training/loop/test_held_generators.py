"""Generators that a task, an optimizer, a data module or a callback holds, however deep: a resume draws what was to come."""

from __future__ import annotations

import functools
import itertools
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.toytask import POINTS, LeaveAt, Left, Line, fixed
from training.config import TrainConfig
from training.data.data_module import DataModule
from training.digest import weights_sha256
from training.loop.callback import Callback
from training.loop.trainer import Trainer

GENERATORS: dict[str, Callable[[], Any]] = {
    "torch": torch.Generator,
    "numpy": lambda: np.random.default_rng(0),
    "legacy": lambda: np.random.RandomState(0),
    "python": lambda: random.Random(0),
}


@dataclass
class Fields:
    inner: Any


@dataclass(slots=True)
class Slots:
    inner: Any


class Part(nn.Module):
    """A submodule."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner


NESTINGS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda inner: inner,
    "list": lambda inner: [0, inner],
    "dict": lambda inner: {"a": 0, "b": inner},
    "tuple": lambda inner: (inner,),
    "deque": lambda inner: deque([inner]),
    "dataclass": Fields,
    "slots": Slots,
    "submodule": Part,
    "modules": lambda inner: nn.ModuleList([nn.Identity(), Part(inner)]),
    "closure": lambda inner: lambda: inner,
    "partial": lambda inner: functools.partial(Fields, inner),
}
DEEP = [(first, second) for first in NESTINGS for second in ("itself", "list", "dict", "dataclass", "submodule")]
"""A nesting in another; the kinds of generators take turns."""


def draw(generator: Any) -> float:
    """A number from it."""
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.rand() if isinstance(generator, np.random.RandomState) else generator.random())


class Draws(Line):
    """Trains on what it draws from a generator, which it holds in some way."""

    def __init__(self, generator: Any, held: Any) -> None:
        super().__init__()
        self.draw: Callable[[], float] = functools.partial(draw, generator or random.Random(5))
        self.held = held

    def loss(self, batch: Tensor) -> Tensor:
        return super().loss(batch * (1 + 0.1 * self.draw()))


class Noise(Callback):
    """Changes the batch by what it draws."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Tensor, batch_idx: int) -> None:
        batch.mul_(1 + 0.1 * draw(self.held["generators"][0]))


class Data(DataModule):
    """Does the same."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held

    def train_dataloader(self) -> Any:
        return list(POINTS.clone().split(7))

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        return batch * (1 + 0.1 * draw(self.held["generators"][0]))


class NoisySGD(torch.optim.SGD):
    """Steps with noise of its own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.01)
        self.held = {"generators": [torch.Generator()]}

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = 0.01 * (1 + draw(self.held["generators"][0]))
        return super().step(closure)


def same_at_every_batch(made: Callable[[], tuple[Any, list[Any], Any]]) -> None:
    """A fit left at any batch goes on to the same weights; ``made`` makes its task, callbacks and data."""

    def run(leave: LeaveAt, state: Any = None) -> str:
        task, callbacks, data = made()
        config = TrainConfig(device="cpu", progress=False, max_epochs=1, limit_train_batches=2)
        with suppress(Left):
            Trainer(config, callbacks=callbacks, logger=False, keep_going=leave).fit(task, data, state=state)
        return weights_sha256(task)

    whole = LeaveAt(-1)
    expected = run(whole)
    for at in range(whole.boundaries):
        left = LeaveAt(at)
        run(left)
        assert run(LeaveAt(-1), left.state) == expected, at


@pytest.mark.parametrize(("nesting", "kind"), [*zip(DEEP, itertools.cycle(GENERATORS), strict=False)])
def test_a_task_that_holds_one_somewhere(nesting: tuple[str, str], kind: str) -> None:
    def made() -> tuple[Any, list[Any], Any]:
        generator = GENERATORS[kind]()
        outer, inner = (NESTINGS[each] for each in nesting)
        return Draws(generator, outer(inner(generator))), [], fixed()

    same_at_every_batch(made)


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("who", ["callback", "data module", "optimizer", "partial"])
def test_others_that_hold_one(kind: str, who: str) -> None:
    def made() -> tuple[Any, list[Any], Any]:
        held = {"generators": [GENERATORS[kind]()]}
        task = Draws(random.Random(0) if who != "partial" else None, None)
        if who == "optimizer":
            vars(task)["configure_optimizers"] = lambda: NoisySGD(task.parameters())
        return (
            task,
            [Noise(held)] if who == "callback" else [],
            Data(held) if who == "data module" else list(POINTS.clone().split(7)),
        )

    same_at_every_batch(made)


def test_one_that_is_made_late_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Late(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            self.noise = getattr(self, "noise", None) or random.Random(0)
            return super().training_step(batch * self.noise.random(), batch_idx)

    def run(leave: LeaveAt, state: Any = None) -> None:
        config = TrainConfig(device="cpu", progress=False, max_epochs=1)
        with suppress(Left):
            Trainer(config, logger=False, keep_going=leave).fit(Late(), fixed(), state=state)

    left = LeaveAt(2)
    run(left)
    capsys.readouterr()
    run(LeaveAt(-1), left.state)
    line = "task.noise: it is a generator that was made after the fit began; a resume does not restore it"
    assert capsys.readouterr().err.count(line) == 1
