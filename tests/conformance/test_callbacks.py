"""Callbacks on Lightning and on ours: the same calls, files, stops and weights, for generated arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch import callbacks as their_callbacks
from lightning.pytorch import loggers as their_loggers

import training
from tests.conformance.beside import LIBRARIES, Clock, Program, files
from tests.conformance.both import same
from training.errors import ConfigError
from training.loop.callback import Callback

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
SAME_ARGUMENTS = (
    "EarlyStopping", "ModelCheckpoint", "LearningRateMonitor", "Timer", "OnExceptionCheckpoint", "BasePredictionWriter",
    "TQDMProgressBar", "GradientAccumulationScheduler", "CSVLogger", "TensorBoardLogger",
)  # fmt: skip


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.mark.parametrize("name", SAME_ARGUMENTS)
def test_arguments_have_the_same_places_names_and_defaults(name: str) -> None:
    theirs = getattr(their_callbacks, name, None) or getattr(their_loggers, name)
    found = [
        [(each.name, each.default if each.default != "step" else "step", each.kind) for each in parameters.values()]
        for parameters in (inspect.signature(cls).parameters for cls in (getattr(training, name), theirs))
    ]
    assert found[0] == found[1]


def both(run: Any) -> None:
    """``run(library)`` gives the same on both, but for what sums in float32 and float64 differ by."""
    ours, theirs = run("ours"), run("Lightning")
    assert same(ours, theirs), f"\nours      {ours}\nLightning {theirs}"


# -- GradientAccumulationScheduler ------------------------------------------------------------------------------------


@FEW
@given(
    st.dictionaries(st.integers(0, 3), st.integers(1, 4), min_size=1, max_size=3),
    st.fixed_dictionaries({}, optional={"max_steps": st.integers(1, 7), "limit_train_batches": st.integers(1, 5)}),
)
def test_gradients_accumulate_by_epoch(tmp_path_factory: pytest.TempPathFactory, scheduling: Any, more: Any) -> None:
    folder = tmp_path_factory.mktemp("accumulated")

    def run(library: str) -> Any:
        program = Program(library)
        scheduler = program.names.GradientAccumulationScheduler(dict(scheduling))
        end = program.run(folder, [scheduler], **{"max_epochs": 4, **more}).end()
        return end, scheduler.scheduling, [scheduler.get_accumulate_grad_batches(epoch) for epoch in range(6)]

    both(run)


@pytest.mark.parametrize("scheduling", [{}, {-1: 2}, {0: 0}, {0.5: 2}, {1: 1.5}])
def test_schedulings_that_cannot_be(scheduling: Any) -> None:
    for library in LIBRARIES:
        with pytest.raises(Exception, match=r".+"):
            Program(library).names.GradientAccumulationScheduler(dict(scheduling))


@pytest.mark.parametrize("what", ["manual", "twice"])
def test_accumulation_that_contradicts_is_refused(tmp_path: Path, what: str) -> None:
    def run(library: str) -> Any:
        program = Program(library)
        program.task.automatic_optimization = what != "manual"
        scheduler = program.names.GradientAccumulationScheduler({0: 2})
        return program.run(tmp_path, [scheduler], accumulate_grad_batches=2 if what == "twice" else 1).error

    assert run("ours") == run("Lightning") == "refused"


# -- Timer ------------------------------------------------------------------------------------------------------------


@FEW
@given(
    st.one_of(st.none(), st.integers(0, 20)),
    st.sampled_from(["step", "epoch"]),
    st.sampled_from(["text", "dict", "timedelta"]),
    st.fixed_dictionaries({}, optional={"val_check_interval": st.sampled_from([0.4, 2]), "min_epochs": st.just(2)}),
)
def test_a_timer_ends_the_fit(
    tmp_path_factory: pytest.TempPathFactory, seconds: int | None, interval: str, form: str, more: Any
) -> None:
    folder = tmp_path_factory.mktemp("timed")

    def run(library: str) -> Any:
        duration = {
            "text": None if seconds is None else f"00:00:00:{seconds:02}",
            "dict": None if seconds is None else {"seconds": seconds},
            "timedelta": None if seconds is None else timedelta(seconds=seconds),
        }[form]
        with pytest.MonkeyPatch.context() as patch:
            program = Program(library, Clock(patch, begun=7.0))
            timer = program.names.Timer(duration, interval, verbose=False)
            end = program.run(folder, [timer], verbs=("fit", "test"), **more).end()
            times = [(timer.start_time(each), timer.end_time(each), timer.time_elapsed(each)) for each in ("train", "test")]
            return end, times, timer.time_remaining(), timer.state_dict()["time_elapsed"], program.trainer.should_stop

    both(run)


@pytest.mark.parametrize(
    "arguments", [("1:2:3:4",), ("soon",), ({"moments": 1},), (None, "batch"), (5.0,), ("00:00:00",)], ids=str
)
def test_durations_that_cannot_be(arguments: Any) -> None:
    for library in LIBRARIES:
        with pytest.raises(Exception, match=r".+"):
            Program(library).names.Timer(*arguments)


# -- ModelCheckpoint --------------------------------------------------------------------------------------------------

CHECKPOINTS = st.fixed_dictionaries(
    {},
    optional={
        "monitor": st.sampled_from(["val", "loss", "loss_step"]),
        "filename": st.sampled_from(["best", "{epoch}", "{step}-{val:.2f}", "{epoch:02d}{loss:.1f}"]),
        "save_last": st.sampled_from([True, "link", "link"]),
        "save_top_k": st.sampled_from([-1, 0, 1]),
        "mode": st.sampled_from(["min", "max"]),
        "auto_insert_metric_name": st.booleans(),
        "save_on_train_epoch_end": st.booleans(),
        "enable_version_counter": st.booleans(),
    },
)
INTERVALS = [{"train_time_interval": timedelta(seconds=seconds)} for seconds in (0, 1, 3, 4, 9)]
WHEN = st.sampled_from([{}, {}, {"every_n_train_steps": 2}, {"every_n_epochs": 2}, *INTERVALS])
CHARACTERS = st.fixed_dictionaries(
    {},
    optional={
        "CHECKPOINT_JOIN_CHAR": st.just("+"),
        "CHECKPOINT_EQUALS_CHAR": st.just("_"),
        "CHECKPOINT_NAME_LAST": st.sampled_from(["newest", "{epoch}-last"]),
        "FILE_EXTENSION": st.just(".mine"),
        "STARTING_VERSION": st.just(3),
    },
)


def kept(checkpoint: Any) -> Any:
    """What a ModelCheckpoint says of what it kept."""
    paths = checkpoint.best_model_path, checkpoint.kth_best_model_path, checkpoint.last_model_path
    best = {Path(path).name: (type(score), score.item()) for path, score in checkpoint.best_k_models.items()}
    scores = [
        None if score is None else (type(score), score.item())
        for score in (checkpoint.best_model_score, checkpoint.current_score)
    ]
    return [Path(path).name for path in paths], best, scores, checkpoint.kth_value.item()


@settings(FEW, max_examples=25)
@given(
    CHECKPOINTS, WHEN, CHARACTERS,
    st.sampled_from([{}, {"val_check_interval": 0.4}, {"val_check_interval": 2, "accumulate_grad_batches": 2}]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_same_checkpoints_are_kept(
    tmp_path_factory: pytest.TempPathFactory,
    arguments: Any,
    when: Any,
    characters: Any,
    more: Any,
    fails: bool,
    counted: bool,
) -> None:
    """With time, links, own characters, and an error at which to save: names, links, scores, and the file of scores."""
    more = more if counted or more.get("val_check_interval") != 0.4 else {}  # no share of a number that is not known
    folder = tmp_path_factory.mktemp("kept")
    arguments = {**arguments, **when}
    fails = fails and "step" in arguments.get("filename", "step")  # else Lightning writes over a file that it keeps

    def run(library: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            program = Program(library, Clock(patch))
            checkpoint = program.names.ModelCheckpoint(folder / library, save_on_exception=fails, **arguments)
            for name, value in characters.items():
                setattr(checkpoint, name, value)
            program.fails_at = (1, 3) if fails else (-1, -1)
            end = program.run(folder, [checkpoint], counted=counted, **more).end()
            checkpoint.to_yaml(folder / f"{library}.yaml")
            scores = yaml.safe_load((folder / f"{library}.yaml").read_text())
            return end, files(folder / library), kept(checkpoint), {Path(k).name: v for k, v in scores.items()}

    both(run)


@FEW
@given(
    st.sampled_from([None, "{epoch}", "x-{val:.2f}-{missing}", "{step:03d}"]), st.one_of(st.none(), st.integers(1, 3)),
    st.sampled_from([None, "before", ""]), st.booleans(), CHARACTERS,
)  # fmt: skip
def test_names_are_made_alike(template: Any, version: Any, prefix: Any, insert: bool, characters: Any) -> None:
    def run(library: str) -> Any:
        made = Program(library).names.ModelCheckpoint("/there", "{val}", auto_insert_metric_name=insert)
        for name, value in characters.items():
            setattr(made, name, value)
        metrics = {"epoch": 3, "step": torch.tensor(12), "val": torch.tensor(0.25)}
        return made.format_checkpoint_name(metrics, template, version, prefix)

    both(run)


@FEW
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "every_n_train_steps": st.integers(-1, 2), "every_n_epochs": st.integers(-1, 2),
            "train_time_interval": st.sampled_from([timedelta(0), timedelta(1)]), "save_top_k": st.integers(-2, 2),
            "monitor": st.just("val"), "mode": st.sampled_from(["min", "up"]),
        },
    )
)  # fmt: skip
def test_the_same_arguments_are_refused(arguments: Any) -> None:
    def run(library: str) -> Any:
        try:
            made = Program(library).names.ModelCheckpoint("x", **arguments)
        except Exception:
            return "refused"
        return made.every_n_epochs, made.state_key

    both(run)


# -- EarlyStopping, LearningRateMonitor -------------------------------------------------------------------------------

STOPPINGS = st.fixed_dictionaries(
    {"patience": st.integers(1, 3), "mode": st.sampled_from(["min", "max"])},
    optional={
        "min_delta": st.sampled_from([0.25, 0.5]),
        "stopping_threshold": st.sampled_from([0.25, 1.5]),
        "divergence_threshold": st.sampled_from([0.25, 1.5]),
        "check_finite": st.booleans(),
        "check_on_train_epoch_end": st.booleans(),
    },
)


@FEW
@given(STOPPINGS, st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, float("nan"), float("inf")]), min_size=3, max_size=6))
def test_early_stopping_says_the_same(tmp_path_factory: pytest.TempPathFactory, arguments: Any, values: list[float]) -> None:
    """Reasons, scores as tensors, state, and in how many lines it tells."""
    folder = tmp_path_factory.mktemp("stopped")

    def run(library: str) -> Any:
        said: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("training.callbacks.early_stopping.say", said.append)
            patch.setattr(their_callbacks.early_stopping.log, "info", said.append)
            program = Program(library, values=tuple(values))
            stopping = program.names.EarlyStopping("val", verbose=True, **arguments)
            end = program.run(folder, [stopping], max_epochs=6).end()
        state = {**stopping.state_dict(), "stopping_reason_message": None, "best_score": stopping.best_score.item()}
        told = stopping.stopping_reason_message is not None
        return end, stopping.stopping_reason.name, told, state, stopping.state_key, stopping.min_delta, len(said)

    both(run)


@pytest.mark.parametrize("interval", [None, "step", "epoch"])
def test_learning_rates_are_kept(tmp_path: Path, interval: str | None) -> None:
    def run(library: str) -> Any:
        program = Program(library)
        logger = program.names.CSVLogger(tmp_path / library)
        monitor = program.names.LearningRateMonitor(interval, True, True)
        program.run(tmp_path, [monitor], loggers=[logger])
        return monitor.lrs, monitor.last_momentum_values, monitor.last_weight_decay_values

    both(run)


# -- the small ones ---------------------------------------------------------------------------------------------------


def test_functions_are_called_in_the_same_order(tmp_path: Path) -> None:
    hooks = [name for name in inspect.signature(their_callbacks.LambdaCallback).parameters if name != "on_load_checkpoint"]
    assert all(hasattr(Callback, name) for name in hooks)

    def run(library: str) -> Any:
        program, calls = Program(library), []
        names = program.names

        def noting(hook: str) -> Any:
            return lambda *arguments, **named: calls.append((hook, len(arguments) + len(named)))

        noted = [noting(hook) for hook in hooks if hook != "on_save_checkpoint"]  # which ours calls once more, to try
        callback = names.LambdaCallback(**dict(zip([h for h in hooks if h != "on_save_checkpoint"], noted, strict=True)))
        program.fails_at = (1, 1)
        program.run(tmp_path, [callback], max_epochs=1, num_sanity_val_steps=1, verbs=("fit", "validate", "test", "predict"))
        Program(library).run(tmp_path, [callback], verbs=("fit",))
        again = Program(library)
        again.fails_at = (1, 1)
        again.run(tmp_path, [callback])
        return calls

    both(run)
    with pytest.raises(ConfigError, match="expected the names of hooks"):
        training.LambdaCallback(on_holiday=print)


@pytest.mark.parametrize("interval", ["batch", "epoch", "batch_and_epoch"])
def test_predictions_are_written(tmp_path: Path, interval: str) -> None:
    def run(library: str) -> Any:
        program, calls = Program(library), list[Any]()

        class Writer(program.names.BasePredictionWriter):  # type: ignore[misc, name-defined]
            def write_on_batch_end(self, trainer: Any, task: Any, prediction: Any, indices: Any, *batch: Any) -> None:
                calls.append((prediction.item(), batch[0].shape, *batch[1:]))

            def write_on_epoch_end(self, trainer: Any, task: Any, predictions: Any, batch_indices: Any) -> None:
                calls.append([each.item() for each in predictions])

        program.run(tmp_path, [Writer(interval)], verbs=("predict", "predict"))
        return calls

    both(run)
    for library in LIBRARIES:
        with pytest.raises(Exception, match="write_interval"):
            Program(library).names.BasePredictionWriter("now and then")


def test_ids_of_a_batch_reach_the_writer(tmp_path: Path) -> None:
    program, seen = Program("ours"), list[Any]()
    program.task.batch_ids = lambda batch: [7, len(batch)]

    class Writer(training.BasePredictionWriter):
        def write_on_batch_end(self, trainer: Any, task: Any, prediction: Any, indices: Any, *batch: Any) -> None:
            seen.append(indices)

        def write_on_epoch_end(self, trainer: Any, task: Any, predictions: Any, batch_indices: Any) -> None:
            seen.append(batch_indices)

    program.run(tmp_path, [Writer("batch_and_epoch")], verbs=("predict",))
    assert seen == [[7, 1], [7, 2], [[[7, 1], [7, 2]]]]


@pytest.mark.parametrize("fails_at", [(-1, -1), (0, 0), (1, 2)])
def test_a_checkpoint_of_the_exception(tmp_path: Path, fails_at: tuple[int, int]) -> None:
    def run(library: str) -> Any:
        program = Program(library)
        program.fails_at = fails_at
        saving = program.names.OnExceptionCheckpoint(tmp_path / library, "crash")
        end = program.run(tmp_path, [saving]).end()
        return end, files(tmp_path / library), Path(saving.ckpt_path).name

    both(run)


def test_a_second_fit_with_the_same_timer(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """Lightning's clock runs backwards in it until it ends."""
    program = Program("ours", Clock(patch))
    timer = training.Timer()
    elapsed: list[float] = []
    noting = training.LambdaCallback(on_train_batch_end=lambda *_: elapsed.append(timer.time_elapsed()))
    program.run(tmp_path, [timer, noting], max_epochs=1)
    program.run(tmp_path, [timer, noting], max_epochs=1)
    assert elapsed == [1.0, 2.0, 3.0, 4.0, 5.0] * 2
