"""What is logged without batch_size, and of metric objects, on the installed Lightning and on ours."""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from lightning.pytorch.trainer.connectors.logger_connector.fx_validator import _FxValidator
from lightning.pytorch.utilities.data import extract_batch_size
from torch.nn.utils.rnn import pack_sequence

from tests.conformance.both import same
from tests.conformance.records import plain
from tests.conformance.variants import Change, quiet, run, shown
from tests.training.loop.test_metric_objects import fit
from tests.training.toytask import Kept, Line
from training.data.tensors import first_dimensions
from training.digest import weights_sha256
from training.loop.logged_metrics import DEFAULTS, EPOCH_HOOKS
from training.loop.metric_objects import restore_metrics, states_of


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


# -- the number of examples in a batch ---------------------------------------------------------------------------------


@dataclasses.dataclass
class Example:
    """A batch of a class of its own."""

    x: Any
    y: Any


Pair = namedtuple("Pair", "x y")
PARTS: list[Any] = [torch.zeros(4, 2), torch.zeros(4), torch.zeros(3), torch.tensor(1.0), torch.zeros(0, 2)]
FORMS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a,
    lambda a, b: (a, b),
    lambda a, b: [a, [b]],
    lambda a, b: {"x": a, "y": {"z": b}},
    lambda a, b: Pair(a, b),
    lambda a, b: Example(a, b),
    lambda a, b: OrderedDict(x=(a, b)),
    lambda a, b: [],
    lambda a, b: None,
    lambda a, b: 5,
]
ODD: list[Any] = ["text", ["a", "b"], np.zeros((4, 2)), {"x": torch.zeros(4), "names": ["a"] * 4}, iter([torch.zeros(4)])]


def guessed(batch: Any) -> int | None:
    """What Lightning finds without a doubt: neither an error nor a warning."""
    import lightning.pytorch.utilities.data as data

    data.warning_cache.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return extract_batch_size(batch)
        except Exception:
            return None


def test_where_the_batch_leaves_no_doubt_its_size_is_lightnings() -> None:
    batches = [form(a, b) for form in FORMS for a in PARTS for b in PARTS]
    for batch in batches:
        found = first_dimensions(batch)
        assert (found[0] if len(found) == 1 else None) == guessed(batch), batch


def test_what_lightning_guesses_wrongly_is_told_or_refused() -> None:
    assert [len(first_dimensions(batch)) for batch in ODD] == [0, 0, 0, 1, 0]
    assert first_dimensions(pack_sequence([torch.zeros(3), torch.zeros(2)])) == [2]  # there it is 5, their words


def _logging(batch: Any, **arguments: Any) -> Change:
    def change(task: Any, callback: Any, seen: Any) -> None:
        seen.batch = batch

        def step(self: Any, given: Any, batch_idx: int) -> Any:
            self.log("x", float(batch_idx), on_step=True, on_epoch=True, **arguments)
            self.log("n", 1.0, reduce_fx="sum", on_step=False, on_epoch=True)
            return self.layer.weight.sum()

        def look(self: Any, *_: Any) -> None:
            seen.events.append(shown(self.trainer.callback_metrics))

        type(task).training_step = type(task).validation_step = step
        for hook in ("on_train_batch_start", "on_validation_batch_end"):
            setattr(type(task), hook, lambda self, *_: self.log("hook", 2.0, on_epoch=True))
        type(task).on_train_epoch_end = type(task).on_validation_end = look

    return change


@pytest.mark.parametrize("batch", [torch.zeros(4, 3), (torch.zeros(2, 3), torch.zeros(2)), {"x": Pair(torch.zeros(5), [])}])
def test_values_logged_without_batch_size_are_lightnings(batch: Any) -> None:
    ours, theirs = (run(library, _logging(batch)) for library in ("ours", "Lightning"))
    assert (ours.events, ours.error) == (theirs.events, "")


def test_where_they_differ_the_line_says_what_to_pass() -> None:
    for batch in ((torch.zeros(4), torch.zeros(3)), {"x": "text"}):
        seen = run("ours", _logging(batch))
        assert "its epoch mean needs batch_size=…, the number of examples, which can't be told from" in seen.error
        assert run("ours", _logging(batch, batch_size=1)).error.startswith("ConfigError: log('hook')")


def test_hooks_that_log_are_lightnings() -> None:
    theirs = {hook for hook, options in _FxValidator.functions.items() if options is not None}
    assert set(DEFAULTS) == theirs - {"clip_gradients"}  # of which it never hears
    for hook, (on_step, on_epoch) in DEFAULTS.items():
        options = _FxValidator.functions[hook]
        assert options is not None
        assert (on_step, on_epoch) == (options["default_on_step"], options["default_on_epoch"])
        assert (hook in EPOCH_HOOKS) == (options["allowed_on_step"] == (False,))


# -- metric objects ----------------------------------------------------------------------------------------------------


