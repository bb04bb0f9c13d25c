"""Manual optimization with shards: the steps are those of the whole batch, and the same for any number of processes."""

from __future__ import annotations

import hashlib
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from tests.together import same_in_all, together
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.determinism import portable
from training.determinism.unkept import Unkept
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.task import Task
from training.loop.trainer import Trainer

# Not imported: a module of examples/ would count as code of each program there that this process is forked for.
_OF_GAN = runpy.run_path(str(Path(__file__).resolve().parents[2] / "examples" / "gan.py"), run_name="gan")
GAN, ring = _OF_GAN["GAN"], _OF_GAN["ring"]


class ByHand(Task):
    """A small network whose steps are taken by hand, in one of several ways."""

    def __init__(self, how: str, draws: bool = True) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.how = how
        made = torch.Generator().manual_seed(1)
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 1)
        self.norm: nn.Module = nn.BatchNorm1d(5) if draws else nn.Identity()
        self.drop = nn.Dropout(0.3 if draws else 0.0)
        self.table = nn.Embedding(7, 5, sparse=how == "sparse")
        self.made: Any = None
        self.norms: list[float] = []
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=made) * 0.4)

    def forward(self, batch: Tensor) -> Tensor:
        rows = self.table((batch[:, 0].abs() * 3).long().clamp(max=6))
        found: Tensor = self.second(self.drop(self.norm(torch.tanh(self.first(batch))) + rows)).squeeze(1)
        return found

    def loss(self, batch: Tensor) -> Tensor:
        loss: Tensor = (self(batch) - batch.sum(1)).square().mean()
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        result: Any = getattr(self, self.how)(batch, batch_idx)
        return result

    def plain(self, batch: Tensor, batch_idx: int) -> Tensor:
        optimizer, loss = self.optimizers(), self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, 0.5, "norm")
        optimizer.step()
        self.lr_schedulers().step()
        self.log("loss", loss, on_epoch=True)
        return loss.detach()

    sparse = plain

    def accumulates(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        optimizer, loss = self.optimizers(), self.loss(batch)
        self.manual_backward(loss / 2)
        if batch_idx % 2:
            optimizer.step()
            self.zero_grad()
        self.log("loss", loss)
        return {"rows": batch[:, 0]}

    def twice(self, batch: Tensor, batch_idx: int) -> None:
        """Several steps in one; what the first half has made, the second half reads."""
        optimizer = self.optimizers()
        for _ in range(2):
            self.made = self(batch)
            optimizer.zero_grad()
            self.manual_backward((self.made - batch.sum(1)).square().mean())
            optimizer.step()
            self.log("size", self.made.detach().abs().mean() + torch.rand(()))
        optimizer.step()  # with the gradients that are there

    def closure(self, batch: Tensor, batch_idx: int) -> None:
        optimizer = self.optimizers()

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(batch)
            self.manual_backward(loss)
            return loss

        self.log("answer", optimizer.step(closure))

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.norms.append(float(sum(p.grad.to_dense().square().sum() for p in self.parameters() if p.grad is not None)))

    def on_train_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        if outputs:
            self.norms.append(float(next(iter(outputs.values())).sum()))

    def configure_optimizers(self) -> Any:
        if self.how == "closure":
            return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)
        kind = {"accumulates": torch.optim.Adam, "sparse": torch.optim.SGD}.get(self.how, torch.optim.SGD)
        made = kind(self.parameters(), lr=0.05)
        return [made], [torch.optim.lr_scheduler.StepLR(made, 2, 0.7)]


class Lines:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, sorted(metrics.items())))


SIZES = (16, 16, 8, 16, 3)  # the last leaves shards empty, or with one example


def batches(sizes: tuple[int, ...] = SIZES) -> FixedBatches:
    drawn = torch.Generator().manual_seed(3)
    return FixedBatches([torch.randn(size, 3, generator=drawn) for size in sizes])


