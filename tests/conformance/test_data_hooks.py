"""Hooks of data, of the task and of a data module, on the installed Lightning and on ours; and a whole program."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torchmetrics

from tests.conformance.both import Loader, same
from tests.conformance.records import plain, simplify
from tests.conformance.toy import batches
from tests.conformance.variants import Change, Seen, model, quiet, run
from training import lightning_names
from training.data.batches import FixedBatches
from training.data.data_module import DataModule
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

BASES: dict[str, tuple[Any, Any]] = {"ours": (Task, DataModule), "Lightning": (pl.LightningModule, pl.LightningDataModule)}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


# -- hooks around a batch's transfer -----------------------------------------------------------------------------------

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def _transferring(which: tuple[str, ...]) -> Change:
    def change(task: Any, callback: Any, seen: Any) -> None:
        def make(hook: str) -> Any:
            inherited = getattr(type(task), hook)

            def method(self: Any, batch: Any, *more: Any) -> Any:
                seen.events.append((hook, simplify(batch), [str(each) for each in more]))
                return inherited(self, batch, *more) + 1

            return method

        for hook in TRANSFERS:
            if hook in which:
                setattr(type(task), hook, make(hook))
        for step in ("training_step", "validation_step", "test_step", "predict_step"):
            setattr(type(task), step, _sees(step, seen))
        for hook in ("on_train_batch_start", "on_validation_batch_start", "on_test_batch_end", "on_predict_batch_end"):
            setattr(type(task), hook, lambda self, *given: seen.events.append(simplify(given[-2])))

    return change


def _sees(step: str, seen: Any) -> Any:
    def method(self: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        seen.events.append((step, simplify(batch), str(batch.dtype)))
        return self(batch)

    return method


@pytest.mark.parametrize("which", [TRANSFERS, TRANSFERS[:1], TRANSFERS[1:2], TRANSFERS[:2]], ids=len)
@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_hooks_around_the_transfer_are_as_there(which: tuple[str, ...], stage: str) -> None:
    for sources in (1, 2):
        precision = "64-true" if sources == 2 else "32-true"
        settings: dict[str, Any] = {"stage": stage, "sources": sources, "precision": precision}
        ours, theirs = (run(library, _transferring(which), **settings) for library in ("ours", "Lightning"))
        assert (ours.events, ours.error, str(ours.found)) == (theirs.events, theirs.error, str(theirs.found))


def test_nothing_can_be_logged_there() -> None:
    def change(task: Any, callback: Any, seen: Any) -> None:
        type(task).on_after_batch_transfer = lambda self, batch, dataloader_idx: self.log("x", 1.0)

    assert run("Lightning", change).error
    assert "nothing can be logged in on_after_batch_transfer" in run("ours", change).error


# -- data modules ------------------------------------------------------------------------------------------------------


def test_a_data_module_of_datasets_is_as_there() -> None:
    def described(base: Any) -> list[Any]:
        class Takes(base):  # type: ignore[misc]
            def __init__(self, extra: int, batch_size: int = 7) -> None:
                super().__init__()
                self.extra, self.batch_size = extra, batch_size

        class Keeps(base):  # type: ignore[misc]
            def __init__(self, **more: Any) -> None:
                super().__init__()
                self.save_hyperparameters()

        points = torch.utils.data.TensorDataset(torch.arange(10))
        found: list[Any] = []
        made = Takes.from_datasets(points, [points, points], {"a": points}, batch_size=3, extra=1)
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            loaders = getattr(made, name)()
            each = loaders.values() if isinstance(loaders, dict) else loaders if isinstance(loaders, list) else [loaders]
            found.append([(type(loader.sampler).__name__, loader.batch_size, loader.num_workers) for loader in each])
        made.test_dataloader = made.train_dataloader  # there a dict can't be shown
        found += [made.extra, made.batch_size, str(made).splitlines()]
        found.append(dict(Keeps.from_datasets(points, batch_size=2, other=1).hparams))
        return found

    assert described(DataModule) == described(pl.LightningDataModule)


def _with_data(stage: str, which: str) -> Callable[[str], list[Any]]:
    """Task and data module that note their hooks; the ``which`` has the loaders."""

    def ran(library: str) -> list[Any]:
        events: list[Any] = []
        task_base, data_base = BASES[library]
        ours = library == "ours"

        def noting(owner: str, base: Any, hook: str) -> Any:
            inherited = getattr(base, hook)

            def method(self: Any, *given: Any, **named: Any) -> Any:
                events.append((owner, hook, [each for each in (*given, *named.values()) if isinstance(each, str)]))
                return inherited(self, *given, **named)

            return method

        hooks = ("prepare_data", "setup", "teardown", "on_before_batch_transfer", "on_after_batch_transfer")
        own = {hook: noting("task", task_base, hook) for hook in (*hooks, "configure_model", "on_fit_start")}
        theirs = {hook: noting("data", data_base, hook) for hook in (*hooks[:4], "state_dict")}
        model_of = type("Noting", (type(model(task_base, Seen())),), own)
        data_of = type("Data", (data_base,), theirs)
        task, data = model_of(), data_of()
        for split in ("train", "val", "test", "predict"):
            made = FixedBatches(batches(2)) if ours else Loader(batches(2))
            setattr(task if which == "task" else data, f"{split}_dataloader", lambda made=made: made)
        callback = type("Watches", (Callback if ours else pl.Callback,), {})()
        callback.setup = lambda trainer, task, stage: events.append(("callback", "setup", [stage]))
        callback.teardown = lambda trainer, task, stage: events.append(("callback", "teardown", [stage]))
        task.configure_callbacks = lambda: callback
        trainer: Any
        if ours:
            trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False)
        else:
            silent: dict[str, Any] = {
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
            trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, **silent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(2):
                getattr(trainer, stage)(task, **({} if which == "task" else {"datamodule": data}))
        events.append([type(each).__name__ for each in trainer.callbacks if type(each).__name__ == "Watches"])
        return events

    return ran


@pytest.mark.parametrize("which", ["task", "data"])
@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_hooks_of_data_run_as_there(stage: str, which: str) -> None:
    ran = _with_data(stage, which)
    events = ran("ours")
    assert events == ran("Lightning")
    assert len(events) > 10


# -- a program of Lightning's with other imports -----------------------------------------------------------------------

PROGRAM = """
class Net(pl.LightningModule):
    def __init__(self, hidden=4, lr=0.125):
        super().__init__()
        self.save_hyperparameters()
        self.example_input_array = torch.zeros(1, 3)
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, self.hparams.hidden), torch.nn.Linear(hidden, 1))
        for i, p in enumerate(self.parameters()):
            torch.nn.init.constant_(p, (i + 1) / 8)
        self.mae = torchmetrics.MeanAbsoluteError()

    def forward(self, x):
        return self.layers(x).squeeze(1)

    def training_step(self, batch, batch_idx):
        loss = (self(batch) - batch.sum(1)).square().mean()
        self.log("train_loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.mae(self(batch), batch.sum(1))
        self.log("val_mae", self.mae)
        self.log("val_loss", (self(batch) - batch.sum(1)).square().mean())

    def test_step(self, batch, batch_idx):
        self.validation_step(batch, batch_idx)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    def configure_callbacks(self):
        return [pl.callbacks.EarlyStopping("val_loss", patience=2)]


class Points(pl.LightningDataModule):
    def setup(self, stage):
        self.points = batches(6)

    def train_dataloader(self):
        return loader(self.points)

    def val_dataloader(self):
        return loader(self.points[:3])

    test_dataloader = val_dataloader

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch * 2


net = Net(hidden=5)
trainer = pl.Trainer(
    accelerator="cpu", max_epochs=3, val_check_interval=0.5, logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(net, datamodule=Points())
(tested,) = trainer.test(net, datamodule=Points(), verbose=False)
trainer.save_checkpoint(folder / "net.ckpt")
again = Net.load_from_checkpoint(folder / "net.ckpt")
found = plain(trainer.callback_metrics), tested, dict(again.hparams), [p.tolist() for p in again.parameters()]
"""


@pytest.mark.filterwarnings("ignore")
def test_a_program_of_lightnings_runs_with_other_imports(tmp_path: Path) -> None:
    names: dict[str, Any] = {
        "torch": torch,
        "torchmetrics": torchmetrics,
        "batches": batches,
        "plain": plain,
        "folder": tmp_path,
    }
    ours, theirs = {**names, "pl": lightning_names, "loader": FixedBatches}, {**names, "pl": pl, "loader": Loader}
    exec(PROGRAM, ours)
    exec(PROGRAM, theirs)
    assert same(ours["found"], theirs["found"])
    assert [p.tolist() for p in ours["net"].parameters()] == [p.tolist() for p in theirs["net"].parameters()]
