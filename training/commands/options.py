"""The command line's options, read off the config dataclasses, and the way from what was typed to a config."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from training import settings_file
from training.commands.help import Option, is_typed
from training.config import TrainConfig
from training.errors import ConfigError
from training.kept_settings import KeptSettings
from training.values import LARGEST_WHOLE

ConfigT = TypeVar("ConfigT", bound=TrainConfig)
Command = Callable[..., Any]


class Number(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or a number with a point: 50 is not 50.0 (a count is no share)."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        if isinstance(value, int | float):
            return value
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
        return self.fail(f"expected a number such as 50 or 0.25, got {value!r}", param, ctx)


class _Whole(click.IntRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = click.INT.convert(value, param, ctx)
        if abs(found) > LARGEST_WHOLE:  # of which the range says nothing
            self.fail(f"expected a whole number of at most {LARGEST_WHOLE}, got {found}", param, ctx)
        return super().convert(value, param, ctx)

    def _describe_range(self) -> str:
        """The range for a help, but for limits that nobody meets."""
        least = f"x>={self.min}" if self.min != -LARGEST_WHOLE else ""
        return least if self.max == LARGEST_WHOLE else super()._describe_range()


def whole(least: int | None = None, most: int = LARGEST_WHOLE) -> click.IntRange:
    """A command's whole number; what no computer counts to is refused."""
    return _Whole(-LARGEST_WHOLE if least is None else least, most)


class Share(click.FloatRange):
    """A number from 0 to 1; NaN, which is neither below nor above, is none."""

    def __init__(self) -> None:
        super().__init__(0.0, 1.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        return self.fail(f"expected a number from 0 to 1, got {value!r}", param, ctx) if math.isnan(found) else found


class Optional(click.ParamType):  # type: ignore[type-arg]
    """A value of another type, or "none"."""

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, f"{kind.__name__}|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, self.kind):
            return value
        try:
            return None if value == "none" else self.kind(value)
        except ValueError:
            return self.fail(f"expected a {self.kind.__name__} or none, got {value!r}", param, ctx)


def config_options(config: type[TrainConfig], without: str = "") -> Callable[[Command], Command]:
    """A decorator that gives a command one option for each field of ``config``, but for the names in ``without``."""
    hints = typing.get_type_hints(config)

    def decorate(command: Command) -> Command:
        shared = TrainConfig.__dataclass_fields__
        seconds = {item.metadata.get("second") for item in dataclasses.fields(config)}
        offered = [item for item in dataclasses.fields(config) if item.name not in {*without.split(), *seconds}]
        offered.sort(key=lambda item: item.name in shared)  # what is the command's own comes first in its help
        for item in reversed(offered):
            command = _option(item, hints[item.name])(command)
        return command

    return decorate


def _option(item: dataclasses.Field[Any], hint: Any) -> Callable[[Command], Command]:
    flag, default = flag_of(item), item.default
    settings: dict[str, Any] = {"cls": Option, "empty": True, "default": default, "show_default": default != ""}
    settings |= {"help": item.metadata["help"], "section": item.metadata["section"]}
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if hint is bool:
        flag = f"{flag}/--{item.metadata['off'] or f'no-{flag[2:]}'}"
    elif item.metadata.get("second"):
        settings |= {"nargs": 2, "type": (hint, float), "default": None, "show_default": False}
        settings["metavar"] = item.metadata["metavar"]
    elif item.metadata.get("choices"):
        settings["type"] = click.Choice(item.metadata["choices"])
    elif typing.get_origin(hint) is tuple:
        settings |= {"multiple": True, "type": typing.get_args(hint)[0]}
    elif set(kinds) == {int, float}:
        settings["type"] = Number()
    elif type(None) in kinds:
        settings["type"] = Optional(next(kind for kind in kinds if kind is not type(None)))
        settings["show_default"] = "none" if default is None else True
    else:
        settings["type"] = hint
    also = item.metadata.get("also")
    return click.option(flag, *([f"--{also}"] if also else []), item.name, **settings)


def flag_of(item: dataclasses.Field[Any]) -> str:
    """The option of a setting, such as --max-epochs."""
    return "--" + str(item.metadata.get("flag") or item.name).replace("_", "-")


def check_none_typed(config: type[TrainConfig], names: Collection[str], group: str) -> None:
    """ConfigError for one of these settings that was typed to resume a group, whose runs must not differ in them."""
    context = click.get_current_context()
    for flag in (
        flag_of(each) for each in dataclasses.fields(config) if each.name in names and is_typed(context, each.name)
    ):
        raise ConfigError(f"{flag}: {group} keeps its settings; leave {flag} out to resume it, or resume one of its runs")


def make_config(
    config: type[ConfigT],
    typed: Mapping[str, Any],
    file: str | None,
    preset: Mapping[str, Any],
    kept: Callable[[str], KeptSettings] | None = None,
) -> ConfigT:
    """Defaults, then the preset, then the config file, then what was typed (or set in the environment).

    ``kept``: which settings the model has that ``start_from`` names. They go before the preset, and anything else that is
    given in their place is a ConfigError.
    """
    chosen = _chosen(config, typed)
    from_file: Mapping[str, Any] = {}
    if file:
        read = settings_file.read(file)
        from_file = config.checked(read.values, read.where)  # by itself, so that a message has the line
    given = {**from_file, **chosen}
    if kept is None or not given.get("start_from"):
        return config.from_dict({**preset, **given}, "options")
    held = kept(given["start_from"])
    held.check(given)
    return config.from_dict({**preset, **held.values, **given}, "options")


def _chosen(config: type[TrainConfig], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options, the fields that were typed, or set in the environment; one may hold the value of two fields."""
    context = click.get_current_context()
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    chosen: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        if item.name not in typed or context.get_parameter_source(item.name) not in given:
            continue
        second = item.metadata.get("second")
        if second:
            chosen[item.name], chosen[second] = typed[item.name]
        else:
            chosen[item.name] = typed[item.name]
    return chosen
