"""LambdaCallback: a callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.errors import ConfigError
from training.loop.callback import Callback

PLACES = (
    "setup", "teardown", "on_fit_start", "on_fit_end", "on_sanity_check_start", "on_sanity_check_end",
    "on_train_batch_start", "on_train_batch_end", "on_train_epoch_start", "on_train_epoch_end",
    "on_validation_epoch_start", "on_validation_epoch_end", "on_test_epoch_start", "on_test_epoch_end",
    "on_validation_batch_start", "on_validation_batch_end", "on_test_batch_start", "on_test_batch_end",
    "on_train_start", "on_train_end", "on_validation_start", "on_validation_end", "on_test_start",
    "on_test_end", "on_exception", "on_save_checkpoint", "on_load_checkpoint", "on_before_backward",
    "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad", "on_predict_start",
    "on_predict_end", "on_predict_batch_start", "on_predict_batch_end", "on_predict_epoch_start",
    "on_predict_epoch_end",
)  # fmt: skip
"""The hooks in Lightning's order."""


class LambdaCallback(Callback):
    """A callback made of functions, each under the name of its hook.

    Args:
        functions: functions by place, in Lightning's order of the hooks: setup, teardown, on_fit_start, …
        hooks: functions by the hooks' names; they get what the hooks get: the trainer, the task, and the hook's own
            arguments. None is no function.

    Raises:
        ConfigError: for a name that is not a hook's, and for two functions for one hook.

    Example:
        >>> from training import LambdaCallback
        >>> callback = LambdaCallback(on_train_epoch_end=lambda trainer, task: print(trainer.metrics))

    Source: Lightning 2.6's ``LambdaCallback``.
    """

    def __init__(self, *functions: Callable[..., Any] | None, **hooks: Callable[..., Any] | None) -> None:
        placed = dict(zip(PLACES, functions, strict=False))
        if len(functions) > len(PLACES) or (twice := sorted({*placed} & {*hooks})):
            said = f"{len(functions)} of them" if len(functions) > len(PLACES) else f"two of {', '.join(twice)}"
            raise ConfigError(f"LambdaCallback: expected one function a hook, got {said}")
        for name, function in {**placed, **hooks}.items():
            if not is_hook(name):
                raise ConfigError(f"LambdaCallback: expected the names of hooks (on_fit_start, …), got {name!r}")
            if function is not None:
                setattr(self, name, function)


def is_hook(name: str) -> bool:
    """Whether callbacks have a hook of this name."""
    return (name.startswith("on_") or name in ("setup", "teardown")) and hasattr(Callback, name)