def _metric_task(kind: str, step: str, how: dict[str, Any], forward: bool, hook: str) -> Change:
    """``step`` updates metrics of torchmetrics and logs them; so does ``hook``."""

    def change(task: Any, callback: Any, seen: Any) -> None:
        task.metric = METRICS[kind]()

        def call(self: Any, batch: Any) -> None:
            values = self.layer(batch).detach().flatten()
            given = (values,) if kind in ("mean", "sum") else (values.sigmoid(), (values.square() > 0.1).long())
            self.metric(*given) if forward else self.metric.update(*given)

        def logged(self: Any, **more: Any) -> None:
            if kind == "collection":
                self.log_dict(self.metric, **more)
            else:
                self.log("m", self.metric, **more)

        def method(self: Any, batch: Any, batch_idx: int) -> Any:
            call(self, batch)
            logged(self, **how)
            return self.layer(batch).square().mean()

        def look(self: Any) -> None:
            seen.events += [plain(self.trainer.callback_metrics), plain(self.trainer.logged_metrics)]

        setattr(type(task), step, method)
        if hook:
            setattr(type(task), hook, lambda self: logged(self, prog_bar=True))
        type(task).on_train_batch_end = lambda self, *_: look(self)
        type(task).on_train_epoch_start = type(task).on_train_end = type(task).on_validation_end = look
        type(task).on_test_end = look

    return change


METRICS: dict[str, Callable[[], Any]] = {
    "mean": lambda: torchmetrics.MeanMetric(),
    "sum": lambda: torchmetrics.SumMetric(),
    "accuracy": lambda: torchmetrics.Accuracy(task="binary"),
    "auroc": lambda: torchmetrics.AUROC(task="binary"),
    "collection": lambda: torchmetrics.MetricCollection(
        [torchmetrics.Precision(task="binary"), torchmetrics.Recall(task="binary")], prefix="valid/"
    ),
}
HOW: list[dict[str, Any]] = [
    {},
    {"on_step": True, "on_epoch": True},
    {"on_step": False, "on_epoch": True},
    {"on_step": True, "on_epoch": False, "prog_bar": True},
]


def metric_cases() -> Iterator[tuple[str, Change, dict[str, Any]]]:
    for kind in METRICS:
        for how in HOW:
            for forward in (True, False):
                for stage, step in (("fit", "training_step"), ("fit", "validation_step"), ("test", "test_step")):
                    for hook in ("", f"on_{'train' if step == 'training_step' else step.split('_')[0]}_epoch_end"):
                        name = f"{kind} {how} {forward} {step} {hook}"
                        yield name, _metric_task(kind, step, how, forward, hook), {"stage": stage, "max_epochs": 2}


@pytest.mark.filterwarnings("ignore")
def test_metric_objects_are_logged_and_reset_as_there() -> None:
    cases = list(metric_cases())
    for name, change, settings in cases[::11]:
        ours, theirs = (run(library, change, **settings) for library in ("ours", "Lightning"))
        assert (ours.error, same(ours.events, theirs.events)) == (theirs.error, True), f"{name}\n{ours}\n{theirs}"


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_all_metric_objects_are_logged_and_reset_as_there() -> None:
    for name, change, settings in metric_cases():
        ours, theirs = (run(library, change, **settings) for library in ("ours", "Lightning"))
        assert (ours.error, same(ours.events, theirs.events)) == (theirs.error, True), f"{name}\n{ours}\n{theirs}"


class Averages(torchmetrics.Metric):
    """Its forward weighs by how often it was updated."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("mean", torch.zeros(()), dist_reduce_fx="mean")

    def update(self, values: torch.Tensor) -> None:
        self.mean = values.mean()

    def compute(self) -> torch.Tensor:
        return self.mean


class Gathers(torch.nn.Module):
    """All metrics at once, for a fit that is left."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = torch.nn.ModuleDict({name: make() for name, make in METRICS.items() if name != "collection"})
        self.metrics["averages"] = Averages()
        self.collection = METRICS["collection"]()
        self.least = torchmetrics.MinMaxMetric(torchmetrics.MeanMetric())


class Measured(Line):
    """Torchmetrics' metrics in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.train_metrics: Any = Gathers()
        self.val_metrics: Any = Gathers()

    def measure(self, metrics: Any, batch: Any, forward: bool) -> None:
        values = self.predict_step(batch, 0).detach()
        for name, metric in [*metrics.metrics.items(), ("collection", metrics.collection), ("least", metrics.least)]:
            given = (
                (values,) if name in ("mean", "sum", "least", "averages") else (values.sigmoid(), (batch.sum(1) > 0).long())
            )
            metric(*given) if forward or name == "averages" else metric.update(*given)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.measure(self.train_metrics, batch, forward=batch_idx % 2 == 0)
        for name, metric in self.train_metrics.metrics.items():
            self.log(name, metric, on_step=True, on_epoch=True)
        if batch_idx % 3 == 0:
            self.log_dict(self.train_metrics.collection, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.log_dict({f"least_{name}": value for name, value in self.train_metrics.least.compute().items()})

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.measure(self.val_metrics, batch, forward=False)
        self.log_dict(self.val_metrics.collection)
        super().validation_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore")
def test_left_at_any_batch_torchmetrics_go_on_with_the_same_counts(tmp_path: Path) -> None:
    whole, settings = Kept(), {"max_epochs": 2, "limit_train_batches": 5, "val_check_interval": 3, "limit_val_batches": 2}
    task, _, boundaries = fit(Measured(), None, settings, whole)
    for leave_at in range(boundaries):
        log = Kept()
        _, state, _ = fit(Measured(), None, settings, log, leave_at=leave_at)
        resumed, _, _ = fit(Measured(), None, settings, log, state)
        assert log.lines == whole.lines
        assert weights_sha256(resumed) == weights_sha256(task)


def test_what_a_metric_remembers_of_another_state_is_forgotten() -> None:
    task = Measured()
    metric = task.train_metrics.metrics["mean"]
    metric.update(torch.ones(2))
    states = states_of(task)
    metric.update(torch.zeros(2))
    assert float(metric.compute()) == 0.5
    restore_metrics(task, states)
    assert float(metric.compute()) == 1.0
