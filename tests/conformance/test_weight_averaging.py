"""A running mean of the weights: what is trained, validated, kept and left is the same on Lightning and on ours."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

import training
from tests.conformance.both import Loader
from tests.conformance.variants import quiet
from training import checkpoint
from training.data.batches import FixedBatches

LIBRARIES: dict[str, tuple[Any, Any, Any]] = {
    "ours": (training.Task, training, training.Trainer),
    "Lightning": (pl.LightningModule, pl.callbacks, pl.Trainer),
}
BATCHES = [(torch.arange(12.0).reshape(4, 3) * (i + 1)).cos() for i in range(5)]
EPOCHS = 4


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet()


def model(base: Any) -> Any:
    """Layers with fixed weights and a batch norm; it notes the weights that each step and each validation sees."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Linear(2, 1))
            self.seen: list[Any] = []
            with torch.no_grad():
                for i, p in enumerate(self.parameters()):
                    p.copy_((torch.arange(p.numel()).view_as(p) + i).float().sin())

        def note(self, what: str) -> None:
            self.seen.append((what, [each.tolist() for each in self.state_dict().values()]))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.note("train")
            return self.layers(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.note("validation")

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.125, momentum=0.5)

    return Model()


def late(names: Any) -> Any:
    """A callback of a user's."""

    class Late(names.WeightAveraging):  # type: ignore[misc]
        def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
            return epoch_idx in (0, 2) or step_idx == 1

    return Late()


CASES: dict[str, Any] = {
    "the mean of all": lambda names: names.WeightAveraging(),
    "without buffers": lambda names: names.WeightAveraging("cpu", use_buffers=False),
    "all at once": lambda names: names.WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=False),
    "of one's own": late,
    "exponential": lambda names: names.EMAWeightAveraging(decay=0.75),
    "every other step": lambda names: names.EMAWeightAveraging(decay=0.5, update_every_n_steps=2, use_buffers=False),
    "at epochs, too": lambda names: names.EMAWeightAveraging(decay=0.5, update_every_n_steps=3, update_starting_at_epoch=1),
}


def fit(library: str, callback: Any, folder: Path, *, accumulate: int = 1, **given: Any) -> Any:
    _, names, kind = LIBRARIES[library]
    task = model(LIBRARIES[library][0])
    keeping = names.ModelCheckpoint(folder, filename="{step}", save_top_k=-1, save_last=True)
    quietly = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    settings = {"max_epochs": EPOCHS, "accumulate_grad_batches": accumulate, **quietly}
    trainer = kind(accelerator="cpu", callbacks=[callback, keeping], **settings)
    source: Any = FixedBatches if library == "ours" else Loader
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(task, source(BATCHES), source(BATCHES[:1]), **given)
    return task


def kept(library: str, folder: Path) -> Any:
    """The weights in the files, the means and those of training."""
    found = {}
    for path in sorted(folder.glob("step=*.ckpt")):
        held = checkpoint.load(path) if library == "ours" else torch.load(path, weights_only=True)
        weights = held["weights"] if library == "ours" else held["state_dict"]
        each = [weights, held["current_model_state"], {"n": held["averaging_state"]["n_averaged"]}]
        found[path.name] = [{name: tensor.tolist() for name, tensor in one.items()} for one in each]
    return found


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_validated_kept_and_left_as_there(tmp_path: Path, case: str, accumulate: int) -> None:
    ends = []
    for library, (_, names, _) in LIBRARIES.items():
        folder = tmp_path / library
        task = fit(library, CASES[case](names), folder, accumulate=accumulate)
        ends.append([task.seen, [each.tolist() for each in task.state_dict().values()], kept(library, folder)])
    assert ends[0] == ends[1]


class Left(Exception):
    """The fit was left."""


@pytest.mark.parametrize("case", ["without buffers", "of one's own", "exponential"])
def test_left_at_any_batch_it_goes_on_to_the_same_bits(case: str) -> None:
    def run(stop: int = -1, state: Any = None) -> Any:
        boundaries, found, task = itertools.count(), [], model(training.Task)

        def keep_going(trainer: Any) -> None:
            if next(boundaries) == stop:
                found.append(trainer.state())
                raise Left

        config = training.TrainConfig(device="cpu", progress=False, max_epochs=2, accumulate_grad_batches=2)
        trainer = training.Trainer(config, callbacks=CASES[case](training), logger=False, keep_going=keep_going)
        with contextlib.suppress(Left):
            trainer.fit(task, FixedBatches(BATCHES), FixedBatches(BATCHES[:2]), state=state)
        return found[0] if found else [each.tolist() for each in task.state_dict().values()]

    whole = run()
    stops = 0
    while isinstance(state := run(stops), dict):
        assert run(state=state) == whole, stops
        stops += 1
    assert stops > len(BATCHES) * 2


def test_a_mean_that_was_not_begun_takes_no_weights_place(tmp_path: Path) -> None:
    """Lightning validates, keeps and leaves the first weights then."""
    ends = {}
    for library, (base, names, _) in LIBRARIES.items():
        callback = names.EMAWeightAveraging(update_starting_at_step=1000)
        task = fit(library, callback, tmp_path / library)
        ends[library] = [each.tolist() for each in task.state_dict().values()]
        if library == "ours":
            task = fit(library, training.Callback(), tmp_path / "plain")
            assert ends[library] == [each.tolist() for each in task.state_dict().values()]
        else:
            assert ends[library] == [each.tolist() for each in model(base).state_dict().values()]


def test_a_checkpoint_gives_the_mean_and_one_without_it_begins_one(tmp_path: Path) -> None:
    fit("ours", training.EMAWeightAveraging(decay=0.5), tmp_path / "mean")
    held = checkpoint.load(tmp_path / "mean" / "last.ckpt")
    kind = type(model(training.Task))
    loaded = kind.load_from_checkpoint(tmp_path / "mean" / "last.ckpt")
    assert all(torch.equal(tensor, held["weights"][name]) for name, tensor in loaded.state_dict().items())
    ends = []
    for library, (_, names, _) in LIBRARIES.items():
        fit(library, names.Callback() if library == "ours" else pl.Callback(), tmp_path / library)
        start = tmp_path / library / "step=10.ckpt"
        task = fit(library, names.EMAWeightAveraging(decay=0.5), tmp_path / f"{library} on", ckpt_path=start)
        ends.append([each.tolist() for each in task.state_dict().values()])
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "given", [{"device": "nowhere"}, {"device": 1.5}, {"avg": len}, {"avg_fn": max, "multi_avg_fn": max}]
)
def test_what_is_no_argument_is_refused_in_one_line(given: dict[str, Any]) -> None:
    with pytest.raises(training.errors.ConfigError, match=r"^WeightAveraging: .*expected .*, got "):
        training.WeightAveraging(**given)
