"""ModelCheckpoint: what it keeps, how it names it, and that a folder can be moved."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.toytask import Kept, Line, fixed, trainer
from training import checkpoint
from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from training.errors import ConfigError, DiskError, Preempted, SamebitsError
from training.loop.callback import Callback
from training.loop.ckpt_path import checkpoint_path


class Scripted(Line):
    """Logs the given values as "val"."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = iter(values)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", next(self.values), batch_size=1)


def fit(folder: Path, values: list[float], **arguments: Any) -> ModelCheckpoint:
    """One validation an epoch, with these values."""
    callback = ModelCheckpoint(folder, **{"monitor": "val", "filename": "{epoch}", **arguments})
    trainer(callback, max_epochs=len(values), num_sanity_val_steps=0).fit(Scripted(values), fixed(1), fixed(1))
    return callback


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ckpt"))


VALUES = st.lists(st.integers(0, 4).map(float) | st.just(math.nan), min_size=1, max_size=7)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(VALUES, st.integers(-1, 4), st.sampled_from(["min", "max"]))
def test_the_best_k_are_kept(tmp_path_factory: pytest.TempPathFactory, values: list[float], k: int, mode: str) -> None:
    """Against the rules, said plainly: a new value takes the place of the worst (of equals: the oldest) if it is better.

    NaN is as infinity: it is kept only while there is room.
    """
    folder = tmp_path_factory.mktemp("kept")
    callback = fit(folder, values, save_top_k=k, mode=mode)
    sign = 1.0 if mode == "min" else -1.0
    cost = [math.inf if math.isnan(value) else sign * value for value in values]
    kept: list[int] = []
    for i in range(len(values)):
        if len(kept) < k or k == -1:
            kept.append(i)
        elif k > 0:
            worst = max(kept, key=lambda j: (cost[j], -j))
            if cost[i] < cost[worst]:
                kept = [j for j in kept if j != worst] + [i]
    assert names(folder) == sorted(f"epoch={i}.ckpt" for i in kept)
    if k != 0:
        assert Path(callback.best_model_path).name == f"epoch={min(kept, key=lambda j: (cost[j], j))}.ckpt"


def test_no_monitor_keeps_the_newest(tmp_path: Path) -> None:
    trainer(ModelCheckpoint(tmp_path), max_epochs=3).fit(Line(), fixed(2), fixed(1))
    assert names(tmp_path) == ["epoch=2-step=6.ckpt"]


def test_the_trainers_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer(ModelCheckpoint(), checkpoint_dir=tmp_path / "checkpoints", max_epochs=1).fit(Line(), fixed(2))
    assert names(tmp_path / "checkpoints") == ["epoch=0-step=2.ckpt"]
    monkeypatch.chdir(tmp_path)
    trainer(ModelCheckpoint(), max_epochs=1).fit(Line(), fixed(2))
    assert names(tmp_path / "runs" / "checkpoints") == ["epoch=0-step=2.ckpt"]


@pytest.mark.parametrize(
    ("template", "insert", "expected"),
    [
        (None, True, "epoch=3-step=12.ckpt"),
        ("{epoch}", True, "epoch=3.ckpt"),
        ("{epoch:02d}-{val/f1:.2f}", True, "epoch=03-val/f1=0.12.ckpt"),
        ("epoch={epoch}-f1={val/f1:.2f}", False, "epoch=3-f1=0.12.ckpt"),
        ("{missing:d}", True, "missing=0.ckpt"),
        ("{epoch_test}-{epoch}", True, "epoch_test=7-epoch=3.ckpt"),
        ("best", True, "best.ckpt"),
    ],
)
def test_names_from_templates(template: str | None, insert: bool, expected: str) -> None:
    callback = ModelCheckpoint(filename=template, auto_insert_metric_name=insert)
    assert callback.format_checkpoint_name({"epoch": 3, "step": 12, "val/f1": 0.123456, "epoch_test": 7}) == expected


