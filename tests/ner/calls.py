"""Commands as the tests call them, in this process; a training in one process and in two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import cli
from ner.config import TaggerConfig
from ner.train import train_tagger
from tests import processes
from training.run.experiment import RunOptions


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """The one line of an error."""
    result = run(*arguments)
    assert result.exit_code not in (0, 1), result.output
    assert "Traceback" not in result.output
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("error: "), result.output
    return line


def alone_and_in_two_processes(place: Path, folder: Path) -> tuple[Path, Path]:
    """The folders of two runs, in one process and in two, with the settings of ``whole`` in ``place`` and two shards."""
    settings: dict[str, Any] = {**json.loads((place / "whole" / "config.json").read_text()), "shards": 2}
    config = TaggerConfig.from_dict(settings).located(place)  # they begin in a folder of their own
    alone, both = folder / "alone", folder / "both"
    train_tagger(config, RunOptions(path=str(alone)))
    ended = processes.run(folder, 2, lambda: train_tagger(config, RunOptions(path=str(both))))
    assert {each.code for each in ended} == {0}, ended
    return alone, both
