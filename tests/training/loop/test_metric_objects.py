"""Metric objects: what is logged of them, and that a fit which is left at any batch goes on with the same counts."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.toytask import Kept, LeaveAt, Left, Line, Position, Shuffled, fixed, through_a_file, trainer
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.metric_objects import metrics_of, states_of
from training.loop.trainer import Trainer


class Mean:
    """A plain object."""

    def __init__(self) -> None:
        self.reset()

    def update(self, values: Tensor) -> None:
        self.total += float(values.detach().sum())
        self.count += values.numel()

    def compute(self) -> float:
        return self.total / max(self.count, 1)

    def reset(self) -> None:
        self.total, self.count = 0.0, 0


class Module(nn.Module):
    """A module whose sums are buffers, one of them not among the weights; it is called like torchmetrics'."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("total", torch.zeros(()), persistent=False)
        self.norm = torch.sum  # code is no state
        self._forward_cache: Tensor | None = None

    def update(self, values: Tensor) -> None:
        self.total += self.norm(values.detach())
        self.count += values.numel()

    def forward(self, values: Tensor) -> Tensor:
        self.update(values)
        self._forward_cache = values.detach().mean()
        return self._forward_cache

    def compute(self) -> Tensor:
        return self.total / self.count.clamp(min=1)

    def reset(self) -> None:
        self.total, self.count, self._forward_cache = torch.zeros(()), torch.zeros(()), None


class Gathers(Mean):
    """Keeps all values, in containers of several kinds; the least, and how often a sign was seen."""

    def reset(self) -> None:
        self.values: list[Tensor] = []
        self.newest: deque[float] = deque(maxlen=3)
        self.signs: Counter[bool] = Counter()
        self.by_sign: defaultdict[bool, float] = defaultdict(float)

    def update(self, values: Tensor) -> None:
        self.values.append(values.detach())
        self.newest.extend(values.detach().flatten().tolist())
        self.signs.update((values > 0).flatten().tolist())
        for value in values.flatten().tolist():
            self.by_sign[value > 0] += value

    def compute(self) -> float:
        everything = torch.cat([each.flatten() for each in self.values]) if self.values else torch.zeros(1)
        return float(everything.median()) + sum(self.newest) + self.signs[True] + self.by_sign[False]


class Slotted:
    """Without a __dict__."""

    __slots__ = ("count", "most")
    most: float
    count: int

    def __init__(self) -> None:
        self.reset()

    def update(self, values: Tensor) -> None:
        self.most, self.count = max(self.most, float(values.max())), self.count + 1

    def compute(self) -> float:
        return self.most * self.count

    def reset(self) -> None:
        self.most, self.count = -1e9, 0


class Knows(Mean):
    """Says itself what its state is."""

    def __init__(self) -> None:
        self.odd = object()
        super().__init__()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": [self.total, self.count]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total, self.count = state["sums"]


class Measured(Line):
    """Metric objects in all places, logged in all ways."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.module, self.slotted = Mean(), Module(), Slotted()
        self.several: Any = {"a": Gathers(), "b": [Knows()]}
        self.inner = nn.Sequential(Module())
        self.valid, self.both = Module(), Mean()
        self.late = Mean()
        self.shared = Module()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = super().training_step(batch, batch_idx)
        self.mean.update(loss)
        self.log("mean", self.mean, on_step=False, on_epoch=True)
        self.module(batch)
        self.log("module", self.module, on_step=True, on_epoch=True)
        self.inner[0](batch * loss.detach())
        self.log("inner", self.inner[0])
        self.late.update(batch)
        self.slotted.update(batch)
        self.both.update(batch)
        self.shared.update(batch)
        self.several["a"].update(batch * loss.detach())
        self.several["b"][0].update(batch)
        if self.current_epoch == 0:  # it is reset in later epochs, too
            self.log("a", self.several["a"], on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("late", self.late)
        self.log("slotted", self.slotted)
        self.log("a2", self.several["a"])
        self.log_dict({"b": self.several["b"][0], "twice": self.late})

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.valid(batch * self.loss(batch))
        self.log("valid", self.valid, prog_bar=True)
        if self.trainer.global_step < 8:
            self.log("shared", self.shared)
        self.both.update(batch)
        if self.current_epoch == 0:
            self.log("both", self.both)


def fit(
    task: Line, folder: Path | None, settings: dict[str, Any], log: Kept, state: Any = None, leave_at: int = -1
) -> tuple[Line, Any, int]:
    """Train; leave at the ``leave_at``-th boundary with the state of that moment. Returns how many boundaries there were."""
    leave = LeaveAt(leave_at, through_a_file)
    best = [ModelCheckpoint(folder, monitor="val", save_top_k=-1, filename="{epoch}-{step}")] if folder else []
    config = TrainConfig(device="cpu", progress=False, log_every_n_steps=2, **settings)
    made = Trainer(config, callbacks=[*best, Position(log)], logger=log, keep_going=leave)
    try:
        made.fit(task, Shuffled(), Shuffled(6), state=state)
    except Left:
        assert leave.state is not None
        del log.lines[leave.state["logged"] :]
    return task, leave.state, leave.boundaries


PLANS: list[dict[str, Any]] = [
    {"max_epochs": 2, "val_check_interval": 0.5},
    {"max_epochs": 2, "accumulate_grad_batches": 2},
    {"max_epochs": -1, "max_steps": 9, "check_val_every_n_epoch": None, "val_check_interval": 5},
]


@pytest.mark.parametrize("settings", PLANS, ids=["parts", "windows", "across"])
def test_left_at_any_batch_it_goes_on_with_the_same_counts(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole = Kept()
    task, _, boundaries = fit(Measured(), None, settings, whole)
    assert boundaries >= 15
    for leave_at in range(boundaries):
        log = Kept()
        _, state, _ = fit(Measured(), None, settings, log, leave_at=leave_at)
        resumed, _, _ = fit(Measured(), None, settings, log, copy.deepcopy(state))
        assert log.lines == whole.lines
        assert weights_sha256(resumed) == weights_sha256(task)
    assert any("module_step" in line for _, line in whole.lines)


@pytest.mark.parametrize("settings", PLANS[:2], ids=["parts", "windows"])
def test_it_goes_on_from_a_checkpoint_that_was_written_at_the_end_of_a_validation(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Their metrics are not reset yet in it."""
    whole = Kept()
    task, _, _ = fit(Measured(), tmp_path, settings, whole)
    for path in sorted(tmp_path.glob("*.ckpt")):
        rest = Kept()
        state = dict(checkpoint.load(path))
        resumed, _, _ = fit(Measured(), tmp_path / "elsewhere", settings, rest, state)
        assert rest.lines == whole.lines[len(whole.lines) - len(rest.lines) :]
        assert weights_sha256(resumed) == weights_sha256(task)


