"""WeightAveraging and EMAWeightAveraging: a running average of the weights, by torch's AveragedModel. As Lightning 2.6's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument, shown


class WeightAveraging(Callback):
    """Averages the weights; the average is validated, saved in checkpoints, and left in the task at the end.

    Training continues with its own weights; a checkpoint to resume from has both. Before the first
    update there is no average.

    Args:
        device: where the average is; None for the task's.
        use_buffers: whether buffers, such as a batch norm's statistics, are averaged, too; else they are the task's.
        kwargs: for torch's ``AveragedModel``: ``avg_fn`` or ``multi_avg_fn``. Without them, all updates weigh the same.

    Raises:
        ConfigError: for an unknown device, and arguments that ``AveragedModel`` does not take.

    Example:
        >>> from training import WeightAveraging
        >>> class LastEpochs(WeightAveraging):
        ...     def should_update(self, step_idx=None, epoch_idx=None):
        ...         return epoch_idx is not None and epoch_idx >= 8
        >>> averaging = LastEpochs()

    Source: Lightning 2.6's ``WeightAveraging``; Izmailov et al. 2018, "Averaging weights leads to wider optima".
    """

    def __init__(self, device: Any = None, use_buffers: bool = True, **kwargs: Any) -> None:
        self._device, self._use_buffers, self._kwargs = _device(device, type(self).__name__), use_buffers, kwargs
        if unknown := sorted({*kwargs} - {"avg_fn", "multi_avg_fn"}):
            raise ConfigError(f"{type(self).__name__}: expected avg_fn or multi_avg_fn, got {', '.join(unknown)}")
        if len([each for each in kwargs.values() if each is not None]) > 1:
            raise ConfigError(f"{type(self).__name__}: expected avg_fn or multi_avg_fn, got both")
        self._average_model: Any = None
        self._swapped = False
        """Whether the task has the average now, and ``_average_model`` the weights of training."""
        self._latest_update_step = 0
        self._latest_update_epoch = -1

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the average takes in the weights after this step, or this epoch, counted from 0; the other one is None."""
        return step_idx is not None

    @property
    def _has_mean(self) -> bool:
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    # -- hooks ------------------------------------------------------------------------------------------------------------

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if stage == "fit":
            self._average_model, self._swapped = None, False
            self._latest_update_step, self._latest_update_epoch = trainer.global_step, -1

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        self._begin(task)

    def _begin(self, task: Task) -> None:
        """The mean's model, once the task has all its layers: a copy of it."""
        if self._average_model is None:
            device: Any = self._device or task.device
            self._average_model = AveragedModel(task, device, use_buffers=self._use_buffers, **self._kwargs)

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step > self._latest_update_step and self.should_update(step_idx=trainer.global_step - 1):
            self._average_model.update_parameters(task)
            self._latest_update_step = trainer.global_step

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if trainer.current_epoch > self._latest_update_epoch and self.should_update(epoch_idx=trainer.current_epoch):
            self._average_model.update_parameters(task)
            self._latest_update_epoch = trainer.current_epoch

    def on_validation_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        if trainer.fitting and self._has_mean:
            self._swap_models(task)

    def on_validation_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if self._swapped:
            self._swap_models(task)

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        if self._has_mean:
            self._swap_models(task)

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        if self._swapped and trainer.fitting:
            self._swap_models(task)  # an error in a validation leaves the weights of training

    def _swap_models(self, task: Task) -> None:
        """Only the tensors change places: what a checkpoint took of them before stays as it was."""
        for mean, own in zip(_tensors(self._average_model.module), _tensors(task), strict=True):
            mean.data, own.data = own.data.to(mean.device), mean.data.to(own.device)
        self._swapped = not self._swapped

    # -- state ------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._latest_update_step, "latest_update_epoch": self._latest_update_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._latest_update_step = int(state["latest_update_step"])
        self._latest_update_epoch = int(state.get("latest_update_epoch", -1))

    def weights_to_check(self) -> Mapping[str, Tensor]:
        if not self._has_mean:
            return {}
        return {f"the running mean of {name}": mean for name, mean in self._average_model.module.named_parameters()}

    def on_save_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None:
        """The mean takes the place of the weights, which are ``current_model_state``."""
        if not self._has_mean:
            return
        held = dict(self._average_model.module.state_dict())
        weights, mean = (held, checkpoint["state_dict"]) if self._swapped else (checkpoint["state_dict"], held)
        checkpoint["current_model_state"], checkpoint["state_dict"] = dict(weights), dict(mean)
        checkpoint["averaging_state"] = {"n_averaged": self._average_model.n_averaged.clone()}

    def on_load_checkpoint(self, trainer: TrainerView, task: Task, checkpoint: dict[str, Any]) -> None:
        if not trainer.fitting:
            return
        self._begin(task)  # with the weights in the checkpoint, where it holds no mean
        if "current_model_state" in checkpoint and "averaging_state" in checkpoint:
            self._average_model.module.load_state_dict(checkpoint["state_dict"])
            self._average_model.n_averaged.copy_(checkpoint["averaging_state"]["n_averaged"])
            task.load_state_dict(checkpoint["current_model_state"])


class EMAWeightAveraging(WeightAveraging):
    """An exponential moving average of the weights.

    Args:
        device: see WeightAveraging.
        use_buffers: see WeightAveraging.
        decay: the EMA's decay, from 0 to 1.
        update_every_n_steps: the steps after which it is updated; 0 for none.
        update_starting_at_step: the first such step, counted from 0.
        update_starting_at_epoch: from this epoch on, counted from 0, it is updated at each epoch's end, too.
        kwargs: see WeightAveraging.

    Raises:
        ConfigError: for arguments that are not numbers, or out of range.

    Example:
        >>> from training import EMAWeightAveraging
        >>> averaging = EMAWeightAveraging(decay=0.99, update_every_n_steps=5, update_starting_at_step=10)
        >>> [step for step in range(25) if averaging.should_update(step_idx=step)]
        [10, 15, 20]

    Source: Lightning 2.6's ``EMAWeightAveraging``; Polyak & Juditsky 1992.
    """

    def __init__(
        self,
        device: Any = None,
        use_buffers: bool = True,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
        **kwargs: Any,
    ) -> None:
        where = f"{type(self).__name__}: "
        self.decay: float = argument(decay, float, f"{where}decay", least=0, most=1)
        self.update_every_n_steps: int = argument(update_every_n_steps, int, f"{where}update_every_n_steps", least=0)
        self.update_starting_at_step: int | None = argument(
            update_starting_at_step, int | None, f"{where}update_starting_at_step", least=0
        )
        self.update_starting_at_epoch: int | None = argument(
            update_starting_at_epoch, int | None, f"{where}update_starting_at_epoch", least=0
        )
        super().__init__(device, use_buffers, **kwargs, avg_fn=get_ema_avg_fn(self.decay))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is not None and self.update_every_n_steps:
            return step_idx >= (self.update_starting_at_step or 0) and step_idx % self.update_every_n_steps == 0
        first = self.update_starting_at_epoch
        return epoch_idx is not None and first is not None and epoch_idx >= first


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())


def _device(given: Any, owner: str) -> torch.device | None:
    if given is None or isinstance(given, torch.device):
        return given
    if isinstance(given, str | int) and not isinstance(given, bool):
        try:
            return torch.device(given)
        except RuntimeError:
            pass
    raise ConfigError(f"{owner}: device: expected a device such as cpu or cuda, got {shown(given)}")
