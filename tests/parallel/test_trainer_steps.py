"""Automatic optimization with shards, as settings and models differ: the same bits for any number of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests import processes
from tests.running import Kill, KillAt
from tests.together import WORLDS, same_in_all, together
from training import FixedBatches, Task, TrainConfig, Trainer, experiment
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.callback import Callback
from training.parallel.group import Group


class Net(Task):
    """A table, a batch norm, dropout; each setting of it is a way in which steps may differ."""

    def __init__(self, optimizer: str = "adam", sparse: bool = False) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.table = nn.Embedding(40, 4, sparse=sparse)
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
        self.norm = nn.BatchNorm1d(16, momentum=0.3)
        self.cache: Tensor | None = None
        made = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=made) * 0.5)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        words, labels = batch
        if self.cache is None:
            self.cache = torch.randn(4)  # a shard's own
        hidden = self.net[0](self.table(words).mean(1) + 0.1 * self.cache)
        if len(labels) > 1:
            hidden = self.norm(hidden)
        scores = self.net[3](self.net[2](self.net[1](hidden)))
        loss = nn.functional.cross_entropy(scores, labels)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("most", scores.max(), reduce_fx="max", on_epoch=True)
        if batch_idx == 3 and self.optimizer != "lbfgs":
            return None
        return {"loss": loss, "right": (scores.argmax(1) == labels).float()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(self.table(batch[0]).mean(1))
        self.log("val", nn.functional.cross_entropy(scores, batch[1]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if outputs:
            self.log("right", outputs["right"].mean(), batch_size=len(outputs["right"]), on_epoch=True)

    def configure_optimizers(self) -> Any:
        if self.optimizer == "lbfgs":
            return torch.optim.LBFGS(self.parameters(), lr=0.3, max_iter=4)
        if self.optimizer == "sgd":
            return torch.optim.SGD(self.parameters(), lr=0.3)
        return torch.optim.Adam(self.parameters(), lr=0.02)


def source(*sizes: int) -> FixedBatches:
    drawn = torch.Generator().manual_seed(1)
    return FixedBatches(
        [(torch.randint(40, (n, 5), generator=drawn), torch.randint(3, (n,), generator=drawn)) for n in sizes]
    )


class Lines:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, sorted(metrics.items())))


def fitted(make: Callable[[], Net] = Net, sizes: tuple[int, ...] = (64, 48, 64, 40, 16), **settings: Any) -> Any:
    task = make()
    config = TrainConfig(**{"max_epochs": 2, "device": "cpu", "shards": 8, "seed": 4, "progress": False, **settings})
    trainer = Trainer(config, logger=[Lines()])
    trainer.fit(task, source(*sizes), source(9, 4, 7))
    return weights_sha256(task), {name: float(value) for name, value in trainer.callback_metrics.items()}


CASES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "small batches": {"sizes": (64, 3, 1, 11, 64, 5)},  # shards that are empty, or have one example
    "accumulated": {"accumulate_grad_batches": 2},
    "clipped": {"gradient_clip_val": 0.3},
    "clipped by value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value", "make": lambda: Net("sgd")},
    "bfloat16": {"precision": "bf16-mixed"},
    "double": {"precision": "64-true"},
    "lbfgs": {"make": lambda: Net("lbfgs"), "max_epochs": 1},
    "sparse": {"make": lambda: Net("sgd", sparse=True)},
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_same_for_any_number_of_processes(case: str) -> None:
    alone = same_in_all(lambda: fitted(**CASES[case]), 1)
    worlds = WORLDS[1:] if case == "as it is" else (4,)
    assert [same_in_all(lambda: fitted(**CASES[case]), world) for world in worlds] == [alone for _ in worlds]


def test_without_the_tree_it_would_not_be() -> None:
    """Were the sums local ones that an all_reduce adds up, the weights would differ: the comparison tells."""

    def summed(group: Group, tensors: list[Tensor]) -> list[Tensor]:
        found = [each.clone() for each in tensors]
        for each in found:
            if group.world > 1:
                dist.all_reduce(each)
        return found

    def from_left(self: Any, leaf: Any) -> None:
        values = [None if each is None else each.to_dense().clone() for each in leaf]
        before = self._open.pop()[1] if self._open else [None] * len(values)
        self._open.append((0, [b if a is None else a if b is None else a + b for a, b in zip(before, values, strict=True)]))

    def planted() -> Any:
        patched = pytest.MonkeyPatch()
        patched.setattr(Group, "sum", summed)
        patched.setattr("training.parallel.tree.Tree.add", from_left)
        return fitted()

    assert same_in_all(planted, 1)[0] != same_in_all(planted, 4)[0]


class Counts(Net):
    """Counts on itself: with shards each process would have a count of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.seen, self.many = how, 0, list[int]()
        self.own = torch.Generator().manual_seed(1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.how == "set":
            self.seen += len(batch[1])
        elif self.how == "changed":
            self.many.append(len(batch[1]))
        elif self.how == "drawn":
            torch.rand((), generator=self.own)
        elif self.how == "logger":
            assert self.logger is not None
        elif self.how == "unsent":
            return {**super().training_step(batch, batch_idx), "function": lambda: 1}
        return super().training_step(batch, batch_idx)


def test_what_training_step_sets_ends_with_its_shard(capfd: pytest.CaptureFixture[str]) -> None:
    task = Counts("set")
    config = TrainConfig(max_epochs=1, device="cpu", shards=4, progress=False)
    Trainer(config, logger=False).fit(task, source(16, 16, 16))
    assert (task.seen, task.cache) == (0, None)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("training_step sets task.")]
    assert [line.split(":")[0] for line in said] == ["training_step sets task.cache", "training_step sets task.seen"]
    assert "use it in on_train_batch_end" in said[0]


