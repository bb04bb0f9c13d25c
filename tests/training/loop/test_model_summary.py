"""The table of a model's layers, beside Lightning's."""

from __future__ import annotations

import warnings
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary as LightningSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from torch import nn

import training
from training.errors import ConfigError
from training.loop.model_summary import ModelSummary, human_count, summarize


def build(model: Any) -> Any:
    model.embedding = nn.Embedding(5000, 100)
    model.encoder = nn.LSTM(100, 50, bidirectional=True)
    model.head = nn.Sequential(nn.Linear(100, 20), nn.ReLU(), nn.Linear(20, 9))
    model.scale = nn.Parameter(model.head[0].weight.detach()[:3].clone())
    model.embedding.weight.requires_grad = False
    model.head.eval()
    return model


@pytest.mark.parametrize("depth", [-1, 0, 1, 2])
def test_the_summary_is_lightnings_without_flops(depth: int) -> None:
    ours = str(ModelSummary(build(nn.Module()), depth)).splitlines()
    theirs = str(LightningSummary(build(pl.LightningModule()), depth)).splitlines()
    rules = [i for i, line in enumerate(theirs) if set(line) == {"-"}]
    without = [line[: line.rindex(" | ")] if i < rules[1] and i not in rules else line for i, line in enumerate(theirs)]
    ours = ["---" if set(line) == {"-"} else line for line in ours]
    assert ours == ["---" if i in rules else line for i, line in enumerate(without[:-1])]


@given(st.integers(0, 10**17))
def test_counts_are_written_as_lightning_does(n: int) -> None:
    assert human_count(n) == get_human_readable_count(n)


def test_bytes_of_double_precision() -> None:
    assert ModelSummary(nn.Linear(999, 1000), bytes_each=8).model_size == pytest.approx(8.0)


def test_a_depth_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="max_depth: expected -1, 0 or more, got -2"):
        ModelSummary(nn.Linear(1, 1), -2)


def scrambled(base: Any) -> Any:
    """Layers that are made in another order than they run in; one is not used, one is nested, one has no module."""

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Linear(10, 2)
            self.combine = nn.Sequential(nn.Linear(7, 9), nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(9), nn.ReLU()))
            self.first = nn.Linear(3, 5)
            self.unused = nn.Conv2d(1, 1, 1)
            self.scale = nn.Parameter(torch.ones(4))
            self.first.eval()
            self.second.requires_grad_(False)

        def forward(self, x: Any, y: Any) -> Any:
            return self.combine(torch.cat([self.first(x), self.second(y)], 1)), (x, y)

    return Model()


def recurrent(base: Any) -> Any:
    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.rnn = nn.LSTM(4, 3, batch_first=True)
            self.head = nn.Linear(3, 2)

        def forward(self, ids: Any) -> Any:
            return self.head(self.rnn(self.embedding(ids))[0])

    return Model()


def anything(base: Any) -> Any:
    class Takes(nn.Module):
        def forward(self, *given: Any, **named: Any) -> None:
            return None

    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = Takes()

        def forward(self, *given: Any, **named: Any) -> Any:
            return self.layer(*given, **named)

    return Model()


def lazy(base: Any) -> Any:
    class Model(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LazyLinear(5)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    return Model()


EXAMPLES: list[tuple[Any, Any]] = [
    (scrambled, None),
    (scrambled, (torch.rand(2, 3), torch.rand(2, 10))),
    (scrambled, {"x": torch.rand(2, 3), "y": torch.rand(2, 10)}),
    (recurrent, torch.tensor([[1, 2, 3], [4, 5, 6]])),
    (lazy, None),
    (lazy, torch.rand(4, 3)),
    (anything, []),
    (anything, (1, 2, 3)),
    (anything, torch.tensor(0)),
    (anything, {"a": torch.zeros(1, 2)}),
    (anything, torch.zeros(2, 3, 4)),
    (anything, [torch.zeros(2, 3), torch.zeros(4)]),
    (anything, ((torch.zeros(2), "a"), [torch.zeros(1)])),
]
NAMES = (
    "layer_names layer_types in_sizes out_sizes param_nums training_modes total_training_modes total_parameters "
    "trainable_parameters total_layer_params model_size"
).split()


@pytest.mark.parametrize("depth", [-1, 0, 1, 2])
@pytest.mark.parametrize("case", range(len(EXAMPLES)))
def test_what_it_says_of_layers_and_sizes_is_lightnings(case: int, depth: int) -> None:
    make, example = EXAMPLES[case]
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for base, kind in ((training.Task, ModelSummary), (pl.LightningModule, LightningSummary)):
            model = make(base)
            model.example_input_array = example
            summary = kind(model, depth)
            modes = [module.training for module in model.modules()]
            found.append([[getattr(summary, name) for name in NAMES], list(summary.summarize()), modes])
            lines = [line.split(" | ") for line in str(summary).splitlines()]
            cells = [[cell.strip() for i, cell in enumerate(line) if i != 5 or kind is ModelSummary] for line in lines]
            found[-1].append([line for line in cells if len(line) > 4])
    assert found[0] == found[1]


def test_the_example_draws_no_number_and_leaves_the_model_as_it_was() -> None:
    model = scrambled(training.Task)
    model.example_input_array = (torch.rand(2, 3), torch.rand(2, 10))
    model.combine.register_forward_pre_hook(lambda *given: torch.rand(3) is None or None)
    before = torch.get_rng_state(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert summarize(model, 2).in_sizes[0] == [2, 10]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(tensor, before[1][name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_callback_writes_the_sizes_and_the_fit_ends_in_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    ends = []
    for example in (None, torch.ones(2, 3)):

        class Net(training.Task):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(1)
                self.layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))

            def forward(self, x: Any) -> Any:
                return self.layer(x) * torch.rand(1)

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return self(batch).sum()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        task = Net()
        task.example_input_array = example
        for precision in ("32-true", "64-true"):
            settings: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
            trainer = training.Trainer(max_epochs=1, callbacks=training.ModelSummary(), precision=precision, **settings)
            trainer.fit(task, training.FixedBatches([torch.ones(4, 3)] * 2))
            assert ("[2, 3]" in capsys.readouterr().err) == (example is not None)
        ends.append([tensor.tolist() for tensor in task.state_dict().values()])
    assert ends[0] == ends[1]
