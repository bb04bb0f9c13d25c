"""What a Trainer is told and tells outside of its hooks, beside Lightning."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn
from torch.utils.data import DataLoader

import training.lightning_names as ours
from tests.conformance.small import module
from training import TrainConfig, checkpoint, experiment
from training.digest import weights_sha256
from training.errors import CheckpointError, ConfigError, Preempted

POINTS = torch.arange(30, dtype=torch.float32).reshape(10, 3) / 30
QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_epochs": 1,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of much
SIDES = pytest.mark.parametrize("side", [pl, ours], ids=["lightning", "ours"])


class Plain(ours.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> Any:
        made = torch.optim.SGD(self.parameters(), lr=0.1)
        return [made], [torch.optim.lr_scheduler.StepLR(made, 1)]


def loader() -> Any:
    return DataLoader(POINTS, batch_size=5)  # type: ignore[arg-type]


def trainer(side: Any, **more: Any) -> Any:
    return side.Trainer(**{**QUIET, **more})


@SIDES
@pytest.mark.parametrize("place", ["setup", "training_step", "on_fit_end"])
def test_an_error_leaves_it_interrupted(side: Any, place: str) -> None:
    seen: list[Any] = []

    def fails(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("of the user's")

    class Sees(side.Callback):  # type: ignore[misc]
        def on_exception(self, trainer: Any, *args: Any) -> None:
            seen.append((trainer.state.fn, trainer.training))

    fitted = trainer(side, callbacks=[Sees()])
    with pytest.raises(ValueError, match="of the user's"):
        fitted.fit(module(side, **{place: fails}), loader())
    assert seen == [("fit", True)]
    assert (fitted.interrupted, fitted.state.status, fitted.state.finished) == (True, "interrupted", False)
    assert (fitted.state.stage, fitted.training) == (None, False)
    fitted.test(module(side), loader(), verbose=False)
    assert (fitted.interrupted, fitted.state.fn, fitted.state.finished, fitted.state.stopped) == (False, "test", True, True)


@SIDES
def test_the_path_that_a_verb_began_with(side: Any, tmp_path: Path) -> None:
    fitted, path = trainer(side), str(tmp_path / "a.ckpt")
    assert fitted.ckpt_path is None
    fitted.fit(module(side), loader())
    fitted.save_checkpoint(path)
    assert fitted.ckpt_path is None
    fitted.test(module(side), loader(), ckpt_path=path, verbose=False)
    assert fitted.ckpt_path == path
    fitted.test(module(side), loader(), verbose=False)
    assert fitted.ckpt_path is None
    again = trainer(side, max_epochs=2)
    again.fit(module(side), loader(), ckpt_path=path)
    assert (again.ckpt_path, again.current_epoch) == (path, 2)


@SIDES
def test_a_path_that_is_set_holds_until_it_is_none(side: Any, tmp_path: Path) -> None:
    fitted, path, other = trainer(side), str(tmp_path / "a.ckpt"), str(tmp_path / "b.ckpt")
    made = module(side)
    fitted.fit(made, loader())
    fitted.save_checkpoint(path)
    made.layer.bias.data.fill_(7)
    fitted.save_checkpoint(other)
    fitted.ckpt_path = path
    for _ in range(2):
        made.layer.bias.data.fill_(9)
        fitted.test(made, loader(), verbose=False)
        assert made.layer.bias.item() < 7
        assert fitted.ckpt_path == path
    fitted.test(made, loader(), ckpt_path=other, verbose=False)  # what is passed goes before it
    assert (made.layer.bias.item(), fitted.ckpt_path) == (7, other)
    made.layer.bias.data.fill_(9)
    fitted.test(made, loader(), verbose=False)
    assert (made.layer.bias.item(), fitted.ckpt_path) == (9, None)


@SIDES
@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("64-true", torch.float64)])
def test_modules_are_made_where_they_run(side: Any, precision: str, dtype: torch.dtype) -> None:
    with trainer(side, precision=precision).init_module():
        made = nn.Linear(1, 1)
    assert (made.weight.device.type, made.weight.dtype, nn.Linear(1, 1).weight.dtype) == ("cpu", dtype, torch.float32)


@SIDES
def test_one_process_has_nobody_to_wait_for(side: Any) -> None:
    strategy, ones = trainer(side).strategy, torch.ones(2)
    assert strategy.barrier("here") is None
    assert strategy.broadcast([3]) == [3]
    assert torch.equal(strategy.reduce(ones, reduce_op="sum"), ones)
    assert torch.equal(strategy.all_gather(ones), ones)
    assert strategy.reduce_boolean_decision(True)


@SIDES
def test_parts_of_a_program_are_marked_for_a_profiler(side: Any) -> None:
    profiler, seen = trainer(side).profiler, []
    with profiler.profile("reading"):
        seen.append(profiler.start("a part"))
    assert [*seen, profiler.stop("a part"), profiler.describe(), profiler.summary()] == [None, None, None, ""]


def test_a_hook_sees_that_sigterm_came(tmp_path: Path) -> None:
    seen = []

    def ends(self: Any, *args: Any) -> None:
        seen.append(self.trainer.received_sigterm)
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(self.trainer.received_sigterm)

    fitted = ours.Trainer(**{**QUIET, "logger": True}, default_root_dir=tmp_path)
    with pytest.raises(Preempted):
        fitted.fit(module(ours, on_train_batch_end=ends), loader())
    assert seen == [False, True]
    assert fitted.interrupted


def test_the_state_is_what_it_does_and_called_what_it_goes_on_with() -> None:
    fitted = trainer(ours)
    assert str(fitted.state) == "TrainerState(status=<TrainerStatus.INITIALIZING: 'initializing'>, fn=None, stage=None)"
    fitted.fit(module(ours), loader())
    assert fitted.state()["progress"]["global_step"] == 2


@SIDES
@pytest.mark.parametrize("fitted_before", [False, True])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["copied", "pickled"])
def test_a_copy_goes_on_by_itself(side: Any, fitted_before: bool, how: Any, tmp_path: Path) -> None:
    original = trainer(side, enable_checkpointing=True, default_root_dir=tmp_path)
    kind, data = (BoringModel if side is pl else Plain), DataLoader(torch.ones(4, 32))  # type: ignore[arg-type, var-annotated]
    if fitted_before:
        original.fit(kind(), data)
    copied = how(original)
    assert (copied.global_step, copied.max_epochs) == (original.global_step, 1)
    copied.fit_loop.max_epochs = 2
    copied.fit(kind(), data)
    assert (copied.global_step, original.global_step) == (8, 4 * fitted_before)


def test_a_copy_of_a_trainer_with_a_run_makes_its_own(tmp_path: Path) -> None:
    original = trainer(ours, logger=True, default_root_dir=tmp_path)
    copies = [copy.deepcopy(original)]
    original.fit(Plain(), DataLoader(torch.ones(4, 32)))  # type: ignore[arg-type]
    copies.append(copy.deepcopy(original))
    copies[1].fit_loop.max_epochs = 2
    for each in copies:
        each.fit(Plain(), DataLoader(torch.ones(4, 32)))  # type: ignore[arg-type]
    assert [each.log_dir for each in (original, *copies)] == [str(tmp_path / "Plain" / f"version_{i}") for i in range(3)]
    with experiment("plain", TrainConfig(device="cpu", progress=False), root=tmp_path, tell=lambda line: None) as run:
        fitted = ours.Trainer(run)
        with pytest.raises(ConfigError, match="expected one Trainer for the run"):
            copy.deepcopy(fitted)
        fitted.fit(Plain(), DataLoader(torch.ones(4, 32)))  # type: ignore[arg-type]


@SIDES
@pytest.mark.parametrize("logs", ["logger", "none"])
@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("given", [True, False], ids=["ModelCheckpoint", "enable_checkpointing"])
def test_where_checkpoints_go(side: Any, logs: str, root: bool, given: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    callbacks = [side.callbacks.ModelCheckpoint()] if given else []
    logger = side.loggers.CSVLogger("logs") if logs == "logger" else False
    more: dict[str, Any] = {"default_root_dir": "root"} if root else {}
    fitted = trainer(side, logger=logger, callbacks=callbacks, enable_checkpointing=True, **more)
    fitted.fit(module(side), loader())
    default = "" if side is pl else "runs"  # our runs are kept there
    beside = Path("logs/lightning_logs/version_0") if logger else Path("root" if root else default)
    assert (
        Path(fitted.checkpoint_callback.best_model_path).resolve()
        == tmp_path / beside / "checkpoints" / "epoch=0-step=2.ckpt"
    )
    folder = fitted.checkpoint_callback.dirpath
    assert isinstance(folder, str)
    assert Path(folder).resolve() == tmp_path / beside / "checkpoints"


@SIDES
def test_loggers_are_set_between_two_fits(side: Any, tmp_path: Path) -> None:
    fitted = trainer(side)
    fitted.logger = side.loggers.CSVLogger(tmp_path)
    assert (len(fitted.loggers), fitted.logger) == (1, fitted.loggers[0])
    fitted.test(module(side), loader(), verbose=False)
    assert (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").is_file()
    fitted.loggers = [side.loggers.CSVLogger(tmp_path) for _ in range(2)]
    assert len(fitted.loggers) == 2
    fitted.logger = None
    assert (fitted.logger, fitted.loggers) == (None, [])


REFUSED: dict[str, Any] = {
    "fit of no module": lambda side: trainer(side).fit(nn.Linear(1, 1), loader()),
    "predict of no module": lambda side: trainer(side).predict(nn.Linear(1, 1), loader()),
    "nothing to test on": lambda side: trainer(side).test(module(side)),
    "nothing to predict for": lambda side: trainer(side).predict(module(side)),
    "no module": lambda side: trainer(side).test(dataloaders=loader()),
    "nothing to save": lambda side: trainer(side).save_checkpoint("nowhere.ckpt"),
}


@SIDES
@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_both_refuse(side: Any, call: Any) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011
        call(side)
    assert side is pl or isinstance(error.value, ConfigError)


@SIDES
def test_a_checkpoint_from_beyond_the_last_epoch_is_refused(side: Any, tmp_path: Path) -> None:
    fitted = trainer(side, max_epochs=3)
    fitted.fit(module(side), loader())
    fitted.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="max_epochs"):
        trainer(side, max_epochs=2).fit(module(side), loader(), ckpt_path=tmp_path / "a.ckpt")
    trainer(side, max_epochs=-1, max_steps=6).fit(module(side), loader(), ckpt_path=tmp_path / "a.ckpt")


def test_what_is_told_of_a_fit_that_may_not_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(fitted: Any, *args: Any, verb: str = "fit", **named: Any) -> str:
        getattr(fitted, verb)(*args, **named)
        return capsys.readouterr().err

    validates, empty = module(ours, validation_step=lambda self, batch, batch_idx: None), DataLoader(torch.zeros(0, 3))  # type: ignore[arg-type, var-annotated]
    logs = {"logger": ours.loggers.CSVLogger(tmp_path)}
    assert "has a validation_step, but there is no data" in told(trainer(ours, **logs), validates, loader())
    assert "the data to validate on has no batches" in told(trainer(ours, **logs), validates, loader(), empty)
    for more in ({"limit_val_batches": 0, **logs}, {}):
        assert told(trainer(ours, **more), validates, loader()) == ""
    assert told(trainer(ours, **logs), module(ours), loader()) == ""
    for verb in ("validate", "test", "predict"):
        steps = module(ours, **{f"{verb.replace('validate', 'validation')}_step": lambda self, batch, batch_idx: None})
        assert told(trainer(ours), steps, empty, verb=verb) == f"{verb}: the data have no batches: nothing is run\n"
    for first in (True, False):

        def forgets(self: Any, batch: Any, batch_idx: int, first: bool = first) -> Any:
            return None if (batch_idx == 0) is first else self.layer(batch).square().mean()

        returned = told(trainer(ours), module(ours, training_step=forgets), loader())
        assert ("training_step returned None for the first batch" in returned) is first

    class Counts(ours.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"count": 1}

    first = trainer(ours, callbacks=[Counts()])
    first.fit(module(ours), loader())
    first.save_checkpoint(tmp_path / "a.ckpt")
    named: Any = {"ckpt_path": tmp_path / "a.ckpt"}
    assert "has the state of test_what" in told(trainer(ours, max_epochs=2), module(ours), loader(), **named)
    assert told(trainer(ours, max_epochs=2, callbacks=[Counts()]), module(ours), loader(), **named) == ""
    both = [ours.callbacks.ModelCheckpoint(tmp_path / str(n), every_n_epochs=n) for n in (1, 2)]
    kept = trainer(ours, callbacks=both, enable_checkpointing=True)
    kept.fit(module(ours), loader())
    line = told(kept, dataloaders=loader(), verb="test", verbose=False)
    assert "the best weights of the last fit are loaded" in line
    assert "of 2 ModelCheckpoints the first" in line


@pytest.mark.parametrize("name", ["state_dict", "weights"])
@pytest.mark.parametrize("how", ["in place", "another dict, the other deleted"])
def test_a_checkpoint_is_changed_by_load_and_save(name: str, how: str, tmp_path: Path) -> None:
    fitted, path = trainer(ours), tmp_path / "a.ckpt"
    fitted.fit(module(ours), loader())
    fitted.save_checkpoint(path)
    changed = checkpoint.load(path)
    bias = {"layer.bias": torch.tensor([7.0])}
    if how == "in place":
        changed[name] |= bias
    else:
        parts = {"state_dict", "weights"}
        changed[name] = {**changed.pop((parts - {name}).pop()), **bias}
    checkpoint.save(tmp_path / "b.ckpt", changed)
    made = module(ours)
    assert type(made).load_from_checkpoint(tmp_path / "b.ckpt").layer.bias.item() == 7
    trainer(ours).test(made, loader(), ckpt_path=tmp_path / "b.ckpt", verbose=False)
    assert made.layer.bias.item() == 7
    resumed = module(ours)
    trainer(ours).fit(resumed, loader(), ckpt_path=tmp_path / "b.ckpt")
    assert resumed.layer.bias.item() == 7


@pytest.mark.parametrize("name", ["state_dict", "weights"])
def test_of_two_things_under_two_names_ours_counts_and_that_is_said(name: str, tmp_path: Path, capsys: Any) -> None:
    fitted, path = trainer(ours), tmp_path / "a.ckpt"
    fitted.fit(module(ours), loader())
    fitted.save_checkpoint(path)
    read = checkpoint.load(path)
    assert read["state_dict"] is read["weights"]
    assert capsys.readouterr().err == ""
    changed = {key: value + 1 for key, value in read[name].items()}
    checkpoint.save(path, {**read, name: changed})
    found = checkpoint.load(path)["weights"]
    assert weights_sha256(found) == weights_sha256(changed if name == "weights" else read["weights"])
    assert "state_dict holds other values than weights, which counts" in capsys.readouterr().err


def test_a_checkpoint_of_torchs_save_is_refused_with_what_to_do(tmp_path: Path) -> None:
    fitted, path = trainer(ours), tmp_path / "a.ckpt"
    fitted.fit(module(ours), loader())
    fitted.save_checkpoint(path)
    torch.save(torch.load(path, weights_only=True), tmp_path / "b.ckpt")
    for verb in ("fit", "test"):
        with pytest.raises(CheckpointError, match=r"change a checkpoint by training\.checkpoint's load and save"):
            getattr(trainer(ours), verb)(module(ours), loader(), ckpt_path=tmp_path / "b.ckpt")


@SIDES
def test_hyperparameters_are_logged_before_the_fit(side: Any, tmp_path: Path) -> None:
    fitted = trainer(side, logger=True, default_root_dir=tmp_path)
    for logger in fitted.loggers:
        logger.log_hyperparams({"lr": 0.25, "sizes": [3, 1]})
    fitted.fit(module(side), loader())
    kept = "hparams.yaml" if side is pl else "manifest.json"
    text = (Path(fitted.logger.log_dir) / kept).read_text()
    assert "0.25" in text
    assert "sizes" in text


def test_before_the_fit_a_runs_logger_says_that_it_is_early(tmp_path: Path) -> None:
    fitted = trainer(ours, logger=True, default_root_dir=tmp_path)
    with pytest.raises(AttributeError, match="begins with the fit"):
        _ = fitted.logger.log_dir
    with pytest.raises(ConfigError, match="begins with the fit"):
        fitted.logger.log_metrics({"a": 1.0}, 0)
    assert fitted.test(module(ours), loader(), verbose=False)[0]["loss"] >= 0
    copy.deepcopy(fitted).fit(module(ours), loader())


@SIDES
@pytest.mark.parametrize("given", ["default", "one", "none"])
def test_in_a_try_what_hooks_write_to_the_logger_goes_nowhere(side: Any, given: str, tmp_path: Path) -> None:
    def writes(self: Any, batch: Any, batch_idx: int) -> Any:
        for logger in self.loggers:
            logger.experiment.add_histogram("weights", self.layer.weight, global_step=self.global_step)
            logger.log_metrics({"a": 1.0}, 0)
            logger.log_hyperparams({"b": 1})
        return self.layer(batch).square().mean()

    chosen = {"default": True, "one": side.loggers.TensorBoardLogger(tmp_path), "none": False}
    fitted = trainer(side, fast_dev_run=True, logger=chosen[given], default_root_dir=tmp_path)
    fitted.fit(module(side, training_step=writes), loader())
    assert (len(fitted.loggers), fitted.logger is None) == ((0, True) if given == "none" else (1, False))
    assert list(tmp_path.iterdir()) == []


@SIDES
def test_other_loggers_take_the_default_ones_place(side: Any, tmp_path: Path) -> None:
    fitted = trainer(side, logger=True, default_root_dir=tmp_path / "root")
    assert fitted.loggers == [fitted.logger]
    fitted.loggers = [side.loggers.CSVLogger(tmp_path, version=version) for version in range(2)]
    fitted.test(module(side), loader(), verbose=False)
    assert len(list(tmp_path.rglob("metrics.csv"))) == 2
    fitted.loggers = None
    assert (fitted.loggers, fitted.logger) == ([], None)
    fitted.fit(module(side), loader())
    assert not (tmp_path / "root").exists()


@SIDES
def test_a_path_is_told_as_it_was_given(side: Any, tmp_path: Path) -> None:
    saving = side.callbacks.ModelCheckpoint(tmp_path, save_last=True)
    fitted = trainer(side, callbacks=[saving], enable_checkpointing=True)
    fitted.fit(module(side), loader())
    path = Path(saving.best_model_path)
    for given, told in ((path, path), (str(path), str(path)), ("best", str(path)), ("last", saving.last_model_path)):
        fitted.test(module(side), loader(), ckpt_path=given, verbose=False)
        assert fitted.ckpt_path == told


def test_a_run_that_has_begun_keeps_its_logger(tmp_path: Path) -> None:
    fitted = trainer(ours, logger=True, default_root_dir=tmp_path)
    fitted.fit(module(ours), loader())
    with pytest.raises(ConfigError, match="before the run began"):
        fitted.logger = None
    with pytest.raises(ConfigError, match="max_time"):
        trainer(ours, logger=True, max_time="00:00:01:00").loggers = []


METHODS = [
    (room, name)
    for room in ("Trainer", "LightningModule", "LightningDataModule", "Callback")
    for name, method in inspect.getmembers(getattr(pl, room), inspect.isfunction)
    if not name.startswith("_") and name not in vars(nn.Module) and hasattr(getattr(ours, room), name)
]
OWN_WORDS = {"task": "pl_module", "state": "state_dict", "words": "args", "named": "kwargs"}


@pytest.mark.parametrize(("room", "name"), [*METHODS, ("", "seed_everything")])
def test_methods_take_the_same_arguments_in_the_same_order(room: str, name: str) -> None:
    mine, theirs = (inspect.signature(getattr(getattr(side, room, side), name)).parameters for side in (ours, pl))
    if name == "log_dict":  # whose others are those of log
        assert [each.kind for each in mine.values()][2:] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    else:
        there = [each for each in theirs if each != "cls"]
        assert [OWN_WORDS.get(each, each) for each in mine][: len(there)] == there
