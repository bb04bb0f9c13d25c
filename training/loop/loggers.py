"""When loggers are called beside ``log_metrics``: as Lightning calls them. All of it is optional but ``log_metrics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.bar import say
from training.errors import Preempted


class Silent:
    """Whatever is called on it does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **named: Any) -> None:
        """Nothing."""


class DummyLogger:
    """In the place of a logger in a try (fast_dev_run): what a hook writes to it, or to its ``experiment``, goes nowhere."""

    name = version = ""
    save_dir = log_dir = root_dir = None

    def __init__(self) -> None:
        self.experiment = Silent()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Nothing."""

    def log_hyperparams(self, params: Any, *args: Any, **named: Any) -> None:
        """Nothing."""

    def save(self) -> None:
        """Nothing."""

    def finalize(self, status: str) -> None:
        """Nothing."""


NAMES = ("name", "version", "save_dir", "log_dir", "root_dir")


class Quiet:
    """A logger in a process that does not write: it tells where the first process's writes, and does nothing else."""

    def __init__(self, logger: Any) -> None:
        self._logger, self.experiment = logger, Silent()
        self.told: dict[str, Any] = {}
        """Its names and folders, as in the first process."""

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return type(self._logger)

    def __getattr__(self, name: str) -> Any:
        if name in ("_logger", "told"):  # not there yet, in a copy that is being made
            raise AttributeError(name)
        if name in self.told:
            return self.told[name]
        value = getattr(self._logger, name)
        return (lambda *arguments, **named: None) if callable(value) else value


def names_of(logger: Any) -> dict[str, Any]:
    """Where a logger writes, for the other processes to know."""
    found = {name: getattr(logger, name) for name in NAMES if hasattr(logger, name)}
    return {name: value if isinstance(value, int | None) else str(value) for name, value in found.items()}


def begin_loggers(loggers: Sequence[Any], task: Any, hyperparameters: Mapping[str, Any] | None = None) -> None:
    """Before a fit, a validation, a test or a prediction runs: hyperparameters, if there are any, and the model's graph."""
    for logger in loggers:
        if hyperparameters is not None:
            _call(logger, "log_hyperparams", dict(hyperparameters))
        _call(logger, "log_graph", task)
    save_loggers(loggers)


def save_loggers(loggers: Sequence[Any]) -> None:
    """What was logged is to be brought out."""
    for logger in loggers:
        _call(logger, "save")


def finish_loggers(loggers: Sequence[Any], error: BaseException | None = None) -> None:
    """After it: "success"; with an error "failed", with a stop that is resumed exactly "aborted"."""
    status = "success" if error is None else "aborted" if isinstance(error, Preempted) else "failed"
    for logger in loggers:
        try:
            _call(logger, "finalize", status)
        except Exception as failed:
            if error is None:
                raise
            say(f"{type(logger).__name__}.finalize: {failed}")  # in place of the error that ended it, it would hide that


def logger_states(loggers: Sequence[Any], next_step: int) -> list[dict[str, Any] | None]:
    """How far each has come, for a checkpoint; None for one that does not tell.

    ``next_step`` is the lowest step at which metrics are logged from now on.
    """
    states = [_call(logger, "state_dict") for logger in loggers]
    return [None if state is None else {**state, "next_step": next_step} for state in states]


def take_up_loggers(loggers: Sequence[Any], states: Sequence[Mapping[str, Any] | None]) -> None:
    """Back to where the checkpoint was taken; nothing where the loggers are others in number."""
    if len(states) != len(loggers):
        return
    for logger, state in zip(loggers, states, strict=True):
        if state is not None:
            _call(logger, "load_state_dict", dict(state))


def checkpoint_folder(loggers: Sequence[Any]) -> Path | None:
    """``save_dir/name/version_N/checkpoints`` of the first logger: beside what it writes; None where it writes no files."""
    first = loggers[0] if loggers else None
    save_dir = getattr(first, "save_dir", None)
    if save_dir is None:
        return None
    name, version = getattr(first, "name", None), getattr(first, "version", None)
    folder = version if isinstance(version, str) else f"version_{version}"
    return Path(save_dir) / str(name or "") / folder / "checkpoints"


def _call(logger: Any, method: str, *arguments: Any) -> Any:
    """Call what the logger has; None where it has none."""
    function = getattr(logger, method, None)
    return function(*arguments) if callable(function) else None
