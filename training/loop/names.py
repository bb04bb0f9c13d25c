"""What a Trainer is asked for under Lightning's names, beside what the loop itself needs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.progress_bar import ProgressBar
from training.errors import ConfigError
from training.loop.session import MetricsLogger, Session
from training.loop.task import Task

if TYPE_CHECKING:
    from training.data.data_module import DataModule


class Names:
    """Attributes of Lightning's Trainer, read off the session. One process: rank 0 of 1."""

    session: Session

    world_size = num_nodes = num_devices = 1
    global_rank = local_rank = node_rank = 0
    is_global_zero = True

    # -- who takes part -------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Task:
        """The task."""
        return self.session.task

    lightning_module = model

    @property
    def datamodule(self) -> DataModule | None:
        """The data module of the last call, if it had one."""
        return self.session.datamodule

    @property
    def logger(self) -> MetricsLogger | None:
        """The first logger; None where there is none."""
        return next(iter(self.session.loggers), None)

    @property
    def checkpoint_callbacks(self) -> list[ModelCheckpoint]:
        """The callbacks that keep checkpoints."""
        return [each for each in self.session.callbacks if isinstance(each, ModelCheckpoint)]

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        """The first of them; None where there is none."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[EarlyStopping]:
        """The callbacks that end a fit early."""
        return [each for each in self.session.callbacks if isinstance(each, EarlyStopping)]

    @property
    def early_stopping_callback(self) -> EarlyStopping | None:
        """The first of them; None where there is none."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def progress_bar_callback(self) -> ProgressBar | None:
        """What shows progress; None where nothing does."""
        return next((each for each in self.session.callbacks if isinstance(each, ProgressBar)), None)

    @property
    def log_dir(self) -> str | None:
        """Where the first logger writes: a run's folder; None where there is no such place."""
        for each in (self.logger, *self.session.loggers):
            for name in ("log_dir", "path", "save_dir"):
                if (found := getattr(each, name, None)) is not None:
                    return str(found)
        folder = self.session.checkpoint_dir
        return None if folder is None else str(Path(folder).parent)

    # -- how far, how much ----------------------------------------------------------------------------------------------

    @property
    def is_last_batch(self) -> bool:
        """Whether the current training batch is the epoch's last."""
        return self.session.is_last_batch

    @property
    def min_epochs(self) -> int:
        """As in the settings."""
        return self.session.config.min_epochs

    @property
    def min_steps(self) -> int | None:
        """As in the settings; None for 0."""
        return self.session.config.min_steps or None

    @property
    def precision(self) -> str:
        """As in the settings."""
        return self.session.config.precision

    @property
    def log_every_n_steps(self) -> int:
        """As in the settings."""
        return self.session.config.log_every_n_steps

    @property
    def estimated_stepping_batches(self) -> int | float:
        """How many optimizer steps the fit takes, by max_epochs and max_steps; for a scheduler over the whole fit.

        Infinite where neither ends it. ConfigError where the number of batches is not known before they are read.
        """
        session = self.session
        if session.max_epochs == -1:
            return float("inf") if session.max_steps == -1 else session.max_steps
        batches = session.num_training_batches
        if math.isinf(batches):
            if session.max_steps == -1:
                raise ConfigError("estimated_stepping_batches: expected max_steps, as the loader has no length")
            return session.max_steps
        steps = math.ceil(batches / session.accumulate_grad_batches) * max(session.max_epochs, 1)
        return steps if session.max_steps == -1 else min(session.max_steps, steps)

    @property
    def training(self) -> bool:
        """Whether training batches are run."""
        return self.session.fitting and not self.session.evaluating

    @property
    def validating(self) -> bool:
        """Whether this is validate(), or a validation inside a fit."""
        return self.session.evaluating == "validation" and not self.session.sanity_checking

    @property
    def testing(self) -> bool:
        """Whether this is test()."""
        return self.session.evaluating == "test"

    @property
    def predicting(self) -> bool:
        """Whether this is predict()."""
        return self.session.evaluating == "predict"

    @property
    def enable_validation(self) -> bool:
        """Whether a fit validates."""
        return self.session.validates

    # -- what it may do -------------------------------------------------------------------------------------------------

    def print(self, *words: Any, **named: Any) -> None:
        """Print, as the one process there is."""
        print(*words, **named)
