"""Watch: what it keeps is what a callback of one's own sees, and it changes no bit."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training import Callback, FixedBatches, Task, TrainConfig, Trainer, Watch
from training.callbacks.watch import _is_empty
from training.digest import weights_sha256
from training.errors import ConfigError

BATCHES = [torch.randn(6, 3, generator=torch.Generator().manual_seed(i)) for i in range(7)]


class Net(Task):
    """Two layers, one of them called twice; ``manual`` steps by hand, each layer's weights with an optimizer of its own."""

    second: Any

    def __init__(self, *, manual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(3, 3)
        self.second = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.automatic_optimization = not manual

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.second(self.first(self.first(batch))).square().mean() + self.second[0].weight.square().sum()
        if not self.automatic_optimization:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return torch.optim.SGD(self.parameters(), lr=0.01)
        return [torch.optim.SGD(each.parameters(), lr=0.01) for each in (self.first, self.second)]


class Live(Callback):
    """What a user would write: gradients and weights of each batch, as they are."""

    def __init__(self) -> None:
        self.gradients: dict[tuple[int, int], Tensor] = {}
        self.weights: dict[tuple[int, int], Tensor] = {}
        self.losses: dict[tuple[int, int], float] = {}

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        self.weights[trainer.current_epoch, batch_idx] = task.second[0].weight.detach().clone()

    def on_before_optimizer_step(self, trainer: Any, task: Any, optimizer: Any) -> None:
        if any(p is task.second[0].weight for group in optimizer.param_groups for p in group["params"]):
            self.gradients[trainer.current_epoch, trainer.batch_idx] = task.second[0].weight.grad.clone()

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses[trainer.current_epoch, batch_idx] = float(outputs["loss"])


def fit(task: Net, *callbacks: Callback, **settings: Any) -> str:
    config = TrainConfig(max_epochs=2, progress=False, **settings)
    Trainer(config, callbacks=list(callbacks), logger=False, enable_checkpointing=False, enable_model_summary=False).fit(
        task, FixedBatches(BATCHES)
    )
    return weights_sha256(task)


@pytest.mark.parametrize("case", range(9))
def test_it_keeps_what_a_callback_of_ones_own_sees(case: int) -> None:
    rng = random.Random(case)
    manual = case % 3 == 2
    settings: dict[str, Any] = {}
    if not manual:
        settings = {"accumulate_grad_batches": rng.choice([1, 2, 3]), "gradient_clip_val": rng.choice([0.0, 0.1])}
    first = rng.randint(1, 4)
    last = rng.randint(first, 5)
    names = ["batch", "loss", "gradient_norm", "second.0.weight", "0.weight.grad", "first", "second.0.weight[1, 0:2]"]
    watch, live = Watch(names, first, last), Live()
    assert fit(Net(manual=manual), watch, live, **settings) == fit(Net(manual=manual), **settings)
    assert watch.found
    steps = {each.step for each in watch.found}
    assert {step for step in range(first, last + 1) if not manual or step % 2 == 0} <= steps
    for each in watch.found:
        place = each.epoch, each.batch
        assert first - 1 <= each.step <= last + manual
        assert each.values["loss"] == live.losses[place]
        assert torch.equal(each.values["second.0.weight"], live.weights[place])
        assert torch.equal(each.values["second.0.weight[1, 0:2]"], live.weights[place][1, 0:2])
        gradient = each.values["0.weight.grad"]
        assert (gradient is None) == (place not in live.gradients)
        assert gradient is None or torch.equal(gradient, live.gradients[place])
        assert [tuple(output.shape) for output in each.values["first"]] == [(6, 3), (6, 3)]
        assert any("6×3 float32" in line for line in each.values["batch"])
        assert (each.values["gradient_norm"] is None) == (gradient is None)
        assert len(each.lines()) >= len(names)
    assert not Net()._forward_hooks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("second.0.wieght.grad", "the nearest are second.0.weight.grad"),
        ("frist", "the nearest are first"),
        ("weight", "which may be first.weight, second.0.weight, second.1.weight"),
        ("zzzzzz", "there are batch, loss, gradient_norm"),
        ("", "there are batch"),
        ("first.weight[7]", "expected indices within 3×3"),
        ("first.weight.grad[0,0,0]", "expected indices within 3×3"),
        ("batch[0]", "expected a name that the model has, got 'batch[0]'"),
        *(
            (f"first.weight[{index}]", "expected indices such as [0], [2:5] or [0,2:5]")
            for index in (
                "x",
                "",
                "1:2:0",
                "0:3:1",
                "1 2",
                "-",
                "-:2",
                "0,",
                ",0",
                "0;1",
                "0.5",
                "²",
                "9" * 5000,
                "0][1",
                "::",
            )
        ),
        *(
            (f"first.weight[{index}]", "expected a range with something in it")
            for index in ("2:2", "2:1", ":0", "0:0", "-1:0", "-1:-1", "-1:-2", "0:1,2:1")
        ),
        *(
            (f"first.weight[{index}]", "expected indices within 3×3, got others")
            for index in ("3:", "7:9", ":-3", "2:-1", "0:1,3:5", "999999999999999", "-4", "0,-4", "0,0,0")
        ),
    ],
)
def test_a_name_that_is_not_there_is_refused_before_anything_is_trained(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        fit(Net(), Watch([name]))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_range_is_empty_where_pythons_is_at_any_size() -> None:
    for first, end in itertools.product([None, *range(-4, 5)], repeat=2):
        somewhere = any(range(size)[first:end] for size in range(20))
        assert _is_empty(first or 0, end) == (not somewhere), (first, end)


def test_all_that_modules_return_has_a_text() -> None:
    """Tuples, mappings, what is no tensor, and every type of numbers."""

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Any:
            wide = x.new_zeros(9)
            more = {str(kind): wide.to(kind) for kind in (torch.bool, torch.int8, torch.bfloat16, torch.complex64)}
            return x, [more, None, "text", torch.eye(3).to_sparse(), wide[:0], x.sum().to(torch.bfloat16)]

    class Holds(Net):
        def __init__(self) -> None:
            super().__init__()
            self.odd = Odd()

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return super().training_step(self.odd(batch)[0], batch_idx)

    watch = Watch(["odd"], last_step=1)
    fit(Holds(), watch)
    lines = watch.found[0].lines()
    assert len(lines) == 10
    assert all("bits" in line for line in lines if "float" in line or "int8" in line)
