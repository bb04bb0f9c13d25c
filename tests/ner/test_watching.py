"""Looking at a run changes nothing of it: neither validation, logging, summaries, ledger, checkpoints nor progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ner.config import TaggerConfig
from ner.train import train_tagger
from training.digest import weights_sha256
from training.loop.callback import Callback
from training.run.experiment import RunOptions
from training.run.folder import read_manifest

SMALL: dict[str, Any] = {
    "vectors": "none", "max_epochs": 2, "hidden_size": 8, "word_dim": 8, "batch_size": 24, "dropout": 0.5,
    "test_weights": "last", "progress": False, "threads": 1,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "LSTM, deterministic": {"deterministic": True},
    "CNN and CRF": {"characters": "cnn", "char_hidden": 6, "decoder": "crf", "accumulate_grad_batches": 2},
    "LSTM, subwords and CRF, deterministic": {
        "characters": "lstm",
        "char_hidden": 6,
        "subwords": 30,
        "decoder": "crf",
        "deterministic": True,
    },
}
CHANGES: list[dict[str, Any]] = [
    {"val_check_interval": 1, "num_sanity_val_steps": 0, "train_f1": False, "checkpoint_every": "1"},
    {"val_check_interval": 0.5, "num_sanity_val_steps": -1, "log_every_n_steps": 1, "ledger_every": 3},
    {"check_val_every_n_epoch": 2, "log_every_n_steps": 3, "ledger_every": 0, "keep_checkpoints": True},
    {"val_check_interval": 3, "check_val_every_n_epoch": None, "limit_val_batches": 1, "shuffle_valid": True},
    {"limit_val_batches": 0, "checkpoint_every": "0s", "ledger_every": 2, "progress": True},
]


def digest(data: Path, path: Path, *callbacks: Callback, **settings: Any) -> str:
    """The weights' digest of a run."""
    config = TaggerConfig(data=str(data), **{**SMALL, **settings})
    run = train_tagger(config, RunOptions(path=str(path), callbacks=callbacks))
    return str(read_manifest(run)["weights_sha256"])


@pytest.fixture(scope="module")
def plain(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests that the models have when nobody looks."""
    folder = tmp_path_factory.mktemp("plain")
    return {name: digest(small_data, folder / str(i), **model) for i, (name, model) in enumerate(MODELS.items())}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(change))
@pytest.mark.parametrize("model", MODELS)
def test_what_is_watched_does_not_change_what_is_trained(
    small_data: Path, tmp_path: Path, plain: dict[str, str], model: str, change: dict[str, Any]
) -> None:
    assert digest(small_data, tmp_path / "run", **MODELS[model], **change) == plain[model]


def test_the_seed_holds_with_and_without_deterministic(small_data: Path, tmp_path: Path, plain: dict[str, str]) -> None:
    assert plain["LSTM"] == plain["LSTM, deterministic"]
    assert digest(small_data, tmp_path / "run", seed=1) != plain["LSTM"]


class Nosy(Callback):
    """Draws from the global generators and looks at everything, at every batch."""

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        import random

        import numpy as np
        import torch

        random.random()
        np.random.rand()
        torch.rand(1)
        trainer.state()
        trainer.session.collect()
        weights_sha256(task)


def test_what_others_draw_changes_nothing(small_data: Path, tmp_path: Path, plain: dict[str, str]) -> None:
    assert digest(small_data, tmp_path / "run", Nosy()) == plain["LSTM"]
