"""docs/from_lightning.md leaves nothing out: what Lightning offers to users is offered here, or stands there by name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import lightning.pytorch as pl
import lightning.pytorch.callbacks
import lightning.pytorch.loggers
import pytest
import torch

import training
from training.data.data_module import DataModule
from training.loop.callback import Callback
from training.loop.keywords import REFUSED
from training.loop.task import Task
from training.loop.trainer import KEYWORDS

PAGES = "\n".join(
    (Path(__file__).resolve().parents[2] / "docs" / name).read_text(encoding="utf-8")
    for name in ("from_lightning.md", "lightning.md")
)
NAMED = {*re.findall(r"\w+", PAGES)}
INNER = {
    "CHECKPOINT_HYPER_PARAMS_TYPE": "how omegaconf's containers are pickled",
    "remove_ignored_hparams": "what save_hyperparameters calls",
    "name": "of a data module: the name of its class",
    "Checkpoint": "what ModelCheckpoint is a subclass of",
}
"""Names that no user's program is made of."""


def public(kind: type, base: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")} - {*dir(base)}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (public(pl.LightningModule, torch.nn.Module), {*dir(Task)}),
        (public(pl.LightningDataModule, object), {*dir(DataModule)}),
        (public(pl.Callback, object), {*dir(Callback)}),
        ({*lightning.pytorch.callbacks.__all__}, {*training.__all__}),
        ({*lightning.pytorch.loggers.__all__}, {*training.__all__}),
    ],
    ids=["module", "data module", "callback", "callbacks", "loggers"],
)
def test_what_is_not_offered_is_named(theirs: set[str], ours: set[str]) -> None:
    assert sorted(theirs - ours - NAMED - {*INNER}) == []


def test_each_keyword_of_the_trainer_is_named() -> None:
    keywords = {*inspect.signature(pl.Trainer.__init__).parameters} - {"self"}
    assert sorted(keywords - NAMED) == []
    assert keywords <= {*KEYWORDS, *REFUSED}
    assert sorted({*KEYWORDS} - NAMED) == []
