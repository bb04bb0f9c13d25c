"""Callbacks and loggers in a fit that is left at any batch and goes on: it ends as one that was never left."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training.toytask import LeaveAt, Left, Line, fixed
from training import checkpoint
from training.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.timer import Timer
from training.config import TrainConfig
from training.digest import weights_sha256
from training.errors import Preempted
from training.loggers.csv_logger import CSVLogger
from training.loggers.logger import Logger
from training.loggers.tensorboard_logger import TensorBoardLogger
from training.loop.callback import Callback
from training.loop.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:CSVLogger. .* is there already")


class Ticking(Callback):
    """A clock that goes on by a second a training batch; each process has begun at another time."""

    begun = itertools.count(1000, 500)

    def __init__(self) -> None:
        self.clock = SimpleNamespace(now=float(next(self.begun)))  # no plain attribute, which a resume would put back

    def state_dict(self) -> dict[str, Any]:
        return {}  # a clock is not put back

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        self.clock.now += 1.0


Plan = tuple[dict[str, Any], Callable[[Path], list[Callback]]]
PLANS: dict[str, Plan] = {
    "timer by step": ({"max_epochs": 4}, lambda folder: [Timer("00:00:00:07", verbose=False)]),
    "timer by epoch": ({"max_epochs": 4}, lambda folder: [Timer({"seconds": 5}, "epoch", verbose=False)]),
    "accumulation": (
        {"max_epochs": 3, "val_check_interval": 0.5},
        lambda folder: [GradientAccumulationScheduler({0: 3, 1: 2, 2: 1})],
    ),
    "accumulation to a step": (
        {"max_epochs": 3, "max_steps": 3},
        lambda folder: [GradientAccumulationScheduler({0: 3, 1: 2})],
    ),
    "checkpoints by time": (
        {"max_epochs": 3, "val_check_interval": 0.5},
        lambda folder: [
            ModelCheckpoint(folder, train_time_interval=timedelta(seconds=3), save_top_k=-1, save_last="link"),
            ModelCheckpoint(folder, "best", "val", save_last="link", train_time_interval=timedelta(seconds=2)),
        ],
    ),
    "the best so far": (
        {"max_epochs": 3, "val_check_interval": 0.5},
        lambda folder: [
            ModelCheckpoint(folder, "best-{step}", "val"),
            ModelCheckpoint(folder, "two-{step}", "val", every_n_epochs=2, save_top_k=2, save_last=True),
        ],
    ),
}


def run(
    folder: Path, plan: Plan, state: dict[str, Any] | None = None, leave_at: int = -1
) -> tuple[dict[str, Any] | None, list[Any], int]:
    """Train; leave at the ``leave_at``-th boundary with its state. What came of it, and how many boundaries there were."""
    clock, task, made = Ticking(), Line(schedule="step"), plan[1](folder / "checkpoints")
    leave = LeaveAt(leave_at)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("timer", "model_checkpoint"):
            patch.setattr(f"training.callbacks.{module}.monotonic", lambda: clock.clock.now)
        loggers = [CSVLogger(folder, "", 0), TensorBoardLogger(folder, "", 0)]
        config = TrainConfig(device="cpu", progress=False, log_every_n_steps=1, num_sanity_val_steps=0, **plan[0])
        trainer = Trainer(config, callbacks=[clock, *made], logger=loggers, keep_going=leave)
        try:
            trainer.fit(task, fixed(4), fixed(2), state=state)
        except Left:
            return leave.state, [], leave.boundaries
        elapsed = [each.time_elapsed() for each in made if isinstance(each, Timer)]
        states = [each.state_dict() for each in made if isinstance(each, ModelCheckpoint)]
    counted = [trainer.current_epoch, trainer.global_step, trainer.accumulate_grad_batches]
    ended = [weights_sha256(task), *counted, elapsed, states]
    return None, ended, leave.boundaries


def files(folder: Path) -> Any:
    """The checkpoints with what is in them or where they point to, the table, and what TensorBoard shows."""
    found = sorted((folder / "checkpoints").glob("*.ckpt"))
    shown = EventAccumulator(str(folder / "version_0"), size_guidance={"scalars": 0})
    shown.Reload()
    points = {tag: [(each.step, each.value) for each in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    weights = {path.name: weights_sha256(checkpoint.load(path)["weights"]) for path in found}
    links = {path.name: str(path.readlink()) for path in found if path.is_symlink()}
    return weights, links, (folder / "version_0" / "metrics.csv").read_text(), points


@pytest.mark.parametrize("name", PLANS)
def test_left_at_any_batch_it_ends_as_if_it_had_not_been(tmp_path: Path, name: str) -> None:
    plan = PLANS[name]
    _, whole, boundaries = run(tmp_path / "whole", plan)
    expected = files(tmp_path / "whole")
    for leave_at in range(0, boundaries, 4 if name == "checkpoints by time" else 2):
        folder = tmp_path / str(leave_at)
        state, _, _ = run(folder, plan, leave_at=leave_at)
        assert state is not None
        run(folder, plan, copy.deepcopy(state), leave_at=3)  # it went on for a while, and was killed: its files are there
        _, ended, _ = run(folder, plan, copy.deepcopy(state))
        assert (ended, files(folder)) == (whole, expected), leave_at


def test_another_table_is_not_gone_on_with(tmp_path: Path) -> None:
    first, other = CSVLogger(tmp_path, version=0), CSVLogger(tmp_path, version=1)
    for step in (0, 1, 2):
        first.log_metrics({"loss": 0.5}, step)
        other.log_metrics({"loss": 0.5}, step + 5)
    state = first.state_dict()
    other.save()
    again = CSVLogger(tmp_path, version=1)
    again.load_state_dict(state)
    again.log_metrics({"loss": 0.25}, 3)
    with pytest.warns(UserWarning, match="is there already, and is replaced"):
        again.save()
    assert again.path.read_text().split() == ["loss,step", "0.25,3"]
    moved = CSVLogger(tmp_path, version=2)
    moved.load_state_dict(state)
    moved.log_metrics({"loss": 0.25}, 3)
    moved.save()
    assert moved.path.read_text().split() == ["loss,step", "0.25,3"]


def test_with_more_time_it_goes_on_after_a_timers_end(tmp_path: Path) -> None:
    def timed(seconds: int) -> Plan:
        return {"max_epochs": 3}, lambda folder: [Timer({"seconds": seconds}, verbose=False)]

    stopped, _, _ = run(tmp_path, timed(3), leave_at=4)  # after its epoch's end
    ends = {seconds: run(tmp_path, timed(seconds), copy.deepcopy(stopped))[1][1:3] for seconds in (3, 30)}
    assert ends == {3: [1, 3], 30: [3, 11]}  # it ends again; the epoch that it fell into is over, and the others are whole


class Statuses(Logger):
    """Notes how what it logged ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        pass

    def finalize(self, status: str) -> None:
        self.ended.append(status)


@pytest.mark.parametrize(("error", "status"), [(None, "success"), (ValueError, "failed"), (Preempted, "aborted")])
def test_loggers_hear_of_a_stop(error: type[Exception] | None, status: str) -> None:
    def keep_going(trainer: Trainer) -> None:
        if error is not None:
            raise error

    logger = Statuses()
    trainer = Trainer(TrainConfig(device="cpu", max_epochs=1), logger=logger, keep_going=keep_going)
    with suppress(ValueError, Preempted):
        trainer.fit(Line(), fixed())
    assert logger.ended == [status]
