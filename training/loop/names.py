"""What a Trainer is asked for under Lightning's names, beside what the loop itself needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from training.callbacks.early_stopping import EarlyStopping
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.callbacks.progress_bar import ProgressBar
from training.errors import ConfigError
from training.loop.device import made_in
from training.loop.loops import EvaluationLoop, FitLoop
from training.loop.optimizers import Scheduler
from training.loop.profiler import PassThroughProfiler
from training.loop.session import MetricsLogger, Session
from training.loop.snapshot import capture
from training.loop.states import RunningStage, TrainerFn, TrainerState, TrainerStatus
from training.loop.strategy import Accelerator, Strategy
from training.loop.task import Task

if TYPE_CHECKING:
    from training.data.data_module import DataModule
    from training.run.experiment import Experiment
    from training.run.own import Ahead


V = TypeVar("V")


class Of(Generic[V]):
    """An attribute that the Trainer shares with its session, the session's progress, or its settings."""

    def __init__(self, holder: str) -> None:
        self.holder = holder

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, trainer: None, owner: type) -> Of[V]: ...
    @overload
    def __get__(self, trainer: Names, owner: type) -> V: ...
    def __get__(self, trainer: Names | None, owner: type) -> Any:
        return self if trainer is None else getattr(getattr(trainer, self.holder), self.name)

    def __set__(self, trainer: Names, value: V) -> None:
        setattr(getattr(trainer, self.holder), self.name, value)


