"""The optimizer's step: forms of configure_optimizers, the gradient's norm, clipping, schedulers, manual optimization."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.training.toytask import POINTS, Kept, Line, Shuffled, fixed, trainer
from training.data.batches import FixedBatches
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.gradients import SMALL, gradient_norm
from training.loop.optimizers import Scheduler, clear_gradients, configure
from training.loop.schedulers import group_names, optimizer_names

WEIGHTS = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]


def sgd(i: int = 0) -> torch.optim.SGD:
    return torch.optim.SGD([WEIGHTS[i]], lr=0.5)


def step_lr(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1)


def test_every_form_that_lightning_takes() -> None:
    one, two = sgd(), sgd(1)
    scheduler = step_lr(one)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(one)
    for given_, n, m in [
        (one, 1, 0),
        ([one, two], 2, 0),
        ((one, two), 2, 0),
        ([one], 1, 0),
        (([one], [scheduler]), 1, 1),
        (([one], scheduler), 1, 1),
        (([one, two], [scheduler, {"scheduler": step_lr(two), "interval": "step"}]), 2, 2),
        ({"optimizer": one}, 1, 0),
        ({"optimizer": one, "lr_scheduler": scheduler}, 1, 1),
        ({"optimizer": one, "lr_scheduler": {"scheduler": plateau, "interval": "step"}}, 1, 1),
        ({"optimizer": one, "lr_scheduler": plateau, "monitor": "val"}, 1, 1),
        ([{"optimizer": one, "lr_scheduler": scheduler}, {"optimizer": two}], 2, 1),
        (None, 0, 0),
    ]:
        optimizers, schedulers = configure(given_, automatic=False)
        assert (len(optimizers), len(schedulers)) == (n, m)
    assert configure({"optimizer": one, "lr_scheduler": plateau, "monitor": "val"}, True)[1][0].monitor == "val"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "expected one optimizer, got 0"),
        (lambda: [sgd(), sgd(1)], "expected one optimizer, got 2"),
        (lambda: 0.1, "expected an optimizer, .* got float"),
        (lambda: {"lr_scheduler": 1}, "expected an optimizer, .* got dict"),
        (lambda: ([sgd()], [step_lr(sgd())]), "belongs to an optimizer that was not returned"),
        (lambda: ([sgd()], [{"interval": "step"}]), "expected the key 'scheduler'"),
        (lambda: (lambda o: ([o], [{"scheduler": step_lr(o), "interval": "day"}]))(sgd()), "step or epoch, got 'day'"),
        (lambda: (lambda o: ([o], [torch.optim.lr_scheduler.ReduceLROnPlateau(o)]))(sgd()), "needs monitor"),
    ],
)
def test_forms_that_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(make(), automatic=True)


# -- norm and clipping -----------------------------------------------------------------------------------------------

SHAPES = st.lists(st.sampled_from([(), (1,), (7,), (3, 5), (2, 3, 4), (0,), (40, 33)]), min_size=1, max_size=5)


@settings(deadline=None)
@given(SHAPES, st.integers(0, 99))
def test_the_norm_is_torchs_to_the_last_bit(shapes: list[tuple[int, ...]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    assert gradient_norm(gradients) == torch.nn.utils.get_total_norm(gradients).item()


@pytest.mark.parametrize("shape", [(SMALL + 1,), (3000, 50), (2, SMALL + 5), (50, 30, 40)])
def test_the_norm_of_large_tensors_does_not_depend_on_threads(shape: tuple[int, ...]) -> None:
    gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(1)), torch.ones(3)]
    expected = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
    before = torch.get_num_threads()
    found = set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.add(gradient_norm(gradients))
    torch.set_num_threads(before)
    assert len(found) == 1
    assert found.pop() == pytest.approx(expected, rel=1e-6)


def test_the_norm_of_nothing_and_of_sparse_gradients() -> None:
    assert gradient_norm([]) == 0.0
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 0, 2]]), torch.tensor([1.0, 2.0, 4.0]), (5,), check_invariants=True)
    assert gradient_norm([sparse]) == 5.0


@pytest.mark.parametrize("limit", [0.01, 1.0, 100.0])
def test_clipping_by_norm_is_torchs_to_the_last_bit(limit: float) -> None:
    ours, theirs = Line("sgd"), Line("sgd")
    trainer(max_steps=3, gradient_clip_val=limit).fit(ours, Shuffled())
    optimizer = theirs.configure_optimizers()
    made = trainer()
    theirs._trainer, made.session.hook = made, "training_step"
    for i in range(3):
        optimizer.zero_grad()
        theirs.training_step(Shuffled().plan(0)[i], i).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), limit)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_nothing_to_clip_is_no_error(algorithm: str) -> None:
    class Skips(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return None

    task = Skips("sgd")
    before = weights_sha256(task)
    trainer(gradient_clip_val=0.1, gradient_clip_algorithm=algorithm, max_epochs=1).fit(task, fixed())
    assert weights_sha256(task) == before


def test_own_clipping_replaces_the_trainers() -> None:
    class Half(Line):
        def configure_gradient_clipping(
            self,
            optimizer: torch.optim.Optimizer,
            gradient_clip_val: float | None = None,
            gradient_clip_algorithm: str | None = None,
        ) -> None:
            assert (gradient_clip_val, gradient_clip_algorithm) == (0.0, "norm")
            self.clip_gradients(optimizer, 0.001, "value")

    task = Half("sgd")
    trainer(max_steps=1).fit(task, Shuffled())
    moved = [(a - b).abs().max() for a, b in zip(task.parameters(), Line("sgd").parameters(), strict=True)]
    assert max(moved).item() == pytest.approx(0.001 * 0.05, rel=1e-3)


# -- manual optimization ---------------------------------------------------------------------------------------------


class Manual(Line):
    """Two optimizers; the second steps every other batch, with a closure."""

    automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.05) for part in (self.layer, self.out)]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        first, second = self.optimizers()
        first.zero_grad()
        loss = self.loss(batch)
        self.manual_backward(loss)
        first.step()

        def closure() -> Tensor:
            second.zero_grad()
            again = self.loss(batch)
            self.manual_backward(again)
            return again

        if batch_idx % 2:
            assert isinstance(second.step(closure), Tensor)
        return loss


class Told(torch.optim.SGD):
    """Says whether it was given a closure."""

    given: bool | None = None

    def step(self, closure: Any = None) -> Any:
        self.given = closure is not None
        return super().step(closure)


@pytest.mark.parametrize(
    "kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad, torch.optim.RMSprop, Told]
)
def test_where_closures_are_called(kind: Any) -> None:
    """Before the step of those of torch that call it first themselves, and else inside it: the same weights."""

    class Own(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return self.loss(batch)

        def configure_optimizers(self) -> Any:
            return kind(self.parameters(), lr=0.01)

    task = Own()
    trainer(max_epochs=1).fit(task, fixed(4))
    twin = Own()
    optimizer = twin.configure_optimizers()
    for batch in fixed(4).plan(0):

        def closure(batch: Any = batch) -> Any:
            optimizer.zero_grad()
            loss = twin.training_step(batch, 0)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert weights_sha256(task) == weights_sha256(twin)
    if kind is Told:
        assert task.trainer.optimizers[0].given is True


def test_manual_steps_are_counted_for_all_optimizers() -> None:
    seen: list[dict[str, Any]] = []

    class Watched(Manual):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(outputs)

    made = trainer(max_epochs=1)
    made.fit(Watched(), fixed(4))
    assert made.global_step == 4 + 2
    assert all(list(each) == ["loss"] and not each["loss"].requires_grad for each in seen)


@pytest.mark.parametrize("setting", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}])
def test_manual_optimization_clips_and_accumulates_itself(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not possible with automatic_optimization = False"):
        trainer(**setting).fit(Manual(), fixed(4))


def test_what_a_manual_step_may_return() -> None:
    class Returns(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return [None, {"loss": torch.ones(()), "more": 1}, {"more": 1}, 3][batch_idx]

    for n in (1, 2, 3):
        trainer(max_epochs=1).fit(Returns(), fixed(n))
    with pytest.raises(ConfigError, match="expected a loss tensor, a dict or None, got int"):
        trainer(max_epochs=1).fit(Returns(), fixed(4))


def test_what_an_automatic_step_may_return() -> None:
    class Returns(Line):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return [{"more": 1}, 0.5, {"loss": None}][self.which]

        which = 0

    for Returns.which in range(3):
        with pytest.raises(ConfigError, match="expected a loss tensor, a dict with 'loss' or None"):
            trainer().fit(Returns(), fixed(2))


# -- learning rates --------------------------------------------------------------------------------------------------


def test_names_of_learning_rates() -> None:
    one, two, adam = sgd(), sgd(1), torch.optim.Adam([{"params": [w]} for w in WEIGHTS], lr=0.25)
    assert [name for _, name in optimizer_names([one, two, adam], [])] == ["lr-SGD", "lr-SGD-1", "lr-Adam"]
    named = Scheduler(step_lr(two), name="rate")
    assert [name for _, name in optimizer_names([one, two], [named])] == ["rate", "lr-SGD"]
    assert group_names(adam, "lr-Adam") == ["lr-Adam/pg1", "lr-Adam/pg2"]
    adam.param_groups[0]["name"] = "embeddings"
    assert group_names(adam, "lr-Adam") == ["lr-Adam/embeddings", "lr-Adam/pg2"]
    adam.param_groups[1]["name"] = "embeddings"
    with pytest.raises(ConfigError, match="two parameter groups of the optimizer have the same name"):
        group_names(adam, "lr-Adam")


def test_a_plateau_without_its_metric_is_an_error_or_a_warning() -> None:
    class Waiting(Line):
        strict = True

        def configure_optimizers(self) -> Any:
            made = torch.optim.SGD(self.parameters(), lr=0.1)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(made)
            return {"optimizer": made, "lr_scheduler": {"scheduler": plateau, "monitor": "f1", "strict": self.strict}}

    with pytest.raises(ConfigError, match="expected the metric 'f1' to be logged, got loss"):
        trainer().fit(Waiting(), fixed(2))
    Waiting.strict = False
    with pytest.warns(RuntimeWarning, match="the learning rate stays"):
        trainer(max_epochs=1).fit(Waiting(), fixed(2))


# -- what the loop does itself where the task does not do it in another way ------------------------------------------------


def own_way(names: frozenset[str], callback_hooks: frozenset[str]) -> tuple[str, Any]:
    """Weights, and what was logged, of a task that overrides ``names`` to do what is done by default."""

    def override(name: str) -> Callable[..., Any]:
        return lambda self, *arguments, **named: getattr(Line, name)(self, *arguments, **named)

    task = type("Own", (Line,), {name: override(name) for name in names})()
    watch = type("Watch", (Callback,), {name: lambda *_: None for name in callback_hooks})()
    log = Kept()
    made = trainer(watch, accumulate_grad_batches=2, logger=log)
    made.fit(task, Shuffled())
    return weights_sha256(task), (log.lines, made.global_step)


STEPS = ("optimizer_step", "optimizer_zero_grad", "backward", "configure_gradient_clipping")
AROUND = (
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_start",
)


@given(st.frozensets(st.sampled_from(STEPS)), st.frozensets(st.sampled_from(AROUND)))
@settings(max_examples=15, deadline=None)
def test_overridden_to_do_the_same_it_comes_to_the_same(names: Any, callback_hooks: Any) -> None:
    assert own_way(names, callback_hooks) == own_way(frozenset(), frozenset())


class Planned(list[Tensor]):
    """An epoch's batches that say of themselves what plans may say: whether there are just as many."""

    def __init__(self, says: str) -> None:
        super().__init__(POINTS.split(5))
        if says != "nothing":
            self.has = lambda k: k < 4
        if says in ("known", "at most"):
            self.known = says == "known"


