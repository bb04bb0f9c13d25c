"""Validation, test and prediction shared by processes: what comes of them is the same for any number of these."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.together import same_in_all, together
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer


def batches(count: int, seed: int) -> FixedBatches:
    """Batches of other sizes each."""
    drawn = torch.Generator().manual_seed(seed)
    return FixedBatches([torch.randn(1 + (7 * i + seed) % 5, 3, generator=drawn) for i in range(count)])


class Judge(Task):
    """Logs in all ways, draws in its steps and hooks, and returns what its hooks take in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        with torch.no_grad():
            for p in self.parameters():
                p.fill_(0.1)
        self.steps = 0
        self.taken: list[Any] = []

    def judged(self, kind: str, batch: Tensor) -> Tensor:
        Judge.computed += 1
        found: Tensor = self.layer(batch)
        n = len(batch)
        self.log(f"{kind}_mean", found.sum() * torch.rand(()), batch_size=n, on_step=True, on_epoch=True)
        self.log(f"{kind}_sum", found.double().sum(), reduce_fx="sum")
        self.log(f"{kind}_min", found.min(), reduce_fx="min", prog_bar=True)
        self.log(f"{kind}_examples", float(n))
        return found

    computed = 0

    def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self.judged("val", batch)

    def test_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        return {"found": self.judged("test", batch), "drawn": random.random()}

    def predict_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> tuple[Tensor, float]:
        return self.layer(batch), float(torch.rand(()))

    def on_validation_batch_end(self, outputs: Tensor, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.taken.append((batch_idx, dataloader_idx, outputs.tolist(), len(batch), float(torch.rand(()))))
        self.log("val_end", float(len(self.taken)))

    def on_test_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.taken.append((batch_idx, outputs["found"].tolist(), outputs["drawn"]))


class Seen(Callback):
    """Keeps which items each batch had, and what was logged before it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_validation_batch_end(self, trainer: Any, task: Any, *rest: Any) -> None:
        progress = trainer.validate_loop.batch_progress
        self.seen.append((rest[2], progress.current.ready, sorted(trainer.callback_metrics)))


class Lines:
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, sorted(metrics.items())))


def all_verbs(shards: int, count: int) -> dict[str, Any]:
    task, seen, lines = Judge(), Seen(), Lines()
    config = TrainConfig(device="cpu", shards=shards, seed=5, progress=False)
    trainer = Trainer(config, logger=[lines], callbacks=[seen])
    found = {
        "validated": trainer.validate(task, [batches(count, 0), batches(max(1, count - 3), 1)], verbose=False),
        "tested": trainer.test(task, batches(count, 2), verbose=False),
        "predicted": [(each.tolist(), drawn) for each, drawn in trainer.predict(task, batches(count, 3))],
        "some": trainer.validate(task, batches(count, 4), verbose=False),
    }
    # the loggers of the other processes write nothing
    return {**found, "taken": task.taken, "seen": seen.seen}


@pytest.mark.parametrize(("shards", "count"), [(2, 5), (4, 1), (8, 11)])
def test_all_verbs_give_the_same_for_any_number_of_processes(shards: int, count: int) -> None:
    alone = same_in_all(lambda: all_verbs(shards, count), 1)
    assert len(alone["taken"]) == count * 3 + max(1, count - 3)
    for world in (2, 4):
        if world <= shards:
            assert same_in_all(lambda: all_verbs(shards, count), world) == alone


def test_each_batch_is_computed_once_but_for_the_first() -> None:
    def counted() -> int:
        Judge.computed = 0
        all_verbs(4, 9)
        return Judge.computed

    (alone,) = together(counted, 1)
    assert alone == 9 + 6 + 9 + 9
    assert sum(together(counted, 4)) == alone + 3 * 4  # the first of each of the four sources, in the three others


class Metric:
    """As torchmetrics has them."""

    def __init__(self) -> None:
        self.total = 0.0

    def update(self, value: Tensor) -> None:
        self.total += float(value.sum())

    def compute(self) -> float:
        return self.total

    def reset(self) -> None:
        self.total = 0.0


class Keeps(Judge):
    """Keeps something on itself in its step, beside what it returns."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.metric, self.many, self.own = how, Metric(), list[float](), torch.Generator().manual_seed(1)
        self.number, self.drawn = 0.0, list[float]()
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))

    def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> Any:
        found = super().validation_step(batch, batch_idx)
        if self.how == "late" and batch_idx != 3:
            return found
        if self.how in ("attribute", "late"):
            self.number += float(found.sum())
        elif self.how == "list":
            self.many.append(float(found.sum()))
        elif self.how == "metric":
            self.metric.update(found)
            self.log("metric", self.metric)
        elif self.how == "generator":
            self.log("own", torch.rand((), generator=self.own))
        elif self.how == "buffer":
            self.count += found.sum()
        elif self.how == "logger":
            assert self.logger is not None
        elif self.how == "error" and batch_idx == 4:
            raise ValueError(f"in batch {batch_idx}")
        elif self.how == "unsent":
            return lambda: found
        return found

    def on_validation_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        if self.how != "unsent":
            super().on_validation_batch_end(outputs, batch, batch_idx)


class StartsFirst(Judge):
    """What its hook sets, its step reads."""

    def on_validation_batch_start(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.steps = batch_idx

    def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        assert self.steps == batch_idx
        return super().validation_step(batch, batch_idx)


def kept(make: Callable[[], Judge], shards: int = 4) -> Any:
    task = make()
    Judge.computed = 0
    config = TrainConfig(device="cpu", shards=shards, seed=5, progress=False)
    found = Trainer(config, logger=[Lines()]).validate(task, batches(7, 0), verbose=False)
    values = {name: getattr(task, name, None) for name in ("number", "many", "count")}
    return Judge.computed, found, task.taken, repr(values)


@pytest.mark.parametrize("how", ["attribute", "list", "metric", "generator", "buffer", "logger", "unsent", "start"])
def test_what_a_step_keeps_is_kept_in_all_processes(how: str) -> None:
    make = StartsFirst if how == "start" else lambda: Keeps(how)
    alone = same_in_all(lambda: kept(make), 1)
    assert alone[0] == 7
    assert same_in_all(lambda: kept(make), 2) == alone


@pytest.mark.parametrize("world", [1, 2, 4])
def test_what_a_step_keeps_only_later_is_refused(world: int) -> None:
    errors = together(lambda: kept(lambda: Keeps("late")), world)
    assert {type(each) for each in errors} == {ConfigError}
    assert {str(each) for each in errors} == {
        "validation_step: it changes task.number in batch 3, but not in the first, so that the processes would differ; "
        "return that from validation_step, and use it in on_validation_batch_end"
    }


@pytest.mark.parametrize("world", [1, 2, 4])
def test_an_error_in_one_process_is_raised_in_all(world: int) -> None:
    errors = together(lambda: kept(lambda: Keeps("error")), world)
    assert [repr(each) for each in errors] == ["ValueError('in batch 4')"] * world


def test_with_one_shard_nothing_is_kept_apart() -> None:
    assert [repr(each) for each in together(lambda: kept(lambda: Keeps("late"), shards=1)[0], 1)] == ["7"]
