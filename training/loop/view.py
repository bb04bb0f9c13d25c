"""What callbacks and tasks see of the Trainer that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from training.config import TrainConfig
from training.loop.states import TrainerState

V = TypeVar("V")


class TrainerView(Protocol):
    """The part of a Trainer that callbacks and tasks may use, under Lightning's names.

    What they get is the Trainer itself. Counters and ``stage`` are those of training/loop/progress.py.

    Example:
        >>> from training import Callback, Task, TrainerView
        >>> class Says(Callback):
        ...     def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        ...         print(trainer.current_epoch, trainer.global_step, trainer.metrics)
    """

    # -- what a callback may set ---------------------------------------------------------------------------------------

    should_stop: bool
    """Set to True it ends the fit after the current batch, once min_epochs and min_steps are reached."""

    accumulate_grad_batches: int
    """How many batches' gradients make one optimizer step; to be set between epochs only."""

    # -- counters ------------------------------------------------------------------------------------------------------

    @property
    def current_epoch(self) -> int:
        """Epochs completed."""

    @property
    def epochs_processed(self) -> int:
        """Epochs whose batches are all run."""

    @property
    def global_step(self) -> int:
        """Optimizer steps taken."""

    @property
    def batch_idx(self) -> int:
        """The batch of the epoch that is being run, or comes next."""

    @property
    def shard(self) -> int | None:
        """The part of the training batch that is being run; None where it has one part."""

    @property
    def global_rank(self) -> int:
        """The number of this process among those that share the work."""

    @property
    def local_rank(self) -> int:
        """Its number on its machine."""

    def first(self, function: Callable[[], V]) -> V:
        """What ``function`` gives in process 0, which alone runs it: told to all, which must come here together."""

    @property
    def turn(self) -> Any:
        """What a part of a batch waits by for the others, with manual optimization; None outside of one."""

    @property
    def total_batches(self) -> int:
        """Training batches run, over all epochs."""

    @property
    def batches_that_stepped(self) -> int:
        """Training batches after which the optimizer stepped: the step at which metrics are logged."""

    @property
    def stage(self) -> str:
        """Where in an epoch the fit is."""

    def where(self) -> str:
        """The place in the run, for messages."""

    # -- what is going on ----------------------------------------------------------------------------------------------

    @property
    def fitting(self) -> bool:
        """Whether this is a fit: a validation inside of one, too."""

    @property
    def sanity_checking(self) -> bool:
        """Whether these are the few validation batches before training."""

    @property
    def accumulating(self) -> bool:
        """Whether the current batch only adds to the gradients, without an optimizer step."""

    @property
    def validated(self) -> bool:
        """Whether a validation batch was ever run, after the sanity check."""

    @property
    def validates_this_epoch(self) -> bool:
        """Whether there is a validation to run in the current epoch."""

    @property
    def validates_once_an_epoch(self) -> bool:
        """Whether validation runs just at each epoch's end, by default settings."""

    @property
    def num_training_batches(self) -> int | float:
        """Training batches an epoch; infinite where it is only known once they are read."""

    @property
    def is_last_batch(self) -> bool:
        """Whether the current training batch is the epoch's last."""

    @property
    def batch_indices(self) -> list[Any] | None:
        """Of the batch that is run: which items of a DataLoader's data set are in it, as far as that is known."""

    @property
    def num_val_batches(self) -> Sequence[int | float]:
        """Batches of a validation, of each source; infinite where it is only known once they are read."""

    @property
    def resumed_from(self) -> Path | None:
        """The file whose state the fit goes on with, if it is one that somebody keeps."""

    # -- what it works with --------------------------------------------------------------------------------------------

    @property
    def config(self) -> TrainConfig:
        """The settings."""

    @property
    def fast_dev_run(self) -> int:
        """As in the settings: how many batches of each kind to run, for a try; 0 for a real run."""

    @property
    def check_val_every_n_epoch(self) -> int | None:
        """As in the settings, but 1 with fast_dev_run."""

    @property
    def task(self) -> Any:
        """The Task that is being run."""

    @property
    def callbacks(self) -> Sequence[Any]:
        """The callbacks, in the order in which they run."""

    @property
    def device(self) -> torch.device:
        """Where the task is."""

    @property
    def optimizers(self) -> Sequence[Any]:
        """The optimizers as ``Task.optimizers`` hands them out."""

    @property
    def schedulers(self) -> Sequence[Any]:
        """The learning-rate schedulers, each with when it steps."""

    @property
    def gradient_norm(self) -> float:
        """The Euclidean norm of the last step's gradients, before they were clipped."""

    @property
    def default_root_dir(self) -> str:
        """Where runs are kept, and checkpoints where there is no other place."""

    @property
    def checkpoint_dir(self) -> str | Path | None:
        """Where a ModelCheckpoint without a folder of its own writes."""

    @property
    def keep_going(self) -> Callable[..., None] | None:
        """What is called at every batch boundary of a fit."""

    # -- metrics -------------------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, float]:
        """The newest value of every logged name, as plain numbers."""

    @property
    def callback_metrics(self) -> dict[str, torch.Tensor]:
        """``metrics`` as tensors."""

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The newest value of what was logged with prog_bar=True."""

    @property
    def progress_bar_fields(self) -> dict[str, float | int | str]:
        """What a progress bar shows: ``v_num``, a logger's version, then progress_bar_metrics."""

    @property
    def logged_metrics(self) -> dict[str, torch.Tensor]:
        """The newest value of what was logged with logger=True, as tensors."""

    @property
    def has_loggers(self) -> bool:
        """Whether the Trainer was given loggers."""

    @property
    def loggers(self) -> Sequence[Any]:
        """The loggers that are written to: none in a try (fast_dev_run)."""

    @property
    def should_log(self) -> bool:
        """Whether this step's metrics are written."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write scalars to the loggers."""

    def log_value(self, name: str, value: Any, batch_size: int | None, arguments: Any) -> None:
        """``Task.log``, as called from the hook that is being run."""

    def learning_rates(
        self, interval: str = "any", *, momentum: bool = False, weight_decay: bool = False
    ) -> dict[str, float]:
        """The learning rates by name."""

    # -- what they may do ----------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor, *arguments: Any, **named: Any) -> None:
        """Backward with its hooks."""

    def note_norm(self, norm: float) -> None:
        """The gradients' norm, found by clipping them."""

    @property
    def state(self) -> TrainerState:
        """What is being done; called, as ``state()``, all that is needed to go on from here."""

    def save_checkpoint(self, filepath: str | Path, weights_only: bool | None = None) -> None:
        """Write the state, or with ``weights_only`` the weights and counters alone."""

    def check_weights(self) -> None:
        """NonFiniteError where the weights are not finite."""
