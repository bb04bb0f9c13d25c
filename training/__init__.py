"""The training loop and its promises. Knows no words, tags or vectors.

What most users need can be imported from here; it is looked up when it is used, so that importing this costs nothing.
"""

from typing import TYPE_CHECKING

from training import openmp
from training.lazy import lazily

if TYPE_CHECKING:
    from training.callbacks.early_stopping import EarlyStopping
    from training.callbacks.finetuning import BackboneFinetuning, BaseFinetuning
    from training.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
    from training.callbacks.lambda_callback import LambdaCallback
    from training.callbacks.learning_rate_monitor import LearningRateMonitor
    from training.callbacks.model_checkpoint import ModelCheckpoint
    from training.callbacks.model_summary import ModelSummary
    from training.callbacks.on_exception_checkpoint import OnExceptionCheckpoint
    from training.callbacks.polyak_averaging import PolyakAveraging
    from training.callbacks.prediction_writer import BasePredictionWriter
    from training.callbacks.progress_bar import ProgressBar, TQDMProgressBar
    from training.callbacks.timer import Timer
    from training.callbacks.watch import Watch
    from training.callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging
    from training.config import TrainConfig
    from training.data.batches import Batches, FixedBatches
    from training.data.combined import CombinedLoader
    from training.data.data_module import DataModule
    from training.determinism.flags import seed_everything
    from training.loggers.csv_logger import CSVLogger
    from training.loggers.logger import Logger
    from training.loggers.tensorboard_logger import TensorBoardLogger
    from training.loop.callback import Callback
    from training.loop.task import Task
    from training.loop.trainer import Trainer
    from training.loop.view import TrainerView
    from training.run.own import experiment

openmp.prepare()  # here, since it must come before torch, and all of this package comes after it

__all__ = [
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "Batches",
    "CSVLogger",
    "Callback",
    "CombinedLoader",
    "DataModule",
    "EMAWeightAveraging",
    "EarlyStopping",
    "FixedBatches",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateMonitor",
    "Logger",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "PolyakAveraging",
    "ProgressBar",
    "TQDMProgressBar",
    "Task",
    "TensorBoardLogger",
    "Timer",
    "TrainConfig",
    "Trainer",
    "TrainerView",
    "Watch",
    "WeightAveraging",
    "experiment",
    "seed_everything",
]

_HOMES = {
    "BackboneFinetuning": "training.callbacks.finetuning",
    "BaseFinetuning": "training.callbacks.finetuning",
    "BasePredictionWriter": "training.callbacks.prediction_writer",
    "Batches": "training.data.batches",
    "CSVLogger": "training.loggers.csv_logger",
    "Callback": "training.loop.callback",
    "CombinedLoader": "training.data.combined",
    "DataModule": "training.data.data_module",
    "EMAWeightAveraging": "training.callbacks.weight_averaging",
    "EarlyStopping": "training.callbacks.early_stopping",
    "FixedBatches": "training.data.batches",
    "GradientAccumulationScheduler": "training.callbacks.gradient_accumulation_scheduler",
    "LambdaCallback": "training.callbacks.lambda_callback",
    "LearningRateMonitor": "training.callbacks.learning_rate_monitor",
    "Logger": "training.loggers.logger",
    "ModelCheckpoint": "training.callbacks.model_checkpoint",
    "ModelSummary": "training.callbacks.model_summary",
    "OnExceptionCheckpoint": "training.callbacks.on_exception_checkpoint",
    "ProgressBar": "training.callbacks.progress_bar",
    "TQDMProgressBar": "training.callbacks.progress_bar",
    "Task": "training.loop.task",
    "TensorBoardLogger": "training.loggers.tensorboard_logger",
    "Timer": "training.callbacks.timer",
    "TrainConfig": "training.config",
    "Trainer": "training.loop.trainer",
    "TrainerView": "training.loop.view",
    "PolyakAveraging": "training.callbacks.polyak_averaging",
    "Watch": "training.callbacks.watch",
    "WeightAveraging": "training.callbacks.weight_averaging",
    "experiment": "training.run.own",
    "seed_everything": "training.determinism.flags",
}

if not TYPE_CHECKING:  # else a name that is not there would be one of any type
    __getattr__, __dir__ = lazily(__name__, _HOMES)
