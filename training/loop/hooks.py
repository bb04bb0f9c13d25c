"""The hooks of a Task, in the order in which they run. Lightning 2.6's names, arguments and places.

All of them do nothing here, and the loop skips those that are not overridden. A callback's hook of the same name runs
just before the task's, and gets the trainer and the task before these arguments (see training/loop/callback.py).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from training.data.hooks import DataHooks
from training.errors import ConfigError


def overridden(instance: object, name: str, base: type) -> bool:
    """Whether ``instance`` has a ``name`` that is not ``base``'s, by its class or set on itself. None is none."""
    own = getattr(instance, name, None)
    return own is not None and original(own) is not getattr(base, name, None)


def original(function: Any) -> Any:
    """The function behind bound methods, decorators that use functools.wraps, and functools.partial."""
    while True:
        inner = function.func if isinstance(function, functools.partial) else getattr(function, "__func__", None)
        inner = inner or getattr(function, "__wrapped__", None)
        if inner is None:
            return function
        function = inner


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether ``function`` can be called with ``count`` positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def takes_index(step: Callable[..., Any]) -> bool:
    """Whether a step has a place for ``batch_idx`` beside ``batch``, whatever it is called there."""
    try:
        kinds = [parameter.kind for parameter in inspect.signature(step).parameters.values()]
    except ValueError:
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in positional for kind in kinds) >= 2


OF_LIGHTNING_1 = {"fit": ("training", "validation"), "validate": ("validation",), "test": ("test",)}


def refuse_old_hooks(task: object, stage: str) -> None:
    """ConfigError for a hook of Lightning 1, which would never be called: Lightning 2 refuses it, too."""
    for split in OF_LIGHTNING_1.get(stage, ()):
        if callable(getattr(task, f"{split}_epoch_end", None)):
            hook = f"on_{'train' if split == 'training' else split}_epoch_end"
            raise ConfigError(
                f"{type(task).__name__}.{split}_epoch_end is a hook of Lightning 1: expected {hook}(), which gets no "
                "outputs; keep what it needs in an attribute"
            )


def refuse_iterators(task: object) -> None:
    """ConfigError for a step that reads its batches itself: which it takes would hang on more than the plan."""
    for step in ("training_step", "validation_step", "test_step", "predict_step"):
        code = getattr(original(getattr(task, step, None)), "__code__", None)
        if code is not None and "dataloader_iter" in code.co_varnames[: code.co_argcount]:
            raise ConfigError(
                f"{type(task).__name__}.{step}: expected (batch, batch_idx), got dataloader_iter, which is not offered"
            )


class Hooks(DataHooks):
    """What a Task can override beside its steps."""

    # -- the whole run ------------------------------------------------------------------------------------------------

    def configure_callbacks(self) -> Any:
        """Callbacks of the task's own, one or several; they take the place of the Trainer's of the same class.

        Called before everything else, ``setup`` too, in each call of fit, validate, test and predict.
        """
        return []

    def configure_model(self) -> None:
        """After setup: make layers that need the data's sizes."""

    def on_fit_start(self) -> None:
        """Optimizers exist, nothing has run."""

    def on_fit_end(self) -> None:
        """After training, before teardown."""

    # -- training -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """After the sanity check, before the first epoch."""

    def on_train_end(self) -> None:
        """After the last epoch."""

    def on_train_epoch_start(self) -> None:
        """Before an epoch's first batch."""

    def on_train_epoch_end(self) -> None:
        """After the epoch's last batch and validation; what is logged here can still be monitored."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Before a batch; returning -1 skips it and the rest of the epoch."""

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """After the forward pass, before gradients are cleared."""

    def on_before_backward(self, loss: Tensor) -> None:
        """Before backward; ``loss`` is divided by accumulate_grad_batches."""

    def on_after_backward(self) -> None:
        """Gradients are there."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Gradients are complete, not yet clipped."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After the optimizer's step and step-wise schedulers, before a validation that is due."""

    # -- validation ---------------------------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Before a validation, in eval mode."""

    def on_validation_epoch_start(self) -> None:
        """Right after on_validation_start."""

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a validation batch; ``dataloader_idx`` is given where there is more than one source."""

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a validation batch; ``outputs`` is what validation_step returned."""

    def on_validation_epoch_end(self) -> None:
        """After the last validation batch: log what all of them together give."""

    def on_validation_end(self) -> None:
        """Metrics are final: early stopping and checkpoints have just looked at them."""

    # -- test ---------------------------------------------------------------------------------------------------------

    def on_test_start(self) -> None:
        """Before a test, in eval mode."""

    def on_test_epoch_start(self) -> None:
        """Right after on_test_start."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a test batch."""

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a test batch."""

    def on_test_epoch_end(self) -> None:
        """After the last test batch."""

    def on_test_end(self) -> None:
        """Metrics are final."""

    # -- prediction ---------------------------------------------------------------------------------------------------

    def on_predict_start(self) -> None:
        """Before prediction, in eval mode."""

    def on_predict_epoch_start(self) -> None:
        """Right after on_predict_start."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a batch to predict."""

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a batch was predicted."""

    def on_predict_epoch_end(self) -> None:
        """After the last batch to predict."""

    def on_predict_end(self) -> None:
        """After prediction."""

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resume needs beside weights and optimizers: tensors and plain Python values only."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
