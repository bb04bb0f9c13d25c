"""Options that have no effect beside others: each that was typed is named in a warning, so that nobody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from training.bar import is_first
from training.commands.help import is_typed
from training.commands.start import RunFlags
from training.commands.terminal import warn
from training.config import TrainConfig

ConfigT = TypeVar("ConfigT", bound=TrainConfig)


@dataclass(frozen=True)
class Needs(Generic[ConfigT]):
    """Settings that do something only where others are as they must be."""

    fields: str
    """Their names, with spaces between."""
    there: Callable[[ConfigT], bool]
    """Whether what they need is there."""
    said: str
    """What is the case where it is not there, such as ``--lm`` is not given."""


_LIMITED = (
    "limit_train_batches limit_val_batches limit_test_batches max_epochs max_steps val_check_interval "
    "check_val_every_n_epoch num_sanity_val_steps"
)
"""What --fast-dev-run decides by itself."""
ALL: tuple[Needs[TrainConfig], ...] = (
    Needs("max_restarts", lambda config: config.devices > 1, "--devices is 1"),
    Needs("keep_checkpoints", lambda config: config.checkpoint_every != "never", "--checkpoint-every is never"),
    Needs("gradient_clip_algorithm", lambda config: config.gradient_clip_val > 0, "--gradient-clip-val is 0"),
    Needs("limit_train_batches limit_val_batches", lambda config: not config.overfit_batches, "--overfit-batches is given"),
    Needs(_LIMITED, lambda config: not config.fast_dev_run, "--fast-dev-run is given"),
)
"""Of all commands that train."""


def warn_of_none(config: ConfigT, needs: Iterable[Needs[ConfigT]], flags: RunFlags) -> None:
    """A warning for each option that was typed and has no effect with this config, where this process ``is_to_warn``."""
    if not is_to_warn(config, flags):
        return
    every: list[Needs[Any]] = [*ALL, *needs]
    for each in every:
        if not each.there(config):
            warn_of_typed(each.fields.split(), each.said)
    if flags.allow_changes:
        warn("warning: --allow-changes has no effect, because no run is resumed")


def is_to_warn(config: TrainConfig, flags: RunFlags) -> bool:
    """Whether a command that trains warns in this process: once, and not with --quiet or --resume.

    A process that will start others, or itself anew for ``--portable``, leaves it to them, and of several the first does it.
    """
    from training.determinism import portable
    from training.parallel.launch import is_started

    starts = (config.devices > 1 and not is_started()) or (config.portable and not portable.is_set())
    return not (flags.voice == "quiet" or flags.resume or starts) and is_first()


def warn_of_typed(names: Iterable[str], said: str) -> None:
    """A warning for each of these parameters that was typed as an option: it has no effect, because of what is ``said``."""
    context = click.get_current_context()
    options = {param.name: max(param.opts, key=len) for param in context.command.params}
    for name in names:
        if is_typed(context, name):
            warn(f"warning: {options[name]} has no effect, because {said}")
