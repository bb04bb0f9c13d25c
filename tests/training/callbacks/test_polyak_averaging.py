"""The running mean of the weights: its formula, what is validated, tested and kept, and a resume."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.training.toytask import POINTS, Line, Shuffled
from training.callbacks.polyak_averaging import EVERY, PolyakAveraging, kept_share
from training.config import TrainConfig
from training.data.batches import FixedBatches
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.trainer import Trainer

Weights = dict[str, torch.Tensor]


class Watch(Callback):
    """The weights after each step, and those that each validation saw."""

    def __init__(self) -> None:
        self.steps: list[Weights] = []
        self.validated: list[Weights] = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append({name: p.detach().clone() for name, p in task.named_parameters()})

    def on_validation_epoch_end(self, trainer: Any, task: Any) -> None:
        if not trainer.sanity_checking:
            self.validated.append({name: p.detach().clone() for name, p in task.named_parameters()})


def fit(decay: float, epochs: int = 5) -> tuple[Watch, Line]:
    watch, task = Watch(), Line()
    averages = [PolyakAveraging(decay)] if decay else []
    trainer = Trainer(
        TrainConfig(max_epochs=epochs, progress=False, device="cpu"), callbacks=[watch, *averages], logger=False
    )
    trainer.fit(task, Shuffled(), FixedBatches([POINTS]))
    return watch, task


def by_hand(steps: list[Weights], decay: float) -> Weights:
    """The mean after all these steps, in plain Python."""
    mean: Weights = {}
    for number, weights in enumerate(steps, 1):
        if number % EVERY == 0:
            kept = min(decay, (1 + number) / (10 + number)) ** EVERY
            mean = {k: kept * mean[k] + (1 - kept) * w for k, w in weights.items()} if mean else dict(weights)
    return mean


def test_the_mean_is_validated_and_left_behind_and_training_does_not_see_it() -> None:
    watch, task = fit(0.9)
    plain, _ = fit(0.0)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(watch.steps, plain.steps, strict=True) for k in a)
    an_epoch = len(watch.steps) // 5
    for i, seen in enumerate(watch.validated, 1):
        wanted = by_hand(watch.steps[: i * an_epoch], 0.9) or watch.steps[i * an_epoch - 1]
        assert all(torch.allclose(seen[k], wanted[k], atol=1e-6) for k in wanted)
    final = by_hand(watch.steps, 0.9)
    assert all(torch.allclose(p, final[name], atol=1e-6) for name, p in task.named_parameters())
    assert any(not torch.allclose(p, watch.steps[-1][name], atol=1e-4) for name, p in task.named_parameters())


def test_a_state_taken_anywhere_goes_on_to_the_same_mean() -> None:
    config = TrainConfig(max_epochs=5, progress=False, device="cpu")
    _, whole = fit(0.9)

    class TakeState(Callback):
        def __init__(self, at: int, in_validation: bool) -> None:
            self.at, self.in_validation = at, in_validation
            self.state: dict[str, Any] = {}

        def take(self, trainer: Any) -> None:
            if not self.state and trainer.global_step >= self.at:
                self.state = _copied(trainer.state())

        def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
            if not self.in_validation:
                self.take(trainer)

        def on_validation_batch_start(
            self, trainer: Any, task: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if self.in_validation and not trainer.sanity_checking:
                self.take(trainer)

    for at, in_validation in ((0, True), (3, False), (9, False), (14, True), (20, False)):
        taking = TakeState(at, in_validation)
        trainer = Trainer(config, callbacks=[taking, PolyakAveraging(0.9)], keep_going=lambda trainer: None)
        trainer.fit(Line(), Shuffled(), FixedBatches([POINTS]))
        again = Line()
        later = Trainer(config, callbacks=[TakeState(10**9, False), PolyakAveraging(0.9)], keep_going=lambda trainer: None)
        later.fit(again, Shuffled(), FixedBatches([POINTS]), state=taking.state)
        assert all(torch.equal(p, dict(whole.named_parameters())[name]) for name, p in again.named_parameters())


def _copied(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {k: _copied(v) for k, v in state.items()}
    return [_copied(v) for v in state] if isinstance(state, list) else state


def test_a_share_rises_to_the_decay() -> None:
    shares = [kept_share(0.99, step) for step in (8, 80, 800, 8000)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.5**8)
    assert shares[-1] == pytest.approx(0.99**8)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="PolyakAveraging: decay: expected a number between 0 and 1"):
        PolyakAveraging(decay)
