"""Where an evaluation of a checkpoint's weights is not Lightning's: the states of callbacks, and the hook after predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from tests.conformance.both import Loader
from tests.conformance.toy import batches
from tests.conformance.variants import quiet
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

VERBS = ("validate", "test", "predict")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def task_of(base: type, events: list[str]) -> Any:
    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = self.layer(batch).square().mean()
            return loss

        def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
            pass

        test_step = validation_step

        def predict_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            return torch.zeros(1)

        def on_predict_model_train(self) -> None:
            events.append("on_predict_model_train")

        def on_test_model_train(self) -> None:
            events.append("on_test_model_train")

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.125)

    return Model()


def callback_of(base: type, events: list[str]) -> Any:
    class Keeps(base):  # type: ignore[misc]
        def state_dict(self) -> dict[str, Any]:
            return {"kept": 1}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            events.append("load_state_dict")

    return Keeps()


@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated")
@pytest.mark.parametrize("verb", VERBS)
def test_states_of_callbacks_and_the_hook_after_predict(verb: str, tmp_path: Path) -> None:
    data = batches(2)
    there: list[str] = []
    callbacks = [callback_of(pl.Callback, there)]
    settings: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, callbacks=callbacks, enable_checkpointing=False, **settings)
    trainer.fit(task_of(pl.LightningModule, there), Loader(data), Loader(data))
    trainer.save_checkpoint(tmp_path / "there.ckpt")
    there.clear()
    getattr(trainer, verb)(task_of(pl.LightningModule, there), Loader(data), ckpt_path=tmp_path / "there.ckpt")

    here: list[str] = []
    ours = Trainer(
        TrainConfig(device="cpu", max_epochs=1, progress=False), callbacks=[callback_of(Callback, here)], logger=False
    )
    ours.fit(task_of(Task, here), FixedBatches(data), FixedBatches(data))
    ours.save_checkpoint(tmp_path / "here.ckpt")
    here.clear()
    getattr(ours, verb)(task_of(Task, here), FixedBatches(data), ckpt_path=tmp_path / "here.ckpt")

    after = {"validate": [], "test": ["on_test_model_train"], "predict": ["on_predict_model_train"]}[verb]
    assert there == ["load_state_dict", *(after if verb != "predict" else [])]
    assert here == after
