"""Settings that a run takes over from the trained model that it starts from: those that its weights were made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.config import ConfigT, TrainConfig
from training.errors import ConfigError


@dataclass(frozen=True)
class KeptSettings:
    """The settings that stay as they were.

    Args:
        values: plain values, by the names of their fields.
        where: the folder of the model that has them, for messages.
    """

    values: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, config: TrainConfig, names: Sequence[str], where: str) -> KeptSettings:
        """Those of ``config`` that have these names."""
        values = config.to_dict()
        return cls({name: values[name] for name in names}, where)

    def check(self, given: Mapping[str, Any]) -> None:
        """ConfigError where a setting that was given is another one."""
        for name, value in self.values.items():
            if name in given and given[name] != value:
                raise ConfigError(
                    f"{name}: expected {value}, as the model in {self.where} was made with it, got {given[name]}; leave it "
                    "out to start from there"
                )

    def put_into(self, config: ConfigT) -> ConfigT:
        """The settings with these in them. A field that is not at its default counts as given (see ``check``)."""
        defaults = {item.name: item.default for item in dataclasses.fields(config)}
        values = config.to_dict()
        self.check({name: values[name] for name in self.values if values[name] != defaults[name]})
        return dataclasses.replace(config, **self.values)
