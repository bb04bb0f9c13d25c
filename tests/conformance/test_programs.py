"""Small programs as users write them for Lightning: run with its names and with ours, they see the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as theirs
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import training.lightning_names as ours
from tests.conformance.records import plain
from tests.conformance.variants import quiet

QUIET: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
ALONE: dict[str, Any] = {**QUIET, "logger": False, "enable_checkpointing": False}
ROWS = list(((torch.arange(24.0).view(8, 3) * 0.5).sin()).unbind())
PROGRAMS: dict[str, Callable[[Any, Path], Any]] = {}


def program(function: Callable[[Any, Path], Any]) -> Callable[[Any, Path], Any]:
    """One that is run with the names of a library, and a folder; what it returns is compared."""
    PROGRAMS[function.__name__] = function
    return function


def loader(size: int = 2, **more: Any) -> Any:
    rows: Any = ROWS
    return DataLoader(rows, batch_size=size, **more)


def model(pl: Any) -> Any:
    """A class of one layer, with fixed weights, plain steps and loaders of its own."""

    class Model(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)
            nn.init.constant_(self.layer.weight, 0.25)
            nn.init.constant_(self.layer.bias, 0.5)

        def forward(self, batch: Any) -> Any:
            return self.layer(batch)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self(batch).square().mean())

        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self(batch).squeeze(1)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.125)

        def train_dataloader(self) -> Any:
            return loader()

        val_dataloader = train_dataloader

    return Model


def memory(pl: Any) -> Any:
    """A logger that keeps what it gets."""

    class Memory(pl.loggers.Logger):  # type: ignore[misc]
        name, version = "memory", 0

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[Any] = []

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            self.rows.append((step, plain(metrics)))

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            pass

    return Memory()


def checked(function: Callable[..., Any], *given: Any, kind: type[Exception] = Exception, **named: Any) -> Any:
    """What it returns; or that it is refused, by an error of this kind."""
    try:
        return function(*given, **named)
    except Exception as error:
        return "refused" if isinstance(error, kind) else type(error).__name__


# -- callbacks -----------------------------------------------------------------------------------------------------------


@program
def functions_by_place(pl: Any, folder: Path) -> Any:
    seen: list[str] = []
    hooks = "setup teardown on_fit_start on_fit_end on_sanity_check_start on_sanity_check_end on_train_batch_start".split()

    def noted(hook: str) -> Any:
        return lambda *arguments, **named: seen.append(hook)

    callback = pl.callbacks.LambdaCallback(*map(noted, hooks), None, on_train_end=noted("on_train_end"))
    pl.Trainer(max_epochs=1, callbacks=callback, **ALONE).fit(model(pl)())
    both = checked(pl.callbacks.LambdaCallback, noted("a"), setup=noted("b"))
    return seen, both, checked(pl.callbacks.LambdaCallback, *[None] * 40)


@program
def rates_of_groups_that_come_later(pl: Any, folder: Path) -> Any:
    found = []
    for interval in (None, "epoch", "step"):

        class Later(model(pl)):  # type: ignore[misc]
            def on_train_epoch_start(self) -> None:
                if self.current_epoch == 2:
                    self.extra = nn.Parameter(torch.zeros(1))
                    self.trainer.optimizers[0].add_param_group({"params": [self.extra], "lr": 0.5})

        monitor, logger = pl.callbacks.LearningRateMonitor(interval, log_momentum=True), memory(pl)
        settings = {**QUIET, "enable_checkpointing": False, "log_every_n_steps": 1, "limit_val_batches": 0}
        pl.Trainer(max_epochs=4, callbacks=monitor, logger=logger, **settings).fit(Later())
        found.append([list(monitor.lrs.items()), logger.rows])
    return found


@program
def indices_of_predictions(pl: Any, folder: Path) -> Any:
    seen: list[Any] = []

    class Writer(pl.callbacks.BasePredictionWriter):  # type: ignore[misc]
        def write_on_batch_end(self, trainer: Any, task: Any, prediction: Any, indices: Any, *batch: Any) -> None:
            seen.append((prediction.tolist(), indices, batch[1:], trainer.predict_loop.current_batch_indices))

        def write_on_epoch_end(self, trainer: Any, task: Any, predictions: Any, batch_indices: Any) -> None:
            seen.append(batch_indices)

    for given in (loader(3), loader(2, sampler=[5, 1, 3, 7, 0]), loader(3, shuffle=False, num_workers=1)):
        for limit in (2, 1.0):
            trainer = pl.Trainer(limit_predict_batches=limit, callbacks=Writer("batch_and_epoch"), **ALONE)
            trainer.predict(model(pl)(), given, return_predictions=False)
    pl.Trainer(callbacks=Writer("epoch"), **ALONE).predict(model(pl)(), [loader(4), loader(8)])
    return seen


# -- checkpoints ---------------------------------------------------------------------------------------------------------


@program
def fewer_epochs_than_are_behind(pl: Any, folder: Path) -> Any:
    keeping = pl.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = pl.Trainer(max_epochs=3, callbacks=keeping, logger=False, **QUIET)
    trainer.fit(model(pl)())
    trainer.save_checkpoint(folder / "end.ckpt")
    found = []
    for name in ("epoch=0", "epoch=2", "end"):
        for epochs in (1, 2, 3, 4):
            again = pl.Trainer(max_epochs=epochs, **ALONE)
            said = checked(again.fit, model(pl)(), ckpt_path=folder / f"{name}.ckpt")
            found.append((name, epochs, said, said or (again.current_epoch, again.global_step)))
    return found


@program
def files_that_are_not_there(pl: Any, folder: Path) -> Any:
    trainer, path = pl.Trainer(max_epochs=1, **ALONE), folder / "nothing.ckpt"
    verbs = [trainer.fit, trainer.validate, trainer.predict]
    found = [checked(verb, model(pl)(), ckpt_path=str(path), kind=FileNotFoundError) for verb in verbs]
    kinds = [model(pl), pl.LightningDataModule]
    return found + [checked(kind.load_from_checkpoint, path, kind=FileNotFoundError) for kind in kinds]


@program
def where_weights_are_loaded(pl: Any, folder: Path) -> Any:
    trainer = pl.Trainer(max_epochs=1, **ALONE)
    trainer.fit(model(pl)())
    trainer.save_checkpoint(folder / "a.ckpt")
    places: list[Any] = [None, "cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, place: storage]
    loaded = [model(pl).load_from_checkpoint(folder / "a.ckpt", map_location=place) for place in places]
    return [(each.device.type, each.layer.weight.tolist()) for each in loaded]


@program
def states_of_all_that_keep_one(pl: Any, folder: Path) -> Any:
    seen: list[Any] = []

    class Keeps(model(pl)):  # type: ignore[misc]
        def on_save_checkpoint(self, checkpoint: Any) -> None:
            checkpoint["task"] = {"numbers": torch.ones(2)}

        def on_load_checkpoint(self, checkpoint: Any) -> None:
            seen.append(("task", checkpoint["task"]["numbers"].tolist(), checkpoint["epoch"], checkpoint["global_step"]))

    class Callback(pl.Callback):  # type: ignore[misc]
        def state_dict(self) -> Any:
            return {"count": 3}

        def load_state_dict(self, state_dict: Any) -> None:
            seen.append(("callback", state_dict))

        def on_save_checkpoint(self, trainer: Any, task: Any, checkpoint: Any) -> None:
            checkpoint["callback"] = [1, 2]

        def on_load_checkpoint(self, trainer: Any, task: Any, checkpoint: Any) -> None:
            seen.append(("callback", checkpoint["callback"], "task" in checkpoint))

    class Data(pl.LightningDataModule):  # type: ignore[misc]
        def __init__(self, size: int = 2, name: str = "a") -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return loader(self.hparams.size)

        predict_dataloader = val_dataloader = train_dataloader

        def state_dict(self) -> Any:
            return {"data": 1}

        def load_state_dict(self, state_dict: Any) -> None:
            seen.append(("data", state_dict))

    keeping = pl.callbacks.ModelCheckpoint(folder, filename="a")
    pl.Trainer(max_epochs=1, callbacks=[Callback(), keeping], logger=False, **QUIET).fit(Keeps(), datamodule=Data(4))
    path = str(folder / "a.ckpt")
    pl.Trainer(max_epochs=2, callbacks=Callback(), **ALONE).fit(Keeps(), datamodule=Data(4), ckpt_path=path)
    Keeps.load_from_checkpoint(path)
    loaded = Data.load_from_checkpoint(path, map_location=None, hparams_file=None, name="b")
    pl.Trainer(**ALONE).validate(Keeps(), datamodule=loaded, ckpt_path=path, verbose=False)
    pl.Trainer(**ALONE).predict(Keeps(), datamodule=loaded, ckpt_path=path)
    return seen, dict(loaded.hparams), loaded.prepare_data_per_node


@program
def hyperparameters_of_a_loggers_file(pl: Any, folder: Path) -> Any:
    class Keeps(model(pl)):  # type: ignore[misc]
        def __init__(self, width: int = 3, lr: float = 1e-5, name: str = "a b", sizes: Any = None) -> None:
            super().__init__()
            self.save_hyperparameters()

    class Data(pl.LightningDataModule):  # type: ignore[misc]
        def __init__(self, size: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return loader(self.hparams.size)

    logger = pl.loggers.CSVLogger(folder, name="first")
    settings = {**QUIET, "enable_checkpointing": False, "limit_val_batches": 0}
    pl.Trainer(max_epochs=1, logger=logger, **settings).fit(Keeps(4, name="c", sizes=None), datamodule=Data(4))
    trainer = pl.Trainer(max_epochs=1, **ALONE)
    trainer.fit(Keeps(5), datamodule=Data(3))
    trainer.save_checkpoint(filepath=folder / "a.ckpt", weights_only=False, storage_options=None)
    found, given = [], Path(logger.log_dir) / "hparams.yaml"
    for kind in (Keeps, Data):
        found.append(dict(kind.load_from_checkpoint(folder / "a.ckpt").hparams))
        found.append(dict(kind.load_from_checkpoint(folder / "a.ckpt", hparams_file=given).hparams))
    found.append(dict(Keeps.load_from_checkpoint(folder / "a.ckpt", hparams_file=str(given), width=6).hparams))
    return found


# -- the module, utilities --------------------------------------------------------------------------------------------


@program
def norms_of_gradients(pl: Any, folder: Path) -> Any:
    seen: list[Any] = []

    class Noted(model(pl)):  # type: ignore[misc]
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            for norm in (2, "inf", 1.5):
                seen.append(plain(pl.utilities.grad_norm(self, norm)))
            seen.append(plain(pl.utilities.grad_norm(self.layer, 1, group_separator="_")))
            self.log_dict(pl.utilities.grad_norm(self.layer, 2))

    trainer = pl.Trainer(max_epochs=1, limit_train_batches=2, **ALONE)
    trainer.fit(Noted())
    refused = [checked(pl.utilities.grad_norm, nn.Linear(1, 1), norm) for norm in (0, -1, "x")]
    return seen, sorted(trainer.callback_metrics), pl.utilities.grad_norm(nn.Linear(1, 1), 2), refused


@program
def what_the_first_process_does(pl: Any, folder: Path) -> Any:
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    double = pl.utilities.rank_zero_only(double)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pl.utilities.rank_zero_warn("careful", category=RuntimeWarning)
    moved = pl.utilities.move_data_to_device({"a": [torch.ones(1)], "b": "text"}, torch.device("cpu"))
    values = pl.utilities.AttributeDict(a=1)
    return double(3), double.__doc__, [(str(each.message), each.category) for each in caught], moved["b"], values.a


# -- data modules --------------------------------------------------------------------------------------------------------


@program
def data_modules_that_are_dataclasses(pl: Any, folder: Path) -> Any:
    class Base(pl.LightningDataModule):  # type: ignore[misc]
        def __init__(self, size: Any = None) -> None:
            super().__init__()
            self.given = size

    @dataclass(order=True, unsafe_hash=True)
    class Data(Base):
        batch_size: int
        size: int = 2

        def __post_init__(self) -> None:
            super().__init__(size=self.size)

    @dataclass
    class Bare(pl.LightningDataModule):  # type: ignore[misc]
        batch_size: int

    return Data(4).given, Data(4) == Data(4), Data(4) < Data(5), len({Data(4), Data(4)}), Bare(3).batch_size


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_sees_the_same(tmp_path: Path, name: str) -> None:
    quiet()
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for names in (ours, theirs):
            folder = tmp_path / names.__name__
            folder.mkdir()
            found.append(PROGRAMS[name](names, folder))
    assert found[0] == found[1]
