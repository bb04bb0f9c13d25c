"""What the trainer promises beyond Lightning: exact resume at any place, nothing drawn, failing early. And its own API."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.toytask import Kept, LeaveAt, Left, Line, Position, Shuffled, fixed, through_a_file, trainer
from training import checkpoint
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.learning_rate_monitor import LearningRateMonitor
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.digest import weights_sha256
from training.errors import CheckpointError, ConfigError, NonFiniteError
from training.loop.callback import Callback
from training.loop.trainer import Trainer
from training.loop.view import TrainerView
from training.randomness import uniform

# -- resume ----------------------------------------------------------------------------------------------------------


def run(
    folder: Path, plan: dict[str, Any], logger: Kept, state: dict[str, Any] | None = None, leave_at: int = -1
) -> tuple[Line, Trainer, dict[str, Any] | None]:
    """Train; leave at the ``leave_at``-th batch boundary with the state of that moment."""
    best = ModelCheckpoint(folder, monitor="val", save_top_k=2, save_last=True, filename="{epoch}")
    every = ModelCheckpoint(folder, every_n_train_steps=3, filename="step{step}", auto_insert_metric_name=False)
    callbacks = [best, every, Position(logger), LearningRateMonitor()]
    if "patience" in plan:
        callbacks.append(EarlyStopping("val", patience=plan["patience"], min_delta=0.5))
    task = Line(plan.get("optimizer", "adam"), plan.get("schedule", ""))
    leave = LeaveAt(leave_at, through_a_file)
    config = TrainConfig(device="cpu", progress=False, log_every_n_steps=2, **{"max_epochs": 3, **plan["settings"]})
    made = Trainer(config, callbacks=callbacks, logger=logger, keep_going=leave)
    try:
        made.fit(task, Shuffled(), Shuffled(6), state=state)
    except Left:
        del logger.lines[leave.state["logged"] if leave.state else 0 :]
    return task, made, leave.state


PLANS: list[dict[str, Any]] = [
    {"settings": {}},
    {"settings": {"val_check_interval": 0.4, "accumulate_grad_batches": 2}, "schedule": "plateau"},
    {
        "settings": {"val_check_interval": 5, "check_val_every_n_epoch": None, "accumulate_grad_batches": 3},
        "schedule": "step",
    },
    {"settings": {"max_epochs": 9, "val_check_interval": 3, "min_steps": 10}, "patience": 2},
    {"settings": {"max_steps": 11, "max_epochs": -1, "gradient_clip_val": 0.1}, "optimizer": "sgd"},
    {"settings": {"precision": "64-true", "max_epochs": 2}},
]


def contents(folder: Path) -> dict[str, str]:
    """Names of the checkpoints with the digests of the weights in them."""
    return {path.name: weights_sha256(checkpoint.load(path)["weights"]) for path in sorted(folder.glob("*.ckpt"))}


class Whole(NamedTuple):
    """What a run that was not stopped left, and the number of places where it could have been."""

    boundaries: int
    task: Line
    trainer: Trainer
    log: Kept
    contents: dict[str, str]


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Whole]:
    """The run of a plan, by its number; made when it is first asked for."""

    @functools.cache
    def of(number: int) -> Whole:
        plan, log, folder, counted = PLANS[number], Kept(), tmp_path_factory.mktemp("whole"), 0

        def count(each: Trainer) -> None:
            nonlocal counted
            counted += 1

        config = TrainConfig(device="cpu", progress=False, log_every_n_steps=2, **{"max_epochs": 3, **plan["settings"]})
        early = [EarlyStopping("val", patience=plan["patience"], min_delta=0.5)] if "patience" in plan else []
        counting = Trainer(config, callbacks=early, keep_going=count)
        counting.fit(Line(plan.get("optimizer", "adam"), plan.get("schedule", "")), Shuffled(), Shuffled(6))
        task, made, _ = run(folder, plan, log)
        return Whole(counted, task, made, log, contents(folder))

    return of


@pytest.mark.parametrize("number", range(len(PLANS)))
@pytest.mark.parametrize("where", [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0])
def test_left_anywhere_and_resumed_it_ends_in_the_same_bits(
    tmp_path: Path, whole_of: Callable[[int], Whole], number: int, where: float
) -> None:
    plan, whole = PLANS[number], whole_of(number)
    log, folder = Kept(), tmp_path / "left"
    _, _, state = run(folder, plan, log, leave_at=round(where * (whole.boundaries - 1)))
    assert state is not None
    # The run went on for a while after the checkpoint that it is resumed from: its files are there already.
    run(folder, plan, Kept(), copy.deepcopy(state), leave_at=4)
    resumed, again, _ = run(folder, plan, log, copy.deepcopy(state))
    assert weights_sha256(resumed) == weights_sha256(whole.task)
    assert log.lines == whole.log.lines
    assert contents(folder) == whole.contents
    assert (again.current_epoch, again.global_step) == (whole.trainer.current_epoch, whole.trainer.global_step)
    assert again.callback_metrics == whole.trainer.callback_metrics


def test_resumed_from_a_file_of_model_checkpoint_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"val_check_interval": 0.4, "accumulate_grad_batches": 2}
    log = Kept()
    callback = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1)
    config = TrainConfig(device="cpu", progress=False, log_every_n_steps=2, max_epochs=3, **settings)
    task = Line(schedule="plateau")
    Trainer(config, callbacks=[callback, Position(log)], logger=log).fit(task, Shuffled(), Shuffled(6))
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 12
    for path in paths:
        state = checkpoint.load(path)
        rest, resumed = Kept(), Line(schedule="plateau")
        Trainer(config, callbacks=[Position(rest)], logger=rest).fit(resumed, Shuffled(), Shuffled(6), state=state)
        assert weights_sha256(resumed) == weights_sha256(task)
        assert log.lines[state["logged"] :] == rest.lines


def test_validation_sanity_check_and_logging_change_no_training() -> None:
    digests = set()
    changes: list[dict[str, Any]] = [
        {},
        {"val_check_interval": 1},
        {"num_sanity_val_steps": -1},
        {"log_every_n_steps": 7},
        {"limit_val_batches": 0},
    ]
    for more in changes:
        task = Line()
        trainer(logger=Kept(), **more).fit(task, Shuffled(), Shuffled(6))
        digests.add(weights_sha256(task))
    assert len(digests) == 1


# -- evaluation ------------------------------------------------------------------------------------------------------


def test_test_returns_plain_numbers_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    made, task = trainer(), Line()
    (metrics,) = made.test(task, fixed())
    with torch.no_grad():
        expected = sum(float(task.loss(batch)) * len(batch) for batch in fixed().batches) / 12
    assert list(metrics) == ["test"]
    assert type(metrics["test"]) is float
    assert metrics["test"] == pytest.approx(expected)
    shown = capsys.readouterr().out
    assert "Test metric" in shown
    assert "DataLoader 0" in shown
    made.test(task, fixed(), verbose=False)
    assert capsys.readouterr().out == ""


def test_several_sources_have_their_own_names() -> None:
    results = trainer(fast_dev_run=0).test(Line(), [fixed(2), fixed(3)], verbose=False)
    assert [list(each) for each in results] == [["test/dataloader_idx_0"], ["test/dataloader_idx_1"]]
    with pytest.raises(ConfigError, match=r"with 2 sources, expected \(batch, batch_idx, dataloader_idx\)"):
        trainer().validate(Line(), [fixed(2), fixed(3)])


def test_predict_gives_what_the_steps_return() -> None:
    task = Line()
    parts = trainer().predict(task, fixed(3))
    with torch.no_grad():
        assert [torch.equal(p, task.predict_step(b, 0)) for p, b in zip(parts, fixed(3).batches, strict=True)] == [True] * 3
    assert [len(part) for part in trainer().predict(task, [fixed(1), fixed(2)])] == [1, 2]


def test_no_batches_is_an_empty_list() -> None:
    assert trainer().test(Line(), fixed(0)) == []
    assert trainer(limit_test_batches=0).test(Line(), fixed(2)) == []
    with pytest.raises(ConfigError, match=r"limit_test_batches: a share of 0.1 of 4 batches .* at least 0.25"):
        trainer(limit_test_batches=0.1).test(Line(), fixed(4))


def test_the_best_and_the_last_checkpoint_can_be_tested(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val", mode="max", save_top_k=-1, save_last=True)  # so that best is not last
    made, task = trainer(best, max_epochs=3), Line()
    made.fit(task, Shuffled(), fixed())
    last = weights_sha256(task)
    made.test(None, fixed(), verbose=False)
    assert weights_sha256(task) == weights_sha256(checkpoint.load(Path(best.best_model_path))["weights"]) != last
    made.test(task, fixed(), ckpt_path="last", verbose=False)
    assert weights_sha256(task) == last
    made.test(task, fixed(), ckpt_path=best.best_model_path, verbose=False)
    assert weights_sha256(task) != last
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        made.test(task, fixed(), ckpt_path=tmp_path / "nowhere.ckpt")


def test_last_is_by_step_not_by_time(tmp_path: Path) -> None:
    made, task = trainer(ModelCheckpoint(tmp_path, save_last=True, save_top_k=0), max_epochs=1), Line()
    made.fit(task, Shuffled(), fixed())
    newest = checkpoint.load(tmp_path / "last.ckpt")
    older = {**newest, "progress": {**newest["progress"], "global_step": 1}, "weights": Line().state_dict()}
    checkpoint.save(tmp_path / "last-v1.ckpt", older)  # written later
    made.test(task, fixed(), ckpt_path="last", verbose=False)
    assert weights_sha256(task) == weights_sha256(newest["weights"])


def test_what_there_is_no_checkpoint_for_is_said(tmp_path: Path) -> None:
    made = trainer()
    with pytest.raises(ConfigError, match="expected a task"):
        made.test(None, fixed())
    with pytest.raises(ConfigError, match="expected a ModelCheckpoint"):
        made.test(Line(), fixed(), ckpt_path="best")
    made = trainer(ModelCheckpoint(tmp_path))
    with pytest.raises(ConfigError, match="to have saved a file"):
        made.test(Line(), fixed(), ckpt_path="best")
    with pytest.warns(UserWarning, match=r"expected a last.ckpt"):
        made.test(Line(), fixed(), ckpt_path="last")
    for odd in ("", "hpc"):
        with pytest.raises(ConfigError, match="expected the path of a checkpoint, best or last"):
            made.test(Line(), fixed(), ckpt_path=odd)


# -- refusing early --------------------------------------------------------------------------------------------------


def test_settings_that_contradict_each_other_are_refused_before_anything_runs() -> None:
    class Loud(Line):
        def setup(self, stage: str) -> None:
            raise AssertionError("something ran")

    cases: list[tuple[dict[str, Any], str]] = [
        ({"max_epochs": -2}, "max_epochs: expected 0 or more"),
        ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch: expected 1 or more"),
        ({"check_val_every_n_epoch": None}, "expected a whole number of batches, got 1.0"),
        ({"limit_train_batches": 1.5}, "limit_train_batches: expected a share"),
        ({"val_check_interval": 5}, "5 batches is more than the 4"),
        ({"limit_val_batches": 0.1}, "a share of 0.1 of 4 batches"),
    ]
    for more, message in cases:
        with pytest.raises(ConfigError, match=message):
            trainer(**more).fit(Loud(), fixed(4), fixed(4))
    with pytest.raises(ConfigError, match="expected training batches, got none"):
        trainer().fit(Loud(), fixed(0))


def test_a_task_without_its_steps_is_refused() -> None:
    class Empty(Line):
        pass

    Empty.training_step = Line.__mro__[1].training_step  # type: ignore[method-assign, attr-defined]
    with pytest.raises(ConfigError, match="expected Empty to have a training_step"):
        trainer().fit(Empty(), fixed())
    del Empty.training_step
    Empty.validation_step = Line.__mro__[1].validation_step  # type: ignore[method-assign, attr-defined]
    with pytest.raises(ConfigError, match="expected Empty to have a validation_step"):
        trainer().validate(Empty(), fixed())
    with pytest.warns(UserWarning, match="no validation_step"):
        trainer(max_epochs=1).fit(Empty(), fixed(), fixed())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_before_the_weights(what: str) -> None:
    class Broken(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            if batch_idx < 2:
                return self.loss(batch)
            self.before = weights_sha256(self)
            loss = self.loss(batch) * float("inf")
            return loss if what == "loss" else self.loss(batch) + (self.out.bias.sum() * 0).sqrt() * 0

    task = Broken()
    with pytest.raises(NonFiniteError, match=rf"epoch 0, batch 2, step 2: the {what}.* no step was taken"):
        trainer().fit(task, fixed(), fixed())
    assert weights_sha256(task) == task.before


def test_finite_gradients_with_a_huge_norm_are_no_error() -> None:
    class Huge(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return self.out.bias.sum() * 1e25 + self.out.weight.sum() * 1e25

    made = trainer(max_steps=1, gradient_clip_val=1.0)
    made.fit(Huge("sgd"), fixed())
    assert made.gradient_norm == pytest.approx(5**0.5 * 1e25)


# -- hooks -----------------------------------------------------------------------------------------------------------


def test_overfit_batches_are_those_of_the_first_plan() -> None:
    class Seen(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            seen.append(batch)
            return self.loss(batch)

    seen: list[Tensor] = []
    trainer(max_epochs=3, overfit_batches=2).fit(Seen(), Shuffled())
    first = Shuffled().plan(0)[:2]
    assert len(seen) == 6
    assert all(torch.equal(batch, first[i % 2]) for i, batch in enumerate(seen))


def test_hooks_that_are_not_overridden_are_not_called() -> None:
    made = trainer()
    made.fit(Line(), fixed(), fixed())
    empty = {name for name, chain in made.session.chains.items() if not chain}
    assert {"on_train_batch_start", "on_before_backward", "on_validation_end", "optimizer_step"} <= empty
    assert "configure_optimizers" not in empty


def test_an_optimizer_step_that_forgets_its_closure_is_said() -> None:
    class Forgets(Line):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            pass

    with pytest.raises(ConfigError, match=r"expected it to call optimizer.step\(optimizer_closure\)"):
        trainer().fit(Forgets(), fixed())


def test_every_second_step_by_an_own_optimizer_step() -> None:
    class Half(Line):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            if batch_idx % 2:
                optimizer.step(optimizer_closure)
            else:
                optimizer_closure()

    made, task = trainer(max_epochs=1), Half("sgd")
    made.fit(task, fixed(2))
    alone = Line("sgd")
    trainer(max_epochs=1).fit(alone, FixedBatches([fixed(2).batches[1]]))
    assert made.global_step == 2
    assert not torch.equal(task.out.bias, Half("sgd").out.bias)


def test_exceptions_reach_the_callbacks_and_the_caller() -> None:
    seen: list[BaseException] = []

    class Watcher(Callback):
        def on_exception(self, trainer: TrainerView, task: Any, exception: BaseException) -> None:
            seen.append(exception)

    class Interrupted(Line):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(Watcher()).fit(Interrupted(), fixed())
    assert [type(each) for each in seen] == [KeyboardInterrupt]


def test_the_progress_bar_shows_the_version_and_what_was_asked_for() -> None:
    made = trainer(logger=Kept())
    made.fit(Line(), fixed(), fixed())
    assert list(made.progress_bar_fields) == ["v_num", "loss_step", "loss_epoch"]
    assert made.progress_bar_fields["v_num"] == 3
    assert {"loss_step", "loss_epoch", "val_step", "val_epoch"} <= set(made.logged_metrics)


def test_a_task_without_a_trainer_says_so() -> None:
    with pytest.warns(UserWarning, match=r"log\('loss'\): Line has no Trainer, so the value is lost"):
        Line().log("loss", 1.0)
    with pytest.raises(RuntimeError, match="Line is not attached to a Trainer"):
        _ = Line().trainer
    assert (Line().current_epoch, Line().global_step, Line().device.type) == (0, 0, "cpu")
    with pytest.raises(RuntimeError, match="has no task"):
        _ = trainer().task


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_accumulated_gradients_are_those_of_the_mean(n: int, window: int, epoch: int) -> None:
    """Against plain torch: each window's gradients added, divided by the window's full length even where it is short."""
    task, twin = Line("sgd"), Line("sgd")
    trainer(max_epochs=1, accumulate_grad_batches=window).fit(task, FixedBatches(Shuffled().plan(epoch)[:n]))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
    for first in range(0, n, window):
        optimizer.zero_grad()
        for i in range(first, min(first + window, n)):
            batch = Shuffled().plan(epoch)[i]
            scale = 1 + 0.01 * float(uniform((1,), 0, 1, 0, "noise", 0, i))
            (twin.loss(batch * scale) / window).backward()
        optimizer.step()
    assert weights_sha256(task) == weights_sha256(twin)
