"""Settings: JSON there and back, what is refused, and which of them can change numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from training.config import TrainConfig, option
from training.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    names: tuple[str, ...] = option(("a",), "names")
    rate: float = option(0.5, "a rate")
    size: int | None = option(None, "a size")


def test_json_round_trip(tmp_path: Path) -> None:
    config = Config(names=("x", "y"), rate=1, size=3, val_check_interval=50)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert Config.load(path) == config
    assert isinstance(Config.load(path).val_check_interval, int)
    assert isinstance(Config.from_dict({"val_check_interval": 1.0}).val_check_interval, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_epoch": 3}, "unknown option 'max_epoch'; did you mean 'max_epochs'"),
        ({"seed": "3"}, 'seed: expected int, got "3"'),
        ({"seed": True}, "seed: expected int, got true"),
        ({"seed": -1}, "from 0 to 4294967295"),
        ({"size": 1.5}, "size: expected int or NoneType, got 1.5"),
        ({"names": "a"}, "names: expected tuple"),
        ({"device": "tpu"}, "device: expected one of auto, cpu, cuda, got 'tpu'"),
        ({"precision": "16-mixed"}, "precision: expected one of 32-true, 64-true, bf16-mixed"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches: expected 1 or more, got 0"),
    ],
)
def test_bad_values_are_refused_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_are_what_can_change_numbers() -> None:
    assert Config().settings() == Config(log_every_n_steps=7, progress=False, checkpoint_every="3").settings()
    assert Config().settings() != Config(rate=0.25).settings()
    assert Config().settings() != Config(seed=1).settings()
