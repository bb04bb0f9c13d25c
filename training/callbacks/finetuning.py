"""BaseFinetuning and BackboneFinetuning: parts of a model are frozen, and trained from some epoch on. As Lightning 2.6's.

A part that comes to training gets a parameter group of its own in the optimizer. Checkpoints say which parameters the
groups hold (see training/loop/parameter_groups.py), so that a resume at any batch finds them again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from training.bar import say
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument

Modules = nn.Module | Iterable[Any]
"""A module, or modules in lists and dicts of any depth."""


class BaseFinetuning(Callback):
    """Base class; implement ``freeze_before_training`` and ``finetune_function``.

    ``configure_optimizers`` runs in between: it takes the parameters that are trained, those with ``requires_grad``.

    Example:
        >>> from training import BaseFinetuning
        >>> class Thaw(BaseFinetuning):
        ...     def freeze_before_training(self, task):
        ...         self.freeze(task.encoder)
        ...     def finetune_function(self, task, epoch, optimizer):
        ...         if epoch == 3:
        ...             self.unfreeze_and_add_param_group(task.encoder, optimizer, lr=1e-4)

    Source: Lightning 2.6's ``BaseFinetuning``. The idea: Howard & Ruder 2018, "Universal language model fine-tuning".
    """

    def freeze_before_training(self, task: Task) -> None:
        """Freeze what is not to be trained from the start on; before ``configure_optimizers``."""
        raise NotImplementedError(f"{type(self).__name__} has no freeze_before_training")

    def finetune_function(self, task: Task, epoch: int, optimizer: Optimizer) -> None:
        """At the start of each epoch, for each optimizer: unfreeze what is to be trained from here on."""
        raise NotImplementedError(f"{type(self).__name__} has no finetune_function")

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        self.freeze_before_training(task)

    def on_train_epoch_start(self, trainer: TrainerView, task: Task) -> None:
        for optimizer in trainer.optimizers:
            self.finetune_function(task, trainer.current_epoch, optimizer)

    # -- for subclasses ---------------------------------------------------------------------------------------------------

    @staticmethod
    def flatten_modules(modules: Modules) -> list[nn.Module]:
        """The modules that have parameters of their own, or no modules in them."""
        parts = modules.values() if isinstance(modules, nn.ModuleDict | dict) else modules
        if isinstance(parts, Iterable):  # nn.Sequential and nn.ModuleList, too
            flat = [each for part in parts for each in BaseFinetuning.flatten_modules(part)]
        else:
            flat = list(parts.modules())
        return [each for each in flat if each._parameters or not list(each.children())]

    @staticmethod
    def filter_params(modules: Modules, train_bn: bool = True, requires_grad: bool = True) -> Iterator[nn.Parameter]:
        """The parameters that are trained, or with ``requires_grad`` False are not; without ``train_bn`` no batch norm's."""
        for module in BaseFinetuning.flatten_modules(modules):
            if train_bn or not isinstance(module, _BatchNorm):
                yield from (each for each in module.parameters(recurse=False) if each.requires_grad == requires_grad)

    @staticmethod
    def make_trainable(modules: Modules) -> None:
        """Their parameters are trained; batch norms follow the batches' statistics again."""
        for module in BaseFinetuning.flatten_modules(modules):
            _train(module, True)

    @staticmethod
    def freeze_module(module: nn.Module) -> None:
        """The module's own parameters are not trained; a batch norm keeps its statistics."""
        _train(module, False)

    @staticmethod
    def freeze(modules: Modules, train_bn: bool = True) -> None:
        """Their parameters are not trained, but for those of batch norms, unless ``train_bn`` is False."""
        for module in BaseFinetuning.flatten_modules(modules):
            _train(module, train_bn and isinstance(module, _BatchNorm))

    @staticmethod
    def filter_on_optimizer(optimizer: Optimizer, params: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Those that the optimizer does not have yet; a warning where it has some."""
        given, own = list(params), {id(each) for group in optimizer.param_groups for each in group["params"]}
        fresh = [each for each in given if id(each) not in own]
        if len(fresh) < len(given):
            warnings.warn(
                f"finetuning: {len(given) - len(fresh)} of {len(given)} parameters are in the optimizer already, and stay "
                "in their group; in configure_optimizers, give it only those with requires_grad",
                stacklevel=3,
            )
        return fresh

    @staticmethod
    def unfreeze_and_add_param_group(
        modules: Modules,
        optimizer: Optimizer,
        lr: float | None = None,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
    ) -> None:
        """Train ``modules`` from here on, in a parameter group of their own.

        Args:
            modules: a module, or several.
            optimizer: what is to train them.
            lr: their learning rate; None for that of the first group ÷ ``initial_denom_lr``.
            initial_denom_lr: see ``lr``.
            train_bn: whether batch norms' parameters are trained, too.
        """
        BaseFinetuning.make_trainable(modules)
        rate = optimizer.param_groups[0]["lr"] / initial_denom_lr if lr is None else float(lr)
        found = BaseFinetuning.filter_params(modules, train_bn=train_bn)
        if fresh := BaseFinetuning.filter_on_optimizer(optimizer, found):
            optimizer.add_param_group({"params": fresh, "lr": rate})


def multiplicative(epoch: int) -> float:
    """Twice the learning rate in each epoch."""
    return 2.0


class BackboneFinetuning(BaseFinetuning):
    """Freezes the task's ``backbone``, and trains it from a given epoch on, at first with a low learning rate.

    Args:
        unfreeze_backbone_at_epoch: the first epoch in which it is trained.
        lambda_func: maps the number of the next epoch to the factor of its learning rate.
        backbone_initial_ratio_lr: its first learning rate, as a share of that of the optimizer's first group.
        backbone_initial_lr: its first learning rate, instead of a share.
        should_align: whether its learning rate stays at most that of the first group.
        initial_denom_lr: accepted and ignored, as in Lightning.
        train_bn: whether its batch norms' parameters are trained.
        verbose: print both learning rates to standard error from that epoch on.
        rounding: to how many decimals.

    Raises:
        ConfigError: for arguments that are not numbers; in the fit, for a task without a module called ``backbone``.

    Example:
        >>> from training import BackboneFinetuning
        >>> callback = BackboneFinetuning(unfreeze_backbone_at_epoch=4, lambda_func=lambda epoch: 1.5)

    Source: Lightning 2.6's ``BackboneFinetuning``.
    """

    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = multiplicative,
        backbone_initial_ratio_lr: float = 0.1,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
        verbose: bool = False,
        rounding: int = 12,
    ) -> None:
        where = "BackboneFinetuning: "
        self.unfreeze_backbone_at_epoch: int = argument(
            unfreeze_backbone_at_epoch, int, f"{where}unfreeze_backbone_at_epoch", least=0
        )
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr: float = argument(
            backbone_initial_ratio_lr, float, f"{where}backbone_initial_ratio_lr", least=0
        )
        self.backbone_initial_lr: float | None = argument(
            backbone_initial_lr, float | None, f"{where}backbone_initial_lr", least=0
        )
        self.initial_denom_lr: float = argument(initial_denom_lr, float, f"{where}initial_denom_lr", above=0)
        self.rounding: int = argument(rounding, int, f"{where}rounding", least=0)
        self.should_align, self.train_bn, self.verbose = should_align, train_bn, verbose
        self.previous_backbone_lr: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"previous_backbone_lr": self.previous_backbone_lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.previous_backbone_lr = state["previous_backbone_lr"]

    def freeze_before_training(self, task: Task) -> None:
        self.freeze(_backbone(task))

    def finetune_function(self, task: Task, epoch: int, optimizer: Optimizer) -> None:
        first = optimizer.param_groups[0]["lr"]
        due, before = self.unfreeze_backbone_at_epoch, self.previous_backbone_lr
        if epoch == due or (epoch > due and before is None):  # or a fit that goes on from a checkpoint without this callback
            given = self.backbone_initial_lr
            rate = first * self.backbone_initial_ratio_lr if given is None else given
            self.unfreeze_and_add_param_group(_backbone(task), optimizer, rate, train_bn=self.train_bn)
        elif epoch > due and before is not None:
            rate = self.lambda_func(epoch + 1) * before
            rate = min(rate, first) if self.should_align else rate
            optimizer.param_groups[-1]["lr"] = rate
        else:
            return
        self.previous_backbone_lr = rate
        if self.verbose:
            say(f"BackboneFinetuning: lr {round(first, self.rounding)}, of the backbone {round(rate, self.rounding)}")


def _backbone(task: Task) -> nn.Module:
    backbone = getattr(task, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(
            f"BackboneFinetuning: expected {type(task).__name__} to have a module called backbone, got "
            f"{type(backbone).__name__ if backbone is not None else 'none'}"
        )
    return backbone


def _train(module: nn.Module, trained: bool) -> None:
    """Whether the module's own parameters are trained, and a batch norm's statistics follow the batches."""
    if isinstance(module, _BatchNorm):
        module.track_running_stats = trained
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad = trained
