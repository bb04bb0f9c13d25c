"""The ledger says which items of a DataLoader are in a batch: with any sampler, wherever a run is taken up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from training import CombinedLoader, FixedBatches, Task, TrainConfig, Trainer, experiment
from training.data.loaders import as_batches
from training.errors import Preempted
from training.loop.callback import Callback
from training.run.ledger import ids_digest
from training.run.ledger_file import compare, first_break


class Items(Dataset[Tensor]):
    """Items that know their index, whatever the sampler makes of it."""

    def __init__(self, size: int = 11) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Tensor:
        index = index[0] if isinstance(index, tuple) else index
        return torch.tensor([float(index)])


class Streamed(IterableDataset[Tensor]):
    """Items that have no index."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(11.0).unsqueeze(1))


class Line(Task):
    """Keeps what its batches held."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.held: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        first = next(iter(batch.values())) if isinstance(batch, dict) else batch
        self.held.append(first.flatten().int().tolist())
        loss: Tensor = (self.layer(first) / 10).square().mean()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Pairs(SequentialSampler):
    """Indices of another kind."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(i, "pair") for i in range(11)])


class Objects(SequentialSampler):
    """Indices that are written otherwise in each process."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(i, object()) for i in range(11)])


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "in order": lambda: DataLoader(Items(), batch_size=4),
    "shuffled": lambda: DataLoader(Items(), batch_size=4, shuffle=True),
    "drop_last": lambda: DataLoader(Items(), batch_size=4, shuffle=True, drop_last=True),
    "sampler": lambda: DataLoader(Items(), batch_size=4, sampler=RandomSampler(Items(), replacement=True)),
    "batch sampler": lambda: DataLoader(Items(), batch_sampler=BatchSampler(RandomSampler(Items()), 3, False)),
    "no batches": lambda: DataLoader(Items(), batch_size=None, shuffle=True),
    "workers": lambda: DataLoader(Items(), batch_size=4, shuffle=True, num_workers=2),
}
STRANGE: dict[str, Callable[[], DataLoader[Any]]] = {
    "pairs": lambda: DataLoader(Items(), batch_size=4, sampler=Pairs(Items())),
    "arrays": lambda: DataLoader(Items(), batch_sampler=[np.arange(3), np.arange(3, 6)]),  # type: ignore[list-item]
    "tensors": lambda: DataLoader(Items(), batch_sampler=[torch.arange(3), torch.arange(3, 6)]),  # type: ignore[list-item]
}
UNKNOWN: dict[str, Callable[[], Any]] = {
    "objects": lambda: DataLoader(Items(), batch_size=4, sampler=Objects(Items())),
    "streamed": lambda: DataLoader(Streamed(), batch_size=4),
    "batches": lambda: FixedBatches([torch.ones(2, 1)] * 3),
}


class StopAfter(Callback):
    """Asks for a stop, as a signal does."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Any, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.total_batches + 1 == self.batches:
            trainer.keep_going.stop("enough")


def fit(loader: Any, folder: Path, *callbacks: Callback, resume: str = "", **settings: Any) -> tuple[Path, list[Any]]:
    config = TrainConfig(
        **{"max_epochs": 2, "device": "cpu", "progress": False, "ledger_every": 1, "checkpoint_every": "never", **settings}
    )
    made: list[Line] = []
    new = "" if resume else str(folder)
    with suppress(Preempted), experiment("line", config, resume=resume, run=new, tell=lambda line: None) as run:
        made.append(Line())
        Trainer(run, callbacks=callbacks).fit(made[0], loader)
    return folder, made[0].held