def test_an_epoch_that_max_steps_ended_goes_on_in_its_counts(tmp_path: Path) -> None:
    whole, log = Kept(), Kept()
    fit(Measured(), None, {"max_epochs": 2, "max_steps": 12}, whole)
    first, state = Measured(), None
    made = trainer(max_epochs=2, max_steps=3, log_every_n_steps=2)
    made.fit(first, Shuffled(), Shuffled(6))
    state = made.state()
    fit(Measured(), None, {"max_epochs": 2, "max_steps": 12}, log, state)
    epochs = [[line for _, line in each.lines if "mean" in line or "valid" in line] for each in (whole, log)]
    assert epochs[0] == epochs[1]


def test_each_metric_object_has_a_name() -> None:
    names = {"mean", "module", "slotted", "several.a", "several.b.0", "inner.0", "valid", "both", "late", "shared"}
    assert metrics_of(Measured()).keys() == names
    assert states_of(Line()) == {}


def test_a_state_is_a_copy() -> None:
    task = Measured()
    task.module.update(torch.ones(2))
    task.several["a"].update(torch.ones(2))
    before = states_of(task)
    shown = str(before)
    task.module.update(torch.ones(2))
    task.several["a"].update(torch.ones(2))
    assert str(before) == shown != str(states_of(task))


def test_what_the_step_has_no_value_of() -> None:
    class Updated(Line):
        def __init__(self) -> None:
            super().__init__()
            self.mean = Mean()

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.mean.update(batch)
            self.log("mean", self.mean)
            return self.loss(batch)

    log = Kept()
    with pytest.warns(UserWarning, match=r"log\('mean'\): the metric 'mean' has no value of the step.* on_epoch=True"):
        trainer(logger=log, max_epochs=1).fit(Updated(), fixed())
    assert not any("mean" in line for _, line in log.lines)


class Odd(Mean):
    """Can't be stored."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = object()


class Gives(Mean):
    """Computes what is no number."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def compute(self) -> Any:
        return self.value


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (Odd(), {}, r"the metric 'metric': a checkpoint can't hold its seen \(a object\); keep it in .* or give Odd state_dict"),
    (Gives(torch.ones(2)), {}, r"expected a scalar from compute\(\) of the metric 'metric', got a tensor of shape \(2,\)"),
    (Gives({"a": 1}), {}, r"expected a number or a scalar tensor from compute\(\) of the metric 'metric', got dict"),
    (Mean(), {"metric_attribute": "other"}, "metric_attribute: expected the metric's name in the task, got 'other'"),
    (None, {}, "expected a metric that is an attribute of Logs, so that checkpoints hold its state, got a Mean that is"),
]


@pytest.mark.parametrize(("metric", "arguments", "message"), REFUSED)
def test_what_is_refused(tmp_path: Path, metric: Any, arguments: dict[str, Any], message: str) -> None:
    class Logs(Line):
        def __init__(self) -> None:
            super().__init__()
            self.metric, self.steps = metric, 0

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.steps += 1
            self.log("x", self.metric or Mean(), on_step=False, on_epoch=True, **arguments)
            return self.loss(batch)

    task = Logs()
    with pytest.raises(ConfigError, match=message):
        trainer(ModelCheckpoint(tmp_path), max_epochs=1).fit(task, fixed())
    if isinstance(metric, Odd):
        assert task.steps == 0


def test_a_metric_that_was_added_begins_anew_and_says_so() -> None:
    made, task = trainer(max_epochs=1), Line()
    made.fit(task, fixed())
    state = made.state()
    task.mean = Mean()  # type: ignore[assignment]
    with pytest.warns(UserWarning, match="a task with other metrics: mean; new metrics start empty here"):
        trainer(max_epochs=2).fit(task, fixed(), state=state)
