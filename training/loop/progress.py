"""How far a fit is: its counters, and where in an epoch it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.errors import CheckpointError
from training.visible import shortened

STAGES = ("start", "batch", "stepped", "validate", "finish", "end", "log")
IN_BATCH = ("stepped", "validate", "finish")  # after a batch's step, before the next batch


@dataclass
class FitProgress:
    """The counters, which are Lightning's, and the stage. Its fields stand in checkpoints under their names."""

    current_epoch: int = 0
    """Epochs completed."""
    epochs_processed: int = 0
    """Epochs whose batches are all run: one more than ``current_epoch`` at an epoch's end."""
    global_step: int = 0
    """Optimizer steps taken."""
    batches_that_stepped: int = 0
    """Batches after which the optimizer stepped: the step at which metrics are logged."""
    total_batches: int = 0
    """Batches run, over all epochs."""
    batch_idx: int = 0
    """The batch of the epoch that is being run or comes next."""
    stage: str = "start"
    """Where in an epoch the fit is, so that it can be left and taken up there. Only training/loop/fit.py sets it:

    start      between epochs
    batch      batch ``batch_idx`` comes next
    stepped    its step was taken, and its on_train_batch_end hooks have run or are running
    validate   a validation comes next, if one is due
    finish     the validation is over, and its on_validation_end hooks have run or are running
    end        the epoch's batches are over
    log        its on_train_epoch_end hooks have run or are running
    """
    should_stop: bool = False
    """Whether somebody asked for the fit to end."""
    gradient_norm: float = 0.0
    """The norm of the last step's gradients, as far as it was asked for (see Session.gradient_norm)."""
    validated: bool = False
    """Whether a validation batch was ever run, after the sanity check."""

    def where(self) -> str:
        """The place in the run, for messages."""
        return f"epoch {self.current_epoch}, batch {self.batch_idx}, step {self.global_step}"

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back from a checkpoint. CheckpointError for a value of another kind, KeyError for one that is not there."""
        for name, before in vars(self).items():
            value = state[name]
            if type(value) is not type(before):
                raise CheckpointError(
                    shortened(f"the checkpoint's {name}: expected {type(before).__name__}, got {value!r}", 300)
                )
            if name == "stage" and value not in STAGES:
                raise CheckpointError(
                    shortened(f"the checkpoint's stage: expected one of {', '.join(STAGES)}, got {value!r}", 300)
                )
            setattr(self, name, value)