def lines(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    return [line for line in found if "batch" in line]


@pytest.mark.parametrize("kind", LOADERS)
def test_a_line_has_the_digest_of_the_items_indices(kind: str, tmp_path: Path) -> None:
    run, held = fit(LOADERS[kind](), tmp_path / "run")
    assert len(held) > 2
    assert [line["ids"] for line in lines(run)] == [ids_digest(torch.tensor(each)) for each in held]
    assert first_break(run / "ledger.jsonl") is None


@pytest.mark.parametrize("kind", STRANGE)
def test_indices_of_other_kinds_have_digests_that_repeat(kind: str, tmp_path: Path) -> None:
    found = [[line["ids"] for line in lines(fit(STRANGE[kind](), tmp_path / name)[0])] for name in ("first", "second")]
    assert found[0] == found[1]
    assert None not in found[0]
    assert len({*found[0]}) == len(found[0]) / 2  # of two epochs in the same order


@pytest.mark.parametrize("kind", UNKNOWN)
def test_where_no_index_is_known_there_is_none(kind: str, tmp_path: Path) -> None:
    assert {line["ids"] for line in lines(fit(UNKNOWN[kind](), tmp_path / "run")[0])} == {None}


@pytest.mark.parametrize("kind", ["shuffled", "batch sampler", "workers"])
def test_a_run_that_goes_on_has_the_same_ledger(kind: str, tmp_path: Path) -> None:
    whole, _ = fit(LOADERS[kind](), tmp_path / "whole")
    for at in (1, 3, 4):
        run, _ = fit(LOADERS[kind](), tmp_path / str(at), StopAfter(at))
        assert len(lines(run)) == at
        fit(LOADERS[kind](), run, resume=str(run))
        assert (run / "ledger.jsonl").read_bytes() == (whole / "ledger.jsonl").read_bytes()


class BatchIds(Line):
    """Says itself what is in a batch."""

    def batch_ids(self, batch: Tensor) -> Tensor:
        return batch.flatten().long() + 100


def test_what_the_task_says_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "batch_ids", BatchIds.batch_ids, raising=False)
    run, held = fit(LOADERS["shuffled"](), tmp_path / "run")
    assert [line["ids"] for line in lines(run)] == [ids_digest(torch.tensor(each) + 100) for each in held]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_differs_is_named_at_its_first_step(workers: int, tmp_path: Path) -> None:
    first, _ = fit(DataLoader(Items(), batch_size=4, num_workers=workers), tmp_path / "first")
    other = [*range(4), 5, 4, 6, 7, 8, 9, 10]  # the second batch in another order: the loss may be the same
    second, _ = fit(DataLoader(Items(), batch_size=4, sampler=other), tmp_path / "second")
    found = list(compare(first / "ledger.jsonl", second / "ledger.jsonl"))
    assert found[0] == "first difference at epoch 0, batch 1, step 2"
    assert found[1].startswith("ids of what is in the batch: ")


@pytest.mark.parametrize("mode", ["min_size", "max_size_cycle", "max_size", "sequential"])
@pytest.mark.parametrize("long", [Items(11), Streamed()], ids=["indexed", "streamed"])
def test_of_several_loaders_each_ones_items_are_known(mode: str, long: Any) -> None:
    parts = {"a": DataLoader(long, batch_size=4), "b": DataLoader(Items(5), batch_size=2), "c": [0] * 9}
    source = as_batches(CombinedLoader(parts, mode), seed=0, purpose="train", tell=print)
    for epoch in range(2):
        plan, k = source.plan(epoch), 0
        while plan.has(k):  # type: ignore[attr-defined]
            batch = plan[k]
            given = plan.batch_indices  # type: ignore[attr-defined]
            if mode == "sequential":
                expected: Any = [[batch.flatten().int().tolist()]] if isinstance(batch, Tensor) else []
                assert given is None or [[each for each in given if each is not None]] == expected
            else:
                expected = [
                    None if batch[name] is None or name == "c" or (name == "a" and isinstance(long, Streamed))
                    else batch[name].flatten().int().tolist()
                    for name in parts
                ]  # fmt: skip
                assert given == (None if expected == [None] * 3 else expected)
            k += 1
        assert k == {"min_size": 3, "max_size_cycle": 9, "max_size": 9, "sequential": 15}[mode]


def test_a_digest_tells_values_apart() -> None:
    different = [
        [1, 2], [2, 1], [1], [[1], [2]], ["1", "2"], [(1, "a")], [(1, "b")], [1.0, 2.0], [None, [1]], [[1], None], [True],
    ]  # fmt: skip
    digests = [ids_digest(each) for each in different]
    assert None not in digests
    assert len({*digests}) == len(different)
    assert ids_digest([np.int64(1), 2]) == ids_digest(torch.tensor([1, 2])) == ids_digest(np.array([1, 2], "i2"))
    assert ids_digest([object()]) is ids_digest(None) is None