def test_a_name_that_is_taken_gets_a_version(tmp_path: Path) -> None:
    (tmp_path / "epoch=0.ckpt").write_text("of someone else")
    fit(tmp_path, [1.0])
    assert names(tmp_path) == ["epoch=0-v1.ckpt", "epoch=0.ckpt"]
    assert (tmp_path / "epoch=0.ckpt").read_text() == "of someone else"
    fit(tmp_path, [1.0], enable_version_counter=False)
    assert checkpoint.verify(tmp_path / "epoch=0.ckpt") == ""


def test_two_callbacks_in_one_folder_keep_out_of_each_others_way(tmp_path: Path) -> None:
    callbacks = [ModelCheckpoint(tmp_path, monitor=name, filename="best", save_last=True) for name in ("val", "loss_epoch")]
    trainer(*callbacks, max_epochs=2).fit(Line(), fixed(2), fixed(1))
    assert names(tmp_path) == ["best-v1.ckpt", "best.ckpt", "last-v1.ckpt", "last.ckpt"]


def test_weights_only(tmp_path: Path) -> None:
    trainer(ModelCheckpoint(tmp_path, save_weights_only=True), max_epochs=1).fit(Line(), fixed(2))
    content = checkpoint.load(tmp_path / "epoch=0-step=2.ckpt")
    assert set(content) == {"format", "weights_only", "weights", "progress", "state_dict", "epoch", "global_step"}
    assert content["progress"]["global_step"] == 2


def test_a_run_folder_can_be_moved(tmp_path: Path) -> None:
    fit(tmp_path / "old", [3.0, 2.0], save_top_k=2)
    state = checkpoint.load(tmp_path / "old" / "epoch=1.ckpt")
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = ModelCheckpoint(tmp_path / "new", monitor="val", filename="{epoch}", save_top_k=2)
    trainer(moved, max_epochs=3).fit(Scripted([1.0]), fixed(1), fixed(1), state=state)
    assert names(tmp_path / "new") == ["epoch=1.ckpt", "epoch=2.ckpt"]
    assert Path(moved.best_model_path) == (tmp_path / "new" / "epoch=2.ckpt").resolve()
    assert not (tmp_path / "old").exists()


def test_a_file_that_a_stopped_save_left_is_removed_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Exception):
        pass

    def kill(path: Path) -> None:
        raise Killed

    callback = ModelCheckpoint(tmp_path, monitor="val", filename="{epoch}")
    made = trainer(callback, max_epochs=3, num_sanity_val_steps=0)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove", kill)
        with pytest.raises(Killed):
            made.fit(Scripted([3.0, 2.0, 1.0]), fixed(2), fixed(1))
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=1.ckpt"]  # the new is written, the old not yet deleted
    again = ModelCheckpoint(tmp_path, monitor="val", filename="{epoch}")
    state = dict(checkpoint.load(tmp_path / "epoch=1.ckpt"))  # the run itself goes on, not a fit from a file that is kept
    trainer(again, max_epochs=3).fit(Scripted([1.0]), fixed(2), fixed(1), state=state)
    assert names(tmp_path) == ["epoch=2.ckpt"]


FORGED: list[dict[str, Any]] = [
    {}, {"save_top_k": 2}, {"monitor": None, "filename": None}, {"filename": "{epoch}-{val:.2f}", "save_last": True},
    {"filename": "epoch={epoch}", "auto_insert_metric_name": False}, {"enable_version_counter": False},
    {"filename": "best", "save_weights_only": True},
]  # fmt: skip
OTHERS = (
    "model.ckpt", "mine.ckpt", "sub/mine.ckpt", "sub/epoch=0.ckpt", "epoch=0-mine.ckpt", "epoch=0.5-v.ckpt", "epoch=.ckpt",
    "nonfinite.ckpt", "last-mine.ckpt", "best-mine.ckpt", "other-epoch=0.ckpt",
)  # fmt: skip
"""Names that no template of these makes."""
ENTRIES = ("best_model_path", "kth_best_model_path", "last_model_path", "_obsolete", "best_k_models")


