"""A small program with callbacks and loggers, run on Lightning and on ours: what it did comes back as plain values."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import callbacks as their_callbacks
from lightning.pytorch import loggers as their_loggers

import training
from tests.conformance.both import Loader
from tests.conformance.records import plain
from tests.conformance.toy import batches
from training import checkpoint
from training.config import TrainConfig
from training.data.batches import FixedBatches

LIBRARIES = ("ours", "Lightning")
VALUES = (1.0, 0.5, 0.75, 0.75, 0.25, 2.0, 0.125)


class Clock:
    """A clock that goes on by a second with each training batch, and stands still otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begun: float = 0.0) -> None:
        self.now = begun
        for module in ("timer", "model_checkpoint"):
            theirs = getattr(their_callbacks, module)
            monkeypatch.setattr(theirs, "time", SimpleNamespace(monotonic=lambda: self.now))
            monkeypatch.setattr(f"training.callbacks.{module}.monotonic", lambda: self.now)


class Stream:
    """Batches whose number is not known before they are read."""

    def __init__(self, items: list[torch.Tensor]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self.items)


class Program:
    """What runs: a task that logs ``loss`` and a ``val`` of its own values, and notes its batches; on Lightning or ours."""

    def __init__(self, side: str, clock: Clock | None = None, values: tuple[float, ...] = VALUES) -> None:
        self.side, self.ours, self.clock = side, side == "ours", clock
        self.names: Any = training if self.ours else SimpleNamespace(**{**vars(their_callbacks), **vars(their_loggers)})
        self.seen: list[Any] = []
        self.error = ""
        self.values, self.fails_at = values, (-1, -1)
        self.task = self._task()
        self.trainer: Any = None

    def _task(self) -> Any:
        program = self

        class Model(training.Task if self.ours else pl.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(3, 1)
                self.validations = 0
                self.save_hyperparameters({"lr": 0.125, "sizes": [3, 1]})
                with torch.no_grad():
                    for p in self.parameters():
                        p.fill_(0.25)

            def forward(self, batch: Any) -> Any:
                return self.layer(batch).square().mean()

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                program.seen.append((self.current_epoch, batch_idx, self.global_step))
                if (self.current_epoch, batch_idx) == program.fails_at:
                    raise ValueError("as the program wants")
                if program.clock is not None:
                    program.clock.now += 1.0
                loss = self(batch)
                self.log("loss", loss, on_step=True, on_epoch=True, batch_size=len(batch))
                return loss

            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("val", program.values[self.validations % len(program.values)], batch_size=1)

            def on_validation_epoch_end(self) -> None:
                self.validations += not self.trainer.sanity_checking

            def test_step(self, batch: Any, batch_idx: int) -> None:
                self.log("test", self(batch), batch_size=len(batch))

            def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
                return self(batch)

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.SGD(self.parameters(), lr=0.125, momentum=0.5)
                return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

        return Model()

    def run(
        self,
        folder: Path,
        callbacks: list[Any],
        *,
        loggers: list[Any] | None = None,
        verbs: tuple[str, ...] = ("fit",),
        train: int = 5,
        val: int = 2,
        counted: bool = True,
        start: Path | None = None,
        **settings: Any,
    ) -> Program:
        """Run the verbs, one after another, up to an error; where they are not ``counted``, batches have no known number."""
        settings = {"max_epochs": 3, "num_sanity_val_steps": 0, "log_every_n_steps": 2, **settings}
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            try:
                if self.ours:
                    config = TrainConfig(device="cpu", progress=False, **settings)
                    self.trainer = training.Trainer(config, callbacks=callbacks, logger=loggers or False)
                else:
                    saving = any(isinstance(each, their_callbacks.Checkpoint) for each in callbacks)
                    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": saving}
                    more = {"logger": loggers or False, "default_root_dir": folder, **quiet, **settings}
                    self.trainer = pl.Trainer(accelerator="cpu", devices=1, callbacks=callbacks, **more)
                for verb in verbs:
                    self._run(verb, batches(train), batches(val), start, counted)
            except (Exception, SystemExit) as error:
                self.error = type(error).__name__ if str(error) == "as the program wants" else "refused"
        return self

    def _run(self, verb: str, train: list[Any], val: list[Any], start: Path | None, counted: bool) -> None:
        source: Callable[[list[Any]], Any] = (FixedBatches if self.ours else Loader) if counted else Stream
        if verb == "fit":
            more: dict[str, Any] = {}
            if start is not None:
                more = {"state": checkpoint.load(start)} if self.ours else {"ckpt_path": start}
            self.trainer.fit(self.task, source(train), source(val) if val else None, **more)
        else:
            silent = {} if verb == "predict" else {"verbose": False}
            self.seen.append(getattr(self.trainer, verb)(self.task, source(val), **silent) and verb)

    def weights(self) -> list[float]:
        """All of them."""
        return [number for p in self.task.parameters() for number in p.flatten().tolist()]

    def end(self) -> list[Any]:
        """What the run did and where it ended."""
        return [self.error, self.seen, self.weights(), self.trainer.current_epoch, self.trainer.global_step]


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def files(folder: Path) -> dict[str, str]:
    """The checkpoints' names, with what links point to; Lightning leaves some that point nowhere."""
    found = sorted(path for path in folder.rglob("*.*") if path.name.endswith((".ckpt", ".mine")) and path.exists())
    return {str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else "" for path in found}


def recording_logger(program: Program, calls: list[Any]) -> Any:
    """A logger that notes its calls."""
    base: Any = program.names.Logger

    class Recording(base):  # type: ignore[misc]
        name, version = "recording", 0

        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            calls.append(("log_metrics", plain(metrics), step))

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            calls.append(("log_hyperparams", dict(params)))

        def log_graph(self, model: Any, input_array: Any = None) -> None:
            calls.append(("log_graph", model is program.task))

        def save(self) -> None:
            calls.append("save")

        def finalize(self, status: str) -> None:
            calls.append(("finalize", status))

        def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
            calls.append(("after_save_checkpoint", Path(checkpoint_callback.best_model_path).name))

    return Recording()
