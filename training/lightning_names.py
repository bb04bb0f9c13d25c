"""Lightning's names for what is here, so that a program written for Lightning runs with other imports.

    import training.lightning_names as pl
    from training.lightning_names import LightningDataModule, LightningModule, Trainer, seed_everything

``pl.callbacks``, ``pl.loggers`` and ``pl.utilities`` are there, too. docs/lightning.md says what behaves otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import training
from training.data.data_module import DataModule as LightningDataModule
from training.determinism.flags import seed_everything
from training.loop.callback import Callback
from training.loop.task import Task as LightningModule
from training.loop.trainer import Trainer

__all__ = [
    "Callback", "LightningDataModule", "LightningModule", "Trainer", "callbacks", "loggers", "seed_everything", "utilities",
]  # fmt: skip


NOT_OFFERED = {
    "BatchSizeFinder": "give the DataLoader its batch_size",
    "CometLogger": "write a class with log_metrics(metrics, step) around its client",
    "DeviceStatsMonitor": "ask torch.cuda.memory_stats in a Callback",
    "LearningRateFinder": "give the optimizer its learning rate",
    "LitLogger": "write a class with log_metrics(metrics, step) around its client",
    "MLFlowLogger": "write a class with log_metrics(metrics, step) around its client",
    "ModelPruning": "call torch.nn.utils.prune in a hook",
    "NeptuneLogger": "write a class with log_metrics(metrics, step) around its client",
    "RichModelSummary": "use ModelSummary",
    "RichProgressBar": "use ProgressBar",
    "SpikeDetection": "leave it out: a loss that is not finite stops the fit",
    "StochasticWeightAveraging": "use WeightAveraging: without avg_fn all updates weigh the same",
    "ThroughputMonitor": "read a run's timings.jsonl",
    "WandbLogger": "write a class with log_metrics(metrics, step) around its client",
    "XLAStatsMonitor": "leave it out: a Trainer runs on a CPU or a GPU",
}
"""Names of Lightning that are not here, and what to do in their place."""


OF_CALLBACKS, OF_LOGGERS = (
    {name: home for name, home in training._HOMES.items() if home.startswith(f"training.{room}.")}
    for room in ("callbacks", "loggers")
)
OF_UTILITIES = {
    "AttributeDict": "training.hyperparameters",
    "CombinedLoader": "training.data.combined",
    "MisconfigurationException": "training.errors:ConfigError",
    "ModelSummary": "training.loop.model_summary",
    "grad_norm": "training.loop.gradients",
    "move_data_to_device": "training.data.tensors:move",
    "rank_zero_info": "training.loop.ranks",
    "rank_zero_only": "training.loop.ranks",
    "rank_zero_warn": "training.loop.ranks",
    "summarize": "training.loop.model_summary",
}
"""Where the names are from; after a colon, what they are called there."""


class Names:
    """Names of a room of Lightning's, as attributes.

    Example:
        >>> import training.lightning_names as pl
        >>> from training import EarlyStopping
        >>> pl.callbacks.EarlyStopping is EarlyStopping
        True
    """

    def __init__(self, room: str, homes: Mapping[str, str]) -> None:
        self._room, self._homes = room, homes

    def __dir__(self) -> list[str]:
        return sorted(self._homes)

    def __getattr__(self, name: str) -> Any:
        if name in NOT_OFFERED:
            raise AttributeError(f"{self._room}: {name} is not offered: {NOT_OFFERED[name]}")
        if name not in self._homes:
            raise AttributeError(f"{self._room} has no {name!r}; it has {', '.join(dir(self))}")
        home, _, own = self._homes[name].partition(":")
        return getattr(importlib.import_module(home), own or name)


callbacks = Names(
    "training.callbacks", {**OF_CALLBACKS, **dict.fromkeys(("Callback", "Checkpoint"), "training.loop.callback")}
)
loggers = Names("training.loggers", OF_LOGGERS)
utilities = Names("utilities", OF_UTILITIES)
