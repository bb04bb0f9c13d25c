"""Hyperparameters: what is kept, what is refused, and what the loggers are told."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from argparse import Namespace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import checkpoint
from training.errors import CheckpointError, ConfigError
from training.hyperparameters import AttributeDict, HyperparametersMixin, hyperparameters_to_log, rebuilt


class Keeps(HyperparametersMixin):
    """Keeps all that it gets."""

    def __init__(self, value: Any = None, *, ignore: Any = None) -> None:
        self.value = value
        self.save_hyperparameters(ignore=["ignore", *(ignore or [])])


class Shade(Enum):
    DARK = 1


PLAIN: list[Any] = [
    None, True, 3, 2.5, float("inf"), "text", (1, "a"), [1, [2]], {"a": {"b": None}}, {1: 2}, Path("a/b"), np.float32(0.5),
    np.int64(3), torch.float16, torch.device("cpu"), {"a", "b"}, Namespace(a=1, b=Namespace(c=[1])), AttributeDict(a=1),
    1j, b"x",
]  # fmt: skip
ODD: list[Any] = [
    torch.nn.Linear(1, 1), torch.zeros(2), np.zeros(2), len, lambda x: x, object(), Shade.DARK, torch.optim.Adam, Keeps(),
    [1, {"a": torch.zeros(1)}], {"a": object()}, Namespace(a=len), dataclasses.make_dataclass("Config", ["a"])(1),
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)  # a set's order is another in each process
def test_plain_values_come_back_as_they_were(tmp_path: Path, value: Any) -> None:
    kept = Keeps(value)
    checkpoint.save(tmp_path / "a.ckpt", kept.hyperparameters_state())
    again = rebuilt(Keeps, checkpoint.load(tmp_path / "a.ckpt"), {}, "a.ckpt")
    assert again.value == kept.hparams.value == value
    assert type(again.value) in (type(value), dict)


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_what_is_not_plain_is_named_with_what_to_do(value: Any) -> None:
    said = r"^save_hyperparameters: expected numbers, text, .*, got value \(a \w+\); leave it out by .*ignore=\['value'\]"
    with pytest.raises(ConfigError, match=said):
        Keeps(value)
    assert Keeps(value, ignore=["value"]).hparams == {}
    kept = Keeps()
    kept.hparams.value = value
    with pytest.raises(ConfigError, match=r"^hparams: expected numbers"):
        kept.check_hyperparameters()


def test_what_a_subclass_ignores_is_not_its_bases_to_refuse() -> None:
    class Ignores(Keeps):
        def __init__(self, value: int, backbone: Any) -> None:
            super().__init__(value)
            self.save_hyperparameters(ignore="backbone")

    class Forgets(Keeps):
        def __init__(self, value: int, backbone: Any) -> None:
            super().__init__(value)

    kept = Ignores(1, torch.nn.Linear(1, 1))
    assert kept.hparams == kept.hparams_initial == {"value": 1}
    with pytest.raises(ConfigError, match=r"^hparams: .* got backbone \(a Linear\)"):
        Forgets(1, torch.nn.Linear(1, 1)).check_hyperparameters()


def test_an_init_that_calls_its_base_by_name_is_seen() -> None:
    class ByName(Keeps):
        def __init__(self, value: int, wide: int) -> None:
            Keeps.__init__(self, value)

    class Outer(Keeps):
        def __init__(self, value: int) -> None:
            super().__init__(value)
            self.inner = Keeps(7)

    assert ByName(1, 2).hparams == {"value": 1, "wide": 2}
    assert Outer(1).inner.hparams == {"value": 7}  # not those of what it is made in


def test_a_dataclass_keeps_its_fields() -> None:
    @dataclasses.dataclass
    class Fields(HyperparametersMixin):
        a: int
        b: int = dataclasses.field(default=2)
        c: int = dataclasses.field(default=3, init=False)

        def __post_init__(self) -> None:
            self.save_hyperparameters()

    assert Fields(1).hparams == {"a": 1, "b": 2}


def test_calls_that_ask_for_nothing_that_there_is() -> None:
    class Asks(HyperparametersMixin):
        def __init__(self, given: int, *args: Any) -> None:
            self.save_hyperparameters(*args)

    with pytest.raises(ConfigError, match=r"expected arguments of Asks.__init__ \(given\), got other, third"):
        Asks(1, "given", "other", "third")
    for args in ((5,), ([1],), ("given", {"a": 1}), ({"a": 1}, {"b": 2})):
        with pytest.raises(ConfigError, match="expected names of arguments, or one dict or Namespace, got"):
            Asks(1, *args)
    for nothing in [dict[str, int](), None, ""]:
        assert Asks(1, nothing).hparams == {}


def test_the_initial_ones_are_a_copy() -> None:
    kept = Keeps([1])
    kept.hparams.value.append(2)
    kept.hparams_initial.value.append(3)
    assert (kept.hparams.value, kept.hparams_initial.value) == ([1, 2], [1])


def test_attributes_of_the_dict() -> None:
    values = AttributeDict(b=1)
    values.a = 2
    assert (values["a"], values.b, dict(values)) == (2, 1, {"b": 1, "a": 2})
    assert copy.deepcopy(values) == pickle.loads(pickle.dumps(values)) == values
    del values.a
    with pytest.raises(AttributeError, match="'AttributeDict' object has no attribute 'a'"):
        _ = values.a
    assert repr(AttributeDict(lr=0.1, hidden=8)) == '"hidden": 8\n"lr":     0.1'
    assert repr(AttributeDict()) == ""


def test_what_the_loggers_are_told() -> None:
    class Silent(HyperparametersMixin):
        def __init__(self, value: int) -> None:
            self.save_hyperparameters(logger=False)

    class Other(HyperparametersMixin):
        def __init__(self, value: Any, other: int = 2) -> None:
            self.save_hyperparameters()

    assert hyperparameters_to_log(Keeps(1), None) == {"value": 1}
    assert hyperparameters_to_log(Keeps(1), Silent(3)) == {"value": 1}
    assert hyperparameters_to_log(Keeps(1), Other(1)) == {"value": 1, "other": 2}
    with pytest.raises(ConfigError, match="expected the same values in the task and the data, got different ones for value"):
        hyperparameters_to_log(Keeps(1), Other(True))


def test_arguments_that_can_not_be_had() -> None:
    class Needs(HyperparametersMixin):
        def __init__(self, hidden: int, *rest: int, deep: int, lr: float = 0.1) -> None:
            self.seen = (hidden, deep, lr)

    said = r"^x.ckpt: Needs needs hidden, deep, which the checkpoint does not hold; pass hidden=…, deep=…, or train it"
    with pytest.raises(CheckpointError, match=said):
        rebuilt(Needs, {}, {}, "x.ckpt")
    with pytest.raises(ConfigError, match="Needs takes no hiden; it takes hidden, deep, lr"):
        rebuilt(Needs, {}, {"hiden": 1}, "x.ckpt")
    with pytest.raises(CheckpointError, match="expected hyperparameters by name, got list"):
        rebuilt(Needs, {"hyper_parameters": [1]}, {}, "x.ckpt")
    stored = {"hyper_parameters": {"hidden": 1, "deep": 2, "unknown": 3}, "hparams_name": "kwargs"}
    assert rebuilt(Needs, stored, {"lr": 0.5}, "x.ckpt").seen == (1, 2, 0.5)
