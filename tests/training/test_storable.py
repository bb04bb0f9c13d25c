"""What a checkpoint holds beside tensors, and what is refused before the first step."""

from __future__ import annotations

import datetime
import re
from argparse import Namespace
from collections import Counter, OrderedDict, deque, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.toytask import Line, Shuffled, trainer
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.digest import weights_sha256
from training.errors import CheckpointError, ConfigError
from training.loop.callback import Callback
from training.storable import KIND, decode, encode

STORED: list[Any] = [
    np.float32(0.1), np.float64(0.1), np.float16(2), np.int64(3), np.bool_(True), np.complex64(1j), np.str_("ü"),
    np.datetime64("2020-01-01"), np.timedelta64(3, "ns"), np.arange(6).reshape(2, 3)[:, ::2], np.zeros((0, 3)), np.array(3),
    np.array(["a", "bcd"]), np.zeros(0, dtype="U1"), Path("/x/é"), {1, "x"}, frozenset([(1, 2)]), set(), 1j, b"", b"x",
    {np.int64(3): Path("a"), Path("b"): 2, 1.5: None, None: True}, {KIND: 3}, {b"": 1}, [(np.float16(2), [{3}])],
    Namespace(a=Path("b"), c=Namespace(d=1)),
    OrderedDict(a=np.uint8(3)), torch.float32, torch.device("cpu"), torch.Size([1]), {"a": 2**70, "b": "\udce9"},
]  # fmt: skip
Named = namedtuple("Named", "a")
REFUSED: list[Any] = [
    object(), Counter("a"), deque([1]), Named(1), datetime.timedelta(1), np.array([None]),
    np.zeros(2, dtype=[("a", "f4")]), np.ma.array([1]), range(3), bytearray(b"a"), torch.nn.Linear(1, 1), len,
]  # fmt: skip


def plain(value: Any) -> str:
    if isinstance(value, set | frozenset):  # whose order is another in each process
        return f"{type(value).__name__} {sorted(map(plain, value))}"
    return re.sub(" at 0x[0-9a-f]+", "", f"{type(value).__name__} {getattr(value, 'dtype', '')} {value!r}")


def test_what_is_stored_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.ckpt", {"x": STORED})
    torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert [plain(each) for each in checkpoint.load(tmp_path / "a.ckpt")["x"]] == [plain(each) for each in STORED]


@pytest.mark.parametrize("value", REFUSED, ids=plain)
def test_what_is_not_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^checkpoint\['a'\]\[0\]: expected tensors, numbers.* got \w+: .*$"):
        encode({"a": [value]})


def test_a_list_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ConfigError, match="do not hold themselves"):
        encode(value)


@pytest.mark.parametrize("value", [
    {KIND: "other"}, {KIND: "numpy", "dtype": "O", "shape": [1], "bytes": b"12345678"}, {KIND: "path"}, {KIND: []},
    {KIND: "numpy", "dtype": "<f4", "shape": [2**62], "bytes": b"1234"}, {KIND: "set", "items": [[1]]},
    {KIND: "numpy", "dtype": "<f4", "shape": [1], "bytes": b"123"}, {KIND: "complex", "parts": "x"},
    {KIND: "path", "path": 3}, {KIND: "dict", "items": 3},
])  # fmt: skip
def test_what_is_never_written_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match="expected the values of a checkpoint"):
        decode([value])


class Keeps(Callback):
    """A callback whose state is ``value``."""

    def __init__(self, value: Any, where: str) -> None:
        self.value, self.where = value, where

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.value} if self.where == "callback" else {}

    def on_save_checkpoint(self, trainer: Any, task: Any, checkpoint: dict[str, Any]) -> None:
        if self.where == "callback's hook":
            checkpoint["kept"] = self.value


class Holds(Line):
    """A task whose ``where`` holds ``value``."""

    def __init__(self, value: Any, where: str) -> None:
        super().__init__()
        self.value, self.where, self.steps = value, where, 0

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.value if self.where == "learning rate" else 0.1)
        optimizer.param_groups[0]["kept"] = self.value if self.where == "optimizer" else 0
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        if self.where == "scheduler":
            vars(scheduler)["kept"] = self.value
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.steps += 1
        return self.loss(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.where == "task's hook":
            checkpoint["kept"] = self.value


PLACES = ("learning rate", "optimizer", "scheduler", "callback", "callback's hook", "task's hook")


@pytest.mark.parametrize("where", PLACES)
def test_whatever_state_holds_it_the_fit_goes_on_or_is_refused_before_its_first_step(tmp_path: Path, where: str) -> None:
    for value in [np.float32(0.1), np.float64(0.1)] + ([] if where == "learning rate" else [Path("a"), {1}, np.arange(2)]):
        whole = Holds(value, where)
        trainer(max_epochs=2).fit(whole, Shuffled(7))
        folder = tmp_path / plain(value).replace("/", "")
        saving = ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1)
        trainer(saving, Keeps(value, where), max_epochs=2).fit(Holds(value, where), Shuffled(7))
        rest = Holds(value, where)
        state = checkpoint.load(next(iter(sorted(folder.glob("*.ckpt")))))
        trainer(Keeps(value, where), max_epochs=2).fit(rest, Shuffled(7), state=state)
        assert weights_sha256(rest) == weights_sha256(whole)
    if where == "learning rate":
        return
    task = Holds(object(), where)
    with pytest.raises(ConfigError, match=r"checkpoint\[.*\['?kept'?\]: expected tensors|checkpoint\['kept'\]: expected"):
        trainer(ModelCheckpoint(tmp_path / "x"), Keeps(task.value, where)).fit(task, Shuffled())
    assert task.steps == 0


def test_a_hook_that_needs_what_training_makes_is_asked_again_at_the_first_checkpoint(tmp_path: Path) -> None:
    class Later(Line):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.made = batch_idx

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["made"] = self.made

    trainer(ModelCheckpoint(tmp_path, filename="end"), max_epochs=1).fit(Later(), Shuffled())
    assert checkpoint.load(tmp_path / "end.ckpt")["made"] == 6
