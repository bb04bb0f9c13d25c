"""What configure_optimizers may return, beside Lightning: what becomes of it, the weights, what is told, what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

import training.lightning_names as ours

POINTS: Any = torch.arange(18, dtype=torch.float32).reshape(6, 3) / 18
Make = Callable[[torch.optim.Optimizer, torch.optim.Optimizer], Any]


class Own:
    """A scheduler that is not of torch."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def plateau(**more: Any) -> Make:
    return lambda a, b: {"optimizer": a, "lr_scheduler": {"scheduler": ReduceLROnPlateau(a, patience=0), **more}}


def step(**more: Any) -> Make:
    return lambda a, b: {"optimizer": a, "lr_scheduler": {"scheduler": StepLR(a, 1), **more}}


AUTOMATIC: dict[str, Make] = {
    "none": lambda a, b: None,
    "one": lambda a, b: a,
    "a list": lambda a, b: [a],
    "a tuple": lambda a, b: (a,),
    "no optimizers": lambda a, b: [],
    "a number": lambda a, b: 0.1,
    "a dict": lambda a, b: {"optimizer": a},
    "a dict with more": lambda a, b: {"optimizer": a, "lr_scheduler": StepLR(a, 1), "interval": "step", "foo": 1},
    "a tuple of dicts": lambda a, b: ({"optimizer": a, "lr_scheduler": StepLR(a, 1)},),
    "two": lambda a, b: [a, b],
    "mixed": lambda a, b: [{"optimizer": a}, b],
    "lists": lambda a, b: ([a], [StepLR(a, 1), StepLR(a, 2)]),
    "a list and one": lambda a, b: ([a], StepLR(a, 1)),
    "a list and a dict": lambda a, b: ([a], {"scheduler": StepLR(a, 1), "interval": "step"}),
    "a list and none": lambda a, b: ([a], []),
    "a pair": lambda a, b: (a, StepLR(a, 1)),
    "another's": lambda a, b: ([a], [StepLR(b, 1)]),
    "own": lambda a, b: ([a], [Own(a)]),
    "one cycle": lambda a, b: ([a], [{"scheduler": OneCycleLR(a, 0.1, 10)}]),
    "plateau above": lambda a, b: {"optimizer": a, "lr_scheduler": ReduceLROnPlateau(a), "monitor": "loss"},
    "plateau, nothing monitored": lambda a, b: {"optimizer": a, "lr_scheduler": ReduceLROnPlateau(a)},
    "plateau": plateau(monitor="loss", interval="step", frequency=2, name="rate"),
    "plateau without a monitor": plateau(),
    "plateau of nothing": plateau(monitor="nothing"),
    "plateau of nothing, not strict": plateau(monitor="nothing", strict=False),
    "steps": step(interval="step", frequency=2, name="rate"),
    "an interval": step(interval="day"),
    "a monitor": step(monitor="loss"),
    "unknown keys": step(foo=1, every=2),
    "no scheduler": lambda a, b: {"optimizer": a, "lr_scheduler": {}},
}  # fmt: skip
MANUAL: dict[str, Make] = {
    "two": lambda a, b: (a, b),
    "dicts": lambda a, b: [{"optimizer": a, "lr_scheduler": StepLR(a, 1)}, {"optimizer": b}],
    "dicts of dicts": lambda a, b: [{"optimizer": a, "lr_scheduler": {"scheduler": StepLR(a, 1), "interval": "step"}}],
    "own": lambda a, b: ([a], [Own(a)]),
    "plateau": plateau(monitor="loss", interval="step"),
    "plateau without a monitor": plateau(),
    "mixed": lambda a, b: [{"optimizer": a}, b],
}


def run(side: Any, make: Make, automatic: bool) -> list[Any]:
    class Model(side.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = automatic
            self.net = nn.Linear(3, 1)
            for parameter in self.net.parameters():
                nn.init.constant_(parameter, 0.25)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.net(batch).square().mean()
            self.log("loss", loss * 0 + batch_idx)
            if automatic:
                return loss
            optimizers = self.optimizers()
            for each in optimizers if isinstance(optimizers, list) else [optimizers]:
                each.zero_grad()
                self.manual_backward(self.net(batch).square().mean())
                each.step()
            return None

        def configure_optimizers(self) -> Any:
            return make(torch.optim.SGD(self.parameters(), 0.5), torch.optim.SGD(self.parameters(), 0.25))

    model = Model()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer = side.Trainer(max_epochs=2, accelerator="cpu", **quiet)
        try:
            trainer.fit(model, DataLoader(POINTS, batch_size=2))
        except (Exception, SystemExit):
            return ["refused"]
    configs = [
        [
            type(each.scheduler).__name__,
            each.interval,
            each.frequency,
            each.reduce_on_plateau,
            each.monitor,
            each.strict,
            each.name,
        ]
        for each in trainer.lr_scheduler_configs
    ]
    lines = {str(each.message) for each in told if "scheduler" in str(each.message) or "optimizer" in str(each.message)}
    weights = [number for parameter in model.parameters() for number in parameter.flatten().tolist()]
    rates = [group["lr"] for each in trainer.optimizers for group in each.param_groups if group["params"]]
    return [len(trainer.optimizers), trainer.global_step, configs, len(lines), weights, rates]


@pytest.mark.parametrize("form", AUTOMATIC)
def test_what_is_returned_is_taken_as_there(form: str) -> None:
    mine, theirs = (run(side, AUTOMATIC[form], automatic=True) for side in (ours, pl))
    assert mine == theirs


@pytest.mark.parametrize("form", MANUAL)
def test_without_automatic_optimization_too(form: str) -> None:
    mine, theirs = (run(side, MANUAL[form], automatic=False) for side in (ours, pl))
    assert mine == theirs
