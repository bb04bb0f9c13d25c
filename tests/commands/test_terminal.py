"""What the terminal shows: bars with rate, time left and metrics, or lines elsewhere; colors only where wanted."""

from __future__ import annotations

import io
import itertools
import os
import pty
import re
import select
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.forked import begin, wait
from training.callbacks.progress_bar import ProgressBar, shown
from training.commands.terminal import LongJob, short, styled, table


class Terminal(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(words: list[str], cwd: Path, **variables: str) -> tuple[int, str]:
    """(exit code, everything shown) of a command whose output and errors go to a pseudo-terminal."""
    ours, theirs = pty.openpty()

    def environment() -> None:
        for name in ("NO_COLOR", "CI"):
            os.environ.pop(name, None)
        os.environ.update(TERM="xterm", COLUMNS="200", **variables)

    with open(os.devnull, "rb") as nothing:
        child = begin(words, stdin=nothing.fileno(), stdout=theirs, stderr=theirs, cwd=cwd, before=environment)
    os.close(theirs)
    said = b""
    while True:
        if not select.select([ours], [], [], 120)[0]:
            os.kill(child, signal.SIGKILL)
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux' way of saying that the other side is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    return wait(child), said.decode()


def test_a_training_shows_rate_and_metrics(small_data: Path, tmp_path: Path) -> None:
    words = ["train-ner", "--data", str(small_data), "--vectors", "none", "--hidden-size", "8", "--max-epochs", "2"]
    words += ["--threads", "1", "--run", str(tmp_path / "run")]
    code, said = on_a_terminal(words, tmp_path)
    assert code == 0, said
    bars = [line for line in re.split(r"[\r\n]+", said) if "epoch 2/2" in line]
    for wanted in (r"epoch 2/2 +\[#.*\] +\d+/\d+ ", r" [\d,]+ tokens/s ", r"train_loss=\d", r"val_f1=\d"):
        assert any(re.search(wanted, line) for line in bars), (wanted, bars)


def test_colors_on_a_terminal_and_not_with_no_color(tmp_path: Path) -> None:
    (tmp_path / "bad.conll").write_text("Ada I-PER\nran O\n\nBo B-PER\n")
    code, said = on_a_terminal(["data", "check", "bad.conll"], tmp_path)
    assert code == 1
    assert "\x1b[31m" in said
    code, said = on_a_terminal(["data", "check", "bad.conll"], tmp_path, NO_COLOR="1")
    assert "error: bad.conll: tags that break" in said
    assert not re.search(r"\x1b\[\d+m", said)


def test_a_long_job_draws_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        job = LongJob()
        for done in range(0, 101, 10):
            job("reading", done, 100)
        assert bool(stream.getvalue()) == stream.isatty()
        if stream.isatty():
            assert re.search(r"reading .*100%.* \S+/s", stream.getvalue())


def test_the_time_left_is_shown_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own, on which every look takes two seconds."""
    ticks = itertools.count(0, 2)
    monkeypatch.setattr("training.bar.monotonic", lambda: float(next(ticks)))
    task: Any = SimpleNamespace(unit="tokens", units=lambda batch: 100)
    trainer: Any = SimpleNamespace(
        config=SimpleNamespace(max_epochs=1),
        current_epoch=0,
        num_training_batches=6,
        progress_bar_fields={"loss_step": 0.5},
    )
    for what in ("training", "reading"):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        bar, job = ProgressBar(), LongJob()
        bar.on_train_epoch_start(trainer, task)
        for done in range(1, 6):
            if what == "training":
                bar.on_train_batch_start(trainer, task, None, done)
                bar.on_train_batch_end(trainer, task, None, None, done)
            else:
                job(what, done, 6)
        assert re.search(r"00:00:\d\d", stream.getvalue()), stream.getvalue()
        assert ("tokens/s loss=0.5" if what == "training" else "/s") in stream.getvalue()


def test_texts() -> None:
    assert [short(number) for number in (3, 950, 12345, 4.56e6)] == ["3", "950", "12.3k", "4.56M"]
    metrics = {"lr": 0.1, "val_f1": 0.5, "train_loss": 1.0, "val_f1/PER": 0.1, "a_step": 2.0}
    assert shown(metrics) == "val_f1=0.5 train_loss=1 lr=0.1"
    assert shown({"loss_step": 1.0, "loss_epoch": 3.0, "val_f1": 0.5}, running=True) == "loss=1 val_f1=0.5"
    assert styled("plain", "red") == "plain"
    assert table(["a", "bb"], [["ccc", "d"]]) == ["a    bb", "ccc  d"]
