"""Counters and stage: what stands in a checkpoint, and what is refused there."""

from __future__ import annotations

from typing import Any

import pytest

from training.errors import CheckpointError
from training.loop.progress import STAGES, FitProgress

NAMES = (
    "current_epoch epochs_processed global_step batches_that_stepped total_batches batch_idx stage should_stop "
    "gradient_norm validated"
).split()


def test_a_state_holds_every_counter_under_its_name() -> None:
    progress = FitProgress(3, 4, 50, 60, 70, 8, "validate", True, 0.5, True)
    assert list(progress.state_dict()) == NAMES
    again = FitProgress()
    again.load_state_dict(progress.state_dict())
    assert again == progress
    assert progress.where() == "epoch 3, batch 8, step 50"


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_another_kind_is_refused(name: str) -> None:
    for odd in (None, "odd", 1.0 if name != "gradient_norm" else 1, [1]):
        state: dict[str, Any] = {**FitProgress().state_dict(), name: odd}
        with pytest.raises(CheckpointError, match=f"the checkpoint's {name}: expected"):
            FitProgress().load_state_dict(state)
    state = FitProgress().state_dict()
    del state[name]
    with pytest.raises(KeyError):
        FitProgress().load_state_dict(state)


def test_each_stage_can_be_taken_up() -> None:
    for stage in STAGES:
        progress = FitProgress()
        progress.load_state_dict({**progress.state_dict(), "stage": stage})
        assert progress.stage == stage
