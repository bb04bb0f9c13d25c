"""Runs a Case on the installed Lightning, and on ours; and says where the two Records differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger

from tests.conformance.records import Record, plain
from tests.conformance.toy import Behavior, Case, batches, plain_task, recording_callback, recording_task
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.learning_rate_monitor import LearningRateMonitor
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

LIGHTNING_TASKS = {True: recording_task(pl.LightningModule), False: plain_task(pl.LightningModule)}
OUR_TASKS = {True: recording_task(Task), False: plain_task(Task)}
LightningRecorder, OurRecorder = recording_callback(pl.Callback), recording_callback(Callback)


class Loader:
    """Batches as Lightning takes them."""

    def __init__(self, items: list[torch.Tensor]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class MemoryLogger(Logger):
    """Keeps what Lightning logs."""

    def __init__(self, logged: list[tuple[int, dict[str, float]]]) -> None:
        super().__init__()
        self.logged = logged

    name, version = "memory", 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.logged.append((step, plain(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


class OurLogger:
    """Keeps what ours logs."""

    def __init__(self, logged: list[tuple[int, dict[str, float]]]) -> None:
        self.logged = logged

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((step, metrics))


class LightningTrainer(pl.Trainer):
    """Writes empty files in place of checkpoints, and says so."""

    record: Record

    def save_checkpoint(self, filepath: Any, weights_only: Any = None, storage_options: Any = None) -> None:
        note_saved(self.record, filepath, self.global_step)
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        Path(filepath).touch()


class OurTrainer(Trainer):
    """The same of ours."""

    record: Record

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        note_saved(self.record, filepath, self.global_step)
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        Path(filepath).touch()


def note_saved(record: Record, path: Any, step: int) -> None:
    record.saved.append(f"{Path(path).name} at {step}")
    record.events.append(("saved", Path(path).name))


def run_lightning(case: Case, folder: Path) -> Record:
    """``case`` on Lightning."""
    record = Record()
    task: Any = LIGHTNING_TASKS[case.recorded]()
    task.build(case, record)
    stopping = pl.callbacks.EarlyStopping(**dict(case.early_stopping)) if case.early_stopping is not None else None
    checkpoints = [pl.callbacks.ModelCheckpoint(dirpath=folder, **dict(each)) for each in case.checkpoints]
    callbacks: list[Any] = [*checkpoints, *([stopping] if stopping else [])]
    if case.recorded:
        callbacks.append(LightningRecorder())
    if case.lr_monitor is not None:
        callbacks.append(pl.callbacks.LearningRateMonitor(**dict(case.lr_monitor)))
    settings = {"max_epochs": 2, **dict(case.settings)}
    for name in ("min_epochs", "min_steps"):
        settings[name] = settings.get(name) or None
    try:
        trainer = LightningTrainer(
            accelerator="cpu",
            devices=1,
            logger=MemoryLogger(record.logged),
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=bool(checkpoints),
            default_root_dir=folder,
            **{"gradient_clip_algorithm": "norm", "gradient_clip_val": 0.0, **settings},
        )
        trainer.record = record
        loaders = [Loader(each) for each in val_batches(case)]
        trainer.fit(task, Loader(batches(case.n_train)), loaders or None)
        after(case, trainer, task, record, loaders)
    except (Exception, SystemExit) as error:
        record.error = f"{type(error).__name__}: {error}"
        return record
    finally:
        finish(record, task, folder)
    return describe(record, trainer, stopping, checkpoints)


def run_ours(case: Case, folder: Path) -> Record:
    """``case`` on ours."""
    record = Record()
    task: Any = OUR_TASKS[case.recorded]()
    task.build(case, record)
    try:
        stopping = EarlyStopping(**dict(case.early_stopping)) if case.early_stopping is not None else None
        checkpoints = [ModelCheckpoint(dirpath=folder, **dict(each)) for each in case.checkpoints]
        callbacks: list[Callback] = [*checkpoints, *([stopping] if stopping else [])]
        if case.recorded:
            callbacks.append(OurRecorder())
        if case.lr_monitor is not None:
            callbacks.append(LearningRateMonitor(**dict(case.lr_monitor)))
        settings = {"max_epochs": 2, **dict(case.settings)}
        config = TrainConfig(device="cpu", progress=False, **settings)
        trainer = OurTrainer(config, callbacks=callbacks, logger=OurLogger(record.logged))
        trainer.record = record
        sources = [FixedBatches(each) for each in val_batches(case)]
        trainer.fit(task, FixedBatches(batches(case.n_train)), sources or None)
        after(case, trainer, task, record, sources)
    except (Exception, KeyboardInterrupt) as error:
        record.error = f"{type(error).__name__}: {error}"
        return record
    finally:
        finish(record, task, folder)
    return describe(record, trainer, stopping, checkpoints)


def val_batches(case: Case) -> list[list[torch.Tensor]]:
    return [batches(n, offset=5 + i) for i, n in enumerate(case.n_val)]


def after(case: Case, trainer: Any, task: Any, record: Record, sources: Any) -> None:
    """What the case does after the fit."""
    for what in case.then if sources else ():
        found = getattr(trainer, what)(task, sources, **({} if what == "predict" else {"verbose": False}))
        record.results.append(found or [])  # without batches Lightning's predict returns None


def finish(record: Record, task: Behavior, folder: Path) -> None:
    record.files = sorted(path.name for path in folder.iterdir())
    record.weights = {name: tensor.clone() for name, tensor in task.state_dict().items()}


def describe(record: Record, trainer: Any, stopping: Any, checkpoints: list[Any]) -> Record:
    """What the trainer and its callbacks say at the end."""
    record.end = (trainer.current_epoch, trainer.global_step, trainer.should_stop)
    optimizers = [getattr(each, "optimizer", each) for each in trainer.optimizers]
    record.optimizer = [each.state_dict() for each in optimizers]
    record.metrics, record.bar = plain(trainer.callback_metrics), plain(trainer.progress_bar_metrics)
    for each in checkpoints:
        score = None if each.best_model_score is None else float(each.best_model_score)
        best = {Path(path).name: float(value) for path, value in each.best_k_models.items()}
        names = [Path(path).name for path in (each.best_model_path, each.last_model_path, each.kth_best_model_path)]
        record.checkpoint.append((score, best, *names))
    if stopping is not None:
        record.stopping = (stopping.wait_count, stopping.stopped_epoch, float(stopping.best_score))
    return record


def differences(ours: Record, theirs: Record) -> Iterator[str]:
    """Where two records differ."""
    if bool(ours.error) != bool(theirs.error):
        yield f"ours: {ours.error or 'no error'}; Lightning: {theirs.error or 'no error'}"
    if ours.error and not ours.events:
        return  # refused before anything ran; Lightning may find it out later
    for number, (mine, other) in enumerate(zip(ours.events, theirs.events, strict=False)):
        if not same(mine, other):
            yield f"event {number}: ours {mine}, Lightning {other} (after {ours.events[max(0, number - 2) : number]})"
            break
    if len(ours.events) != len(theirs.events):
        shorter = min(len(ours.events), len(theirs.events))
        rest = (ours.events if len(ours.events) > shorter else theirs.events)[shorter : shorter + 3]
        yield f"{len(ours.events)} events, Lightning {len(theirs.events)}; from there {rest}"
    for name in ("logged", "saved", "files", "end", "metrics", "bar", "checkpoint", "stopping", "results"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if not same(mine, other):
            yield f"{name}: ours {mine}, Lightning {other}"
    for name, tensor in ours.weights.items():
        if not torch.equal(tensor, theirs.weights[name]):
            yield f"weights {name}: ours {tensor.tolist()}, Lightning {theirs.weights[name].tolist()}"
    if not same(ours.optimizer, theirs.optimizer):
        yield f"optimizer: ours {ours.optimizer}, Lightning {theirs.optimizer}"


def same(mine: Any, other: Any) -> bool:
    """Equal; numbers up to what float32 sums (Lightning) and float64 sums (ours) differ by."""
    if type(mine) is type(other) and type(mine) in (str, int, bool):  # most are
        return bool(mine == other)
    if isinstance(mine, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.allclose(mine, other, rtol=1e-5, atol=1e-7)
    if isinstance(mine, dict) and isinstance(other, dict):
        return mine.keys() == other.keys() and all(same(mine[key], other[key]) for key in mine)
    if isinstance(mine, list | tuple) and isinstance(other, list | tuple):
        return len(mine) == len(other) and all(same(a, b) for a, b in zip(mine, other, strict=True))
    if isinstance(mine, float) or isinstance(other, float):
        if not (isinstance(mine, float | int) and isinstance(other, float | int)):
            return False
        return (math.isnan(mine) and math.isnan(other)) or math.isclose(mine, other, rel_tol=2e-6, abs_tol=1e-7)
    return bool(mine == other)
