"""A running mean of the weights, which is what is validated, kept and tested; training itself goes on with its own.

Polyak & Juditsky 1992, with exponentially falling weights as Lightning's EMAWeightAveraging has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument

EVERY = 8  # steps between two updates, each worth as many: the mean hardly differs, and costs an eighth


def kept_share(decay: float, step: int) -> float:
    """How much of the mean an update at ``step`` keeps: min(decay, (1 + step) / (10 + step)) to the power EVERY.

    The second is TensorFlow's, for the beginning: the first weights are soon forgotten. Products only: the power function of
    the C library is not the same everywhere.
    """
    return math.prod([min(decay, (1 + step) / (10 + step))] * EVERY)


class PolyakAveraging(Callback):
    """Averages the weights exponentially (EMA), validates the average, and leaves it in the task at the end.

    It comes after the callbacks that write checkpoints, if it is given after them: the best weights are then averaged ones.
    A checkpoint to resume from holds both.

    Args:
        decay: the EMA's decay, between 0 and 1; smaller at the beginning, so that the first weights are soon
            forgotten (see ``kept_share``). 0.999 is a mean over about the last thousand steps.

    Raises:
        ConfigError: for a decay that is not a number between 0 and 1.

    Example:
        >>> from training import TrainConfig, Trainer, PolyakAveraging
        >>> trainer = Trainer(TrainConfig(device="cpu"), callbacks=PolyakAveraging(0.999))

    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; Lightning 2.6's
    ``EMAWeightAveraging``.
    """

    last = True

    def __init__(self, decay: float) -> None:
        self.decay: float = argument(decay, float, "PolyakAveraging: decay", above=0, below=1)
        self.mean: dict[str, Tensor] = {}
        self.inside = False
        """Whether the task has the mean now, and ``mean`` the weights of training."""

    def state_dict(self) -> dict[str, Any]:
        return {"mean": dict(self.mean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.inside = dict(state["mean"]), False

    def weights_to_check(self) -> Mapping[str, Tensor]:
        return {f"the running mean of {name}": mean for name, mean in self.mean.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.accumulating or trainer.global_step % EVERY:
            return
        weights = {name: p.detach() for name, p in task.named_parameters() if p.requires_grad}
        if not self.mean:
            self.mean = {name: weight.clone() for name, weight in weights.items()}
            return
        means = [self.mean[name].to(weight.device) for name, weight in weights.items()]
        torch._foreach_lerp_(means, list(weights.values()), 1.0 - kept_share(self.decay, trainer.global_step))
        self.mean = dict(zip(weights, means, strict=True))

    def on_validation_start(self, trainer: TrainerView, task: Task) -> None:
        if trainer.fitting and self.mean:
            self._exchange(task)

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if self.inside:
            self._exchange(task)

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        if self.mean:
            self._exchange(task)

    def _exchange(self, task: Task) -> None:
        """Only the tensors change places: what a checkpoint took of them before stays as it was."""
        for name, parameter in task.named_parameters():
            if name in self.mean:
                parameter.data, self.mean[name] = self.mean[name].to(parameter.device), parameter.data
        self.inside = not self.inside