def renamed(state: Any, old: str, new: str) -> Any:
    """A state in which another name stands wherever this one stood."""
    if isinstance(state, dict):
        return {renamed(name, old, new): renamed(value, old, new) for name, value in state.items()}
    return new if isinstance(state, str) and state == old else [new] if state == [old] else state


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_a_state_made_by_somebody_has_no_other_file_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each name in place of the own in all entries, and in one: of files of a Trainer's, and of one that is none."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # hundreds of fits
    arguments = FORGED[number]
    first = fit(tmp_path / "first", [3.0], **{**arguments, "save_weights_only": False})
    own, key = Path(first.best_model_path).name, first.state_key
    good = checkpoint.load(Path(first.best_model_path))
    for i, name in enumerate((*OTHERS, "epoch=8.ckpt")):
        forged = {name: 3.0} if ENTRIES[(i + number) % 5] == "best_k_models" else name
        alone = {**good["callbacks"][key], ENTRIES[(i + number) % 5]: forged}
        for j, state in enumerate((alone, renamed(good["callbacks"][key], own, name))):
            folder = Path(shutil.copytree(tmp_path / "first", tmp_path / f"{i} {j}"))
            (folder / "sub").mkdir()
            for each in OTHERS:
                shutil.copyfile(folder / own, folder / each)
                shutil.copyfile(folder / f"{own}.sha256", folder / f"{each}.sha256")
            (folder / "epoch=8.ckpt").write_text("no Trainer's")
            kept = {path: path.read_bytes() for each in OTHERS for path in folder.glob(f"{each}*")}
            kept[folder / "epoch=8.ckpt"] = b"no Trainer's"
            again = ModelCheckpoint(folder, **{"monitor": "val", "filename": "{epoch}", **arguments})
            other = ModelCheckpoint(folder, monitor="loss_epoch", filename="other-{epoch}", save_top_k=-1)
            going_on = {**good, "callbacks": {**good["callbacks"], key: state}}
            with suppress(SamebitsError):  # refused
                trainer(again, other, max_epochs=3).fit(Scripted([2.0, 1.0]), fixed(1), fixed(1), state=going_on)
            assert {path: path.read_bytes() for path in kept if path.exists()} == kept, (name, j)


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_its_own_files_are_deleted_by_a_run_that_goes_on(tmp_path: Path, number: int) -> None:
    """As by one that was never stopped, whatever the template."""
    arguments = {**FORGED[number], "save_weights_only": False}
    whole = fit(tmp_path / "whole", [3.0, 2.0, 1.0], **arguments)
    first = fit(tmp_path / "first", [3.0], **arguments)
    state = dict(checkpoint.load(Path(first.best_model_path)))
    again = ModelCheckpoint(tmp_path / "first", **{"monitor": "val", "filename": "{epoch}", **arguments})
    trainer(again, max_epochs=3).fit(Scripted([2.0, 1.0]), fixed(1), fixed(1), state=state)
    assert names(tmp_path / "first") == names(tmp_path / "whole")
    assert Path(again.best_model_path).name == Path(whole.best_model_path).name


@pytest.mark.parametrize(
    "template", ["{step:05d}", "{step:x}", "{val:e}", "{val:.1%}", "{val:+.2f}", "{val:8.1f}", "{val:,}"]
)
@pytest.mark.parametrize("value", [0.25, -3.0, 1e-7, 123456.5, math.inf])
def test_names_of_all_formats_are_known_as_its_own(tmp_path: Path, template: str, value: float) -> None:
    made = fit(tmp_path, [value], filename=template)
    assert made._can_have_written(made.best_model_path)


