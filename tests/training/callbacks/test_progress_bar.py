"""What a bare Trainer shows while it works: on a terminal a bar, elsewhere a line an epoch; and what may come between."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.toytask import Kept, Line, fixed, trainer
from training import bar as bars
from training.bar import Bar, say, write
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.model_summary import ModelSummary
from training.callbacks.progress_bar import ProgressBar
from training.errors import ConfigError
from training.visible import one_line


class Terminal(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal of 120 columns."""
    stream = Terminal()
    for module in ("training.bar", "training.callbacks.progress_bar"):  # pytest sets sys.stderr itself, once more
        monkeypatch.setattr(f"{module}.sys", SimpleNamespace(stderr=stream, stdout=stream))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(bars, "_drawn", None)
    monkeypatch.setattr(bars, "REFRESH", 0)
    return stream


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end: what comes after a carriage return goes over what was there."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.parametrize("leave", [True, False])
def test_a_fit_shows_its_epochs_and_the_metrics_of_the_bar(terminal: Terminal, leave: bool) -> None:
    trainer(ProgressBar(leave=leave), logger=Kept(), num_sanity_val_steps=1).fit(Line(), fixed(), fixed(2))
    shown = screen(terminal.getvalue())
    assert [line[:9] for line in shown] == (["epoch 1/2", "epoch 2/2", ""] if leave else ["epoch 2/2", ""])
    assert re.fullmatch(r"epoch 2/2  \[#{36}\]  4/4  \S+ batches/s loss=\S+ v_num=3", shown[-2]), shown
    assert "validation 2/2" in terminal.getvalue()


def test_a_pass_of_its_own_counts_its_batches(terminal: Terminal) -> None:
    made = trainer(ProgressBar())
    for verb in ("validate", "test", "predict"):
        getattr(made, verb)(Line(), fixed(3), **({} if verb == "predict" else {"verbose": False}))
    assert screen(terminal.getvalue()) == ["validate  3  batches", "test  3  batches", "predict  3  batches", ""]


class Stream:
    """Batches whose number is not known before they are read."""

    def __init__(self, n: int) -> None:
        self.items = fixed(n).batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def test_batches_whose_number_is_not_known_are_counted(terminal: Terminal) -> None:
    trainer(ProgressBar(), max_epochs=1).fit(Line(), Stream(3), Stream(2))
    shown = screen(terminal.getvalue())
    assert re.fullmatch(r"epoch 1/1  3  \S+ batches/s loss=\S+", shown[0]), shown
    assert "validation 2\r" in terminal.getvalue()


def test_elsewhere_there_is_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    made = trainer(ProgressBar())
    made.fit(Line(), fixed(), fixed(2))
    made.test(Line(), fixed(), verbose=False)
    lines = capsys.readouterr().err.splitlines()
    expected = ["epoch N/N: N batches/s loss_epoch=N val_epoch=N"] * 2
    assert [re.sub(r"\d[\d.e+,-]*", "N", line) for line in lines] == expected


@pytest.mark.parametrize("silent", ["refresh_rate", "disable"])
def test_nothing_is_shown_where_nothing_is_asked_for(terminal: Terminal, silent: str) -> None:
    made = ProgressBar(refresh_rate=0 if silent == "refresh_rate" else 1)
    if silent == "disable":
        made.disable()
    assert made.is_disabled
    trainer(made).fit(Line(), fixed())
    assert terminal.getvalue() == ""


def test_lines_come_above_the_bar(terminal: Terminal) -> None:
    class Says(ProgressBar):
        def on_train_batch_end(self, *arguments: Any) -> None:
            super().on_train_batch_end(*arguments)
            self.print("batch", arguments[-1])

        def get_metrics(self, trainer: Any, task: Any) -> dict[str, Any]:
            assert (self.total_train_batches, self.total_val_batches) == (4, 0)
            return {"of my own": "text\x1b[31m"}

    trainer(Says(), max_epochs=1).fit(Line(), fixed())
    shown = screen(terminal.getvalue())
    assert shown[:4] == [f"batch {i}" for i in range(4)]
    assert shown[4].endswith(r"batches/s of my own=text\x1b[31m")
    assert shown[5:] == [""]


def test_a_bar_of_ones_own_has_no_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Own(ProgressBar):
        def get_metrics(self, trainer: Any, task: Any) -> dict[str, Any]:
            self.seen = object()
            return {}

    made = trainer(Own(), ModelCheckpoint(tmp_path), max_epochs=1)
    made.fit(Line(), fixed())
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_after_an_error_the_cursor_is_on_a_line_of_its_own(terminal: Terminal) -> None:
    class Fails(Line):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 2:
                raise ValueError("as the test wants")

    with pytest.raises(ValueError, match="as the test wants"):
        trainer(ProgressBar()).fit(Fails(), fixed())
    say("error")
    assert screen(terminal.getvalue())[1:] == ["error", ""]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 30), st.text("ab\n\r\x1b", max_size=60)), max_size=12), st.integers(0, 30),
    st.integers(10, 130), st.text("epoch \x07", max_size=30),
)  # fmt: skip
def test_a_bar_keeps_to_one_line_of_any_terminal(steps: list[Any], total: int, columns: int, label: str) -> None:
    """Whatever is said meanwhile: no drawing is wider than the terminal, and all lines that were said are there."""
    stream = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(bars, "sys", SimpleNamespace(stderr=stream))
        patch.setattr(bars, "_drawn", None)
        patch.setattr(bars, "REFRESH", 0)
        bar, said = Bar(label, total), []
        for step in steps:
            if isinstance(step, int):
                bar.update(step, "text " * step)
            else:
                say(step)
                said.append(step)
        bar.close()
    pieces = [piece for line in stream.getvalue().split("\n") for piece in line.split("\r")]
    spoken = {one_line(each) for each in said}
    assert all(len(piece.rstrip()) < columns or piece.rstrip() in {each.rstrip() for each in spoken} for piece in pieces)
    assert "\x1b" not in stream.getvalue()
    shown = screen(stream.getvalue())
    assert shown[: len(said)] == [one_line(each).rstrip() for each in said]


def test_a_stream_that_went_away_ends_no_work() -> None:
    stream = Terminal()
    bar = Bar("reading", 3, stream=stream)
    bar.update(1)
    stream.close()
    bar.update(3)
    bar.close()


@pytest.mark.parametrize("arguments", [{"refresh_rate": -1}, {"process_position": 2}])
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected 0"):
        ProgressBar(**arguments)
    with pytest.raises(ConfigError, match="max_depth"):
        ModelSummary(-2)


def test_the_summary_is_written_when_a_fit_begins(capsys: pytest.CaptureFixture[str]) -> None:
    for depth, lines in ((0, 0), (1, 11)):
        made = trainer(ModelSummary(depth))
        made.fit(Line(), fixed())
        assert len(capsys.readouterr().err.splitlines()) == lines
        made.test(Line(), fixed(), verbose=False)
        assert capsys.readouterr().err == ""


def test_text_without_a_line_end_leaves_the_bar_for_later(terminal: Terminal) -> None:
    bar = Bar("reading", 3)
    bar.update(1)
    write("so far", end="")
    write("… so good")
    bar.update(2)
    bar.close()
    assert screen(terminal.getvalue())[0] == "so far… so good"
