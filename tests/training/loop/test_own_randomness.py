"""Users' code that draws from torch's, NumPy's and Python's generators: in any hook, the run's bits hang on none of it."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.toytask import Kept, LeaveAt, Left, Shuffled
from training import generators
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.digest import weights_sha256
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer


def drawn() -> float:
    """A number from all three."""
    return float(torch.rand(())) + float(np.random.rand()) + random.random()


class Noisy(Task):
    """Draws everywhere, and trains on what it draws; with generators of its own, too."""

    def __init__(self, hooks: bool = True, validates: bool = True) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.first, self.second = torch.Generator(), np.random.default_rng(0)
        self.third, self.fourth = np.random.RandomState(0), random.Random(0)
        self.validates = validates
        with torch.no_grad():
            for i, p in enumerate(self.parameters()):
                p.fill_(0.1 * (i + 1))
        if hooks:
            for hook in HOOKS:
                setattr(self, hook, self.draws)

    def draws(self, *_: Any) -> None:
        drawn()

    def noise(self) -> float:
        own = float(torch.rand((), generator=self.first)) + self.second.random() + self.third.rand() + self.fourth.random()
        return drawn() + own

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        loss = (self.net(batch + 0.1 * self.noise()).squeeze(1) - batch.sum(1)).square().mean()
        self.log("loss", loss, batch_size=len(batch), on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        if self.validates:
            self.log("val", drawn(), batch_size=len(batch))

    def on_train_epoch_start(self) -> None:
        self.shift = drawn()

    def configure_optimizers(self) -> Any:
        made = torch.optim.SGD(self.parameters(), lr=0.01)
        return {"optimizer": made, "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ExponentialLR(made, 0.9)}}

    def lr_scheduler_step(self, scheduler: Any, metric: float | None) -> None:
        for group in scheduler.optimizer.param_groups:
            group["lr"] = 0.01 * (1 + drawn())

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("test", drawn(), batch_size=len(batch))

    def predict_step(self, batch: Tensor, batch_idx: int) -> float:
        return drawn()


HOOKS = (
    "on_train_batch_start on_train_batch_end on_before_zero_grad on_before_backward on_after_backward on_train_start "
    "on_before_optimizer_step on_validation_start on_validation_end on_validation_epoch_end on_train_epoch_end"
).split()


class Draws(Callback):
    """Draws in every hook of a callback, too."""

    def __init__(self) -> None:
        for hook in HOOKS:
            setattr(self, hook, lambda *_: drawn())


SETTINGS: list[dict[str, Any]] = [
    {},
    {"val_check_interval": 0.4, "accumulate_grad_batches": 2},
    {"val_check_interval": 5, "check_val_every_n_epoch": None, "max_steps": 10},
]


def run(settings: dict[str, Any], leave_at: int = -1, state: Any = None, task: Noisy | None = None) -> tuple[Any, ...]:
    task, log, leave = task or Noisy(), Kept(), LeaveAt(leave_at)
    config = TrainConfig(device="cpu", progress=False, **{"max_epochs": 2, "log_every_n_steps": 1, **settings})
    trainer = Trainer(config, callbacks=[Draws()], logger=log, keep_going=leave)
    with suppress(Left):
        trainer.fit(task, Shuffled(), Shuffled(6), state=state)
    return weights_sha256(task), log.lines, (leave.state, len(log.lines)), leave.boundaries


@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "accumulating", "across epochs"])
def test_left_at_each_boundary_it_ends_in_the_same_bits(settings: dict[str, Any]) -> None:
    weights, lines, _, boundaries = run(settings)
    assert boundaries > 10
    for at in range(boundaries):
        _, before, (state, logged), _ = run(settings, at)
        drawn()  # the process that goes on has drawn other numbers before
        resumed, rest, _, _ = run(settings, state=state)
        assert resumed == weights, at
        assert before[:logged] + rest == lines, at


def test_what_watches_changes_no_weight() -> None:
    expected, *_ = run({}, task=Noisy(hooks=False, validates=False))
    for settings in (
        {"num_sanity_val_steps": 0}, {"num_sanity_val_steps": -1}, {"val_check_interval": 2}, {"limit_val_batches": 0},
        {"log_every_n_steps": 0}, {"log_every_n_steps": 3},
    ):  # fmt: skip
        assert run(settings, task=Noisy(hooks=False))[0] == expected, settings


def seeded() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)


def test_afterwards_the_generators_are_where_they_were() -> None:
    trainer, batches = (
        Trainer(TrainConfig(device="cpu", progress=False, max_epochs=1), logger=False),
        FixedBatches([torch.ones(2, 3)] * 3),
    )
    task = Noisy()
    seeded()
    expected = [drawn() for _ in range(2)]
    seeded()
    trainer.fit(task, batches, batches)
    assert drawn() == expected[0]
    trainer.validate(task, batches, verbose=False)
    trainer.test(task, batches, verbose=False)
    trainer.predict(task, batches)
    assert drawn() == expected[1]


def test_each_batch_and_each_seed_has_numbers_of_its_own() -> None:
    batches = FixedBatches([torch.ones(2, 3)] * 5)
    told = [
        Trainer(TrainConfig(device="cpu", progress=False, seed=seed), logger=False).predict(Noisy(), batches)
        for seed in (0, 0, 1)
    ]
    assert told[0] == told[1]
    assert len({*told[0], *told[2]}) == 10


def test_a_task_that_draws_nothing_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("set although the task said that it draws nothing")

    monkeypatch.setattr("training.loop.session.set_generators", fail)
    batches = FixedBatches([torch.ones(2, 3)])
    task = Noisy()
    task.uses_generators = False
    Trainer(TrainConfig(device="cpu", progress=False, max_epochs=1), logger=False).fit(task, batches, batches)
    with pytest.raises(AssertionError, match="although"):
        Trainer(TrainConfig(device="cpu", progress=False, max_epochs=1), logger=False).fit(Noisy(), batches, batches)


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(2), lambda: np.random.rand(2), random.random], ids=["torch", "numpy", "python"]
)
def test_a_function_of_seed_purpose_and_counters(draw: Any) -> None:
    def first(*key: Any) -> str:
        generators.set_generators(generators.Keys(key[0], key[1])(*key[2:]))
        return str(draw())

    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 0, 1), (0, "a", 1, 0), (2**32 - 1, "a")]
    found = [first(*key) for key in keys]
    assert found == [first(*key) for key in keys]
    assert len(set(found)) == len(keys)
    key = generators.key_of(0, "a")
    assert len({generators.mixed(key, i) for i in range(1000)} | {key}) == 1001
