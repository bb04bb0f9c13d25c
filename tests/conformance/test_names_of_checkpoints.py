"""Programs that look into checkpoints, copy their module or ask the Trainer for its loop, beside Lightning."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

import training.lightning_names as ours
from tests.conformance import small

POINTS = torch.arange(30, dtype=torch.float32).reshape(10, 3) / 30
QUIET: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of much
SIDES = pytest.mark.parametrize("side", [pl, ours], ids=["lightning", "ours"])


def stepped(self: Any) -> Any:
    made = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
    return [made], [torch.optim.lr_scheduler.StepLR(made, 1)]


def module(side: Any, **hooks: Any) -> Any:
    return small.module(side, **{"configure_optimizers": stepped, **hooks})


def loader() -> Any:
    return DataLoader(POINTS, batch_size=2)  # type: ignore[arg-type]


def trainer(side: Any, **more: Any) -> Any:
    return side.Trainer(**{"max_epochs": 2, "enable_checkpointing": False, **QUIET, **more})


@SIDES
@pytest.mark.parametrize("weights_only", [False, True])
def test_a_file_has_lightnings_names(side: Any, weights_only: bool, tmp_path: Path) -> None:
    made, fitted = module(side), trainer(side)
    fitted.fit(made, loader())
    fitted.save_checkpoint(tmp_path / "a.ckpt", weights_only=weights_only)
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert (found["epoch"], found["global_step"]) == (2, 10)
    assert module(side).load_state_dict(found["state_dict"])
    assert all(torch.equal(found["state_dict"][name], value) for name, value in made.state_dict().items())
    assert weights_only == ("optimizer_states" not in found) == ("lr_schedulers" not in found)
    if not weights_only:
        assert len(found["optimizer_states"][0]["state"]) == 2
        assert found["lr_schedulers"][0]["last_epoch"] == 2


def test_the_tensors_are_written_once(tmp_path: Path) -> None:
    fitted = trainer(ours)
    fitted.fit(module(ours), loader())
    fitted.save_checkpoint(tmp_path / "a.ckpt")
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    pairs = [(found["state_dict"], found["weights"])]
    pairs += [
        (a["momentum_buffer"], b["momentum_buffer"]) for a, b in
        zip(found["optimizer_states"][0]["state"].values(), found["optimizers"][0]["state"].values(), strict=True)
    ]  # fmt: skip
    for named, own in pairs:
        tensors = zip(named.values(), own.values(), strict=True) if isinstance(named, dict) else [(named, own)]
        assert all(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() for a, b in tensors)


@SIDES
@pytest.mark.parametrize("replaces", [False, True], ids=["in place", "another dict"])
def test_hooks_change_the_weights_that_are_saved_and_loaded(side: Any, replaces: bool, tmp_path: Path) -> None:
    def drop(self: Any, checkpoint: dict[str, Any]) -> None:
        assert checkpoint["epoch"] >= 0
        assert checkpoint["global_step"] >= 0
        if replaces:
            checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k != "layer.bias"}
        else:
            del checkpoint["state_dict"]["layer.bias"]

    def complete(self: Any, checkpoint: dict[str, Any]) -> None:
        if replaces:
            checkpoint["state_dict"] = {**checkpoint["state_dict"], "layer.bias": torch.tensor([7.0])}
        else:
            checkpoint["state_dict"]["layer.bias"] = torch.tensor([7.0])

    fitted = trainer(side)
    fitted.fit(module(side, on_save_checkpoint=drop), loader())
    fitted.save_checkpoint(tmp_path / "a.ckpt")
    assert list(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]) == ["layer.weight"]
    tested = module(side, on_load_checkpoint=complete)
    trainer(side).test(tested, loader(), ckpt_path=str(tmp_path / "a.ckpt"), verbose=False)
    assert tested.layer.bias.item() == 7
    loaded = type(module(side, on_load_checkpoint=complete)).load_from_checkpoint(tmp_path / "a.ckpt")
    assert loaded.layer.bias.item() == 7
    resumed = module(side, on_load_checkpoint=complete)
    trainer(side).fit(resumed, loader(), ckpt_path=str(tmp_path / "a.ckpt"))
    assert resumed.layer.bias.item() == 7


@SIDES
def test_a_module_is_copied_and_pickled_after_its_fit(side: Any) -> None:
    made, fitted = module(side), trainer(side)
    fitted.fit(made, loader())
    copied = copy.deepcopy(made)
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), copied.state_dict().values(), strict=True))
    state = made.__getstate__()
    assert state["_trainer"] is None
    assert made.trainer is fitted
    pickle.Pickler(io.BytesIO()).dump({name: value for name, value in state.items() if name != "_modules"})
    trainer(side).fit(copied, loader())


@SIDES
def test_the_fit_loop_takes_more_epochs(side: Any) -> None:
    made, fitted = module(side), trainer(side, max_epochs=1)
    fitted.fit(made, loader())
    fitted.fit_loop.max_epochs = 3
    fitted.fit(made, loader())
    assert (fitted.current_epoch, fitted.global_step, fitted.max_epochs, fitted.fit_loop.max_epochs) == (3, 15, 3, 3)
    assert fitted.fit_loop.max_steps == -1
    assert fitted.fit_loop.total_batch_idx == 14
    assert len(fitted.train_dataloader) == 5
    assert fitted.val_dataloaders is None
    assert [type(each.scheduler).__name__ for each in fitted.lr_scheduler_configs] == ["StepLR"]


@SIDES
@pytest.mark.parametrize("more", [10, 7, -1])
def test_the_fit_loop_takes_more_steps(side: Any, more: int) -> None:
    made, fitted = module(side), trainer(side, max_epochs=3, max_steps=5)
    fitted.fit(made, loader())
    fitted.fit_loop.epoch_loop.max_steps = more
    assert (fitted.max_steps, fitted.fit_loop.max_steps) == (more, more)
    fitted.fit(made, loader())
    assert fitted.global_step == (15 if more == -1 else more)


@SIDES
def test_an_optimizer_toggles_the_module(side: Any) -> None:
    seen: list[bool] = []

    def step(self: Any, batch: Any, batch_idx: int) -> None:
        first, _ = self.optimizers()
        assert repr(first).endswith(repr(first.optimizer))
        with first.toggle_model(sync_grad=True):
            seen.extend(each.requires_grad for each in self.layer.parameters())
            self.manual_backward(self.layer(batch).square().mean())
            first.step()
            first.zero_grad()
        seen.extend(each.requires_grad for each in self.layer.parameters())

    def optimizers(self: Any) -> Any:
        return [torch.optim.SGD([each], lr=0.1) for each in self.layer.parameters()]

    made = module(side, training_step=step, configure_optimizers=optimizers)
    made.automatic_optimization = False
    trainer(side, limit_train_batches=1, max_epochs=1).fit(made, loader())
    assert seen == [True, False, True, True]


@SIDES
def test_checkpoints_without_a_logger_have_a_folder(side: Any, tmp_path: Path) -> None:
    fitted = trainer(side, enable_checkpointing=True, default_root_dir=str(tmp_path))
    fitted.fit(module(side), loader())
    assert Path(fitted.checkpoint_callback.best_model_path) == tmp_path / "checkpoints" / "epoch=1-step=10.ckpt"


def test_a_test_after_a_fit_that_failed_leaves_its_folder(tmp_path: Path) -> None:
    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 1:
            raise ValueError("of the user's")
        return self.layer(batch).square().mean()

    fitted = trainer(ours, logger=True, default_root_dir=tmp_path)
    with pytest.raises(ValueError, match="of the user's"):
        fitted.fit(module(ours, training_step=step), loader())
    before = (Path(fitted.log_dir) / "manifest.json").read_bytes()
    assert fitted.test(module(ours), loader(), verbose=False)[0]["loss"] > 0
    assert (Path(fitted.log_dir) / "manifest.json").read_bytes() == before


def test_a_test_that_logs_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(ours).test(module(ours, test_step=lambda self, batch, batch_idx: None), loader())
    assert capsys.readouterr().out == ""
