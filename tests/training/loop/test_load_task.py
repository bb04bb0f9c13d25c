"""load_from_checkpoint: from the file to a task that computes the same; and what is said where it can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.toytask import Line, fixed, trainer
from training import Task, checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.digest import weights_sha256
from training.errors import CheckpointError, ConfigError, DataError


class Net(Task):
    """Built from its hyperparameters."""

    def __init__(self, hidden: int, backbone: nn.Module | None = None, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["backbone"])
        self.layers = nn.Sequential(nn.Linear(3, hidden), backbone or nn.Tanh(), nn.Linear(hidden, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = (self.layers(batch).squeeze(1) - batch.sum(1)).square().mean()
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class Late(Net):
    """Makes a layer in configure_model, and keeps more in its checkpoints."""

    more = 0

    def configure_model(self) -> None:
        if not hasattr(self, "head"):
            self.head = nn.Linear(1, 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["more"] = 7

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.more = checkpoint["more"]


def trained(folder: Path, task: Task, **settings: Any) -> Path:
    """A checkpoint of the task after an epoch."""
    made = trainer(ModelCheckpoint(folder, filename="best"), max_epochs=1, **settings)
    made.fit(task, fixed())
    return folder / "best.ckpt"


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_it_computes_the_same(tmp_path: Path, precision: str) -> None:
    task = Net(4)
    path = trained(tmp_path, task, precision=precision)
    loaded = Net.load_from_checkpoint(path)
    assert (loaded.hparams, loaded.training, loaded.dtype) == (task.hparams, True, task.dtype)
    assert weights_sha256(loaded) == weights_sha256(task)


def test_what_it_does_not_hold_is_given(tmp_path: Path) -> None:
    path = trained(tmp_path, Net(4, backbone=nn.Linear(4, 4)))
    with pytest.raises(
        CheckpointError, match=r"expected the weights of Net, got others \(unknown layers.1.weight, layers.1.bias"
    ):
        Net.load_from_checkpoint(path)
    loaded = Net.load_from_checkpoint(str(path), map_location="cpu", backbone=nn.Linear(4, 4), lr=0.5)
    assert loaded.hparams == {"hidden": 4, "lr": 0.5}


def test_weights_alone_and_the_trainers_own_checkpoints_can_be_loaded(tmp_path: Path) -> None:
    made, task = trainer(max_epochs=1), Net(2)
    made.fit(task, fixed())
    for weights_only in (True, False):
        made.save_checkpoint(tmp_path / "a.ckpt", weights_only)
        assert weights_sha256(Net.load_from_checkpoint(tmp_path / "a.ckpt")) == weights_sha256(task)


def test_its_hooks_are_called(tmp_path: Path) -> None:
    task = Late(2)
    loaded = Late.load_from_checkpoint(trained(tmp_path, task))
    assert (loaded.more, weights_sha256(loaded)) == (7, weights_sha256(task))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    class Tied(Net):
        def __init__(self, hidden: int = 3) -> None:
            super().__init__(hidden)
            self.again = self.layers[0]

    loaded = Tied.load_from_checkpoint(trained(tmp_path, Tied(), precision="64-true"))
    assert loaded.again.weight is loaded.layers[0].weight
    assert loaded.again.weight.dtype == torch.float64


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    path = trained(tmp_path, Net(4))
    other = trained(tmp_path / "other", Line())
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (
            path,
            {"hidden": 5},
            r"best.ckpt: .*Net, got others \(layers.0.weight 4×3 in place of 5×3.*\); build it as it was trained$",
        ),
        (
            other,
            {"hidden": 4},
            r"\(no layers.0.weight, layers.0.bias, layers.2.weight and 1 more; unknown layer.weight, .*strict=False",
        ),
        (other, {}, "Net needs hidden, which the checkpoint does not hold; pass hidden=…"),
        (path, {"hiden": 5}, "Net takes no hiden; it takes hidden, backbone, lr"),
        (path, {"map_location": 1.5}, "map_location: expected a device"),
        (path, {"map_location": "moon"}, "map_location: expected a device such as cpu or cuda, got 'moon'"),
        (path, {"weights_only": False}, "weights_only=False is not offered"),
        (path, {"hparams_file": "a.yaml"}, "a.yaml: expected names and values as YAML, got none"),
        (tmp_path / "nowhere.ckpt", {}, "no such checkpoint"),
    ]
    for where, given, message in cases:
        with pytest.raises((CheckpointError, ConfigError, DataError), match=message):
            Net.load_from_checkpoint(where, **given)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        Net.load_from_checkpoint(path)


def test_it_is_a_method_of_the_class(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"it makes another Net, and leaves this one as it is; call Net.load_from_checkpoint"
    ):
        Net(1).load_from_checkpoint(tmp_path / "a.ckpt")


def test_strictness_is_that_of_the_call_or_of_the_task(tmp_path: Path) -> None:
    class Lenient(Net):
        def __init__(self, hidden: int, strict: bool | None = None) -> None:
            super().__init__(hidden)
            if strict is not None:
                self.strict_loading = strict
            self.more = nn.Linear(1, 1)

    path = trained(tmp_path, Net(4))
    for given in ({"strict": False}, {}):
        with pytest.warns(UserWarning, match="not all weights are those of Lenient: no more.weight, more.bias"):
            Lenient.load_from_checkpoint(path, None, None, False, **({} if given else {"hidden": 4}))
    with pytest.raises(CheckpointError, match="expected the weights of Lenient"):
        Lenient.load_from_checkpoint(path)

    class Says(Lenient):
        def __init__(self, hidden: int) -> None:
            super().__init__(hidden, strict=False)

    with pytest.warns(UserWarning, match="not all weights"):
        Says.load_from_checkpoint(path)
    with pytest.raises(ConfigError, match="strict=True contradicts strict_loading = False of the task"):
        Says.load_from_checkpoint(path, strict=True)


def test_checkpoints_of_no_weights(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.ckpt", {"x": 1})
    with pytest.raises(CheckpointError, match="expected weights, tensors by name, got none"):
        Net.load_from_checkpoint(tmp_path / "a.ckpt", hidden=1)
