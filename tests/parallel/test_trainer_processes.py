"""What a fit in several processes leaves behind: one process writes, all decide alike, and users' code is told the truth."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tests.together import same_in_all, together
from training import BasePredictionWriter, CSVLogger, DataModule, ModelCheckpoint, Task, Timer, TrainConfig, Trainer
from training.digest import weights_sha256
from training.errors import ReproducibilityError
from training.loop.callback import Callback
from training.loop.ranks import rank_zero_only


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


class Points(Dataset[Tensor]):
    def __init__(self, odd: bool = False) -> None:
        self.points = torch.randn(48, 3, generator=torch.Generator().manual_seed(1))
        self.odd = odd

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Tensor:
        return self.points[index] + (rank() if self.odd else 0)


class Stream(IterableDataset[Tensor]):
    """Whose length nobody knows."""

    def __iter__(self) -> Any:
        return iter(Points().points)


class Data(DataModule):
    def prepare_data(self) -> None:
        with open("prepared", "a") as file:
            file.write("once\n")

    def train_dataloader(self) -> Any:
        return DataLoader(Points(), batch_size=16, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Points(), batch_size=10)


class Line(Task):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(rank())  # whatever the others have, process 0's weights count
        self.layer = nn.Linear(3, 1)
        self.told: list[Any] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = (self.layer(batch).squeeze(1) - batch.sum(1)).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self.layer(batch).sum(), batch_size=len(batch))

    def predict_step(self, batch: Tensor, batch_idx: int) -> Any:
        return self.layer(batch)

    def on_train_start(self) -> None:
        trainer: Any = self.trainer
        self.told = [
            (
                self.global_rank,
                self.local_rank,
                trainer.global_rank,
                trainer.is_global_zero,
                trainer.strategy.is_global_zero,
            ),
            (trainer.world_size, trainer.num_devices, trainer.num_nodes, trainer.strategy.world_size),
        ]
        rank_zero_only(Path("by-the-first" if trainer.is_global_zero else "by-another").touch)()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.02)


class ByTheClock(Callback):
    """Stops by what only process 0 knows."""

    def on_train_batch_end(self, trainer: Any, task: Any, *rest: Any) -> None:
        if rank() == 0 and trainer.global_step == 5:
            trainer.should_stop = True


class Writer(BasePredictionWriter):
    def write_on_batch_end(self, trainer: Any, task: Any, prediction: Any, *rest: Any) -> None:
        with open("predicted", "ab") as file:
            file.write(prediction.numpy().tobytes())


def files(folder: Path) -> dict[str, str]:
    """The digest of each file; of checkpoints their names alone, since they hold times."""
    return {
        str(path.relative_to(folder)): "" if "ckpt" in path.name else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fitted(folder: Path, source: str = "module") -> Any:
    os.chdir(folder)
    task = Line()
    kept = ModelCheckpoint("kept", monitor="val", save_top_k=2, save_last="link", every_n_train_steps=2)
    config = TrainConfig(max_epochs=3, device="cpu", shards=4, seed=2, progress=False, log_every_n_steps=1)
    callbacks = [kept, ByTheClock(), Writer(), Timer("00:01:00:00")]
    trainer = Trainer(config, logger=CSVLogger("logs"), callbacks=callbacks)
    if source == "module":
        trainer.fit(task, datamodule=Data())
    else:
        data: Any = Stream() if source == "stream" else Points(odd=source == "odd")
        trainer.fit(task, DataLoader(data, batch_size=16), DataLoader(Points(), batch_size=10))
    predicted = trainer.predict(task, DataLoader(Points(), batch_size=7))
    best = Path(kept.best_model_path)
    return (
        weights_sha256(task), trainer.global_step, torch.cat(predicted).tolist(), best.name, best.parent.name, best.exists(),
        trainer.log_dir, sorted(map(os.path.basename, kept.best_k_models)),
    ), task.told  # fmt: skip


@pytest.mark.parametrize("source", ["module", "stream"])
def test_what_is_written_is_that_of_one_process(tmp_path: Path, source: str) -> None:
    found = {}
    for world in (1, 2, 4):
        folder = tmp_path / str(world)
        folder.mkdir()
        results = together(lambda folder=folder: fitted(folder, source), world)  # type: ignore[misc]
        assert not [each for each in results if isinstance(each, Exception)], results
        assert all(each[0] == results[0][0] for each in results)
        assert [each[1] for each in results] == [[(i, i, i, i == 0, i == 0), (world, world, 1, world)] for i in range(world)]
        found[world] = (results[0][0], files(folder))
    assert found[1] == found[2] == found[4]
    assert found[1][0][1] == 5  # where it was stopped
    if source == "module":
        assert (tmp_path / "4" / "prepared").read_text() == "once\n"


def test_another_batch_in_another_process_is_refused(tmp_path: Path) -> None:
    errors = together(lambda: fitted(tmp_path, "odd"), 2)
    assert {type(each) for each in errors} == {ReproducibilityError}
    assert "expected the same batch in all processes" in str(errors[0])
    assert "in process 1" in str(errors[0])


def test_a_clock_decides_alike(tmp_path: Path) -> None:
    """Process 1's is far behind."""

    def fit() -> int:
        timer = Timer("00:00:00:00" if rank() == 0 else "01:00:00:00")
        trainer = Trainer(TrainConfig(max_epochs=9, device="cpu", shards=2, progress=False), logger=False, callbacks=[timer])
        trainer.fit(Line(), DataLoader(Points(), batch_size=16))
        return trainer.global_step

    assert same_in_all(fit, 2) == same_in_all(fit, 1)


def test_who_is_first_is_asked_when_it_counts() -> None:
    def said() -> str:
        return "first"

    asked: Any = rank_zero_only(said, default="another")

    def run() -> Any:
        Trainer(TrainConfig(shards=2, device="cpu"), logger=False)  # the processes meet
        return asked()

    assert together(run, 2) == ["first", "another"]
