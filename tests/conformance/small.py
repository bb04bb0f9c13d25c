"""A layer and its loss, as a module of Lightning's or ours, with hooks that a test gives it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def module(side: Any, **hooks: Any) -> Any:
    """The module, by ``side``'s classes."""

    class Module(side.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).square().mean()

        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("loss", self.layer(batch).square().mean(), batch_size=len(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for name, hook in hooks.items():
        setattr(Module, name, hook)
    return Module()
