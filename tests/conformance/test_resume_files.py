"""A fit that goes on from a file: where in the epoch it goes on, and which files are there afterwards, as on Lightning."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from tests.conformance.both import Loader
from tests.conformance.strategies import resumes
from tests.conformance.toy import batches
from tests.conformance.variants import quiet
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.digest import weights_sha256
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer
from training.loop.view import TrainerView

Resumed = tuple[dict[str, Any], int, int, int, bool]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def model(base: type, seen: list[Any]) -> Any:
    """One layer; notes where it trains; its metric is a function of the step."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)
            with torch.no_grad():
                for p in self.parameters():
                    p.fill_(0.25)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append((self.current_epoch, batch_idx, self.global_step))
            loss = self.layer(batch).square().mean()
            self.log("loss", loss, on_step=True, on_epoch=True, batch_size=len(batch))
            self.log("value", float(7 * self.global_step % 5))
            return loss

        def on_train_epoch_start(self) -> None:
            seen.append("epoch")

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Its metrics would be there again in ours, and not in Lightning's, when the fit goes on."""

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.125)
            return [optimizer], [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "interval": "step"}]

    return Model()


def fit(library: str, folder: Path, arguments: dict[str, Any], limits: dict[str, Any], start: Path | None = None) -> None:
    """Train up to ``limits``, from the file ``start`` if given, with a ModelCheckpoint of these arguments."""
    seen: list[Any] = []
    if library == "ours":
        config = TrainConfig(device="cpu", progress=False, num_sanity_val_steps=0, **{"max_epochs": -1, **limits})
        state = None if start is None else checkpoint.load(start)
        trainer = Trainer(config, callbacks=[ModelCheckpoint(folder, **arguments)], logger=False)
        trainer.fit(model(Task, seen), FixedBatches(batches(4)), FixedBatches(batches(1)), state=state)
    else:
        saving: Any = pl.callbacks.ModelCheckpoint(folder, **arguments)
        theirs = pl.Trainer(
            accelerator="cpu",
            devices=1,
            callbacks=[saving],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **{"max_epochs": -1, **limits},
        )
        theirs.fit(model(pl.LightningModule, seen), Loader(batches(4)), Loader(batches(1)), ckpt_path=start)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ckpt"))


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(resumes())
def test_the_same_files_are_there(tmp_path_factory: pytest.TempPathFactory, case: Resumed) -> None:
    """By any arguments; the file that the fit goes on from is there afterwards, and no other is written over."""
    arguments, first, second, which, elsewhere = case
    folder = tmp_path_factory.mktemp("resumed")
    found = {}
    for library in ("ours", "Lightning"):
        one, two = folder / library, folder / (f"{library}-2" if elsewhere else library)
        fit(library, one, arguments, {"max_steps": first})
        before = names(one)
        if not [name for name in before if not name.startswith("last")]:
            return  # a file of after the fit: Lightning counts another epoch when it goes on from one
        start = one / before[which % len(before)]
        fit(library, two, arguments, {"max_steps": second}, start)
        assert start.exists()
        found[library] = before, names(one), names(two)
    assert found.get("ours") == found.get("Lightning"), case


def stops() -> Iterator[tuple[int, dict[str, Any], bool]]:
    goals: list[dict[str, Any]] = [{"max_steps": 9}, {"max_epochs": 2}, {"max_steps": 7, "max_epochs": 2}]
    yield from itertools.product((1, 3, 6), goals, (False, True))


def ours(folder: Path, seen: list[Any], **limits: Any) -> tuple[Any, Trainer]:
    """A task, and a Trainer that writes end.ckpt at each epoch's end."""
    config = TrainConfig(device="cpu", progress=False, num_sanity_val_steps=0, **{"max_epochs": -1, **limits})
    saving = ModelCheckpoint(folder, filename="end", save_on_train_epoch_end=True)
    return model(Task, seen), Trainer(config, callbacks=[saving], logger=False)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_goes_on_in_the_epoch_that_max_steps_ended(tmp_path: Path, accumulate: int) -> None:
    """As a fit that was never stopped does, bit for bit; whether the file is of the epoch's end or of after the fit."""
    data = FixedBatches(batches(5)), FixedBatches(batches(1))
    for number, (first, goal, after) in enumerate(stops()):
        folder, more = tmp_path / str(number), {"accumulate_grad_batches": accumulate}
        all_seen: list[Any] = []
        seen: list[Any] = []
        whole, trainer = ours(folder / "whole", all_seen, **goal, **more)
        trainer.fit(whole, *data)
        task, begun = ours(folder / "begun", seen, max_steps=first, **more)
        begun.fit(task, *data)
        if after:
            begun.save_checkpoint(folder / "begun" / "end.ckpt")
        rest, resumed = ours(folder / "rest", seen, **goal, **more)
        resumed.fit(rest, *data, state=checkpoint.load(folder / "begun" / "end.ckpt"))
        assert weights_sha256(rest) == weights_sha256(whole), (first, goal, after)
        assert seen == all_seen
        assert resumed.metrics == trainer.metrics
        assert (resumed.current_epoch, resumed.global_step) == (trainer.current_epoch, trainer.global_step)


def test_an_epoch_that_a_stop_ended_is_over(tmp_path: Path) -> None:
    """Only max_steps can be raised: early stopping, or fewer batches an epoch, end it for good."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
            trainer.should_stop = True

    cases: list[tuple[list[Callback], dict[str, Any], list[Any]]] = [
        ([Stop()], {}, []), ([], {"limit_train_batches": 2}, [(1, 0, 3), (1, 1, 4)]),
    ]  # fmt: skip
    for callbacks, more, expected in cases:
        config = TrainConfig(device="cpu", progress=False, max_steps=3, max_epochs=2)
        saving = ModelCheckpoint(tmp_path / str(len(callbacks)), filename="end", save_on_train_epoch_end=True)
        Trainer(config, callbacks=[saving, *callbacks], logger=False).fit(model(Task, []), FixedBatches(batches(5)))
        seen: list[Any] = []
        again = Trainer(TrainConfig(device="cpu", progress=False, max_epochs=2, **more), logger=False)
        state = checkpoint.load(tmp_path / str(len(callbacks)) / "end.ckpt")
        again.fit(model(Task, seen), FixedBatches(batches(5)), state=state)
        assert [each for each in seen if each != "epoch"] == expected
