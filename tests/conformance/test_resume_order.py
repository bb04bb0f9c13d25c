"""A fit that goes on from a checkpoint, taken after an epoch: the same hooks in the same order on Lightning and on ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from tests.conformance.both import Loader
from tests.conformance.toy import batches
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

HOOKS = (
    "setup configure_model on_fit_start on_sanity_check_start on_train_start on_train_epoch_start on_train_batch_start "
    "on_validation_start on_train_epoch_end on_load_checkpoint load_state_dict on_train_end on_fit_end teardown"
).split()


def noted(base: type, events: list[str], who: str) -> Any:
    """A subclass of ``base`` whose hooks note their names, and then do what they did."""

    def make(hook: str) -> Any:
        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            events.append(f"{who}: {hook}")
            return getattr(super(made, self), hook)(*arguments, **named)

        return method

    own = {hook: make(hook) for hook in HOOKS if hasattr(base, hook) and (who == "callback" or hook != "load_state_dict")}
    made = type("Noted", (base,), own)
    return made()


def behavior(base: type, events: list[str]) -> type:
    """One linear layer."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)
            with torch.no_grad():
                for p in self.parameters():
                    p.fill_(0.25)

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = self.layer(batch).square().mean()
            return loss

        def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
            pass

        def configure_optimizers(self) -> Any:
            events.append(f"task: configure_optimizers, {float(self.layer.bias.detach()):.6f}")
            return torch.optim.Adam(self.parameters(), lr=0.125)

    return Model


def keeps(base: type) -> type:
    """A callback with a state."""

    class Keeps(base):  # type: ignore[misc]
        def state_dict(self) -> dict[str, Any]:
            return {"kept": 1}

    return Keeps


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_the_hooks_of_a_fit_that_goes_on(tmp_path: Path) -> None:
    """Weights are there when the optimizer is made, the callbacks' states before on_fit_start. No sanity check on resume."""
    seen: dict[str, list[str]] = {"ours": [], "Lightning": []}
    final = {}
    for name, events in seen.items():
        base, callback_base = (Task, Callback) if name == "ours" else (pl.LightningModule, pl.Callback)
        for epochs in (1, 2):
            events.clear()
            task, callback = noted(behavior(base, events), events, "task"), noted(keeps(callback_base), events, "callback")
            folder = tmp_path / name
            if name == "ours":
                saving = ModelCheckpoint(folder, filename=f"{epochs}", save_top_k=-1)
                config = TrainConfig(device="cpu", progress=False, max_epochs=epochs)
                state = checkpoint.load(folder / "1.ckpt") if epochs == 2 else None
                Trainer(config, callbacks=[callback, saving], logger=False).fit(
                    task, FixedBatches(batches(3)), FixedBatches(batches(1)), state=state
                )
            else:
                saved: Any = pl.callbacks.ModelCheckpoint(folder, filename=f"{epochs}", save_top_k=-1)
                trainer = pl.Trainer(
                    accelerator="cpu",
                    devices=1,
                    max_epochs=epochs,
                    callbacks=[callback, saved],
                    logger=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,  # on resume ours never has one; Lightning does where an epoch has just ended
                )
                path = folder / "1.ckpt" if epochs == 2 else None
                trainer.fit(task, Loader(batches(3)), Loader(batches(1)), ckpt_path=path)
        final[name] = task.layer.weight.detach().clone()
    assert any("load_state_dict" in event for event in seen["ours"])
    assert not any("sanity" in event for event in seen["ours"])
    assert seen["ours"] == seen["Lightning"]
    assert torch.equal(final["ours"], final["Lightning"])
