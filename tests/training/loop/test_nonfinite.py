"""Losses and gradients that are not finite: the step is not taken, the batch is kept and can be run again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ner.config import TaggerConfig
from ner.corpus.dataset import read_dataset
from ner.inputs.batches import Batch as SentenceBatch
from ner.inputs.indexer import Indexer
from ner.train import build_task, train_tagger
from ner.vectors.views import RAW
from tests.training.toytask import POINTS, Kept, Line, fixed, trainer
from training import checkpoint
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.digest import weights_sha256
from training.errors import NonFiniteError
from training.loop.callback import Callback
from training.loop.finite import all_finite
from training.loop.nonfinite import FILE, plain, rebuilt
from training.loop.task import Task
from training.loop.trainer import Trainer
from training.loop.view import TrainerView
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from word2vec.config import Word2VecConfig
from word2vec.model.word2vec import Rate
from word2vec.task import Word2VecTask
from word2vec.text.batches import Batch as TextBatch
from word2vec.text.vocab import Vocab
from word2vec.train import train_word2vec

NUMBERS = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 3e38, 1e-45, -0.0])


@given(st.lists(st.lists(NUMBERS, max_size=20), max_size=4), st.sampled_from([torch.float32, torch.float64]))
def test_the_check_is_exact_and_changes_no_bit(values: list[list[float]], dtype: torch.dtype) -> None:
    tensors = [torch.tensor(each, dtype=dtype) for each in values]
    before = [tensor.clone() for tensor in tensors]
    assert all_finite(tensors) == all(math.isfinite(value) for each in values for value in each)
    if all_finite(tensors):
        for tensor, copied in zip(tensors, before, strict=True):
            assert tensor.numpy().tobytes() == copied.numpy().tobytes()


def test_the_check_looks_into_sparse_gradients() -> None:
    for value in (1.0, math.nan):
        sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor([2.0, value]), (5,), check_invariants=True)
        assert all_finite([torch.ones(3), sparse]) == math.isfinite(value)


class Breaks(Line):
    """Its loss, or a gradient alone, is not finite for the batch that begins with ``at``."""

    at, what = float(POINTS[6, 0]), "loss"

    def loss(self, batch: Tensor) -> Tensor:
        loss = super().loss(batch)
        if float(batch[0, 0]) != self.at:
            return loss
        return loss * math.inf if self.what == "loss" else loss + (self.out.bias.sum() * 0).sqrt() * 0

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        return self.loss(batch)

    def batch_ids(self, batch: Tensor) -> Tensor:
        return batch[:, 0].mul(32).long()


class Manual(Breaks):
    automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()
        return None


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("kind", [Breaks, Manual])
@pytest.mark.parametrize("window", [1, 2, 4])
def test_the_batch_is_kept_and_runs_again(kind: type[Breaks], what: str, window: int, tmp_path: Path) -> None:
    if kind is Manual and window > 1:
        return
    task = kind("sgd")
    task.what = what
    with pytest.raises(NonFiniteError, match=rf"batch 2, step {2 // window}: the {what}.*no step was taken") as caught:
        trainer(checkpoint_dir=tmp_path, accumulate_grad_batches=window).fit(task, fixed(), fixed())
    error = caught.value
    assert error.path == tmp_path / FILE
    assert str(error.path) in str(error)
    assert torch.equal(error.batch, POINTS[6:9])
    kept = checkpoint.load(tmp_path / FILE)
    assert torch.equal(kept["batch"], POINTS[6:9])
    assert torch.equal(kept["ids"], task.batch_ids(POINTS[6:9]))
    assert all(torch.equal(tensor, task.state_dict()[name]) for name, tensor in kept["weights"].items())
    again = kind("sgd")
    again.what = what
    found = trainer(accumulate_grad_batches=window).replay(again, tmp_path / FILE)
    assert str(found) == kept["reason"]
    assert weights_sha256(again) == weights_sha256(task)
    assert again.out.bias.grad is not None
    assert not again.out.bias.grad.isfinite().all()
    again.at = math.nan  # mended
    assert trainer().replay(again, tmp_path / FILE) is None
    assert weights_sha256(again) != weights_sha256(task)


def test_a_loss_that_only_comes_out_afterwards_stops_the_run_too() -> None:
    class Late(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            self.optimizers().step()
            return self.loss(batch)

    with pytest.raises(NonFiniteError, match="batch 2, step 3: the loss is inf; its steps were taken"):
        trainer().fit(Late(), fixed())


def test_good_checkpoints_are_left_as_they_are(tmp_path: Path) -> None:
    """The best, the last and those for a resume; and a folder that cannot be written to does not hide the error."""
    best = ModelCheckpoint(monitor="val", save_last=True)
    contents: dict[str, bytes] = {}

    class Spoilt(Line):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 2:
                contents.update({path.name: path.read_bytes() for path in tmp_path.iterdir()})
                self.out.weight.data[0, 1] = math.nan

    with pytest.raises(NonFiniteError, match="epoch 2, batch 0, step 8: the loss is nan"):
        trainer(best, checkpoint_dir=tmp_path, max_epochs=4).fit(Spoilt(), fixed(), fixed())
    assert len(contents) == 4
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    assert {path.name for path in tmp_path.iterdir()} - contents.keys() == {FILE, f"{FILE}.sha256"}
    (tmp_path / "file").touch()
    with pytest.raises(NonFiniteError, match=r"epoch 0, batch 2, step 2: the loss is inf.*could not be kept"):
        trainer(checkpoint_dir=tmp_path / "file").fit(Breaks(), fixed())


class Pair(NamedTuple):
    first: Tensor
    second: tuple[int, ...]


@dataclasses.dataclass
class Holder:
    pair: Pair
    other: Pair | None
    table: dict[str, list[Tensor]]


def test_batches_of_any_build_are_kept() -> None:
    pair = Pair(torch.arange(3), (1, 2))
    for other in (None, pair):
        again = rebuilt(plain(Holder(pair, other, {"a": [torch.ones(2)]})), Holder)
        assert isinstance(again, Holder)
        assert torch.equal(again.pair.first, pair.first)
        assert (again.other is None) == (other is None)
        assert again.pair.second == (1, 2)
        assert torch.equal(again.table["a"][0], torch.ones(2))


# -- the norm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clipping", [{}, {"gradient_clip_val": 0.01}, {"gradient_clip_val": 1e-3, "algorithm": "value"}])
def test_the_gradients_norm_is_that_before_clipping_whenever_it_is_asked_for(clipping: dict[str, Any]) -> None:
    """Right after the step, after a validation (which frees the gradients), and in a step that is not logged."""
    norms: list[float] = []
    asked: list[float] = []

    class Watched(Line):
        def on_before_optimizer_step(self, optimizer: Any) -> None:
            norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])))

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx % 2:
                assert self.trainer.gradient_norm == norms[-1]

        def on_validation_end(self) -> None:
            asked.append(self.trainer.gradient_norm)

    settings = {"gradient_clip_algorithm" if k == "algorithm" else k: v for k, v in clipping.items()}
    trainer(logger=Kept(), log_every_n_steps=50, val_check_interval=1, num_sanity_val_steps=0, **settings).fit(
        Watched(), fixed(), fixed(1)
    )
    assert asked == norms


# -- the two tasks of the house --------------------------------------------------------------------------------------


class Poison(Callback):
    """Makes a table NaN before the third batch."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        if trainer.total_batches == 2:
            task.get_parameter(self.name).data[:] = math.nan


