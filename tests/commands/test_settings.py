"""Every number that can be set, in every way that there is: what is no number, or too large a one, is one line."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

import cli
from ner.config import TaggerConfig
from ner.lm.config import LanguageModelConfig
from training.commands.options import Number, Optional
from training.config import TrainConfig, option
from training.determinism.threads import use_threads
from training.errors import ConfigError, DataError
from training.run.folder import Run
from training.run.groups import MOST_SEEDS, open_group, seeds_of
from training.values import LARGEST_FLOAT, LARGEST_WHOLE, field_types
from word2vec.config import Word2VecConfig

CONFIGS = (TrainConfig, TaggerConfig, Word2VecConfig, LanguageModelConfig)
NO_NUMBERS: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 1e39, 10**400, -(10**5000), "3", "", "nan", True, False, [1], {}, b"1", 1j
)  # fmt: skip
BOUND_TO_OTHERS = {
    (Word2VecConfig, "noise_words"),  # a multiple of block
    (Word2VecConfig, "shards"),  # dim at most
    (LanguageModelConfig, "batch_words"),  # max_length at least
    (LanguageModelConfig, "max_length"),
    (TaggerConfig, "rehearse_share"),  # beside start_from alone
    (TaggerConfig, "teacher_share"),  # beside teacher alone
    (TaggerConfig, "unlabeled_share"),  # beside unlabeled alone
}
TYPED = ("nan", "-inf", "inf", "1e400", "9" * 30, "9" * 5000, "-" + "9" * 30, "three", "", "0x10", "1,5", "true", "--", "1e")


def numeric(config: type[TrainConfig]) -> Iterator[tuple[dataclasses.Field[Any], set[Any]]]:
    """The fields that are numbers, with their types."""
    for item in dataclasses.fields(config):
        hint = field_types(config)[item.name]
        kinds = set(getattr(hint, "__args__", (hint,)))
        if kinds & {int, float}:
            yield item, kinds


def outside(item: dataclasses.Field[Any]) -> Iterator[Any]:
    """The numbers next to a field's range."""
    limits = item.metadata
    for name, step in (("least", -1), ("most", 1), ("above", 0), ("below", 0)):
        if limits[name] is not None:
            yield limits[name] + step
    if limits["batches"]:
        yield 1.5


def inside(item: dataclasses.Field[Any], kinds: set[Any]) -> Iterator[Any]:
    """The ends of a field's range."""
    ends = [item.metadata[name] for name in ("least", "most") if item.metadata[name] is not None]
    yield from (float(end) if int not in kinds else end for end in ends)


