"""What a Trainer is told and tells outside of its hooks, beside Lightning."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import training.lightning_names as ours
from training.errors import Preempted

POINTS = torch.arange(30, dtype=torch.float32).reshape(10, 3) / 30
QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_epochs": 1,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of much
SIDES = pytest.mark.parametrize("side", [pl, ours], ids=["lightning", "ours"])


def module(side: Any, **hooks: Any) -> Any:
    class Module(side.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).square().mean()

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("loss", self.layer(batch).square().mean(), batch_size=len(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for name, hook in hooks.items():
        setattr(Module, name, hook)
    return Module()


def loader() -> Any:
    return DataLoader(POINTS, batch_size=5)  # type: ignore[arg-type]


def trainer(side: Any, **more: Any) -> Any:
    return side.Trainer(**{**QUIET, **more})


@SIDES
@pytest.mark.parametrize("place", ["setup", "training_step", "on_fit_end"])
def test_an_error_leaves_it_interrupted(side: Any, place: str) -> None:
    seen: list[Any] = []

    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("of the user's")

    class Sees(side.Callback):  # type: ignore[misc]
        def on_exception(self, trainer: Any, *args: Any) -> None:
            seen.append((trainer.state.fn, trainer.training))

    fitted = trainer(side, callbacks=[Sees()])
    with pytest.raises(ValueError, match="of the user's"):
        fitted.fit(module(side, **{place: fails}), loader())
    assert seen == [("fit", True)]
    assert (fitted.interrupted, fitted.state.status, fitted.state.finished) == (True, "interrupted", False)
    assert (fitted.state.stage, fitted.training) == (None, False)
    fitted.test(module(side), loader(), verbose=False)
    assert (fitted.interrupted, fitted.state.fn, fitted.state.finished, fitted.state.stopped) == (False, "test", True, True)


@SIDES
def test_the_path_that_a_verb_began_with(side: Any, tmp_path: Path) -> None:
    fitted, path = trainer(side), str(tmp_path / "a.ckpt")
    assert fitted.ckpt_path is None
    fitted.fit(module(side), loader())
    fitted.save_checkpoint(path)
    assert fitted.ckpt_path is None
    fitted.test(module(side), loader(), ckpt_path=path, verbose=False)
    assert fitted.ckpt_path == path
    fitted.test(module(side), loader(), verbose=False)
    assert fitted.ckpt_path is None
    again = trainer(side, max_epochs=2)
    again.fit(module(side), loader(), ckpt_path=path)
    assert (again.ckpt_path, again.current_epoch) == (path, 2)


@SIDES
def test_a_path_that_is_set_holds_until_it_is_none(side: Any, tmp_path: Path) -> None:
    fitted, path, other = trainer(side), str(tmp_path / "a.ckpt"), str(tmp_path / "b.ckpt")
    made = module(side)
    fitted.fit(made, loader())
    fitted.save_checkpoint(path)
    made.layer.bias.data.fill_(7)
    fitted.save_checkpoint(other)
    fitted.ckpt_path = path
    for _ in range(2):
        made.layer.bias.data.fill_(9)
        fitted.test(made, loader(), verbose=False)
        assert made.layer.bias.item() < 7
        assert fitted.ckpt_path == path
    fitted.test(made, loader(), ckpt_path=other, verbose=False)  # what is passed goes before it
    assert (made.layer.bias.item(), fitted.ckpt_path) == (7, other)
    made.layer.bias.data.fill_(9)
    fitted.test(made, loader(), verbose=False)
    assert (made.layer.bias.item(), fitted.ckpt_path) == (9, None)


@SIDES
@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("64-true", torch.float64)])
def test_modules_are_made_where_they_run(side: Any, precision: str, dtype: torch.dtype) -> None:
    with trainer(side, precision=precision).init_module():
        made = nn.Linear(1, 1)
    assert (made.weight.device.type, made.weight.dtype, nn.Linear(1, 1).weight.dtype) == ("cpu", dtype, torch.float32)


@SIDES
def test_one_process_has_nobody_to_wait_for(side: Any) -> None:
    strategy, ones = trainer(side).strategy, torch.ones(2)
    assert strategy.barrier("here") is None
    assert strategy.broadcast([3]) == [3]
    assert torch.equal(strategy.reduce(ones, reduce_op="sum"), ones)
    assert torch.equal(strategy.all_gather(ones), ones)
    assert strategy.reduce_boolean_decision(True)


def test_a_hook_sees_that_sigterm_came(tmp_path: Path) -> None:
    seen = []

    def ends(self: Any, *args: Any) -> None:
        seen.append(self.trainer.received_sigterm)
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(self.trainer.received_sigterm)

    fitted = ours.Trainer(**{**QUIET, "logger": True}, default_root_dir=tmp_path)
    with pytest.raises(Preempted):
        fitted.fit(module(ours, on_train_batch_end=ends), loader())
    assert seen == [False, True]
    assert fitted.interrupted


def test_the_state_is_what_it_does_and_called_what_it_goes_on_with() -> None:
    fitted = trainer(ours)
    assert str(fitted.state) == "TrainerState(status=<TrainerStatus.INITIALIZING: 'initializing'>, fn=None, stage=None)"
    fitted.fit(module(ours), loader())
    assert fitted.state()["progress"]["global_step"] == 2
