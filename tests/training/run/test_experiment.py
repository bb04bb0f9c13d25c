"""Going on with a run: what is refused, and a stop within a validation that logs its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.toytask import Line, Shuffled
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.errors import CheckpointError, Preempted, ReproducibilityError
from training.loop.callback import Callback
from training.loop.trainer import Trainer
from training.run import seal
from training.run.experiment import RunOptions, open_run
from training.run.folder import read_manifest
from training.run.inputs import Inputs

CONFIG = {"device": "cpu", "max_epochs": 2, "log_every_n_steps": 1, "progress": False, "threads": 1}


class At(Callback):
    """Calls ``act`` at the nth validation batch of the fit."""

    def __init__(self, nth: int, act: Any) -> None:
        self.left, self.act = nth, act

    def on_validation_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:
            self.left -= 1
            if self.left == 0:
                self.act(trainer)


def train(options: RunOptions, inputs: dict[str, str | Path] | None = None, **changes: Any) -> Path:
    config = TrainConfig(**{**CONFIG, **changes})
    with open_run("toy", config, options, Inputs(inputs)) as run:
        task = Line()
        Trainer(run, enable_checkpointing=False).fit(task, Shuffled(), Shuffled(6))
        run.run.finish("0" * 64, {})
    return run.run.path


@pytest.mark.parametrize("nth", [1, 2, 4, 6])
def test_stopped_within_a_validation_that_logs_its_steps_no_line_is_there_twice(tmp_path: Path, nth: int) -> None:
    whole = train(RunOptions(path=str(tmp_path / "whole")), val_check_interval=0.5)
    stop = At(nth, lambda trainer: trainer.keep_going.stop("the test says so"))
    with pytest.raises(Preempted):
        train(RunOptions(path=str(tmp_path / "cut"), callbacks=(stop,)), val_check_interval=0.5)
    cut = train(RunOptions(resume=str(tmp_path / "cut")), val_check_interval=0.5)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (cut / "ledger.jsonl").read_bytes() == (whole / "ledger.jsonl").read_bytes()


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_changed_data_and_settings_are_refused_and_nothing_is_touched(tmp_path: Path, with_checkpoint: bool) -> None:
    data = tmp_path / "data.txt"
    data.write_text("first")
    path = tmp_path / "run"
    inputs: dict[str, str | Path] = {"data": data}

    def leave(trainer: Any) -> None:
        if with_checkpoint:
            trainer.keep_going.stop("the test says so")
        else:
            raise KeyboardInterrupt

    with pytest.raises((Preempted, KeyboardInterrupt)):
        train(RunOptions(path=str(path), callbacks=(At(1, leave),)), inputs, checkpoint_every="never")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    data.write_text("other")
    with pytest.raises(ReproducibilityError, match=r"something else \(config.seed: .*; inputs.data: .*--allow-changes"):
        train(RunOptions(resume=str(path)), inputs, seed=4)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    told: list[str] = []
    train(RunOptions(resume=str(path), allow_changes=True, tell=told.append), inputs)
    assert any(line.startswith("resuming although it has changed: inputs.data") for line in told)
    assert any("starts from the beginning" in line for line in told) is not with_checkpoint
    (changed,) = read_manifest(path)["changes"]
    assert changed["changed"][0].startswith("inputs.data: ")


def test_what_the_disk_refuses_is_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    def refuse(trainer: Any) -> None:
        raise OSError(28, "No space left on device", "metrics.jsonl")

    path = tmp_path / "run"
    with pytest.raises(CheckpointError, match=r"^metrics.jsonl: No space left on device; .*make room on the disk$"):
        train(RunOptions(path=str(path), callbacks=(At(2, refuse),)), checkpoint_every="2")
    assert read_manifest(path)["status"] == "failed"
    assert read_manifest(train(RunOptions(resume=str(path))))["status"] == "finished"


def test_a_link_to_the_last_checkpoint_is_sealed_with_the_run(tmp_path: Path) -> None:
    run = train(RunOptions(path=str(tmp_path / "run"), callbacks=(ModelCheckpoint(save_last="link"),)))
    described = read_manifest(run)
    assert described["files"]["checkpoints/last.ckpt"] == described["files"]["checkpoints/epoch=1-step=14.ckpt"]
    assert seal.faults(run, described) == []
