"""The tagger in several processes: the run of one, and data that is not the same for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ner.config import TaggerConfig
from ner.train import train_tagger
from tests import processes, running
from tests.proof import trials
from training.errors import SamebitsError
from training.run.experiment import RunOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    trials.small_inputs(folder, sentences=24, paragraphs=1)
    return folder


def act(data: str, run: str, **changes: Any) -> Callable[[], None]:
    """Train; an error is one line and its exit code, as from a command."""
    config: TaggerConfig = trials.tagger(Path(data), max_epochs=1, shards=4, **changes)

    def acted() -> None:
        try:
            train_tagger(config, RunOptions(path=run, tell=lambda line: None))
        except SamebitsError as error:
            if not error.silent:
                print(f"error: {error}")
            raise SystemExit(error.exit_code) from None

    return acted


ALL = {"characters": "lstm", "char_hidden": 8, "subwords": 30, "subword_dim": 4, "decoder": "crf"}


@pytest.mark.parametrize("changes", [{}, ALL], ids=["plain", "all"])
def test_several_processes_make_the_run_of_one(tmp_path: Path, data: Path, changes: dict[str, Any]) -> None:
    for world in (1, 2, 4):
        ended = processes.run(tmp_path, world, act(str(data), f"by-{world}", **changes))
        assert [done.code for done in ended] == [0] * world, ended
    one = tmp_path / "by-1"
    for other in (tmp_path / "by-2", tmp_path / "by-4"):
        assert running.results(other) == running.results(one)
        assert running.manifest(other)["outputs"] == running.manifest(one)["outputs"]


def test_another_text_under_the_same_name_on_another_machine_is_named(tmp_path: Path, data: Path) -> None:
    for rank in range(2):
        shutil.copytree(data, tmp_path / f"host-{rank}" / "data")
    with (tmp_path / "host-1" / "data" / "valid.conll").open("a") as file:
        file.write("one O\nmore O\n\n")

    def on_its_host() -> None:
        os.chdir(f"host-{os.environ['RANK']}")
        act("data", "run")()

    ended = processes.run(tmp_path, 2, on_its_host)
    assert [done.code for done in ended] == [1, 1], ended
    assert ended[0].said.count("\n") == 1
    assert (
        f"process 1 on {os.uname().nodename}: expected the same as in process 0, got differences (inputs." in ended[0].said
    )
    assert ended[1].said == ""
    assert not list(tmp_path.glob("host-*/run"))
