"""What a task has beside its steps, on the installed Lightning and on ours: hyperparameters, metric objects, data hooks."""

from __future__ import annotations

import dataclasses
import warnings
from argparse import Namespace
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torchmetrics
from lightning.pytorch.trainer.connectors.logger_connector.fx_validator import _FxValidator
from lightning.pytorch.utilities.data import extract_batch_size
from torch.nn.utils.rnn import pack_sequence

from tests.conformance.both import Loader, same
from tests.conformance.records import plain, simplify
from tests.conformance.toy import batches
from tests.conformance.variants import Change, Seen, model, quiet, run, shown
from tests.training.loop.test_metric_objects import fit
from tests.training.toytask import Kept, Line
from training.data.batches import FixedBatches
from training.data.data_module import DataModule
from training.data.tensors import first_dimensions
from training.digest import weights_sha256
from training.loop.callback import Callback
from training.loop.logged_metrics import DEFAULTS, EPOCH_HOOKS
from training.loop.metric_objects import restore_metrics, states_of
from training.loop.task import Task
from training.loop.trainer import Trainer

BASES: dict[str, tuple[Any, Any]] = {"ours": (Task, DataModule), "Lightning": (pl.LightningModule, pl.LightningDataModule)}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


# -- hyperparameters -----------------------------------------------------------------------------------------------------


