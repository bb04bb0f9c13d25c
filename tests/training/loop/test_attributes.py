"""Plain attributes of users' code: a run that goes on in the middle finds them as they were, or says that it does not."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.toytask import Kept, LeaveAt, Left, Line, Shuffled
from training.config import TrainConfig
from training.digest import weights_sha256
from training.loop.attributes import MOST, mark
from training.loop.callback import Callback
from training.loop.trainer import Trainer


class Keeping(Line):
    """Keeps what it needs in attributes, as Lightning's users do."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []
        self.counts = {"batches": 0}
        self.best, self.seen = 1e9, np.zeros(3)
        self.validated, self.places, self.sums = np.zeros(2), {0}, {"val": [np.zeros(1)]}

    def on_train_start(self) -> None:
        self.history: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        loss = self.loss(batch) * (1 + 0.01 * self.counts["batches"] + 0.001 * float(self.seen.sum()))
        self.outputs.append(loss)
        self.counts["batches"] += 1
        self.seen += 1
        self.layer.last = loss.item()  # type: ignore[assignment]  # of a module in it
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.best = min(self.best, self.loss(batch).item())
        self.validated += 1
        self.places.add(len(self.places))
        self.sums["val"][0] += 1

    def on_train_epoch_end(self) -> None:
        self.history.append(torch.stack(self.outputs).mean().item())
        self.log("mean", self.history[-1])
        self.log("validated", float(self.validated.sum()) + len(self.places) + float(self.sums["val"][0][0]))
        self.log("all", sum(self.history) + self.best + float(self.layer.last))  # type: ignore[arg-type]
        self.outputs.clear()


class Sees(Callback):
    """A callback without a state_dict."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches += 1

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        self.log("batches", float(self.batches))


def fit(task: Line, leave_at: int = -1, state: Any = None, **settings: Any) -> Any:
    log, leave = Kept(), LeaveAt(leave_at)
    config = TrainConfig(device="cpu", max_epochs=2, log_every_n_steps=1, progress=False, **settings)
    trainer = Trainer(config, logger=log, callbacks=[Sees()], keep_going=leave)
    with suppress(Left):
        trainer.fit(task, Shuffled(), Shuffled(6), state=state)
    return weights_sha256(task), log.lines, leave.boundaries, (leave.state, len(log.lines))


@pytest.mark.parametrize("settings", [{}, {"val_check_interval": 2}], ids=["plain", "validating"])
def test_left_at_each_boundary_they_are_as_they_were(settings: dict[str, Any]) -> None:
    weights, lines, boundaries, _ = fit(Keeping(), **settings)
    for at in range(boundaries):
        _, before, _, (state, logged) = fit(Keeping(), at, **settings)
        again, rest, _, _ = fit(Keeping(), state=state, **settings)
        assert again == weights, at
        assert before[:logged] + rest == lines, at


class Recurrent(Line):
    """Weights that stand in attributes, too: nn.LSTM keeps a list of its own, and users make some."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(3, 2)
        self.own = {"weights": [self.layer.weight, ({"deep": self.lstm.weight_hh_l0},)]}

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) + self.lstm(torch.ones(4, 3))[0].square().sum()


@pytest.mark.parametrize("at", [1, 5])
def test_weights_in_attributes_are_weights(at: int, capsys: pytest.CaptureFixture[str]) -> None:
    weights, *_ = fit(Recurrent())
    *_, (state, _) = fit(Recurrent(), at)
    task = Recurrent()
    again, *_ = fit(task, state=state)
    assert again == weights
    assert task.own["weights"][0] is task.layer.weight
    assert [name for name in state["attributes"] if name.startswith("task")] == []
    assert capsys.readouterr().err == ""


def test_what_cannot_be_stored_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd(Line):
        def __init__(self) -> None:
            super().__init__()
            self.counter = Counter[str]()

        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            self.counter["batches"] += 1
            return super().training_step(batch, batch_idx)

    _, _, _, (state, _) = fit(Odd(), 5)
    assert "attributes" not in state or "counter" not in state["attributes"].get("task", {})
    said = capsys.readouterr().err
    assert said.count("task.counter: expected") == 1
    assert "a resume does not restore it" in said


def test_what_has_not_changed_is_not_stored() -> None:
    task = Line()
    task.words = ["a"] * 1000  # type: ignore[assignment]
    _, _, _, (state, _) = fit(task, 5)
    assert "words" not in state.get("attributes", {}).get("task", {})


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x["list"].append(1), lambda x: x["dict"].update(a=2), lambda x: x["deep"][0][0].append(1),
        lambda x: x["tensor"].add_(1), lambda x: x["array"].__setitem__(0, 1), lambda x: x["set"].add(3),
        lambda x: x.update(number=2), lambda x: x.update(nan=0.0),
    ],
)  # fmt: skip
def test_a_change_is_seen(change: Any) -> None:
    value: dict[str, Any] = {
        "list": [1], "dict": {"a": 1}, "deep": [[[]]], "tensor": torch.zeros(2), "array": np.zeros(2), "set": {1, "a"},
        "number": 1, "nan": float("nan"),
    }  # fmt: skip
    before = mark(value)
    assert mark(value) == before
    change(value)
    assert mark(value) != before


def test_what_is_large_or_holds_itself_takes_no_time() -> None:
    ring: list[Any] = []
    ring.append(ring)
    large = list(range(10 * MOST))
    assert mark(ring) == mark(ring)
    assert mark(large) == ("object", id(large))
