"""DataLoaders in a fit: seen as Lightning sees them; a resume at any batch, with any workers, gives the same bits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from tests.training.toytask import LeaveAt, Left
from training.data.combined import CombinedLoader
from training.data.data_module import DataModule
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.task import Task
from training.loop.trainer import Trainer

QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False,
}  # fmt: skip


class Points(Dataset[Any]):
    """Numbers, and with ``noisy`` what torch, NumPy and Python draw."""

    def __init__(self, n: int = 13, start: int = 0, noisy: bool = False) -> None:
        self.n, self.start, self.noisy = n, start, noisy

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> torch.Tensor:
        if i >= self.n:
            raise IndexError
        noise = float(torch.rand(())) + float(np.random.rand()) + random.random() if self.noisy else 0.0
        return torch.full((2,), self.start + i + noise)


class Endless(IterableDataset[Any]):
    """Without a length."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        for i in range(11):
            yield torch.full((2,), float(i) + random.random())


class Keeping(Endless):
    """It says where its reading stands, and goes on there."""

    def __init__(self) -> None:
        self.at = self.begin = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.at, self.begin = self.begin, 0
        while self.at < 11:
            self.at += 1
            yield torch.full((2,), self.at + random.random())

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.begin = state["at"]


class Counting(IterableDataset[Any]):
    """The same, without noise."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from (torch.full((2,), float(i)) for i in range(11))


def plain(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    return [plain(each) for each in batch] if isinstance(batch, list | tuple) else batch


def module(base: type, loaders: dict[str, Any] | None = None) -> Any:
    class Module(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))
            with torch.no_grad():
                for p in self.parameters():
                    p.fill_(0.1)
            self.seen: list[Any] = []

        def see(self, *what: Any) -> None:
            self.seen.append([*map(plain, what)])

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.see("train", batch, batch_idx, self.trainer.is_last_batch)
            first = batch
            while not isinstance(first, torch.Tensor):
                parts = list(first.values()) if isinstance(first, dict) else list(first)
                first = next(each for each in parts if each is not None)
            return self.net(first / 20).square().mean()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.see("val", batch, batch_idx, dataloader_idx)

        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.see("test", batch, batch_idx, dataloader_idx)

        def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return plain(batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    made = Module()
    for split, loader in (loaders or {}).items():
        setattr(made, f"{split}_dataloader", lambda loader=loader: loader)
    return made


def loader(n: int = 13, start: int = 0, **named: Any) -> DataLoader[Any]:
    return DataLoader(Points(n, start), **{"batch_size": 4, **named})


FORMS: dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any]]] = {
    "one": (loader, loader, {}),
    "drop_last": (lambda: loader(drop_last=True), lambda: loader(drop_last=True), {}),
    "without batches": (lambda: loader(batch_size=None), lambda: loader(batch_size=None), {}),
    "a list": (lambda: [loader(), loader(5, 100)], lambda: [loader(), loader(5, 100)], {}),
    "a dict": (lambda: {"a": loader(), "b": loader(5, 100)}, lambda: {"a": loader(), "b": loader(5, 100)}, {}),
    "nested": (lambda: {"a": [loader(), loader(9)], "b": loader(5, 100)}, loader, {}),
    "no length": (lambda: DataLoader(Counting(), 3), lambda: DataLoader(Counting(), 3), {}),
    "no length, limited": (lambda: DataLoader(Counting(), 3), lambda: DataLoader(Counting(), 3), {"limit_train_batches": 2}),
    "no length, by batches": (lambda: DataLoader(Counting(), 3), loader, {"val_check_interval": 2}),
    "limited": (loader, lambda: [loader(), loader()], {"limit_train_batches": 0.5, "limit_val_batches": 1}),
    "accumulated": (lambda: DataLoader(Counting(), 3), loader, {"accumulate_grad_batches": 3}),
    "overfit": (lambda: loader(), loader, {"overfit_batches": 2}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_what_steps_see_is_what_they_see_in_lightning(form: str) -> None:
    train, val, settings = FORMS[form]
    seen: list[Any] = []
    for base, kind in ((pl.LightningModule, pl.Trainer), (Task, Trainer)):
        made = module(base)
        trainer: Any = kind(**{**QUIET, "max_epochs": 2, **settings})
        trainer.fit(made, train(), val())
        trainer.test(made, val(), verbose=False)
        seen.append((made.seen, trainer.predict(made, val()), trainer.global_step, trainer.current_epoch))
    assert seen[1] == seen[0]


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle"])
@pytest.mark.filterwarnings("ignore")
def test_combined_loaders_are_lightnings(mode: str) -> None:
    seen = []
    for base, kind, combined in (
        (pl.LightningModule, pl.Trainer, pl.utilities.CombinedLoader),
        (Task, Trainer, CombinedLoader),
    ):
        made = module(base)
        kind(**QUIET, max_epochs=1).fit(made, combined({"a": loader(), "b": loader(5, 100)}, mode))  # type: ignore
        seen.append(made.seen)
    assert seen[1] == seen[0]


def test_loaders_of_the_task_of_a_data_module_and_given() -> None:
    class Data(DataModule):
        def train_dataloader(self) -> Any:
            return loader()

        def val_dataloader(self) -> Any:
            return loader(3)

    def seen(fit: Callable[[Any, Any], None], **loaders: Any) -> Any:
        made = module(Task, loaders)
        fit(Trainer(**QUIET, max_epochs=1), made)
        return made.seen

    expected = seen(lambda trainer, task: trainer.fit(task, loader(), loader(3)))
    assert seen(lambda trainer, task: trainer.fit(task), train=loader(), val=loader(3)) == expected
    assert seen(lambda trainer, task: trainer.fit(task, datamodule=Data())) == expected
    assert seen(lambda trainer, task: trainer.fit(task, Data())) == expected
    with pytest.raises(ConfigError, match="loaders or a datamodule, got both"):
        Trainer(**QUIET, max_epochs=1).fit(module(Task), loader(), datamodule=Data())
    with pytest.raises(ConfigError, match="expected training batches, or Module to have a train_dataloader"):
        Trainer(**QUIET, max_epochs=1).fit(module(Task))


def fit(make: Callable[[int], Any], workers: int, leave_at: int = -1, state: Any = None, **settings: Any) -> Any:
    made, leave = module(Task), LeaveAt(leave_at)
    trainer = Trainer(**QUIET, max_epochs=2, keep_going=leave, **settings)
    with suppress(Left):
        trainer.fit(made, make(workers), make(workers), state=state)
    return leave.state if leave_at >= 0 else (weights_sha256(made), made.seen, leave.boundaries)


SOURCES: dict[str, Callable[[int], Any]] = {
    "shuffled": lambda workers: DataLoader(Points(noisy=True), 4, shuffle=True, num_workers=workers),
    "weighted": lambda workers: DataLoader(
        Points(noisy=True), 4, sampler=WeightedRandomSampler([*range(13)], 9), num_workers=workers
    ),
    "a stream": lambda workers: DataLoader(Endless(), 3),
    "a stream that goes on": lambda workers: DataLoader(Keeping(), 3),
    "several": lambda workers: [
        DataLoader(Points(noisy=True), 4, shuffle=True, num_workers=workers),
        DataLoader(Points(5, noisy=True), 2, shuffle=True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_left_at_any_batch_and_with_other_workers_the_bits_are_the_same(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"val_check_interval": 2, "accumulate_grad_batches": 2}
    weights, seen, boundaries = fit(SOURCES[name], 0, **settings)
    for at in range(boundaries):
        state = fit(SOURCES[name], 0, at, **settings)
        again, rest, _ = fit(SOURCES[name], 0, state=state, **settings)
        assert again == weights, at
        assert rest == seen[len(seen) - len(rest) :], at
        assert name == "a stream" or "dropped" not in capsys.readouterr().err, at
    state = fit(SOURCES[name], 2, 5, **settings)
    assert fit(SOURCES[name], 2, state=state, **settings)[0] == weights
