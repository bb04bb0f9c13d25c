"""The training loop and its promises. Knows no words, tags or vectors.

What most users need can be imported from here; it is looked up when it is used, so that importing this costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.callbacks.early_stopping import EarlyStopping
    from training.callbacks.learning_rate_monitor import LearningRateMonitor
    from training.callbacks.model_checkpoint import ModelCheckpoint
    from training.callbacks.weight_averaging import WeightAveraging
    from training.config import TrainConfig
    from training.data.batches import Batches, FixedBatches
    from training.data.combined import CombinedLoader
    from training.data.data_module import DataModule
    from training.determinism.flags import seed_everything
    from training.loop.callback import Callback
    from training.loop.task import Task
    from training.loop.trainer import Trainer
    from training.loop.view import TrainerView
    from training.run.own import experiment

__all__ = [
    "Batches",
    "Callback",
    "CombinedLoader",
    "DataModule",
    "EarlyStopping",
    "FixedBatches",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "Task",
    "TrainConfig",
    "Trainer",
    "TrainerView",
    "WeightAveraging",
    "experiment",
    "seed_everything",
]

_HOMES = {
    "Batches": "training.data.batches",
    "Callback": "training.loop.callback",
    "CombinedLoader": "training.data.combined",
    "DataModule": "training.data.data_module",
    "EarlyStopping": "training.callbacks.early_stopping",
    "FixedBatches": "training.data.batches",
    "LearningRateMonitor": "training.callbacks.learning_rate_monitor",
    "ModelCheckpoint": "training.callbacks.model_checkpoint",
    "Task": "training.loop.task",
    "TrainConfig": "training.config",
    "Trainer": "training.loop.trainer",
    "TrainerView": "training.loop.view",
    "WeightAveraging": "training.callbacks.weight_averaging",
    "experiment": "training.run.own",
    "seed_everything": "training.determinism.flags",
}

if not TYPE_CHECKING:  # else a name that is not there would be one of any type

    def __getattr__(name: str) -> Any:
        """A public name, from its home (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