def test_the_tagger_keeps_its_batch(small_data: Path, tmp_path: Path) -> None:
    config = TaggerConfig(
        data=str(small_data), vectors="none", device="cpu", max_epochs=2, hidden_size=8, word_dim=8, checkpoint_every="1"
    )
    run = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"epoch 0, batch 2, step 2: .* no step was taken.*nonfinite\.ckpt"):
        train_tagger(config, RunOptions(path=str(run), callbacks=(Poison("model.words.weight"),)))
    assert read_manifest(run)["status"] == "failed"
    resume = sorted(path.name for path in (run / "checkpoints").glob("resume-*.ckpt"))
    assert checkpoint.load(run / "checkpoints" / resume[-1])["progress"]["global_step"] == 2
    dataset = read_dataset(config)
    task, _ = build_task(config, dataset, Indexer.build(dataset.train, RAW, config.scheme), None)
    path = run / "checkpoints" / FILE
    error = Trainer(config, logger=False).replay(task, path, SentenceBatch)
    assert str(error) == checkpoint.load(path)["reason"]
    assert isinstance(error, NonFiniteError)
    assert isinstance(error.batch, SentenceBatch)
    assert torch.equal(error.ids, error.batch.sentences)


@pytest.mark.parametrize("loss", ["negative", "softmax", "hierarchical"])
@pytest.mark.parametrize("table", ["input", "output"])
def test_word2vec_keeps_its_batch(small_text: Path, tmp_path: Path, loss: str, table: str) -> None:
    config = Word2VecConfig(corpus=(str(small_text),), dim=8, max_epochs=1, min_count=5, loss=loss, batch_words=500)
    run = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"epoch 0, batch 2, step 2: .*nonfinite\.ckpt"):
        train_word2vec(config, RunOptions(path=str(run), callbacks=(Poison(f"model.{table}"),)))
    path = run / "checkpoints" / FILE
    task = Word2VecTask(Vocab.load(run / "vocab.tsv"), config, 10)
    error = Trainer(config, logger=False).replay(task, path, TextBatch)
    assert str(error) == checkpoint.load(path)["reason"]


def test_word2vec_looks_at_every_row_that_a_step_touches(small_text: Path, tmp_path: Path) -> None:
    """The loss is estimated from a few of them: a gradient can be NaN where it is not."""
    config = Word2VecConfig(corpus=(str(small_text),), dim=8, max_epochs=1, min_count=5, batch_words=500)
    with pytest.raises(NonFiniteError, match=r"the gradient of (input|output) is not finite; no step was taken"):
        train_word2vec(config, RunOptions(path=str(tmp_path / "run"), callbacks=(SpoiltGradient(),)))
    kept = checkpoint.load(tmp_path / "run" / "checkpoints" / FILE)
    assert all(bool(tensor.isfinite().all()) for tensor in kept["weights"].values())


class SpoiltGradient(Callback):
    """A model whose gradients of the input vectors hold one NaN, while its loss is fine."""

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        assert isinstance(task, Word2VecTask)
        step = task.model.step

        def spoilt(batch: TextBatch, rate: Rate) -> Tensor:
            loss = step(batch, rate)
            next(iter(task.model.gradients.values())).values[-1, -1] = math.nan
            return loss

        task.model.step = spoilt  # type: ignore[assignment,method-assign]
