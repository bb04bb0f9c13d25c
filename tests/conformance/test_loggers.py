"""Loggers on Lightning and on ours: the same calls in the same order, the same tables and curves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conformance.beside import LIBRARIES, Program, recording_logger
from tests.conformance.both import same

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
VERBS = [("fit",), ("fit", "test"), ("validate", "predict"), ("fit", "validate", "fit"), ("test", "fit")]


@FEW
@given(
    st.sampled_from(VERBS),
    st.sampled_from([(-1, -1), (0, 0), (1, 3)]),
    st.fixed_dictionaries({}, optional={"log_every_n_steps": st.integers(0, 3), "val_check_interval": st.just(0.4)}),
    st.booleans(),
    st.booleans(),
)
def test_they_are_called_alike(
    tmp_path_factory: pytest.TempPathFactory, verbs: Any, fails_at: Any, more: Any, saves: bool, stops: bool
) -> None:
    folder = tmp_path_factory.mktemp("called")

    def run(library: str) -> Any:
        program, calls = Program(library), list[Any]()
        program.fails_at = fails_at
        callbacks = [program.names.LearningRateMonitor()]
        callbacks += [program.names.ModelCheckpoint(folder / library, every_n_train_steps=2)] if saves else []
        callbacks += [program.names.EarlyStopping("val", patience=1, check_on_train_epoch_end=False)] if stops else []
        program.run(folder, callbacks, loggers=[recording_logger(program, calls)], verbs=verbs, **more)
        return program.error, calls

    ours, theirs = run("ours"), run("Lightning")
    assert same(ours, theirs), f"\nours      {ours}\nLightning {theirs}"


METRICS = st.dictionaries(st.sampled_from(["loss", "a/b", "β", "epoch"]), st.floats(-9, 9) | st.integers(0, 5), min_size=1)
CALLS = st.lists(st.tuples(METRICS, st.one_of(st.none(), st.integers(0, 300)), st.booleans()), max_size=8)


@FEW
@given(CALLS, st.sampled_from(["", "mine"]), st.sampled_from([1, 100]), st.sampled_from(["", None, "digits"]))
def test_the_tables_are_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, calls: Any, prefix: str, flush: int, name: str | None
) -> None:
    folder, found = tmp_path_factory.mktemp("tables"), []
    for library in LIBRARIES:
        logger = Program(library).names.CSVLogger(folder / library, name, None, prefix, flush)
        for metrics, step, save in calls:
            logger.log_metrics(metrics, step=step)
            if save:
                logger.save()
        logger.finalize("success")
        paths = sorted(path for path in (folder / library).rglob("*") if path.is_file())
        found.append({str(path.relative_to(folder / library)): path.read_bytes() for path in paths})
        assert Path(logger.log_dir) == Path(logger.root_dir, f"version_{logger.version}")
    assert found[0] == found[1]


PARAMETERS: dict[str, Any] = {
    "lr": 1e-5, "layers": [1, 2], "name": "yes", "of": {"a": 0.5, "b": [{"c": "x: y"}]}, "none": None, "on": True,
    "big": 1e22, "odd": "#é\n\t", "empty": "", "number": "12", "inf": float("inf"),
}  # fmt: skip


@pytest.mark.parametrize("what", ["CSVLogger", "TensorBoardLogger"])
@pytest.mark.parametrize("form", [dict, argparse.Namespace])
def test_hyperparameters_are_read_back_alike(tmp_path: Path, what: str, form: Any) -> None:
    found = []
    for library in LIBRARIES:
        logger = getattr(Program(library).names, what)(tmp_path / library, name="x", version="first")
        logger.log_hyperparams(form(**PARAMETERS))
        logger.save()
        logger.finalize("success")
        path = tmp_path / library / "x" / "first" / "hparams.yaml"
        found.append((yaml.safe_load(path.read_text(encoding="utf-8")), logger.version, logger.name))
    assert found[0] == found[1]
    assert found[0][0] == PARAMETERS


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of it."""
    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    shown.Reload()
    return {tag: [(each.step, each.value) for each in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def test_the_curves_are_the_same(tmp_path: Path) -> None:
    found = []
    for library in LIBRARIES:
        program = Program(library)
        loggers = [
            program.names.TensorBoardLogger(tmp_path / library, name="digits", prefix="p", sub_dir="sub"),
            program.names.TensorBoardLogger(tmp_path / library, name="digits"),  # the next version
        ]
        program.run(tmp_path, [program.names.ModelCheckpoint()], loggers=loggers, verbs=("fit", "test"))
        loggers[0].log_hyperparams({"lr": 0.5, "of": {"a": 1}}, {"hp/loss": 0.25})
        loggers[1].log_hyperparams({"lr": 0.5})
        for logger in loggers:
            logger.finalize("success")
        files = sorted(str(path.relative_to(tmp_path / library)) for path in (tmp_path / library).rglob("*.ckpt"))
        found.append(([curves(Path(logger.log_dir)) for logger in loggers], files, [logger.version for logger in loggers]))
    assert same(*found), f"\nours      {found[0]}\nLightning {found[1]}"
    assert found[0][1] == ["digits/version_0/checkpoints/epoch=2-step=15.ckpt"]
