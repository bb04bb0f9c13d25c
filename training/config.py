"""Settings as frozen dataclasses: the one place for defaults, and the same file format for all commands.

A field is declared with ``option(default, help)``; the command line reads its name, type, default, help and choices off
the dataclass, and ``config.json`` of a run folder holds the whole of it, so that a run can be started again from there.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from training import settings_file
from training.errors import ConfigError
from training.intervals import interval, seconds
from training.values import MAX_SEED, checked, field_types

ConfigT = TypeVar("ConfigT", bound="TrainConfig")
MOST_THREADS = 1024
SECTIONS = COMMON, DATA, VECTORS, MODEL, TRAINING, DETERMINISM, RUN = (
    "Common options", "Data", "Vectors", "Model", "Training", "Determinism", "Run",
)  # fmt: skip
"""The headings that a command's help has its options under, in this order."""


def option(
    default: Any,
    help: str,
    *,
    section: str = "",
    choices: tuple[str, ...] | None = None,
    numbers: bool = True,
    flag: str = "",
    off: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    batches: bool = False,
    no_path: tuple[str, ...] | None = None,
    second: str = "",
    metavar: str = "",
    also: str = "",
) -> Any:
    """A config field, which a command's help has under ``section``.

    ``choices`` limits a string; ``numbers=False`` says that it cannot change the run's numbers.

    A number is ``least`` to ``most``, or strictly between ``above`` and ``below``; one of ``batches`` is a share or a whole
    number. The command line calls the field ``flag``, if that is given, and what turns it off ``off``. ``no_path``: the
    field holds the path of an input, or several, unless it is one of these words. ``second``: the field, of numbers, whose
    value the command line takes behind this one's, under the one name; ``metavar`` is what its help calls the two. ``also``:
    another name of the option on the command line.
    """
    limits = {"least": 0 if batches else least, "most": most, "above": above, "below": below, "batches": batches}
    known = {
        "help": help,
        "section": section,
        "choices": choices,
        "numbers": numbers,
        "flag": flag,
        "off": off,
        "no_path": no_path,
        "second": second,
        "metavar": metavar,
        "also": also,
    }
    return field(default=default, metadata={**known, **limits})