@given(st.sampled_from(["nothing", "has", "known", "at most"]), st.sampled_from([1.0, 0.5, 3, 9]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_last_batch_is_known_as_such(says: str, limit: Any, second: bool) -> None:
    class Asks(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            last.append(trainer.is_last_batch)

    last: list[bool] = []
    made = trainer(Asks(), limit_train_batches=limit)
    if second:  # nothing of a fit before counts
        made.fit(Line(), fixed(6))
        made.session.max_epochs, last[:] = 4, []
    made.fit(Line(), FixedBatches(Planned(says)))
    n = 4 if limit in (1.0, 9) else 2 if limit == 0.5 else 3
    assert last == [*[False] * (n - 1), True] * (len(last) // n)
    assert last


class OwnZero(torch.optim.SGD):
    """One that keeps zeros, and counts."""

    cleared = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.cleared += 1
        super().zero_grad(set_to_none=False)


@pytest.mark.parametrize("way", ["torch's", "a class's", "set on one", "profiled"])
def test_gradients_are_cleared_as_the_optimizer_clears_them(way: str) -> None:
    given_ = (OwnZero if way == "a class's" else torch.optim.SGD)([*WEIGHTS, nn.Parameter(torch.ones(1))], lr=0.5)
    calls: list[bool] = []
    if way == "set on one":
        given_.zero_grad = lambda set_to_none=True: calls.append(set_to_none)  # type: ignore[method-assign]
    for each in WEIGHTS:
        each.grad = torch.ones_like(each)
    if way == "profiled":
        with torch.profiler.profile() as profile:
            clear_gradients(given_)
        assert any("zero_grad" in event.key for event in profile.key_averages())
    else:
        clear_gradients(given_)
    found = [None if each.grad is None else each.grad.tolist() for each in WEIGHTS]
    kept = {"a class's": [[0.0, 0.0], [0.0, 0.0, 0.0]], "set on one": [[1.0, 1.0], [1.0, 1.0, 1.0]]}
    assert found == kept.get(way, [None, None])
    assert calls == ([True] if way == "set on one" else [])
    given_.__dict__.pop("zero_grad", None)
    given_.zero_grad(set_to_none=True)