def test_nothing_is_written_in_a_trial_or_a_sanity_check(tmp_path: Path) -> None:
    trainer(ModelCheckpoint(tmp_path, save_last=True), fast_dev_run=2).fit(Line(), fixed(), fixed())
    trainer(ModelCheckpoint(tmp_path, monitor="val"), max_epochs=0).fit(Line(), fixed(), fixed())
    assert names(tmp_path) == []


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the metric 'f1' to be logged, got loss"):
        trainer(ModelCheckpoint(tmp_path, monitor="f1"), logger=Kept()).fit(Line(), fixed(), fixed())


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "up"},
        {"save_top_k": -2},
        {"save_top_k": 2},
        {"every_n_epochs": -1},
        {"every_n_epochs": 1, "every_n_train_steps": 1},
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"ModelCheckpoint: .*(expected|needs)"):
        ModelCheckpoint("x", **arguments)


def test_the_file_holds_early_stoppings_newest_state(tmp_path: Path) -> None:
    callbacks = [ModelCheckpoint(tmp_path, monitor="val", filename="{epoch}"), EarlyStopping("val", patience=5)]
    trainer(*callbacks, max_epochs=1, num_sanity_val_steps=0).fit(Scripted([2.5]), fixed(1), fixed(1))
    kept = torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["callbacks"]
    assert kept["EarlyStopping{'monitor': 'val', 'mode': 'min'}"]["best_score"] == 2.5


def test_time_counts_with_manual_optimization_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Manual(Line):
        automatic_optimization = False

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            loss = self.loss(batch)
            self.manual_backward(loss)
            optimizer.step()
            clock.append(clock[-1] + 1.0)
            return loss

    clock = [0.0]
    monkeypatch.setattr("training.callbacks.model_checkpoint.monotonic", lambda: clock[-1])
    saving = ModelCheckpoint(tmp_path, train_time_interval=timedelta(seconds=3), save_top_k=-1)
    trainer(saving, max_epochs=2).fit(Manual(), fixed(4))
    assert names(tmp_path) == ["epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt"]


class Stops(Callback):
    """Ends the fit at a batch, with an error of this kind."""

    def __init__(self, kind: type[BaseException], at: int = 2) -> None:
        self.kind, self.at = kind, at

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.at:
            raise self.kind("as the test wants")


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Preempted])
def test_a_stop_that_is_resumed_exactly_is_no_error_to_save_at(tmp_path: Path, kind: type[BaseException]) -> None:
    savings = [ModelCheckpoint(tmp_path, save_on_exception=True), OnExceptionCheckpoint(tmp_path)]
    with pytest.raises(kind):
        trainer(*savings, Stops(kind)).fit(Line(), fixed())
    assert names(tmp_path) == ([] if kind is Preempted else ["epoch=0-step=2.ckpt", "on_exception.ckpt"])


def test_what_cannot_be_saved_does_not_hide_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    savings = [ModelCheckpoint(tmp_path / "file", save_on_exception=True), OnExceptionCheckpoint(tmp_path / "file")]
    with pytest.raises(ValueError, match="as the test wants"):
        trainer(*savings, Stops(ValueError)).fit(Line(), fixed())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("no checkpoint of the ValueError could be saved" in line for line in said)


def test_a_file_that_is_kept_is_not_written_over_by_an_error(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "{epoch}", every_n_train_steps=1, save_on_exception=True, save_top_k=-1)
    with pytest.raises(ValueError, match="as the test wants"):
        trainer(Stops(ValueError, at=2), saving).fit(Line(), fixed())
    steps = {name: checkpoint.load(tmp_path / name)["progress"]["global_step"] for name in names(tmp_path)}
    assert steps == {"epoch=0.ckpt": 1, "epoch=0-v1.ckpt": 2}


def test_inside_of_a_run_the_last_one_is_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    folder = tmp_path / "checkpoints"
    callback = fit(folder, [3.0, 2.0, 4.0], save_last="link", save_top_k=2)
    assert names(folder) == ["epoch=0.ckpt", "epoch=1.ckpt", "last.ckpt"]
    last = Path(callback.last_model_path)
    assert not last.is_symlink()
    assert last.samefile(folder / "epoch=1.ckpt")
    assert checkpoint.load(last)["progress"]["global_step"] == 2