def fitted(make: Callable[[], Task], shards: int, source: Any = None) -> tuple[str, Any, Any]:
    task, lines = make(), Lines()
    config = TrainConfig(max_epochs=2, device="cpu", shards=shards, seed=5, progress=False, log_every_n_steps=1)
    Trainer(config, logger=[lines]).fit(task, source or batches())
    held = hashlib.sha256()
    for p in task.parameters():
        held.update(b"-" if p.grad is None else p.grad.to_dense().numpy().tobytes())
    return weights_sha256(task), getattr(task, "norms", None), held.hexdigest()


HOW = ["plain", "sparse", "accumulates", "twice", "closure"]


@pytest.mark.parametrize("how", HOW)
def test_the_same_for_any_number_of_processes(how: str) -> None:
    sizes = SIZES if how != "twice" else (16, 8)
    make = lambda: fitted(lambda: ByHand(how, draws=True), 4, batches(tuple(each * 4 for each in sizes)))  # noqa: E731
    alone = same_in_all(make, 1)
    assert [same_in_all(make, world) for world in (4,)] == [alone]


def test_the_gan_is_the_same_for_any_number_of_processes() -> None:
    def train() -> Any:
        torch.manual_seed(0)
        source = torch.utils.data.DataLoader(ring(200, seed=1), batch_size=64, shuffle=True)
        return fitted(GAN, 8, source)

    alone = same_in_all(train, 1)
    assert [same_in_all(train, world) for world in (2, 8)] == [alone, alone]


@pytest.mark.parametrize("how", HOW)
def test_a_batch_in_shards_is_the_batch_as_a_whole(how: str) -> None:
    """But for rounding: nothing is drawn, and the norms of the gradients at each step are those of the whole batch."""

    def train(shards: int) -> Any:
        task = ByHand(how, draws=False)
        Trainer(TrainConfig(max_epochs=2, device="cpu", shards=shards, progress=False), logger=False).fit(task, batches())
        return torch.cat([p.detach().flatten() for p in task.parameters()]), torch.tensor(task.norms)

    (one, norms), (eight, others) = train(1), train(8)
    assert torch.allclose(one, eight, atol=2e-5), (one - eight).abs().max()
    assert torch.allclose(norms, others, rtol=2e-3, atol=1e-4)


