"""Weights that a step breaks, though its loss and its gradients are finite: nothing of them is kept."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ner.config import TaggerConfig
from ner.train import train_tagger
from tests.training.toytask import Line, fixed, trainer
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.polyak_averaging import PolyakAveraging
from training.errors import ConfigError, NonFiniteError
from training.loop.callback import Callback
from training.loop.finite import is_finite
from training.loop.view import TrainerView
from training.run.experiment import RunOptions
from training.run.folder import Run, read_manifest
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec

TOO_LARGE = [math.nan, math.inf, -math.inf]


class BreaksAfter(Callback):
    """Puts a value into a weight, or the running mean of one, after ``step`` steps: as a step that overflows does."""

    def __init__(self, step: int, value: float, averaging: PolyakAveraging | None = None) -> None:
        self.step, self.value, self.averaging = step, value, averaging

    def on_train_batch_end(self, trainer: TrainerView, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            weight = task.layer.weight.data if self.averaging is None else self.averaging.mean["layer.weight"]
            weight[0, 0] = self.value


@pytest.mark.parametrize("value", TOO_LARGE)
@pytest.mark.parametrize("averaged", [False, True])
def test_a_fit_does_not_end_with_them(value: float, averaged: bool, tmp_path: Path) -> None:
    averaging = PolyakAveraging(0.5)
    mean = averaging if averaged else None
    best = ModelCheckpoint(tmp_path, save_last=True)
    fit = trainer(averaging, BreaksAfter(9, value, mean), best, max_epochs=3, max_steps=9)
    with pytest.raises(NonFiniteError, match=r"the weights are not finite .*layer\.weight") as caught:
        fit.fit(Line(), fixed())
    assert "lower learning rate" in str(caught.value)
    assert "\n" not in str(caught.value)
    for path in tmp_path.glob("*.ckpt"):
        assert all(is_finite(each) for each in checkpoint.load_weights(path).values())


def test_a_good_checkpoint_stays_where_the_next_would_be_broken(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, every_n_train_steps=2)
    with pytest.raises(NonFiniteError, match="step 4: the weights are not finite"):
        trainer(BreaksAfter(4, math.inf), best, max_steps=8).fit(Line(), fixed())
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["epoch=0-step=2.ckpt"]
    assert checkpoint.verify(tmp_path / "epoch=0-step=2.ckpt") == ""


@pytest.mark.parametrize("weights_only", [False, True])
def test_a_checkpoint_asked_for_by_hand_is_refused_too(weights_only: bool, tmp_path: Path) -> None:
    fit = trainer(max_steps=1)
    fit.fit(Line(), fixed())
    fit.task.out.bias.data.fill_(math.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(NonFiniteError, match=r"out\.bias"):
        fit.save_checkpoint(tmp_path / "x.ckpt", weights_only)
    assert not list(tmp_path.iterdir())


def test_what_is_no_trained_weight_may_be_infinite() -> None:
    task = Line()
    task.register_buffer("mask", torch.tensor([-math.inf, 0.0]))
    task.frozen = torch.nn.Parameter(torch.tensor([math.inf]), requires_grad=False)
    trainer(max_steps=1).fit(task, fixed())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_the_check_is_exact(dtype: torch.dtype) -> None:
    large = torch.full((1000,), 3e38).to(dtype)  # their sum overflows
    assert is_finite(large)
    for value in TOO_LARGE:
        broken = large.clone()
        broken[7] = value
        assert not is_finite(broken)
    assert is_finite(torch.zeros(0, dtype=dtype))


@pytest.mark.parametrize("lr", [1e38, 3.4e38])
@pytest.mark.parametrize("kind", ["ner", "ner averaged", "w2v", "w2v cbow", "w2v softmax"])
def test_no_program_finishes_with_them(kind: str, lr: float, small_data: Path, tmp_path: Path) -> None:
    options = RunOptions(path=str(tmp_path / "run"), root=str(tmp_path))
    short: dict[str, Any] = {"max_steps": 1, "lr": lr, "threads": 1, "progress": False, "checkpoint_every": "1"}
    if kind.startswith("ner"):
        config = TaggerConfig(data=str(small_data), average=0.99 if "averaged" in kind else 0.0, hidden_size=8, **short)
        with pytest.raises(NonFiniteError, match="not finite"):
            train_tagger(dataclasses.replace(config, max_steps=8 if "averaged" in kind else 1), options)
    else:
        text = tmp_path / "text.txt"
        text.write_text("the cat sat on the mat and the dog sat on the cat\n" * 40)
        w2v = Word2VecConfig(
            corpus=(str(text),), **(short | {"max_steps": 3}), architecture="cbow" if "cbow" in kind else "skipgram",
            loss="softmax" if "softmax" in kind else "negative", dim=8, streams=2, batch_words=256, damping=0,
        )  # fmt: skip
        with pytest.raises(NonFiniteError, match="not finite"):
            train_word2vec(w2v, options)
    assert read_manifest(tmp_path / "run")["status"] == "failed"
    assert not list((tmp_path / "run").glob("vectors.*"))
    assert not list((tmp_path / "run/checkpoints").glob("model.ckpt"))


def test_results_that_are_no_numbers_are_no_finished_run(tmp_path: Path) -> None:
    run = Run.create("toy", TaggerConfig(), path=str(tmp_path / "run"))
    with pytest.raises(NonFiniteError, match="test_loss is nan"):
        run.finish("0" * 64, {"test_f1": 0.5, "test_loss": math.nan})
    assert read_manifest(tmp_path / "run")["status"] == "running"
    run.unlock()


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit_train_batches", 1e-6), ("overfit_batches", 1e-6), ("val_check_interval", 1000), ("val_check_interval", 0)],
)
def test_settings_that_do_not_fit_the_data_leave_no_folder(
    name: str, value: float, small_data: Path, tmp_path: Path
) -> None:
    config = TaggerConfig(data=str(small_data), progress=False, hidden_size=8, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=name):
        train_tagger(config, RunOptions(root=str(tmp_path / "runs")))
    assert not list((tmp_path / "runs/ner").iterdir())
