"""Parameter groups that are added in a fit: left at any batch, it goes on with them to the same bits."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.errors import CheckpointError
from training.loop.task import Task
from training.loop.trainer import Trainer

BATCHES, EPOCHS = 3, 3


class Left(Exception):
    """The fit was left."""


class Growing(Task):
    """Trains its layers one by one: each gets a group when its batch comes."""

    def __init__(self, kind: str, at: dict[int, int]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
        self.kind, self.at = kind, at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        for layer in self.layers:
            batch = torch.tanh(layer(batch))
        return batch.square().mean()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        layer = self.at.get(self.trainer.current_epoch * BATCHES + batch_idx)
        if layer is not None:
            optimizer = self.trainer.optimizers[0]
            optimizer.add_param_group({"params": list(self.layers[layer].parameters()), "lr": 0.25 / (layer + 1)})

    def configure_optimizers(self) -> Any:
        optimizer = getattr(torch.optim, self.kind)(self.layers[0].parameters(), lr=0.125)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def fit(task: Task, stop: int = -1, state: Any = None) -> Any:
    """The state at the ``stop``-th boundary, or None at the end."""
    boundaries, found = itertools.count(), []

    def keep_going(trainer: Any) -> None:
        if next(boundaries) == stop:
            found.append(trainer.state())
            raise Left

    source = FixedBatches([torch.arange(4.0).reshape(2, 2) + i for i in range(BATCHES)])
    config = TrainConfig(device="cpu", progress=False, max_epochs=EPOCHS)
    with contextlib.suppress(Left):
        Trainer(config, logger=False, keep_going=keep_going).fit(task, source, state=state)
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("at", [{1: 1}, {0: 3, 4: 1, 8: 2}, {5: 2, 6: 1}])
def test_groups_that_are_added_are_found_again(kind: str, at: dict[int, int]) -> None:
    whole = Growing(kind, at)
    fit(whole)
    for stop in range(BATCHES * EPOCHS + EPOCHS - 1):
        state = fit(Growing(kind, at), stop)
        resumed = Growing(kind, at)
        again = fit(resumed, 1, state)  # left once more, at the next boundary but one
        if again is not None:
            resumed = Growing(kind, at)
            fit(resumed, state=again)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, resumed.state_dict()[name]), (stop, name)


def test_a_state_says_which_groups_there_are_where_they_are_others_than_at_first() -> None:
    assert "parameter_groups" not in fit(Growing("SGD", {5: 1}), 2)
    state = fit(Growing("SGD", {1: 2}), 2)
    first, second = ([f"layers.{i}.weight", f"layers.{i}.bias"] for i in (0, 2))
    assert state["parameter_groups"] == {"0": [first, second]}


def test_groups_of_another_model_are_refused() -> None:
    state = fit(Growing("SGD", {1: 2}), 2)
    state["parameter_groups"] = {"0": [["layers.0.weight"], ["other"]]}
    with pytest.raises(CheckpointError, match="of another model, other data or other settings"):
        fit(Growing("SGD", {}), state=state)