@pytest.mark.parametrize("in_run", [True, False])
def test_the_last_link_can_be_loaded_and_gone_on_from(tmp_path: Path, in_run: bool) -> None:
    if in_run:
        (tmp_path / "manifest.json").write_text("{}")
    fit(tmp_path, [3.0, 2.0], save_last="link", save_top_k=1)
    assert names(tmp_path) == ["epoch=1.ckpt", "last.ckpt"]
    state = checkpoint.load(tmp_path / "last.ckpt")
    again = ModelCheckpoint(tmp_path, monitor="val", filename="{epoch}", save_last="link")
    trainer(again, max_epochs=3).fit(Scripted([1.0]), fixed(1), fixed(1), state=state)
    assert (tmp_path / "epoch=2.ckpt").exists()
    assert (tmp_path / ("last.ckpt" if in_run else "epoch=1.ckpt")).exists()  # what it went on from


def test_a_link_of_nowhere_is_made_anew_and_a_folder_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").symlink_to("gone.ckpt")
    fit(tmp_path, [3.0], save_last="link", enable_version_counter=False)
    assert (tmp_path / "last.ckpt").readlink() == Path("epoch=0.ckpt")
    (tmp_path / "other" / "last.ckpt" / "mine").mkdir(parents=True)
    with pytest.raises(DiskError, match=r"the link to epoch=0\.ckpt could not be made"):
        fit(tmp_path / "other", [3.0], save_last="link", enable_version_counter=False)
    assert (tmp_path / "other" / "last.ckpt" / "mine").is_dir()


def test_values_say_what_they_should_be() -> None:
    for arguments in ({"save_last": "copy"}, {"train_time_interval": 3}):
        with pytest.raises(ConfigError, match="expected"):
            ModelCheckpoint("x", **arguments)
    with pytest.raises(ConfigError, match="expected a path"):
        ModelCheckpoint().to_yaml()
    with pytest.raises(ConfigError, match="inside the folder"):
        OnExceptionCheckpoint("x", "../y")


@pytest.mark.parametrize(("name", "extension"), [("last", ".ckpt"), ("{epoch}-newest", ".ckpt"), ("last", ".mine")])
@pytest.mark.parametrize("link", [True, "link"])
def test_the_last_one_is_found_under_its_own_name(tmp_path: Path, name: str, extension: str, link: Any) -> None:
    saving = ModelCheckpoint(tmp_path, "best", "val", save_last=link)
    saving.CHECKPOINT_NAME_LAST, saving.FILE_EXTENSION = name, extension
    made = trainer(saving, max_epochs=2)
    made.fit(Line(), fixed(2), fixed(1))
    (tmp_path / f"last-v9{extension}").symlink_to("gone")
    assert checkpoint_path("last", made.callbacks) == Path(saving.last_model_path)
    made.test(Line(), fixed(1), ckpt_path="last", verbose=False)


@pytest.mark.parametrize("there", [True, False])
def test_of_files_that_others_wrote_only_those_that_are_gone_lose_their_names(there: bool, tmp_path: Path) -> None:
    """A killed run deleted the file that a better one replaced, and has gone back to when it was there and the best."""
    callback = ModelCheckpoint(dirpath=tmp_path)
    old, new = str(tmp_path / "epoch=0.ckpt"), str(tmp_path / "epoch=1.ckpt")
    callback._taken = {old, new}
    if there:
        Path(old).write_bytes(b"somebody's")
    callback._give_up(cast(Any, SimpleNamespace(first=lambda ask: ask(), callbacks=[callback])), old, new)
    assert callback._taken == ({old, new} if there else {new})
    callback._remove_obsolete()
    assert Path(old).exists() == there
