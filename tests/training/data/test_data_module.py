"""DataModule: what stands in checkpoints for it, and the hooks that it shares with the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.toytask import Line, fixed, trainer
from training import DataModule, checkpoint
from training.errors import CheckpointError, ConfigError


class Counts(DataModule):
    """Counts the batches that it moved."""

    def __init__(self, scale: float, size: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.count = 0

    def train_dataloader(self) -> Any:
        return fixed()

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        self.count += 1
        scaled: Tensor = batch * self.hparams.scale
        return scaled

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]


def fitted(task: Line, data: DataModule) -> Any:
    """A Trainer that ran the task with the module's hooks."""
    made = trainer(max_epochs=1)
    made.fit(task, datamodule=data)
    return made


def test_its_hooks_run_and_its_state_stands_in_checkpoints(tmp_path: Path) -> None:
    data = Counts(2.0)
    made = fitted(Line(), data)
    assert data.count == 4
    made.save_checkpoint(tmp_path / "a.ckpt")
    found = checkpoint.load(tmp_path / "a.ckpt")
    assert found["datamodule_hyper_parameters"] == {"scale": 2.0, "size": 2}
    loaded = Counts.load_from_checkpoint(tmp_path / "a.ckpt", size=5)
    assert (loaded.count, loaded.hparams) == (4, {"scale": 2.0, "size": 5})
    with pytest.raises(ConfigError, match="Counts takes no sise; it takes scale, size"):
        Counts.load_from_checkpoint(tmp_path / "a.ckpt", sise=5)
    made.fit(Line(), fixed())
    made.save_checkpoint(tmp_path / "b.ckpt")
    with pytest.raises(CheckpointError, match="Counts needs scale, which the checkpoint does not hold"):
        Counts.load_from_checkpoint(tmp_path / "b.ckpt")


def test_a_fit_that_goes_on_takes_its_state_up() -> None:
    made, data = fitted(Line(), Counts(1.0)), Counts(1.0)
    state = made.state()
    trainer(max_epochs=2).fit(Line(), datamodule=data, state=state)
    assert data.count == 8


def test_of_hooks_that_both_have_the_modules_is_called() -> None:
    class Own(Line):
        def on_before_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
            return batch + 1

        def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
            raise AssertionError

    class Sees(Own):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            seen.append(batch)
            return self.loss(batch)

    seen: list[Tensor] = []
    with pytest.warns(UserWarning, match="on_after_batch_transfer: the task and the data module have one; the data"):
        fitted(Sees(), Counts(2.0))
    assert all(torch.equal(batch, (plain + 1) * 2) for batch, plain in zip(seen, fixed().batches, strict=True))


def test_a_hook_that_is_none_is_skipped() -> None:
    task, data = Line(), Counts(2.0)
    data.on_after_batch_transfer = None  # type: ignore[assignment, method-assign]
    task.transfer_batch_to_device = None  # type: ignore[assignment, method-assign]
    fitted(task, data)
    assert data.count == 0


def test_a_loader_that_is_not_there_is_said() -> None:
    for owner in (DataModule(), Line()):
        for name in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"):
            with pytest.raises(ConfigError, match=f"expected {type(owner).__name__} to have a {name}, got none"):
                getattr(owner, name)()
    with pytest.raises(ConfigError, match="expected torch's Datasets, or lists or dicts of them, got int"):
        DataModule.from_datasets(5)
