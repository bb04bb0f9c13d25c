"""LambdaCallback: a callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.errors import ConfigError
from training.loop.callback import Callback


class LambdaCallback(Callback):
    """A callback made of functions, each under the name of its hook.

    Args:
        hooks: the functions by the hooks' names; they get what the hooks get: the trainer, the task, and the hook's own
            arguments. None is no function.

    Raises:
        ConfigError: for a name that is no hook's.

    Example:
        >>> from training import LambdaCallback
        >>> callback = LambdaCallback(on_train_epoch_end=lambda trainer, task: print(trainer.metrics))

    Source: Lightning 2.6's ``LambdaCallback``, whose hooks can also be given by place.
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        for name, function in hooks.items():
            if not is_hook(name):
                raise ConfigError(f"LambdaCallback: expected the names of hooks (on_fit_start, …), got {name!r}")
            if function is not None:
                setattr(self, name, function)


def is_hook(name: str) -> bool:
    """Whether callbacks have a hook of this name."""
    return (name.startswith("on_") or name in ("setup", "teardown")) and hasattr(Callback, name)
