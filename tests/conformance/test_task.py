"""What a task has beside its steps, on the installed Lightning and on ours: hyperparameters, callbacks, toggling."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from tests.conformance.both import Loader
from tests.conformance.records import simplify
from tests.conformance.toy import batches
from tests.conformance.variants import Change, Seen, model, quiet, run
from training.data.batches import FixedBatches
from training.data.data_module import DataModule
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer

BASES: dict[str, tuple[Any, Any]] = {"ours": (Task, DataModule), "Lightning": (pl.LightningModule, pl.LightningDataModule)}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


# -- hyperparameters ---------------------------------------------------------------------------------------------------


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


# -- several optimizers ------------------------------------------------------------------------------------------------


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


# -- gathering ---------------------------------------------------------------------------------------------------------


def test_one_process_gathers_what_it_has() -> None:
    given: list[Any] = [1, True, 2.5, torch.ones(2), [1, (torch.zeros(1), "a")], {"x": np.ones(3)}, torch.Size([1])]

    def change(task: Any, callback: Any, seen: Any) -> None:
        def start(self: Any) -> None:
            for each in given:
                gathered = self.all_gather(each)
                seen.events.append((str(gathered), str(getattr(gathered, "dtype", ""))))

        type(task).on_train_start = start

    ours, theirs = (run(library, change) for library in ("ours", "Lightning"))
    assert (ours.events, ours.error) == (theirs.events, theirs.error)


# -- callbacks ---------------------------------------------------------------------------------------------------------
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


# -- hooks of Lightning 1 ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("hook", ["training_epoch_end", "validation_epoch_end", "test_epoch_end"])
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_hooks_of_lightning_1_are_refused_where_it_refuses_them(verb: str, hook: str) -> None:
    refused = []
    for base, kind in ((pl.LightningModule, pl.Trainer), (Task, Trainer)):

        class Old(base):  # type: ignore[misc,valid-type]
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(1, 1)

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return self.layer(batch).sum()

            validation_step = test_step = predict_step = training_step

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        setattr(Old, hook, lambda self, outputs: None)
        quietly: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        trainer: Any = kind(max_epochs=1, accelerator="cpu", **quietly)
        loader: Any = torch.utils.data.DataLoader(torch.ones(2, 1))  # type: ignore[arg-type]
        try:
            getattr(trainer, verb)(Old(), *([loader, loader] if verb == "fit" else [loader]))
            refused.append(False)
        except (NotImplementedError, ConfigError) as error:
            refused.append(hook in str(error))
    assert refused[1] == refused[0]


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_a_step_that_reads_its_batches_itself_is_refused(verb: str) -> None:
    step = {"fit": "training", "validate": "validation"}.get(verb, verb)
    task = type("Reads", (Task,), {f"{step}_step": lambda self, dataloader_iter: None})()
    quietly: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", **quietly)
    with pytest.raises(ConfigError, match=rf"^Reads.{step}_step: expected \(batch, batch_idx\), got dataloader_iter"):
        getattr(trainer, verb)(task, FixedBatches(batches(1)))
