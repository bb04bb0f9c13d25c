"""Parts of a model that are frozen first: the same parameters, groups, rates and weights on Lightning and on ours."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

import training
from tests.conformance.both import Loader
from tests.conformance.variants import quiet
from training.data.batches import FixedBatches

LIBRARIES: dict[str, tuple[Any, Any, Any]] = {
    "ours": (training.Task, training, training.Trainer),
    "Lightning": (pl.LightningModule, pl.callbacks, pl.Trainer),
}


BATCHES = [(torch.arange(12.0).reshape(4, 3) * (i + 1)).cos() for i in range(3)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def model(base: Any, *, filtered: bool = True, scheduled: bool = False, bias: bool = True) -> Any:
    """A backbone with a batch norm, and a head, with fixed weights."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(3, 3, bias=bias), nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 2)))
            self.head = nn.Linear(2, 1)
            self.seen: list[Any] = []
            with torch.no_grad():
                for i, p in enumerate(self.parameters()):
                    p.copy_((torch.arange(p.numel()).view_as(p) + i).float().sin())

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.head(self.backbone(batch)).square().mean()

        def on_train_epoch_end(self) -> None:
            groups = self.trainer.optimizers[0].param_groups
            trained = [name for name, p in self.named_parameters() if p.requires_grad]
            names = {id(p): name for name, p in self.named_parameters()}
            self.seen.append([trained, [(group["lr"], [names[id(p)] for p in group["params"]]) for group in groups]])

        def configure_optimizers(self) -> Any:
            taken = [p for p in self.parameters() if p.requires_grad or not filtered]
            optimizer = torch.optim.SGD(taken, lr=0.125, momentum=0.5)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)] if scheduled else []

    return Model()


def own(base: Any) -> Any:
    """A callback of a user's: a part more in each epoch."""

    class Own(base):  # type: ignore[misc]
        def freeze_before_training(self, task: Any) -> None:
            self.freeze([task.backbone, {"head": task.head}["head"]], train_bn=False)
            self.make_trainable(task.head)

        def finetune_function(self, task: Any, epoch: int, optimizer: Any) -> None:
            part = {1: task.backbone[2], 2: [task.backbone[0], task.backbone[1]]}.get(epoch)
            if part is not None:
                self.unfreeze_and_add_param_group(part, optimizer, initial_denom_lr=4.0, train_bn=epoch == 2)

    return Own()


def fit(library: str, task: Any, callback: Any, epochs: int, folder: Path | None = None, **given: Any) -> Any:
    kind = LIBRARIES[library][2]
    kept = [LIBRARIES[library][1].ModelCheckpoint(folder, save_top_k=-1, save_last=True)] if folder else []
    quietly = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": bool(kept),
    }
    trainer = kind(accelerator="cpu", max_epochs=epochs, callbacks=[callback, *kept], **quietly)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(task, FixedBatches(BATCHES) if library == "ours" else Loader(BATCHES), **given)
    return task


def end(task: Any) -> Any:
    return task.seen, [tensor.tolist() for tensor in task.state_dict().values()]


BACKBONES: list[dict[str, Any]] = [
    {"unfreeze_backbone_at_epoch": 1},
    {"unfreeze_backbone_at_epoch": 0, "backbone_initial_lr": 0.01, "lambda_func": lambda epoch: 1.5},
    {"unfreeze_backbone_at_epoch": 1, "backbone_initial_ratio_lr": 0.5, "should_align": False, "train_bn": False},
    {"unfreeze_backbone_at_epoch": 9},
]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("arguments", [*BACKBONES, None])
def test_frozen_parts_are_trained_as_there(arguments: Any, filtered: bool, scheduled: bool) -> None:
    ends = []
    for library, (base, names, _) in LIBRARIES.items():
        callback = own(names.BaseFinetuning) if arguments is None else names.BackboneFinetuning(**arguments)
        ends.append(end(fit(library, model(base, filtered=filtered, scheduled=scheduled), callback, 4)))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("arguments", [BACKBONES[0], BACKBONES[2], None])
def test_a_fit_that_goes_on_trains_what_was_unfrozen(tmp_path: Path, arguments: Any) -> None:
    """Lightning freezes it again, and trains on without it."""
    for library, (base, names, _) in LIBRARIES.items():

        def callback(names: Any = names) -> Any:
            return own(names.BaseFinetuning) if arguments is None else names.BackboneFinetuning(**arguments)

        whole, same = end(fit(library, model(base), callback(), 4)), []
        for epochs in (1, 2, 3):
            folder = tmp_path / library / str(epochs)
            fit(library, model(base), callback(), epochs, folder)
            resumed = end(fit(library, model(base), callback(), 4, ckpt_path=folder / "last.ckpt"))
            same.append((resumed[0][-1], resumed[1]) == (whole[0][-1], whole[1]))
        assert same == [True, library == "ours", library == "ours"]


def test_what_is_for_subclasses_does_as_there() -> None:
    found = []
    for base, names, _ in LIBRARIES.values():
        task, tuning = model(base), names.BaseFinetuning
        tuning.freeze(task.backbone, train_bn=False)
        flags = [(p.requires_grad, task.backbone[1].track_running_stats) for p in task.parameters()]
        trained = [tuple(p.shape) for p in tuning.filter_params(task, train_bn=False)]
        frozen = [tuple(p.shape) for p in tuning.filter_params([task.backbone], requires_grad=False)]
        kinds = [type(each).__name__ for each in tuning.flatten_modules([task, nn.ModuleDict({"a": nn.ReLU()})])]
        optimizer = torch.optim.SGD(task.backbone[0].parameters(), lr=0.5)
        with pytest.warns(UserWarning, match="in the optimizer already|Did you init"):
            fresh = [tuple(p.shape) for p in tuning.filter_on_optimizer(optimizer, list(task.backbone.parameters()))]
        tuning.freeze_module(task.head)
        found.append([flags, trained, frozen, kinds, fresh, task.head.weight.requires_grad])
    assert found[0] == found[1]


def test_a_task_without_a_backbone_is_refused() -> None:
    task = model(training.Task)
    del task.backbone
    with pytest.raises(training.errors.ConfigError, match="expected Model to have a module called backbone, got none"):
        fit("ours", task, training.BackboneFinetuning(), 1)
