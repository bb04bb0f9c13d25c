"""Ways to write steps, hooks and calls: each is run on Lightning and on ours, and what it saw is compared."""

from __future__ import annotations

import functools
import logging
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch

from tests.conformance.both import Loader
from tests.conformance.records import simplify
from tests.conformance.toy import batches
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer


@dataclass
class Seen:
    """What a run saw, and what it ended with."""

    events: list[Any] = field(default_factory=list)
    error: str = ""
    found: Any = None
    batch: Any = None
    """What each batch is, instead of the toy's."""


def model(base: type, seen: Seen) -> Any:
    """One layer, with fixed weights, and plain steps."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)
            with torch.no_grad():
                for p in self.parameters():
                    p.fill_(0.25)

        def forward(self, batch: Any) -> Any:
            return self.layer(batch).square().mean()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self(batch)

        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self(batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.125)

    made: Any = Model()
    made.seen = seen
    return made


Change = Callable[[Any, Any, Seen], None]
"""Changes the model and the callback before the run."""


def run(
    library: str, change: Change, *, stage: str = "fit", sources: int = 1, empty: tuple[int, ...] = (), **settings: Any
) -> Seen:
    """A run of ``stage`` on "ours" or "Lightning", of one epoch unless ``settings`` differ; ``empty`` batches are None."""
    seen = Seen()
    ours = library == "ours"
    task = model(Task if ours else pl.LightningModule, seen)
    callback: Any = type("Watcher", (Callback if ours else pl.Callback,), {})()
    data: list[Any] = [None if i in empty else batch for i, batch in enumerate(batches(3))]
    settings = {"max_epochs": 1, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            change(task, callback, seen)
            data = [data[i] if seen.batch is None else seen.batch for i in range(3)]
            trainer: Any
            if ours:
                trainer = Trainer(TrainConfig(device="cpu", progress=False, **settings), callbacks=[callback], logger=False)
                several: list[Any] = [FixedBatches(data[:2])] * sources
            else:
                trainer = pl.Trainer(
                    accelerator="cpu",
                    devices=1,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    callbacks=[callback],
                    **settings,
                )
                several = [Loader(data[:2]) for _ in range(sources)]
            if stage == "fit":
                trainer.fit(task, FixedBatches(data) if ours else Loader(data), several)
            else:
                silent = {} if stage == "predict" else {"verbose": False}
                seen.found = simplify(getattr(trainer, stage)(task, several, **silent))
        except Exception as error:
            seen.error = f"{type(error).__name__}: {error}"
    seen.events.append([p.tolist() for p in task.parameters()])
    return seen


def shown(metrics: Any) -> dict[str, Any]:
    """Metrics with their types."""
    return {name: (round(float(value), 5), isinstance(value, torch.Tensor)) for name, value in metrics.items()}


def quiet() -> None:
    """Lightning says a lot of each trainer."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


# -- ways to write a step ---------------------------------------------------------------------------------------------

STEPS = {"fit": "training_step", "validate": "validation_step", "test": "test_step", "predict": "predict_step"}
FORMS: dict[str, str] = {
    "both": "self, batch, batch_idx",
    "batch alone": "self, batch",
    "star": "self, *args",
    "batch and star": "self, batch, *rest",
    "all": "self, *args, **kwargs",
    "another name": "self, x, number",
    "a default": "self, batch, batch_idx=7",
    "a source": "self, batch, batch_idx, dataloader_idx=0",
    "a source without default": "self, batch, batch_idx, dataloader_idx",
    "a source and no index": "self, batch, dataloader_idx=0",
    "more with a default": "self, batch, batch_idx, dataloader_idx=0, more=1",
    "named only": "self, batch, *, batch_idx=5",
    "batch and named": "self, batch, **kwargs",
    "named alone": "self, **kwargs",
    "nothing": "self",
    "more without a default": "self, batch, batch_idx, dataloader_idx, more",
}


def step_of(parameters: str, seen: Seen) -> Any:
    """A step with these parameters, which notes their values but the batch's."""
    scope: dict[str, Any] = {}
    exec(f"def step({parameters}): return note(dict(locals()))", {"note": lambda values: _note(values, seen)}, scope)
    return scope["step"]


def _note(values: dict[str, Any], seen: Seen) -> Any:
    owner = values.pop("self", None)
    given = [each for value in values.values() for each in (value if isinstance(value, tuple) else [value])]
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    seen.events.append([simplify(each) for each in given if not isinstance(each, torch.Tensor | dict)])
    return tensors[0].sum() * 0 + (owner.layer.weight.sum() if owner is not None else 0) if tensors else None


PLACES = ("class", "instance", "partial", "bound")


def put(task: Any, name: str, function: Any, place: str) -> None:
    """Make ``function``, which takes self, the task's ``name``."""
    if place == "class":
        setattr(type(task), name, function)
    elif place == "instance":  # not bound: Lightning takes its first parameter for self all the same
        object.__setattr__(task, name, types.MethodType(function, task))
    elif place == "partial":
        object.__setattr__(task, name, functools.partial(function, task))
    else:
        setattr(task, name, function.__get__(task))