class OfGroup:
    """An attribute that the Trainer has of the processes that share its work."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Names, owner: type) -> Any:
        return self if trainer is None else getattr(trainer.session.group, self.name)


class Names:
    """Attributes of Lightning's Trainer, read off the session."""

    session: Session
    default_root_dir: str
    run: Experiment | None
    _keeps: bool
    _ahead: Ahead
    _own_loggers: list[MetricsLogger]
    _dummies: list[MetricsLogger]

    reload_dataloaders_every_n_epochs, barebones = 0, False
    scaler = distributed_sampler_kwargs = None

    # -- which process this is --------------------------------------------------------------------------------------------

    world_size, global_rank, is_global_zero = OfGroup("world"), OfGroup("rank"), OfGroup("writes")
    local_rank, node_rank = OfGroup("local_rank"), OfGroup("node_rank")
    num_devices, num_nodes = OfGroup("local_world"), OfGroup("nodes")

    def first(self, function: Callable[[], V]) -> V:
        """What ``function`` gives in process 0, which alone runs it: told to all, which must come here together."""
        found: V = self.session.group.first(function)
        return found

    # -- who takes part -------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Task | None:
        """The task; None before there is one."""
        return self.session.task if self.session.has_task else None

    lightning_module = model

    @property
    def datamodule(self) -> DataModule | None:
        """The data module of the last call, if it had one."""
        return self.session.datamodule

    @property
    def logger(self) -> MetricsLogger | None:
        """The first logger; None where there is none. Before a run's first fit it takes hyperparameters alone.

        In a try (fast_dev_run) it is one that writes nothing.
        """
        return next(iter(self.loggers), None)

    @logger.setter
    def logger(self, logger: MetricsLogger | Literal[False] | None) -> None:
        self.loggers = [logger] if logger else []

    @property
    def loggers(self) -> list[MetricsLogger]:
        """All of them. They may be set between two verbs, until a run has begun: then there is none, as with ``logger=``."""
        self.session.loggers_asked += 1
        if self._keeps and self.run is None:
            return [cast("MetricsLogger", self._ahead), *self.session.loggers]
        return self._dummies or self.session.loggers

    @loggers.setter
    def loggers(self, loggers: Iterable[MetricsLogger] | None) -> None:
        if self.run is not None:
            raise ConfigError(
                "loggers: expected them before the run began, because a run has its own; give logger=[…] to the Trainer"
            )
        if self._keeps and self.session.config.max_time:
            raise ConfigError("loggers: expected logger=[…] given to the Trainer, since max_time stops a run by its folder")
        self._keeps, self._dummies, session = False, [], self.session
        self._own_loggers = list(loggers or ())
        session.install(session.callbacks, self._own_loggers, session.keep_going, session.checkpoint_dir)

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
    def log_dir(self) -> str:
        """Where the first logger writes: a run's folder; ``default_root_dir`` where there is none."""
        for each in (self.logger, *self.session.loggers):
            for name in ("log_dir", "path", "save_dir"):
                if (found := getattr(each, name, None)) is not None:
                    return str(found)
        folder = self.session.checkpoint_dir
        return self.default_root_dir if folder is None else str(Path(folder).parent)

    # -- how far, how much ----------------------------------------------------------------------------------------------

    is_last_batch = Of[bool]("session")
    min_epochs, log_every_n_steps = Of[int]("config"), Of[int]("config")
    precision, overfit_batches = Of[str]("config"), Of["int | float"]("config")

    @property
    def min_steps(self) -> int | None:
        """As in the settings; None for 0."""
        return self.session.config.min_steps or None

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
    def state(self) -> TrainerState:
        """Which verb runs, and how the last one ended; ``state()`` is all that is needed to go on from here."""
        return replace(self.session.state, capture=partial(capture, self.session))

    @property
    def interrupted(self) -> bool:
        """Whether the last verb ended in an exception, that of a signal among them."""
        return self.state.status is TrainerStatus.INTERRUPTED

    @property
    def received_sigterm(self) -> bool:
        """Whether SIGTERM came, and the fit ends at the next batch."""
        return bool(getattr(self.session.keep_going, "received_sigterm", False))

    @property
    def training(self) -> bool:
        """Whether this is a fit, outside of its validations."""
        return self.state.stage is RunningStage.TRAINING

    @property
    def validating(self) -> bool:
        """Whether this is validate(), or a validation inside a fit."""
        return self.state.stage is RunningStage.VALIDATING

    @property
    def testing(self) -> bool:
        """Whether this is test()."""
        return self.state.stage is RunningStage.TESTING

    @property
    def predicting(self) -> bool:
        """Whether this is predict()."""
        return self.state.stage is RunningStage.PREDICTING

    @property
    def enable_validation(self) -> bool:
        """Whether a fit validates."""
        return self.session.validates

    @property
    def evaluating(self) -> bool:
        """Whether a validation, the sanity check's too, or a test is run."""
        return self.state.stage is not None and self.state.stage.evaluating

    @property
    def lr_scheduler_configs(self) -> list[Scheduler]:
        """The learning-rate schedulers, each with when it steps."""
        return self.session.schedulers

    @property
    def fit_loop(self) -> FitLoop:
        """Where a fit ends, and how far it is."""
        return FitLoop(self.session)

    @property
    def validate_loop(self) -> EvaluationLoop:
        """Of validate(): how much it runs. A fit's validation is ``fit_loop.epoch_loop.val_loop``."""
        return EvaluationLoop(self.session, TrainerFn.VALIDATING)

    @property
    def test_loop(self) -> EvaluationLoop:
        """Of test()."""
        return EvaluationLoop(self.session, TrainerFn.TESTING)

    @property
    def predict_loop(self) -> EvaluationLoop:
        """Of predict()."""
        return EvaluationLoop(self.session, TrainerFn.PREDICTING)

    num_sanity_val_batches = Of["list[int | float]"]("session")

    @property
    def num_test_batches(self) -> list[int | float]:
        """Batches of the last test(), of each source."""
        return self.test_loop.max_batches

    @property
    def num_predict_batches(self) -> list[int | float]:
        """Batches of the last predict(), of each source."""
        return self.predict_loop.max_batches

    # -- where it runs --------------------------------------------------------------------------------------------------

    @property
    def profiler(self) -> PassThroughProfiler:
        """Takes all calls, and measures nothing."""
        return PassThroughProfiler()

    @property
    def strategy(self) -> Strategy:
        """The one process that there is."""
        return Strategy(self.session)

    @property
    def accelerator(self) -> Accelerator:
        """The kind of device."""
        return self.strategy.accelerator

    @property
    def device_ids(self) -> list[int]:
        """The number of the device."""
        return [self.session.device.index or 0]

    @contextmanager
    def init_module(self, empty_init: bool | None = None) -> Iterator[None]:
        """Modules made inside are on the Trainer's device, in its number format. ``empty_init`` is taken, and ignored."""
        with self.session.device, made_in(self.session.config.precision):
            yield

    # -- what it was told -----------------------------------------------------------------------------------------------

    @property
    def train_dataloader(self) -> Any:
        """What the last fit read from, as it was given or as train_dataloader() made it; None before."""
        return self.session.loaders.get("train")

    @property
    def val_dataloaders(self) -> Any:
        """Likewise of the last fit or validate()."""
        return self.session.loaders.get("val")

    @property
    def test_dataloaders(self) -> Any:
        """Likewise of the last test()."""
        return self.session.loaders.get("test")

    @property
    def predict_dataloaders(self) -> Any:
        """Likewise of the last predict()."""
        return self.session.loaders.get("predict")

    @property
    def limit_train_batches(self) -> int | float:
        """As in the settings."""
        return self.session.limits["train"][1]

    @property
    def limit_val_batches(self) -> int | float:
        """As in the settings."""
        return self.session.limits["val"][1]

    @property
    def limit_test_batches(self) -> int | float:
        """As in the settings."""
        return self.session.limits["test"][1]

    @property
    def limit_predict_batches(self) -> int | float:
        """As in the settings."""
        return self.session.limits["predict"][1]

    @property
    def val_check_interval(self) -> int | float:
        """As in the settings, but 1.0 with fast_dev_run."""
        return self.session.val_check_interval

    @property
    def num_sanity_val_steps(self) -> int | float:
        """As in the settings; infinite for -1, and 0 with fast_dev_run."""
        return self.session.num_sanity_val_steps

    @property
    def gradient_clip_val(self) -> float | None:
        """As in the settings; None where gradients are not clipped."""
        return self.session.config.gradient_clip_val or None

    @property
    def gradient_clip_algorithm(self) -> str | None:
        """As in the settings; None where gradients are not clipped."""
        return self.session.config.gradient_clip_algorithm if self.gradient_clip_val else None

    # -- what it may do -------------------------------------------------------------------------------------------------

    def print(self, *words: Any, **named: Any) -> None:
        """Print, in the first of the processes."""
        if self.session.group.writes:
            print(*words, **named)