@dataclass(frozen=True)
class TrainConfig:
    """Settings that all training runs have. Subclasses add fields; names are Lightning's if it has one.

    A field is an option of the commands, whose ``--help`` says what it means; the option's name has - for _, and for
    ``max_epochs`` may be --epochs.

    Raises:
        ConfigError: for a value of another type, out of range, or in contradiction to another.

    Example:
        >>> from training import TrainConfig
        >>> config = TrainConfig(max_epochs=3, val_check_interval=0.25)
        >>> config.log_every_n_steps
        50
        >>> TrainConfig.from_dict(config.to_dict()) == config
        True
    """

    seed: int = option(0, "Seed of all random numbers, 0 to 2^32-1.", section=COMMON, least=0, most=MAX_SEED)
    device: str = option(
        "auto", "Device to compute on; auto uses CUDA if there is one.", section=RUN, choices=("auto", "cpu", "cuda")
    )
    threads: int = option(
        0,
        "Number of CPU threads; 0 for one per core that the process may use, or with --shards above 1 one per process.",
        section=RUN,
        least=0,
        most=MOST_THREADS,
    )
    devices: int = option(
        1,
        "Start this many processes, which share the --shards; the number must divide --shards, and changes no bit.",
        section=RUN,
        numbers=False,
        least=1,
        most=1024,
    )
    max_restarts: int = option(
        0,
        "If one of the --devices processes is lost, restart all from the last checkpoint, at most N times.",
        section=RUN,
        numbers=False,
        least=0,
    )
    shards: int = option(
        1,
        "Cut each batch into this many shards, a power of two: any number of processes that divides it gives the same bits.",
        section=TRAINING,
        least=1,
        most=1024,
    )
    deterministic: bool = option(
        False, "Use only torch's deterministic algorithms; fail on an operation that has none.", section=COMMON
    )
    any_threads: bool = option(
        False,
        "Give the same bits with any number of CPU threads; each operation uses one. Implies --deterministic.",
        section=DETERMINISM,
    )
    portable: bool = option(
        False,
        "Give the same bits on any x86-64 CPU, with one thread and common instructions. Implies --deterministic.",
        section=DETERMINISM,
    )
    precision: str = option(
        "32-true", "Number format to compute in.", section=TRAINING, choices=("32-true", "64-true", "bf16-mixed")
    )
    max_epochs: int = option(10, "Train for at most this many epochs; -1 for no limit.", section=COMMON, least=-1)
    min_epochs: int = option(
        0, "Train for at least this many epochs, even if early stopping would end.", section=TRAINING, least=0
    )
    max_steps: int = option(-1, "Take at most this many optimizer steps; -1 for no limit.", section=TRAINING, least=-1)
    min_steps: int = option(0, "Take at least this many steps, even if early stopping would end.", section=TRAINING, least=0)
    max_time: str = option(
        "", "Stop after this time from each start or resume: 30s, 90m, 2h or DD:HH:MM:SS.", section=RUN, numbers=False
    )
    fast_dev_run: int = option(
        0, "Try everything once on this many batches, without logging metrics; 0 for off.", section=TRAINING, least=0
    )
    overfit_batches: int | float = option(
        0.0,
        "Train and validate on the same few batches: this many (10), or this share of them (0.1); 0 for off.",
        section=TRAINING,
        batches=True,
    )
    limit_train_batches: int | float = option(
        1.0, "Train on this many batches an epoch (10), or on this share of them (0.1).", section=TRAINING, batches=True
    )
    limit_val_batches: int | float = option(
        1.0, "Validate on this many batches, or on this share of them.", section=TRAINING, batches=True
    )
    limit_test_batches: int | float = option(
        1.0, "Test on this many batches, or on this share of them; 0 for no test.", section=TRAINING, batches=True
    )
    val_check_interval: int | float = option(
        1.0,
        "Validate after this many batches (50), or after this share of an epoch (0.25).",
        section=TRAINING,
        batches=True,
    )
    check_val_every_n_epoch: int | None = option(
        1, "Validate every N epochs; none to count batches across epochs.", section=TRAINING, least=1
    )
    num_sanity_val_steps: int = option(
        2, "Run this many validation batches before training, to fail early; -1 for all.", section=TRAINING, least=-1
    )
    accumulate_grad_batches: int = option(
        1, "Average the gradients of this many batches for one optimizer step.", section=TRAINING, least=1
    )
    gradient_clip_val: float = option(
        0.0, "Clip gradients to this norm or value; 0 for no clipping.", section=TRAINING, least=0
    )
    gradient_clip_algorithm: str = option(
        "norm", "Clip the norm of all gradients, or each value.", section=TRAINING, choices=("norm", "value")
    )
    checkpoint_every: str = option(
        "5m",
        "Write a checkpoint to resume from every N steps (200), after each such time (30s, 5m, 2h), or never.",
        section=RUN,
        numbers=False,
    )
    keep_checkpoints: bool = option(
        False,
        "Keep all checkpoints for resuming, for verify --from; otherwise only the newest, until the run has finished.",
        section=RUN,
        numbers=False,
    )
    ledger_every: int = option(
        1, "Write digests to the ledger every N steps; 0 for no ledger.", section=DETERMINISM, numbers=False, least=0
    )
    log_every_n_steps: int = option(
        50, "Log training metrics every N steps; 0 for never.", section=RUN, numbers=False, least=0
    )
    progress: bool = option(True, "Show a progress bar.", section=RUN, numbers=False)

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
    def completed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The plain values of a run's settings; those that its version did not have yet have their defaults."""
        return {**cls().to_dict(), **values}

    @classmethod
    def paths(cls) -> list[str]:
        """The fields that hold paths of inputs."""
        return [item.name for item in dataclasses.fields(cls) if item.metadata.get("no_path") is not None]

    @classmethod
    def reads_stdin(cls, settings: Mapping[str, Any]) -> bool:
        """Whether, by these settings, an input was standard input: "-", where a field takes that word."""
        fields = [item for item in dataclasses.fields(cls) if "-" in (item.metadata.get("no_path") or ())]
        return any("-" in (settings.get(item.name) or ()) for item in fields)

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
        return cls(**cls.checked(values, lambda name: where))

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
        """Plain values as the fields have them, each by itself; ``where`` says for a message where an option stands."""
        hints = field_types(cls)
        known = {item.name: item for item in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"{where(name)}: unknown option {name!r}{hint}")
            given[name] = checked(value, hints[name], known[name], f"{where(name)}: {name}")
        return given

    @classmethod
    def load(cls: type[ConfigT], path: str | Path) -> ConfigT:
        """Read a config.json; ConfigError (file:line) where it is no JSON object, or holds an unknown or a wrong option."""
        file = settings_file.read(path)
        return cls(**cls.checked(file.values, file.where))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The options that a file sets, as plain values. ConfigError (file:line) where it cannot be read."""
    return settings_file.read(path).values
