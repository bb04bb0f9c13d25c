"""Callbacks: what happens beside training. Names, defaults and conditions are Lightning 2.6's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from training.errors import ConfigError
from training.loop.hooks import overridden
from training.loop.task import Task
from training.loop.view import TrainerView


class Callback:
    """Base class; override the hooks you need. Each gets the trainer and the task, then the hook's own arguments.

    A hook runs just before the task's hook of the same name (see Task for when), except on_train_epoch_end, where
    callbacks that monitor run after it. Arguments: (batch, batch_idx) at on_train_batch_start, (outputs, batch,
    batch_idx) at on_train_batch_end; the same with dataloader_idx for validation, test and predict.

    Example:
        >>> from training import Callback
        >>> class StopAfter(Callback):
        ...     def __init__(self, steps):
        ...         self.steps = steps
        ...     def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        ...         trainer.should_stop = trainer.global_step >= self.steps

    Source: Lightning 2.6's ``Callback``; where this one differs, docs/lightning.md says so.
    """

    monitors = False
    """Whether the callback reads logged metrics: then it comes after the task at on_train_epoch_end."""

    last = False
    """Whether the callback runs after all others (checkpoints do, so that they hold the others' state)."""

    log: Callable[..., None]
    """``Task.log`` of the task that is being run; it can be used in the same hooks as there."""

    log_dict: Callable[..., None]
    """``Task.log_dict`` of it."""

    @property
    def state_key(self) -> str:
        """Under which name its state stands in a checkpoint; a subclass may have a method in its place."""
        return type(self).__qualname__

    def _generate_state_key(self, **arguments: Any) -> str:
        """A ``state_key`` for each choice of ``arguments``, so that several of the class can keep their states."""
        return f"{type(self).__qualname__}{arguments!r}"

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back from a checkpoint."""

    def weights_to_check(self) -> Mapping[str, Tensor]:
        """Weights of its own, by what they are: like the task's they must be finite wherever they are kept."""
        return {}

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None: ...
    def teardown(self, trainer: TrainerView, task: Task, stage: str) -> None: ...
    def on_fit_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_fit_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_sanity_check_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_sanity_check_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_train_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_train_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None: ...
    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None: ...
    def on_before_backward(self, trainer: TrainerView, task: Task, loss: Any) -> None: ...
    def on_after_backward(self, trainer: TrainerView, task: Task) -> None: ...
    def on_before_optimizer_step(self, trainer: TrainerView, task: Task, optimizer: Any) -> None: ...
    def on_before_zero_grad(self, trainer: TrainerView, task: Task, optimizer: Any) -> None: ...
    def on_validation_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_validation_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_validation_epoch_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_validation_epoch_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_validation_batch_start(
        self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_validation_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_test_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_test_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_test_epoch_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_test_epoch_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_test_batch_start(
        self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_test_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_predict_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_predict_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_predict_epoch_start(self, trainer: TrainerView, task: Task) -> None: ...
    def on_predict_epoch_end(self, trainer: TrainerView, task: Task) -> None: ...
    def on_predict_batch_start(
        self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_predict_batch_end(
        self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None: ...
    def on_save_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None: ...
    def on_load_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None: ...
    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None: ...


class Checkpoint(Callback):
    """What writes checkpoints: it comes after all others, so that their state is in them."""

    monitors = last = True


def key_of(callback: Callback) -> str:
    """Its ``state_key``, which may be a method."""
    key: Any = callback.state_key
    return str(key() if callable(key) else key)


def with_own(callbacks: Sequence[Callback], own: Any) -> list[Callback]:
    """The Trainer's callbacks with those of ``configure_callbacks``, which take the place of others of their classes."""
    added = list(own) if isinstance(own, list | tuple) else [own] if own else []
    odd = [type(each).__name__ for each in added if not isinstance(each, Callback)]
    if odd:
        raise ConfigError(f"configure_callbacks: expected one callback, or a list of them, got {', '.join(odd)}")
    kept = [each for each in callbacks if type(each) is Callback or not any(isinstance(new, type(each)) for new in added)]
    joined = sorted([*kept, *added], key=lambda callback: callback.last)
    check_keys(joined)
    return joined


def check_keys(callbacks: Sequence[Callback]) -> None:
    """ConfigError where two callbacks would keep their state under one key."""
    keys = [key_of(c) for c in callbacks if overridden(c, "state_dict", Callback)]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"callbacks: two have the same state_key ({', '.join(twice)}), so that one's state would be lost")
