"""The hooks that Task and DataModule share: where data comes from, and what happens to a batch on its way to the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from training.data.tensors import move
from training.errors import ConfigError

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
"""The hooks around a batch's way to the device, in their order."""


class DataHooks:
    """Lightning 2.6's names and arguments. What a task and its data module both have is the data module's."""

    prepare_data_per_node = True
    """As in Lightning; there is one process, which prepares the data."""
    allow_zero_length_dataloader_with_multiple_devices = False
    """As in Lightning; there is one device."""

    def prepare_data(self) -> None:
        """Before ``setup``: download, unpack. Nothing that is assigned here is needed later, so that it can be left out."""

    def setup(self, stage: str) -> None:
        """First of all; ``stage`` is "fit", "validate", "test" or "predict"."""

    def teardown(self, stage: str) -> None:
        """Last of all; not after an exception."""

    def train_dataloader(self) -> Any:
        """What to train on: a DataLoader, or anything else that ``fit`` takes."""
        raise _missing(self, "train_dataloader")

    def val_dataloader(self) -> Any:
        """What to validate on, one or several."""
        raise _missing(self, "val_dataloader")

    def test_dataloader(self) -> Any:
        """What to test on, one or several."""
        raise _missing(self, "test_dataloader")

    def predict_dataloader(self) -> Any:
        """What to predict for, one or several."""
        raise _missing(self, "predict_dataloader")

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The batch, changed as it should be before it is moved to the device."""
        return batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch on ``device``: its tensors, and whatever else in it has a ``to``."""
        return move(batch, device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The batch, changed as it should be on the device: augmented, for instance."""
        return batch


def transfer_hooks(task: DataHooks, datamodule: DataHooks | None) -> dict[str, Callable[..., Any]]:
    """Those of TRANSFERS that are overridden, by name: the data module's before the task's, of which a warning tells."""
    found: dict[str, Callable[..., Any]] = {}
    for name in TRANSFERS:
        owners = [owner for owner in (datamodule, task) if owner is not None and _overridden(owner, name)]
        if owners:
            found[name] = getattr(owners[0], name)
        if len(owners) == 2:
            warnings.warn(f"{name}: the task and the data module have one; the data module's is called", stacklevel=3)
    return found


def _overridden(owner: DataHooks, name: str) -> bool:
    own = getattr(owner, name)
    return own is not None and getattr(own, "__func__", own) is not getattr(DataHooks, name)


def _missing(owner: object, name: str) -> ConfigError:
    return ConfigError(f"expected {type(owner).__name__} to have a {name}, got none")
