"""Task: a model together with its steps, its optimizer and what it logs. Lightning's LightningModule, without Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from training.loop.finite import check_loss
from training.loop.gradients import clip, clipping
from training.loop.hooks import Hooks
from training.loop.logged_metrics import REDUCTIONS, reduction
from training.loop.view import TrainerView

Outputs = Any  # what a step returns: a loss tensor, a dict with "loss", or None to skip the step


class Task(nn.Module, Hooks):
    """Subclass, and write the steps. Hook names, order and counters are Lightning 2.6's (see training/loop/hooks.py).

    ``automatic_optimization = False`` leaves backward and the optimizer's steps to ``training_step``.

    Example:
        >>> import torch
        >>> from training import FixedBatches, Task, TrainConfig, Trainer
        >>> class Regression(Task):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(3, 1)
        ...     def loss(self, batch):
        ...         x, y = batch  # x: (examples, 3), y: (examples,)
        ...         return (self.layer(x).squeeze(1) - y).square().mean()
        ...     def training_step(self, batch, batch_idx):
        ...         return self.loss(batch)
        ...     def test_step(self, batch, batch_idx):
        ...         self.log("loss", self.loss(batch), batch_size=len(batch[0]))
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters(), lr=0.1)
        >>> batches = FixedBatches([(torch.eye(3), torch.tensor([1.0, 2.0, 4.0]))])
        >>> task, trainer = Regression(), Trainer(TrainConfig(max_epochs=200, device="cpu"))
        >>> trainer.fit(task, batches)
        >>> trainer.test(task, batches, verbose=False)[0]["loss"] < 1e-3
        True

    Source: Lightning 2.6's ``LightningModule``; where this one differs, docs/lightning.md says so.
    """

    automatic_optimization = True
    uses_generators = True
    """Whether its code draws from torch's, NumPy's or Python's global generators, as nn.Dropout does. They are set before
    each batch and each hook from (seed, stage, epoch, batch); one that says no saves that time, some 10 µs a batch."""
    unit = "examples"
    """What ``units`` counts, for the throughput display."""

    def __init__(self) -> None:
        super().__init__()
        self._trainer: TrainerView | None = None

    # -- what a subclass writes ---------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> Outputs:
        """(batch, batch_idx), or (batch): the loss (a scalar tensor), a dict with it as "loss", or None for no step."""
        raise NotImplementedError("training_step")

    def validation_step(self, *args: Any, **kwargs: Any) -> Outputs:
        """(batch, batch_idx), with several sources (batch, batch_idx, dataloader_idx): in eval mode, without gradients."""

    def test_step(self, *args: Any, **kwargs: Any) -> Outputs:
        """As ``validation_step``, in inference mode."""

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """The predictions for one batch, which ``Trainer.predict`` collects. Arguments as of ``validation_step``."""
        return self(args[0])

    def configure_optimizers(self) -> Any:
        """An optimizer; or {"optimizer": …, "lr_scheduler": …, "monitor": …}; or ([optimizers], [schedulers]); or None.

        A scheduler is a torch scheduler or {"scheduler": …, "interval": "epoch" | "step", "frequency": 1, "monitor": …,
        "strict": True, "name": …}.
        """
        return None

    def units(self, batch: Any) -> int:
        """How much work a batch is, in ``unit``."""
        return 1

    def batch_ids(self, batch: Any) -> Any:
        """The ids of what is in the batch (an integer tensor or array), for the ledger; None where there are none."""
        return None

    def ledger_tensors(self) -> Mapping[str, torch.Tensor]:
        """The tensors whose bits stand for the step in the ledger, and which must be finite: the gradients, by parameter.

        A task that makes its gradients itself, without ``backward``, gives those.
        """
        return {name: p.grad for name, p in self.named_parameters() if p.grad is not None}

    # -- what the trainer offers --------------------------------------------------------------------------------------

    @property
    def trainer(self) -> TrainerView:
        """The Trainer that runs this task; RuntimeError before it does."""
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__name__} is not attached to a Trainer: call it from fit, test or predict")
        return self._trainer

    @property
    def current_epoch(self) -> int:
        """Epochs completed."""
        return self._trainer.current_epoch if self._trainer else 0

    @property
    def global_step(self) -> int:
        """Optimizer steps taken."""
        return self._trainer.global_step if self._trainer else 0

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def log(
        self,
        name: str,
        value: torch.Tensor | float | int,
        prog_bar: bool = False,
        logger: bool | None = True,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[..., Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log a scalar. Where neither ``on_step`` nor ``on_epoch`` is given, the calling hook decides, as in Lightning.

        The epoch's mean weighs by ``batch_size``, which must be given for it (Lightning guesses it, and errs). With both,
        the names are ``name_step`` and ``name_epoch``. With several validation sources ``/dataloader_idx_0`` is added to the
        name, unless ``add_dataloader_idx`` says no. The same name with other arguments is a ConfigError. ``reduce_fx`` is
        mean (or avg), sum, min or max, or torch's function of that name. The arguments are Lightning's, in its order; with
        one process, and values without a graph, there is nothing to do for those not named here.
        """
        trainer = self._trainer or self.trainer
        if reduce_fx not in REDUCTIONS:
            reduce_fx = reduction(reduce_fx)
        arguments: Any = (on_step, on_epoch, prog_bar, logger is not False, reduce_fx, add_dataloader_idx)
        trainer.log_value(name, value, batch_size, arguments)

    def log_dict(self, dictionary: Mapping[str, torch.Tensor | float | int], *args: Any, **kwargs: Any) -> None:
        """``log`` for each item of ``dictionary``, with the same arguments."""
        for name, value in dictionary.items():
            self.log(name, value, *args, **kwargs)

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """The optimizer, or the list of them; their ``step`` counts ``global_step``, unless torch's own are asked for."""
        wrapped = list(self.trainer.optimizers)
        found = wrapped if use_pl_optimizer else [each.optimizer for each in wrapped]
        return found[0] if len(found) == 1 else found

    def lr_schedulers(self) -> Any:
        """The scheduler, or the list of them, or None."""
        found = [each.scheduler for each in self.trainer.schedulers]
        return found[0] if len(found) == 1 else found or None

    def manual_backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward with the backward hooks, for manual optimization; NonFiniteError for a loss that is not finite.

        What else is given, such as retain_graph=True, is for ``Tensor.backward``.
        """
        self.trainer.backward(loss, *args, **kwargs)
        self.check_finite(loss)

    def check_finite(self, loss: torch.Tensor) -> None:
        """Stop the run if ``loss`` is not finite; for manual optimization without ``manual_backward``, before the step."""
        check_loss(loss, self.trainer.where)

    # -- what the trainer does by default, and a subclass may do otherwise -------------------------------------------------

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], torch.Tensor | None] | None = None,
    ) -> None:
        """One step of automatic optimization; the closure is training_step, zero_grad and backward."""
        optimizer.step(closure=optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Clears the gradients."""
        optimizer.zero_grad()

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward."""
        loss.backward(*args, **kwargs)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradients, as the settings say."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def clip_gradients(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by norm or by value; 0 does nothing. Left out, both are the Trainer's, which must not be contradicted."""
        norm = clip(optimizer, *clipping(self.trainer.config, gradient_clip_val, gradient_clip_algorithm))
        if norm is not None:
            self.trainer.note_norm(norm)

    def lr_scheduler_step(self, scheduler: Any, metric: float | None) -> None:
        """Steps a scheduler; ``metric`` is the monitored value for ReduceLROnPlateau."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    def on_validation_model_zero_grad(self) -> None:
        """Before a validation inside training: free the gradients."""
        self.zero_grad()

    def on_validation_model_eval(self) -> None:
        """Before validation: to eval mode."""
        self.eval()

    def on_validation_model_train(self) -> None:
        """After validation; where it is not overridden, each module goes back to the mode it was in."""

    def on_test_model_eval(self) -> None:
        """Before the test: to eval mode."""
        self.eval()

    def on_test_model_train(self) -> None:
        """As on_validation_model_train."""

    def on_predict_model_eval(self) -> None:
        """Before prediction: to eval mode."""
        self.eval()

    def on_predict_model_train(self) -> None:
        """As on_validation_model_train."""
