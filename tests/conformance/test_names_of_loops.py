"""What hooks read of the Trainer's state, its loops and its device, at each place, beside Lightning."""

from __future__ import annotations

import functools
import math
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import training.lightning_names as ours

POINTS = torch.arange(30, dtype=torch.float32).reshape(10, 3) / 30
COUNTS = [f"{span}.{count}" for span in ("current", "total") for count in ("ready", "started", "processed", "completed")]
NAMES = [
    *(f"state.{each}" for each in ("fn", "status", "stage", "finished", "stopped")),
    *"interrupted received_sigterm training validating testing predicting sanity_checking evaluating should_stop".split(),
    *"num_sanity_val_batches num_val_batches num_test_batches num_predict_batches num_training_batches".split(),
    *(f"fit_loop.{each}" for each in "max_epochs max_steps min_steps batch_idx total_batch_idx max_batches".split()),
    *(f"fit_loop.epoch_progress.{each}" for each in COUNTS),
    *(f"fit_loop.epoch_loop.{each}" for each in "batch_idx total_batch_idx global_step min_steps max_steps".split()),
    *(f"fit_loop.epoch_loop.batch_progress.{each}" for each in (*COUNTS, "is_last_batch")),
    *(f"fit_loop.epoch_loop.val_loop.{each}" for each in ("max_batches", "skip")),
    *(f"fit_loop.epoch_loop.val_loop.batch_progress.{each}" for each in COUNTS),
    *(f"{fn}_loop.{each}" for fn in ("validate", "test") for each in ("max_batches", "skip", "batch_progress.total.ready")),
    *(f"predict_loop.{each}" for each in ("max_batches", "skip")),
    *(f"{fn}_loop.batch_progress.{each}" for fn in ("validate", "test") for each in COUNTS),
    *"device_ids num_devices world_size num_nodes global_rank local_rank node_rank is_global_zero".split(),
    *"strategy.root_device strategy.world_size strategy.global_rank strategy.local_rank strategy.is_global_zero".split(),
    *"strategy.model strategy.lightning_module model lightning_module datamodule ckpt_path scaler barebones".split(),
    "accelerator", "strategy.launcher", "distributed_sampler_kwargs", "reload_dataloaders_every_n_epochs",
]  # fmt: skip
HOOKS = (
    "setup configure_model on_fit_start on_train_start on_train_epoch_start on_train_batch_start on_before_zero_grad "
    "on_train_batch_end on_train_epoch_end on_train_end on_fit_end on_validation_start on_validation_epoch_start "
    "on_validation_batch_start on_validation_batch_end on_validation_epoch_end on_validation_end on_test_start "
    "on_test_batch_start on_test_batch_end on_test_epoch_end on_test_end on_predict_start on_predict_epoch_end "
    "on_predict_end on_sanity_check_start on_sanity_check_end teardown"
).split()
SETTINGS: list[dict[str, Any]] = [
    {"max_epochs": 2, "limit_val_batches": 2, "num_sanity_val_steps": 1},
    {"max_epochs": 2, "accumulate_grad_batches": 3, "val_check_interval": 2},
    {"max_epochs": -1, "max_steps": 6, "num_sanity_val_steps": 0},
    {"fast_dev_run": 2},
    {"max_epochs": 2, "check_val_every_n_epoch": 2, "num_sanity_val_steps": -1},
]


def read(trainer: Any, name: str) -> Any:
    value = functools.reduce(getattr, name.split("."), trainer)
    if isinstance(value, bool | int | float | str | list | None):
        return getattr(value, "value", value)
    return str(value) if isinstance(value, torch.device) else type(value).__name__


def module(side: Any, seen: list[Any]) -> Any:
    class Module(side.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def see(self, where: str) -> None:
            seen.append((where, {name: read(self.trainer, name) for name in NAMES}))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.see("training_step")
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.see("validation_step")

        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.see("test_step")

        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            self.see("predict_step")

        def configure_optimizers(self) -> Any:
            self.see("configure_optimizers")
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def hook(name: str) -> Any:
        return lambda self, *args, **kwargs: self.see(name)

    for name in HOOKS:
        setattr(Module, name, hook(name))
    return Module()


def run(side: Any, settings: dict[str, Any], several: bool) -> list[Any]:
    seen: list[Any] = []
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = side.Trainer(**quiet, enable_checkpointing=False, **settings)
    seen.append(("before", {name: read(trainer, name) for name in NAMES}))
    made = module(side, seen)
    loader: Any = DataLoader(POINTS, batch_size=3)  # type: ignore[arg-type]
    given = [loader, DataLoader(POINTS, batch_size=5)] if several else loader  # type: ignore[arg-type]
    trainer.fit(made, loader, given)
    seen.append(("fitted", {name: read(trainer, name) for name in NAMES}))
    for verb in ("validate", "test", "predict"):
        getattr(trainer, verb)(made, given, **({} if verb == "predict" else {"verbose": False}))
        seen.append((verb, {name: read(trainer, name) for name in NAMES}))
    return seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("several", [False, True], ids=["one source", "two"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_at_each_place_they_are_lightnings(settings: dict[str, Any], several: bool) -> None:
    theirs, found = run(pl, settings, several), run(ours, settings, several)
    assert [where for where, _ in found] == [where for where, _ in theirs]
    differences = []
    for (where, mine), (_, there) in zip(found, theirs, strict=True):
        for name, value in there.items():
            not_looked_at = "batches" in name and value in ([], math.inf)  # data that were given are, here, from the start
            if mine[name] != value and not not_looked_at and not name.endswith("val_loop.skip"):
                differences.append((where, name, mine[name], value))
    assert differences == []