def test_what_can_not_be_sent_is_refused() -> None:
    errors = together(lambda: fitted(lambda: Counts("unsent"), sizes=(8, 8)), 4)
    assert {type(each) for each in errors} == {ConfigError}
    assert "expected it to return what can be sent to other processes" in str(errors[0])


@pytest.mark.parametrize("how", ["changed", "drawn", "logger"])
@pytest.mark.parametrize("world", [1, 4])
def test_what_training_step_changes_in_place_is_refused(how: str, world: int) -> None:
    errors = together(lambda: fitted(lambda: Counts(how)), world)
    assert {type(each) for each in errors} == {ConfigError}
    name = {"changed": "task.many", "drawn": "the generator task.own", "logger": "the logger"}[how]
    assert f"training_step: it changes {name}, and with shards" in str(errors[0])


class StopInValidation(Callback):
    """Asks one process to stop, in the middle of the second validation."""

    def __init__(self, rank: int) -> None:
        self.rank, self.left = rank, 22

    def state_dict(self) -> dict[str, Any]:
        return {}

    def on_validation_batch_end(self, *arguments: Any) -> None:
        self.left -= 1
        if self.left == 0 and int(os.environ.get("RANK", "0")) == self.rank:
            os.kill(os.getpid(), signal.SIGTERM)


def run(folder: Path, resume: bool = False, kill: int = 0, stop: int | None = None) -> None:
    config = TrainConfig(
        max_epochs=2, device="cpu", shards=8, seed=4, progress=False, checkpoint_every="1", log_every_n_steps=1
    )
    where = {"resume": folder} if resume else {"run": folder}
    with experiment("net", config, **where, tell=lambda line: None) as opened:  # type: ignore[arg-type]
        callbacks: list[Callback] = [KillAt(Kill(kill))] if kill else [] if stop is None else [StopInValidation(stop)]
        val = source(9, 4, 7, 5, 5, 5, 3, 8, 2, 4, 6, 1, 5, 5, 4, 4, 4, 4)
        Trainer(opened, callbacks=callbacks).fit(Net(), source(64, 48, 64, 40, 16), val)


def files(folder: Path) -> dict[str, bytes]:
    return {each: (folder / each).read_bytes() for each in ("metrics.jsonl", "ledger.jsonl")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that nothing disturbs writes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return files(folder)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stop_in_a_validation_is_agreed_on(tmp_path: Path, whole: dict[str, bytes], rank: int) -> None:
    ended = processes.run(tmp_path, 2, lambda: run(tmp_path / "run", stop=rank))
    assert [each.code for each in ended] == [75, 75], ended
    run(tmp_path / "run", resume=True)
    assert files(tmp_path / "run") == whole


def test_a_killed_run_goes_on_with_another_number_of_processes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for i, worlds in enumerate([(4, 1), (1, 2, 4)]):
        folder = tmp_path / str(i)
        for j, world in enumerate(worlds):
            last = j == len(worlds) - 1
            act = lambda folder=folder, j=j, last=last: run(folder, j > 0, 0 if last else 3 + i)  # noqa: B023, E731
            ended = processes.run(tmp_path, world, act)
            assert all((each.code == 0) == last for each in ended), ended
        assert files(folder) == whole