class Program(Task):
    """Two networks with an optimizer each, and a step made of random acts."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        drawn = random.Random(seed)
        self.acts = [(drawn.choice(ACTS), drawn.randrange(2), drawn.random()) for _ in range(drawn.randint(3, 9))]
        made = torch.Generator().manual_seed(seed)
        self.nets = nn.ModuleList([nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))])
        self.heard: list[float] = []
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=made) * 0.4)

    def loss(self, batch: Tensor) -> Tensor:
        a, b = (net(batch).squeeze(1) for net in self.nets)
        loss: Tensor = (a * a.detach().cos() + b - batch.sum(1)).square().mean() + (a * b).mean() / 3
        return loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        for act, number, chance in self.acts:
            optimizer, scheduler = self.optimizers()[number], self.lr_schedulers()[number]
            if act == "backward":
                loss = self.loss(batch)
                self.manual_backward(loss)
            elif act == "toggled":
                with self.toggled_optimizer(optimizer):
                    loss = self.loss(batch)
                    self.manual_backward(loss)
            elif act == "step":
                optimizer.step()
            elif act == "zero":
                optimizer.zero_grad(set_to_none=chance < 0.7)
            elif act == "zero all":
                self.zero_grad()
            elif act == "clip":
                self.clip_gradients(optimizer, 0.1 + chance, "norm" if chance < 0.7 else "value")
            elif act == "schedule":
                scheduler.step()
            self.log(act, loss, on_step=True, on_epoch=True)
        return loss.detach()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.heard.append(
            float(sum(p.grad.abs().sum() for g in optimizer.param_groups for p in g["params"] if p.grad is not None))
        )

    def on_train_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        self.heard += [float(outputs["loss"]), *(float(p.grad.sum()) for p in self.parameters() if p.grad is not None)]

    def configure_optimizers(self) -> Any:
        made = [torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5) for net in self.nets]
        return made, [torch.optim.lr_scheduler.ExponentialLR(each, 0.8) for each in made]


ACTS = ["backward", "backward", "toggled", "step", "step", "zero", "zero all", "clip", "schedule"]


def programs(shards: int, seeds: int) -> list[tuple[Tensor, list[float], list[bool], dict[str, float]]]:
    found = []
    for seed in range(seeds):
        task = Program(seed)
        config = TrainConfig(max_epochs=1, device="cpu", shards=shards, progress=False)
        trainer = Trainer(config, logger=False)
        trainer.fit(task, batches((16, 13, 2, 16)))
        weights = torch.cat([p.detach().flatten() for p in task.parameters()])
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        found.append((weights, task.heard, [p.grad is None for p in task.parameters()], logged))
    return found


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_steps_of_random_acts_are_those_of_the_whole_batch() -> None:
    for one, eight in zip(programs(1, 12), programs(8, 12), strict=True):
        torch.testing.assert_close(one[0], eight[0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(torch.tensor(one[1]), torch.tensor(eight[1]), atol=1e-4, rtol=1e-3)
        assert one[2] == eight[2]
        assert one[3].keys() == eight[3].keys()
        for name, value in one[3].items():
            assert eight[3][name] == pytest.approx(value, rel=1e-3, abs=1e-5)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_steps_of_random_acts_are_the_same_for_any_number_of_processes() -> None:
    def run() -> list[Any]:
        return [(each[0].numpy().tobytes(), *each[1:]) for each in programs(4, 8)]

    assert same_in_all(run, 4) == same_in_all(run, 1)


class Modes(ByHand):
    """Its parts run in threads: torch keeps modes and settings for each thread."""

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        assert _get_current_dispatch_mode_stack()
        assert torch.get_num_threads() == 1
        assert torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
        return super().training_step(batch, batch_idx)


def test_modes_and_settings_hold_in_each_part() -> None:
    config = TrainConfig(max_epochs=1, device="cpu", shards=4, progress=False, precision="bf16-mixed")
    trainer = Trainer(config, logger=False)
    with portable.portably(Unkept()):
        trainer.fit(Modes("plain", draws=False), batches())
    assert trainer.global_step == len(SIZES)


class Wrong(ByHand):
    """Does by itself what is done once for all."""

    def plain(self, batch: Tensor, batch_idx: int) -> Any:
        return None

    def direct(self, batch: Tensor, batch_idx: int) -> None:
        self.loss(batch).backward()

    def raw(self, batch: Tensor, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        self.optimizers(use_pl_optimizer=False).step()

    def scheduled(self, batch: Tensor, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        self.optimizers().step()
        self.trainer.schedulers[0].scheduler.step()

    def differing(self, batch: Tensor, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        if self.shard == (0,):
            self.optimizers().step()

    def toggled(self, batch: Tensor, batch_idx: int) -> None:
        self.second.requires_grad_(False)

    def fails(self, batch: Tensor, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        self.optimizers().step()
        if self.shard == (3,):
            raise ValueError("in shard 3")

    def listed(self, batch: Tensor, batch_idx: int) -> None:
        self.norms.append(1.0)


SAID = {
    "direct": "expected self.manual_backward(loss)", "raw": "expected weights to change in a step",
    "scheduled": "expected schedulers to be stepped as self.lr_schedulers() gives them",
    "differing": "got a step of optimizer 0 in shard 0, and its end in shard 1", "toggled": "expected untoggle_optimizer",
    "fails": "in shard 3", "listed": "it changes task.norms, and with shards each process",
}  # fmt: skip


@pytest.mark.parametrize("how", list(SAID))
def test_what_a_shard_may_not_do_by_itself_is_refused(how: str) -> None:
    for world in (1, 2):
        errors = together(lambda: fitted(lambda: Wrong(how), 4, batches((16, 16, 16))), world)
        assert all(SAID[how] in str(each) for each in errors), errors
        assert {type(each) for each in errors} == {ValueError if how == "fails" else ConfigError}
