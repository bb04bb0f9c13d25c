"""A line after each validation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.training.toytask import Line, fixed, trainer
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.validation_line import ValidationLine


def lines(capsys: pytest.CaptureFixture[str], val: Any = None, *callbacks: Any, **settings: Any) -> list[str]:
    trainer(ValidationLine(), *callbacks, **settings).fit(Line(), fixed(4), val)
    return capsys.readouterr().err.splitlines()


def test_each_validation_has_a_line_but_the_sanity_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val")
    said = lines(capsys, fixed(2), best, val_check_interval=0.5, num_sanity_val_steps=2)
    places = [re.match(r"epoch (\d)/2, step (\d): (.*)", each) for each in said]
    assert [each.group(1, 2) for each in places if each] == [("1", "2"), ("1", "4"), ("2", "6"), ("2", "8")]
    scores = []
    for each in said:
        now, so_far = re.search(r"\bval=(\S+)", each), re.search(r"best val ([^;]+)", each)
        assert now, each
        assert so_far, each
        scores.append(float(now[1].rstrip(";")))
        assert float(so_far[1]) == min(scores)


def test_an_epoch_without_a_validation_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines(capsys, max_epochs=3)
    assert [each.split(":")[0] for each in said] == ["epoch 1/3, step 4", "epoch 2/3, step 8", "epoch 3/3, step 12"]
    assert not any("best" in each for each in said)


def test_without_an_end_no_time_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines(capsys, max_epochs=-1, max_steps=6)
    assert [each.split(":")[0] for each in said] == ["epoch 1, step 4", "epoch 2, step 6"]


def test_the_time_left_is_that_of_the_epochs_to_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(100, 900, 100))
    monkeypatch.setattr("training.callbacks.validation_line.time.monotonic", lambda: next(seconds))
    said = lines(capsys, max_epochs=4)
    assert [re.findall(r"time left (\S+)", each) for each in said] == [["00:05:00"], ["00:03:20"], ["00:01:40"], []]
