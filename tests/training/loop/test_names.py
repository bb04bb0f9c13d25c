"""What a Trainer says under Lightning's names, beside Lightning's own."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.loop.task import Task
from training.loop.trainer import Trainer

NAMES = (
    "world_size num_nodes num_devices global_rank local_rank node_rank is_global_zero current_epoch global_step min_epochs "
    "max_epochs max_steps precision log_every_n_steps fast_dev_run is_last_batch training "
    "limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches val_check_interval "
    "num_sanity_val_steps gradient_clip_val gradient_clip_algorithm evaluating "
    "validating testing predicting sanity_checking num_training_batches accumulate_grad_batches check_val_every_n_epoch"
).split()
OF_TRAINING = ("is_last_batch", "num_training_batches")  # elsewhere Lightning says what it was last, or infinite
POINTS = torch.arange(30, dtype=torch.float32).reshape(10, 3) / 30
SETTINGS: list[dict[str, Any]] = [
    {"max_epochs": 2}, {"max_epochs": 2, "accumulate_grad_batches": 3}, {"max_epochs": -1, "max_steps": 7},
    {"max_epochs": 3, "limit_train_batches": 2}, {"fast_dev_run": 2},
    {"max_epochs": 1, "gradient_clip_val": 0.5, "gradient_clip_algorithm": "norm", "num_sanity_val_steps": -1},
    {"max_epochs": 1, "overfit_batches": 2}, {"max_epochs": 1, "val_check_interval": 2, "limit_val_batches": 0.5},
    {"max_epochs": 1, "limit_test_batches": 1, "limit_predict_batches": 0.5},
]  # fmt: skip


def module(base: type) -> Any:
    class Module(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)
            self.seen: list[Any] = []

        def see(self, where: str) -> None:
            self.seen.append((where, {name: getattr(self.trainer, name) for name in NAMES}))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.see("training_step")
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.see("validation_step")

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.see("test_step")

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            self.see("predict_step")

        def configure_optimizers(self) -> Any:
            self.steps = self.trainer.estimated_stepping_batches
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Module()


def run(base: type, trainer: Any) -> Any:
    made = module(base)
    loader: Any = DataLoader(POINTS, batch_size=3)  # type: ignore[arg-type]
    trainer.fit(made, loader, loader)
    trainer.test(made, loader, verbose=False)
    trainer.predict(made, loader)
    return made


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_at_each_step_they_are_lightnings(settings: dict[str, Any]) -> None:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    given = {**quiet, "enable_checkpointing": False, **settings}
    theirs = run(pl.LightningModule, pl.Trainer(devices=1, **given))
    ours = run(Task, Trainer(**given))
    assert ours.steps == theirs.steps
    assert len(ours.seen) == len(theirs.seen)
    for (where, mine), (there, found) in zip(ours.seen, theirs.seen, strict=True):
        assert where == there
        for name in NAMES:
            if where == "training_step" or name not in OF_TRAINING:
                assert mine[name] == found[name], (where, name)


def test_who_takes_part() -> None:
    class Log:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None: ...

    log, stopping, keeping = Log(), EarlyStopping("x"), ModelCheckpoint("/tmp/x")
    trainer = Trainer(max_epochs=1, logger=log, callbacks=[stopping, keeping], accelerator="cpu")
    assert trainer.logger is log
    assert trainer.early_stopping_callback is stopping
    assert trainer.checkpoint_callback is keeping
    bare = Trainer(max_epochs=1, logger=False, accelerator="cpu")
    assert (bare.logger, bare.early_stopping_callback, bare.checkpoint_callback) == (None,) * 3
    assert bare.log_dir == bare.default_root_dir
