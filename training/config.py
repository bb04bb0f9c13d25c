"""Settings as frozen dataclasses: the one place for defaults, and the same file format for all commands.

A field is declared with ``option(default, help)``; the command line reads its name, type, default, help and choices off
the dataclass, and ``config.json`` of a run folder holds the whole of it, so that a run can be started again from there.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training.errors import ConfigError
from training.files import parse_json
from training.intervals import interval, seconds
from training.randomness import MAX_SEED
from training.values import checked, field_types

ConfigT = TypeVar("ConfigT", bound="TrainConfig")
MOST_THREADS = 1024


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    numbers: bool = True,
    flag: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    batches: bool = False,
    no_path: tuple[str, ...] | None = None,
) -> Any:
    """A config field. ``choices`` limits a string; ``numbers=False`` says that it cannot change the run's numbers.

    A number is ``least`` to ``most``, or strictly between ``above`` and ``below``; one of ``batches`` is a share or a whole
    number. The command line calls the field ``flag``, if that is given. ``no_path``: the field holds the path of an input,
    or several, unless it is one of these words.
    """
    limits = {"least": 0 if batches else least, "most": most, "above": above, "below": below, "batches": batches}
    known = {"help": help, "choices": choices, "numbers": numbers, "flag": flag, "no_path": no_path}
    return field(default=default, metadata={**known, **limits})


@dataclass(frozen=True)
class TrainConfig:
    """What every training run shares. Subclasses add fields; names are Lightning's where it has one.

    Each field's help text says what it means; the command line shows them.

    Raises:
        ConfigError: for a value of another kind, out of its range, or in contradiction to another.

    Example:
        >>> from training import TrainConfig
        >>> config = TrainConfig(max_epochs=3, val_check_interval=0.25)
        >>> config.log_every_n_steps
        50
        >>> TrainConfig.from_dict(config.to_dict()) == config
        True
    """

    seed: int = option(0, "seed of every random number, 0 to 2^32-1", least=0, most=MAX_SEED)
    device: str = option("auto", "where to compute: auto takes CUDA where it is there", choices=("auto", "cpu", "cuda"))
    threads: int = option(0, "CPU threads; 0 takes one per core, as torch does", least=0, most=MOST_THREADS)
    deterministic: bool = option(False, "torch's deterministic algorithms only; fail on an operation that has none")
    any_threads: bool = option(False, "the same bits for any number of CPU threads; implies --deterministic")
    portable: bool = option(
        False, "the same bits on any x86-64 CPU: one thread, and only code that all of them have; implies --deterministic"
    )
    precision: str = option("32-true", "number format", choices=("32-true", "64-true", "bf16-mixed"))
    max_epochs: int = option(10, "epochs to train at most; -1 for no limit", least=-1)
    min_epochs: int = option(0, "epochs to train at least, whatever early stopping says", least=0)
    max_steps: int = option(-1, "optimizer steps to train at most; -1 for no limit", least=-1)
    min_steps: int = option(0, "optimizer steps to train at least", least=0)
    max_time: str = option("", "stop, resumable, after DD:HH:MM:SS or e.g. 90m, 2h, 30s", numbers=False)
    fast_dev_run: int = option(0, "try so many batches of everything, once, without logs and checkpoints; 0 is off", least=0)
    overfit_batches: int | float = option(
        0.0, "train and validate on the same few batches: a number or a share", batches=True
    )
    limit_train_batches: int | float = option(1.0, "training batches an epoch: a number (10) or a share (0.1)", batches=True)
    limit_val_batches: int | float = option(1.0, "the same for validation", batches=True)
    limit_test_batches: int | float = option(1.0, "the same for the test; 0 for no test", batches=True)
    val_check_interval: int | float = option(
        1.0, "validate every so many batches (50) or shares of an epoch (0.25)", batches=True
    )
    check_val_every_n_epoch: int | None = option(
        1, "validate in every n-th epoch; none counts batches across epochs", least=1
    )
    num_sanity_val_steps: int = option(2, "validation batches run before training, to fail early; -1 for all", least=-1)
    accumulate_grad_batches: int = option(1, "batches whose gradients are averaged for one optimizer step", least=1)
    gradient_clip_val: float = option(0.0, "clip gradients to this norm or value; 0 for no clipping", least=0)
    gradient_clip_algorithm: str = option("norm", "how to clip", choices=("norm", "value"))
    checkpoint_every: str = option(
        "5m", "write a checkpoint to resume from every so many steps (200) or minutes (5m); never", numbers=False
    )
    keep_checkpoints: bool = option(
        False, "keep all of these checkpoints, to replay from (verify --from); else the newest, until the run has finished",
        numbers=False,
    )  # fmt: skip
    ledger_every: int = option(
        1, "write every so many steps' digests to the ledger; 0 for no ledger", numbers=False, least=0
    )
    log_every_n_steps: int = option(
        50, "write training metrics every so many steps; 0 for not at all", numbers=False, least=0
    )
    progress: bool = option(True, "show a progress bar", numbers=False)

    def __post_init__(self) -> None:
        hints = field_types(type(self))
        for item in dataclasses.fields(self):
            value = checked(getattr(self, item.name), hints[item.name], item, item.name)
            object.__setattr__(self, item.name, value)
        interval(self.checkpoint_every, "checkpoint_every")
        seconds(self.max_time, "max_time")
        if self.check_val_every_n_epoch is None and isinstance(self.val_check_interval, float):
            raise ConfigError(
                "val_check_interval: with check_val_every_n_epoch none, expected a whole number of batches, "
                f"got {self.val_check_interval}"
            )
        self._imply()

    def _imply(self) -> None:
        """What the stronger levels of determinism bring with them."""
        if self.portable and (self.device == "cuda" or self.threads > 1):
            got = "--device cuda" if self.device == "cuda" else f"{self.threads} threads"
            raise ConfigError(f"portable: expected the CPU and one thread, got {got}")
        if self.portable:
            object.__setattr__(self, "device", "cpu")
            object.__setattr__(self, "threads", 1)
        if self.portable or self.any_threads:
            object.__setattr__(self, "deterministic", True)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, tuples as lists: what config.json holds."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    def settings(self) -> dict[str, Any]:
        """Those that can change the run's numbers, as in ``to_dict``."""
        kept = {item.name for item in dataclasses.fields(self) if item.metadata.get("numbers", True)}
        return {name: value for name, value in self.to_dict().items() if name in kept}

    @classmethod
    def paths(cls) -> list[str]:
        """The fields that hold paths of inputs."""
        return [item.name for item in dataclasses.fields(cls) if item.metadata.get("no_path") is not None]

    def located(self: ConfigT, folder: Path, known: Mapping[str, Any] | None = None) -> ConfigT:
        """The settings with relative paths of inputs led on from ``folder``; of ``known``, those that are the same there."""

        def led(value: Any, words: tuple[str, ...]) -> Any:
            if isinstance(value, tuple):
                return tuple(led(each, words) for each in value)
            return value if value in ("", *words) else str(folder / value)

        same = [name for name in self.paths() if known is None or known.get(name) == self.to_dict()[name]]
        words = {item.name: item.metadata["no_path"] for item in dataclasses.fields(self) if item.name in same}
        return dataclasses.replace(self, **{name: led(getattr(self, name), words[name]) for name in same})

    @classmethod
    def from_dict(cls: type[ConfigT], values: Mapping[str, Any], where: str = "config") -> ConfigT:
        """Build from plain values; ConfigError names an unknown option (with the nearest known) or a wrong type."""
        hints = field_types(cls)
        known = {item.name: item for item in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise ConfigError(f"{where}: unknown option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            given[name] = checked(value, hints[name], known[name], f"{where}: {name}")
        return cls(**given)

    @classmethod
    def load(cls: type[ConfigT], path: str | Path) -> ConfigT:
        """Read a config.json; ConfigError where it is missing, no JSON object, or holds an unknown option."""
        return cls.from_dict(read_settings(path), str(path))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The JSON object in ``path``; ConfigError (file, line) where it cannot be read."""
    try:
        values = parse_json(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: expected JSON, got {error.msg}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 JSON, got other bytes") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}") from None
    except ValueError as error:  # a number too long, lists too deep
        raise ConfigError(f"{path}: expected JSON, got {str(error)[:200]}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object of options, got {type(values).__name__}")
    return values