def keepers(base: Any) -> dict[str, tuple[Callable[[], Any], dict[str, Any]]]:
    """Ways to keep hyperparameters: what makes the task, and what ``load_from_checkpoint`` is given."""

    class Plain(base):  # type: ignore[misc]
        def __init__(self, hidden: int, lr: float = 0.1, *, name: str = "x") -> None:
            super().__init__()
            self.seen: Any = (hidden, lr, name)
            self.save_hyperparameters()

    class Named(base):  # type: ignore[misc]
        def __init__(self, hidden: int, lr: float = 0.1) -> None:
            super().__init__()
            self.seen = (hidden, lr)
            self.save_hyperparameters("hidden")

    class Ignoring(base):  # type: ignore[misc]
        def __init__(self, hidden: int, odd: Any = None, lr: float = 0.1) -> None:
            super().__init__()
            self.seen = (hidden, odd is None, lr)
            self.save_hyperparameters(ignore=["odd", "nothing"])

    class IgnoringOne(base):  # type: ignore[misc]
        def __init__(self, hidden: int, odd: Any = None) -> None:
            super().__init__()
            self.seen = (hidden, odd is None)
            self.save_hyperparameters(ignore="odd")

    class Stars(base):  # type: ignore[misc]
        def __init__(self, hidden: int, *rest: int, **more: Any) -> None:
            super().__init__()
            self.seen = (hidden, sorted(more.items()))
            self.save_hyperparameters()

    class Whole(base):  # type: ignore[misc]
        def __init__(self, config: Any, lr: float = 0.1) -> None:
            super().__init__()
            self.save_hyperparameters(config)
            self.seen = (self.hparams.hidden, self.hparams["size"], lr)

    class Literal(base):  # type: ignore[misc]
        def __init__(self, hidden: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters({"a": 1, "b": [1, {"c": None}]})
            self.seen = hidden

    class Changed(base):  # type: ignore[misc]
        def __init__(self, hidden: int) -> None:
            super().__init__()
            hidden = hidden + 1
            self.save_hyperparameters()
            self.hparams.later = 5
            self.seen = hidden

    class Keeps(base):  # type: ignore[misc]
        def __init__(self, hidden: int) -> None:
            super().__init__()
            self.save_hyperparameters()

    class Silent(Keeps):
        def __init__(self, wide: int, hidden: int = 7) -> None:
            super().__init__(hidden + 1)
            self.seen = (wide, hidden)

    class Derived(Keeps):
        def __init__(self, wide: int, hidden: int, backbone: Any = None) -> None:
            super().__init__(hidden)
            self.save_hyperparameters(ignore=["backbone"])
            self.seen = (wide, hidden)

    class Later(base):  # type: ignore[misc]
        def __init__(self, hidden: int = 3) -> None:
            super().__init__()
            self.seen = hidden
            self.keep()

        def keep(self) -> None:
            self.save_hyperparameters()

    class Nothing(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.seen = len(self.hparams)

    class Silences(base):  # type: ignore[misc]
        def __init__(self, hidden: int = 2) -> None:
            super().__init__()
            self.seen = hidden

    class Wrong(base):  # type: ignore[misc]
        def __init__(self, hidden: int = 2, what: Any = "unknown") -> None:
            super().__init__()
            self.save_hyperparameters(what)

    return {
        "all": (lambda: Plain(3, name="y"), {}),
        "another value": (lambda: Plain(3, lr=0.5), {"lr": 0.25}),
        "named": (lambda: Named(3, 0.5), {}),
        "what was not kept": (lambda: Named(3, 0.5), {"lr": 0.5}),
        "ignored": (lambda: Ignoring(3, odd=torch.nn.Linear(1, 1)), {}),
        "one ignored": (lambda: IgnoringOne(3, odd=len), {}),
        "stars": (lambda: Stars(3, 4, a=1, b="c"), {"b": "d", "e": 1}),
        "a dict": (lambda: Whole({"hidden": 3, "size": (1, 2)}, 0.5), {}),
        "a namespace": (lambda: Whole(Namespace(hidden=3, size=1)), {"lr": 0.5, "size": 4}),
        "a literal": (lambda: Literal(5), {}),
        "changed": (lambda: Changed(1), {}),
        "a base that keeps": (lambda: Silent(4), {}),
        "both keep": (lambda: Derived(4, 5), {"hidden": 6}),
        "in another method": (lambda: Later(4), {}),
        "none": (lambda: Nothing(), {}),
        "not kept": (lambda: Silences(4), {}),
        "not kept, and given": (lambda: Silences(4), {"hidden": 5}),
        "missing": (lambda: Named.__mro__[0](3), {"hidden": 4}),
        "an empty dict": (lambda: Wrong(what={}), {}),
        "None": (lambda: Wrong(what=None), {}),
        "no argument": (lambda: Wrong(what="other"), {}),
        "a number": (lambda: Wrong(what=5), {}),
        "a list": (lambda: Wrong(what=[1]), {}),
    }


def save(library: str, task: Any, path: Path) -> None:
    """A checkpoint of the task as it is."""
    if library == "ours":
        trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False)
        with trainer.session.attached(task, "fit"):
            trainer.save_checkpoint(path)
        return
    there = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    there.strategy.connect(task)
    there.save_checkpoint(path)


def kept(library: str, name: str, path: Path) -> Any:
    """What is kept, and what comes back."""
    make, given = keepers(BASES[library][0])[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            task = make()
            save(library, task, path)
            loaded = type(task).load_from_checkpoint(path, **given)
        except Exception as error:
            return isinstance(error, Exception)
    both = [(dict(each.hparams), dict(each.hparams_initial), getattr(each, "seen", None)) for each in (task, loaded)]
    return both, getattr(task, "_hparams_name", None)


@pytest.mark.parametrize("name", keepers(Task))
def test_hyperparameters_are_kept_and_come_back_as_there(tmp_path: Path, name: str) -> None:
    assert kept("ours", name, tmp_path / "ours.ckpt") == kept("Lightning", name, tmp_path / "theirs.ckpt")


# -- the number of examples in a batch -----------------------------------------------------------------------------------


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


# -- metric objects ------------------------------------------------------------------------------------------------------


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


# -- several optimizers --------------------------------------------------------------------------------------------------


def _toggling(how: str) -> Change:
    """Two optimizers with a parameter in common, and one that was frozen before."""

    def change(task: Any, callback: Any, seen: Any) -> None:
        task.other, task.frozen = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
        task.frozen.requires_grad_(False)
        with torch.no_grad():
            for p in [*task.other.parameters(), *task.frozen.parameters()]:
                p.fill_(0.5)
        task.automatic_optimization = False

        def optimizers(self: Any) -> Any:
            first = [*self.layer.parameters(), *self.frozen.parameters()]
            second = [*self.other.parameters(), self.layer.bias]
            return [torch.optim.SGD(first, lr=0.125), torch.optim.SGD(second, lr=0.125)]

        def note(self: Any) -> None:
            seen.events.append([p.requires_grad for p in self.parameters()])

        def training_step(self: Any, batch: Any, batch_idx: int) -> None:
            for optimizer in self.optimizers(use_pl_optimizer=how != "torch's"):
                if how == "with":
                    with self.toggled_optimizer(optimizer):
                        note(self)
                        self.manual_backward((self(batch) * self.other(batch)).mean())
                        optimizer.step()
                else:
                    self.toggle_optimizer(optimizer)
                    note(self)
                    self.manual_backward((self(batch) * self.other(batch)).mean(), retain_graph=True)
                    optimizer.step()
                    self.untoggle_optimizer(optimizer)
                seen.events.append([simplify(p.grad) for p in self.parameters()])
                optimizer.zero_grad()
                note(self)
            self.freeze()
            note(self)
            self.unfreeze()
            seen.events.append((self.training, self.dtype, self.on_gpu, self.local_rank, self.global_rank, self.logger))

        type(task).configure_optimizers, type(task).training_step = optimizers, training_step

    return change


@pytest.mark.parametrize("how", ["with", "plain", "torch's"])
def test_optimizers_are_toggled_as_there(how: str) -> None:
    ours, theirs = (run(library, _toggling(how)) for library in ("ours", "Lightning"))
    assert (ours.events, ours.error) == (theirs.events, "")


def test_manual_backward_is_for_manual_optimization_alone() -> None:
    def change(task: Any, callback: Any, seen: Any) -> None:
        type(task).training_step = lambda self, batch, batch_idx: self.manual_backward(self(batch))

    assert run("Lightning", change).error
    assert "expected automatic_optimization = False" in run("ours", change).error


# -- hooks around a batch's transfer -------------------------------------------------------------------------------------

TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def _transferring(which: tuple[str, ...]) -> Change:
    def change(task: Any, callback: Any, seen: Any) -> None:
        def make(hook: str) -> Any:
            inherited = getattr(type(task), hook)

            def method(self: Any, batch: Any, *more: Any) -> Any:
                seen.events.append((hook, simplify(batch), [str(each) for each in more]))
                return inherited(self, batch, *more) + 1

            return method

        for hook in TRANSFERS:
            if hook in which:
                setattr(type(task), hook, make(hook))
        for step in ("training_step", "validation_step", "test_step", "predict_step"):
            setattr(type(task), step, _sees(step, seen))
        for hook in ("on_train_batch_start", "on_validation_batch_start", "on_test_batch_end", "on_predict_batch_end"):
            setattr(type(task), hook, lambda self, *given: seen.events.append(simplify(given[-2])))

    return change


def _sees(step: str, seen: Any) -> Any:
    def method(self: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        seen.events.append((step, simplify(batch), str(batch.dtype)))
        return self(batch)

    return method


@pytest.mark.parametrize("which", [TRANSFERS, TRANSFERS[:1], TRANSFERS[1:2], TRANSFERS[:2]], ids=len)
@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_hooks_around_the_transfer_are_as_there(which: tuple[str, ...], stage: str) -> None:
    for sources in (1, 2):
        precision = "64-true" if sources == 2 else "32-true"
        settings: dict[str, Any] = {"stage": stage, "sources": sources, "precision": precision}
        ours, theirs = (run(library, _transferring(which), **settings) for library in ("ours", "Lightning"))
        assert (ours.events, ours.error, str(ours.found)) == (theirs.events, theirs.error, str(theirs.found))


def test_nothing_can_be_logged_there() -> None:
    def change(task: Any, callback: Any, seen: Any) -> None:
        type(task).on_after_batch_transfer = lambda self, batch, dataloader_idx: self.log("x", 1.0)

    assert run("Lightning", change).error
    assert "nothing can be logged in on_after_batch_transfer" in run("ours", change).error


# -- gathering -----------------------------------------------------------------------------------------------------------


def test_one_process_gathers_what_it_has() -> None:
    given: list[Any] = [1, True, 2.5, torch.ones(2), [1, (torch.zeros(1), "a")], {"x": np.ones(3)}, Pair(1, [2.0])]

    def change(task: Any, callback: Any, seen: Any) -> None:
        def start(self: Any) -> None:
            for each in given:
                gathered = self.all_gather(each)
                seen.events.append((str(gathered), str(getattr(gathered, "dtype", ""))))

        type(task).on_train_start = start

    ours, theirs = (run(library, change) for library in ("ours", "Lightning"))
    assert (ours.events, ours.error) == (theirs.events, theirs.error)


# -- data modules --------------------------------------------------------------------------------------------------------


def test_a_data_module_of_datasets_is_as_there() -> None:
    def described(base: Any) -> list[Any]:
        class Takes(base):  # type: ignore[misc]
            def __init__(self, extra: int, batch_size: int = 7) -> None:
                super().__init__()
                self.extra, self.batch_size = extra, batch_size

        class Keeps(base):  # type: ignore[misc]
            def __init__(self, **more: Any) -> None:
                super().__init__()
                self.save_hyperparameters()

        points = torch.utils.data.TensorDataset(torch.arange(10))
        found: list[Any] = []
        made = Takes.from_datasets(points, [points, points], {"a": points}, batch_size=3, extra=1)
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            loaders = getattr(made, name)()
            each = loaders.values() if isinstance(loaders, dict) else loaders if isinstance(loaders, list) else [loaders]
            found.append([(type(loader.sampler).__name__, loader.batch_size, loader.num_workers) for loader in each])
        made.test_dataloader = made.train_dataloader  # there a dict can't be shown
        found += [made.extra, made.batch_size, str(made).splitlines()]
        found.append(dict(Keeps.from_datasets(points, batch_size=2, other=1).hparams))
        return found

    assert described(DataModule) == described(pl.LightningDataModule)


def _with_data(stage: str, which: str) -> Callable[[str], list[Any]]:
    """Task and data module that note their hooks; the ``which`` has the loaders."""

    def ran(library: str) -> list[Any]:
        events: list[Any] = []
        task_base, data_base = BASES[library]
        ours = library == "ours"

        def noting(owner: str, base: Any, hook: str) -> Any:
            inherited = getattr(base, hook)

            def method(self: Any, *given: Any, **named: Any) -> Any:
                events.append((owner, hook, [each for each in (*given, *named.values()) if isinstance(each, str)]))
                return inherited(self, *given, **named)

            return method

        hooks = ("prepare_data", "setup", "teardown", "on_before_batch_transfer", "on_after_batch_transfer")
        own = {hook: noting("task", task_base, hook) for hook in (*hooks, "configure_model", "on_fit_start")}
        theirs = {hook: noting("data", data_base, hook) for hook in (*hooks[:4], "state_dict")}
        model_of = type("Noting", (type(model(task_base, Seen())),), own)
        data_of = type("Data", (data_base,), theirs)
        task, data = model_of(), data_of()
        for split in ("train", "val", "test", "predict"):
            made = FixedBatches(batches(2)) if ours else Loader(batches(2))
            setattr(task if which == "task" else data, f"{split}_dataloader", lambda made=made: made)
        callback = type("Watches", (Callback if ours else pl.Callback,), {})()
        callback.setup = lambda trainer, task, stage: events.append(("callback", "setup", [stage]))
        callback.teardown = lambda trainer, task, stage: events.append(("callback", "teardown", [stage]))
        task.configure_callbacks = lambda: callback
        trainer: Any
        if ours:
            trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False)
        else:
            silent: dict[str, Any] = {
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
            trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, **silent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(2):
                getattr(trainer, stage)(task, **({} if which == "task" else {"datamodule": data}))
        events.append([type(each).__name__ for each in trainer.callbacks if type(each).__name__ == "Watches"])
        return events

    return ran


@pytest.mark.parametrize("which", ["task", "data"])
@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_hooks_of_data_run_as_there(stage: str, which: str) -> None:
    ran = _with_data(stage, which)
    assert ran("ours") == ran("Lightning")


def test_callbacks_of_the_task_take_the_place_of_the_trainers() -> None:
    def names(library: str) -> list[list[str]]:
        base: Any = Callback if library == "ours" else pl.Callback
        a, b, c = (type(name, (base,), {}) for name in "ABC")
        sub = type("Sub", (a,), {})
        found = []
        for own in ([], [b()], b(), [sub(), c()], (a(), a()), [base()]):
            task = model(BASES[library][0], Seen())
            task.configure_callbacks = lambda own=own: own
            kwargs: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_progress_bar": False}
            kwargs["callbacks"] = [a(), b(), base()]
            if library == "ours":
                trainer: Any = Trainer(**kwargs)
                trainer.fit(task, FixedBatches(batches(1)))
            else:
                trainer = pl.Trainer(**kwargs, enable_checkpointing=False, enable_model_summary=False)
                trainer.fit(task, Loader(batches(1)))
            found.append(
                [
                    type(each).__name__
                    for each in trainer.callbacks
                    if type(each).__name__ in ("A", "B", "C", "Sub", "Callback")
                ]
            )
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert names("ours") == names("Lightning")