def refused(make: Any, name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        make()
    message = str(caught.value)
    assert name in message, message
    assert "\n" not in message, message
    assert len(message) < 300, message
    return message


@pytest.mark.parametrize("config", CONFIGS)
def test_no_field_takes_what_is_no_number(config: type[TrainConfig], tmp_path: Path) -> None:
    path, tried = tmp_path / "config.json", 0
    for item, kinds in numeric(config):
        wrong = [*NO_NUMBERS, *outside(item), *([] if float in kinds else [2.5, 1.0, 1e38, 2**63])]
        wrong += [] if type(None) in kinds else [None]
        for value in wrong:
            message = refused(lambda: config(**{item.name: value}), item.name)  # noqa: B023
            assert re.search("expected .*, got", message), message
            refused(lambda: config.from_dict({item.name: value}), item.name)  # noqa: B023
            tried += 1
            try:
                path.write_text(json.dumps({item.name: value}))
            except (TypeError, ValueError):
                continue
            refused(lambda: config.load(path), "config.json")
        for value in inside(item, kinds):
            if (config, item.name) not in BOUND_TO_OTHERS:
                assert getattr(config(**{item.name: value}), item.name) == value
    assert tried > 300


@pytest.mark.parametrize("command", ["train-ner", "train-w2v"])
def test_no_option_takes_what_is_no_number_and_no_folder_is_left(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = TaggerConfig if command == "train-ner" else Word2VecConfig
    options = {parameter.name: parameter.opts[0] for parameter in cli.main.commands[command].params}
    runner, tried = CliRunner(), 0
    for item, kinds in numeric(config):
        for text in ("nan", "1e400", *([] if float in kinds else ["2.5"]), *map(str, outside(item))):
            if item.name in options:
                done = runner.invoke(cli.main, [command, options[item.name], text])
                assert done.exit_code == 2, (options[item.name], text, done.output)
                assert type(done.exception) is SystemExit, (options[item.name], text, done.exception)
                assert len(done.output.strip().splitlines()[-1]) < 300
                tried += 1
    assert tried > 60
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("config", CONFIGS)
def test_what_minus_one_means_stands_in_the_help(config: type[TrainConfig]) -> None:
    for item, _ in numeric(config):
        assert item.metadata["least"] != -1 or "-1 for" in item.metadata["help"], item.name


@pytest.mark.parametrize("status", ["running", "finished", "stopped"])
def test_a_run_of_another_kind_is_named_by_verify(status: str, tmp_path: Path) -> None:
    run = Run.create("toy", TrainConfig(), path=str(tmp_path / "run"))
    run.set_status(status)
    run.unlock()
    done = CliRunner().invoke(cli.main, ["verify", str(run.path)])
    assert done.exit_code == 2
    assert 'expected a run of train-w2v, train-ner or train-lm, to run it again, got one of kind "toy"' in done.output


def every_option(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Parameter]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_option(command, f"{path}{name} ")
        else:
            yield from ((f"{path}{name} {each.opts[0]}", each) for each in command.params)


def test_no_command_has_a_number_that_takes_anything() -> None:
    kinds = (click.types.IntParamType, click.types.FloatParamType, Number, Optional)
    found = [(name, each) for name, each in every_option(cli.main) if isinstance(each.type, kinds)]
    fields = {item.name for config in CONFIGS for item, _ in numeric(config)}
    assert len(found) > 60
    for name, parameter in found:
        if parameter.name in fields and name.startswith("train-"):
            continue  # its range is the field's, tried above
        for text in TYPED:
            with pytest.raises(click.BadParameter):
                print(name, text, parameter.type.convert(text, None, None))
        assert isinstance(parameter.type, click.IntRange | click.FloatRange), name
        assert None not in (parameter.type.min, parameter.type.max), name


@pytest.mark.parametrize("text", ["nan", "1e9", "inf", "9" * 50 + "s", "-5m", "5 m", "٣m", "0", "1:2:3", "never ", "5w"])
def test_times_and_intervals_are_checked_before_there_is_a_run(text: str) -> None:
    refused(lambda: TrainConfig(checkpoint_every=text), "checkpoint_every")
    refused(lambda: TrainConfig(max_time=text), "max_time")


@pytest.mark.parametrize(
    "seeds", [[], [1.5], ["1"], [True], [-1], [2**32], [1, 1], [math.nan], {}, "12", 5, None, [10**30], [None], [[1]]]
)
def test_a_groups_seeds_are_whole_numbers(tmp_path: Path, seeds: object) -> None:
    (tmp_path / "group.json").write_text(json.dumps({"kind": "group", "seeds": seeds}))
    with pytest.raises(DataError, match="expected a group's list of seeds"):
        seeds_of(tmp_path)


@pytest.mark.parametrize(("first", "seeds"), [(0, 0), (0, -1), (0, MOST_SEEDS + 1), (2**32 - 1, 2), (0, 1.0), (0, 2**64)])
def test_a_group_that_cannot_be_leaves_no_folder(tmp_path: Path, first: int, seeds: Any) -> None:
    refused(lambda: open_group("ner", TaggerConfig(seed=first), seeds, "", str(tmp_path)), "seed")
    assert list(tmp_path.iterdir()) == []


def test_more_threads_than_the_system_gives_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    refused(lambda: use_threads(1000), "threads")


def test_a_subclass_of_ones_own_is_checked_by_its_fields() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(TrainConfig):
        rate: float = option(0.5, "a rate", above=0, most=1)
        sizes: tuple[int, ...] = option((1,), "sizes")

    assert type(Own(rate=1).rate) is float
    for values in ({"rate": 0}, {"rate": 2}, {"rate": math.nan}, {"sizes": (1, 2.5)}, {"sizes": [math.inf]}, {"sizes": 3}):
        refused(lambda: Own(**values), next(iter(values)))  # noqa: B023
    assert torch.finfo(torch.float32).max == LARGEST_FLOAT
    assert Own(max_steps=LARGEST_WHOLE).max_steps == LARGEST_WHOLE
