"""Task: a model together with its steps, its optimizer and what it logs. Lightning's LightningModule, without Lightning."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from training.bar import is_first
from training.data.cut import count_examples, cut_evenly
from training.data.tensors import as_tensors, described
from training.digest import checksum, weights_sha256
from training.errors import ConfigError
from training.hyperparameters import HyperparametersMixin, check_not_offered
from training.loop.finite import check_loss
from training.loop.gradients import clip, clipping
from training.loop.hooks import Hooks
from training.loop.load_task import ClassOnly, load_task
from training.loop.logged_metrics import REDUCTIONS, reduction
from training.loop.view import TrainerView

Outputs = Any  # what a step returns: a loss tensor, a dict with "loss", or None to skip the step
TaskT = TypeVar("TaskT", bound="Task")


class Task(nn.Module, Hooks, HyperparametersMixin):
    """Base class; implement the steps. Hook names, order and counters are Lightning 2.6's (see training/loop/hooks.py).

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
        >>> task, trainer = Regression(), Trainer(TrainConfig(max_epochs=200, device="cpu"), logger=False)
        >>> trainer.fit(task, batches)
        >>> trainer.test(task, batches, verbose=False)[0]["loss"] < 1e-3
        True

    Source: Lightning 2.6's ``LightningModule``; where this one differs, docs/lightning.md says so.
    """

    automatic_optimization = True
    uses_generators = True
    """Whether its code draws from torch's, NumPy's or Python's global generators, as nn.Dropout does. They are set before
    each batch and each hook from (seed, stage, epoch, batch); one that says no saves that time, some 10 µs a batch."""
    example_input_array: Any = None
    """What ``forward`` takes: a tensor, a tuple or a dict of them; for users' own tools."""
    keeps_attributes = True
    """Whether plain attributes that change in training stand in checkpoints: lists of outputs, counters. One whose own hooks
    keep what it needs says no."""
    cuts_batches = True
    """Whether a training batch may be cut into shards; one that shares its work among processes in its own way says no."""
    unit = "examples"
    """What ``units`` counts, for the throughput display."""

    def __init__(self) -> None:
        super().__init__()
        self._trainer: TrainerView | None = None
        self._strict_loading: bool | None = None
        self._toggled: dict[nn.Parameter, bool] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy, and what pickle writes, belongs to no Trainer."""
        return {**self.__dict__, "_trainer": None, "_toggled": {}}

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

    def cut_batch(self, batch: Any, shards: int) -> Sequence[Any]:
        """``batch`` in this many parts, which are trained on separately; None for an empty part.

        A function of the batch alone. By default it is cut evenly along the first dimension of its tensors.
        """
        return cut_evenly(batch, shards)

    def fold_shards(self, outputs: dict[str, Any], batch: Any) -> None:
        """After the last shard of ``batch``, and before the step: for what the task counts for itself.

        In ``outputs`` is what training_step returned for the shards: "loss", that of the whole batch; tensors with a row an
        example, put together; else a list with a value of each shard.
        """

    def loss_count(self, batch: Any) -> int:
        """What the loss of ``batch``, or of a part of one, is a mean over: by default its examples."""
        return count_examples(batch)

    def units(self, batch: Any) -> int:
        """How much work a batch is, in ``unit``."""
        return 1

    def batch_ids(self, batch: Any) -> Any:
        """The ids of what is in the batch (an integer tensor or array), for the ledger; None where there are none.

        The ledger then has the indices of the batch's items, where a DataLoader of an indexed data set made it.
        """
        return None

    def describe_batch(self, batch: Any) -> Sequence[str]:
        """What is in the batch, a line each, for people who ask (``Watch``).

        By default the indices of its items, where a DataLoader of an indexed data set made it, and the sizes of its tensors.
        """
        indices = self.trainer.batch_indices
        items = [] if indices is None else [f"items {', '.join(map(str, indices))}"]
        return [*items, *described(batch)]

    def ledger_tensors(self) -> Mapping[str, torch.Tensor]:
        """The tensors whose bits stand for the step in the ledger, and which must be finite: the gradients, by parameter.

        A task that makes its gradients itself, without ``backward``, gives those.
        """
        return {name: p.grad for name, p in self.named_parameters() if p.grad is not None}

    def ledger_digests(self) -> Mapping[str, str]:
        """The checksums of ``ledger_tensors``, by name. If several processes hold parts of them, it covers the whole."""
        return {name: f"{checksum(tensor):016x}" for name, tensor in self.ledger_tensors().items()}

    def weights_digest(self) -> str:
        """The SHA-256 of the weights. If several processes hold parts of them, it covers the whole."""
        return weights_sha256(self)

    # -- what the trainer offers --------------------------------------------------------------------------------------

    @property
    def trainer(self) -> TrainerView:
        """The Trainer that runs this task; RuntimeError before it does."""
        if self._trainer is None:
            raise RuntimeError(f"{type(self).__name__} is not attached to a Trainer: call it from fit, test or predict")
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: TrainerView | None) -> None:
        """Of the tasks that are parts of this one, too."""
        for module in self.modules():
            if isinstance(module, Task):
                module._trainer = trainer

    @property
    def current_epoch(self) -> int:
        """Epochs completed."""
        return self._trainer.current_epoch if self._trainer else 0

    @property
    def global_step(self) -> int:
        """Optimizer steps taken."""
        return self._trainer.global_step if self._trainer else 0

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine."""
        return self._trainer.local_rank if self._trainer else 0

    @property
    def global_rank(self) -> int:
        """The number of this process among those that share the work."""
        return self._trainer.global_rank if self._trainer else 0

    @property
    def shard(self) -> tuple[int, ...]:
        """The number of the batch's part that is being run, for what is drawn there; () where a batch has one part."""
        number = self._trainer.shard if self._trainer else None
        return () if number is None else (number,)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the parameters; torch's default type where there are none."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.get_default_dtype())

    @property
    def on_gpu(self) -> bool:
        """Whether the parameters are on a GPU."""
        return self.device.type == "cuda"

    @property
    def loggers(self) -> list[Any]:
        """The Trainer's loggers; none before it runs this task."""
        return list(self._trainer.loggers) if self._trainer else []

    @property
    def logger(self) -> Any:
        """The first of ``loggers``, or None."""
        return next(iter(self.loggers), None)

    @property
    def strict_loading(self) -> bool:
        """Whether a checkpoint must hold all weights and no others; it may be set."""
        return self._strict_loading is not False

    @strict_loading.setter
    def strict_loading(self, strict: bool) -> None:
        self._strict_loading = strict

    @ClassOnly
    def load_from_checkpoint(
        cls: type[TaskT],  # noqa: N805
        checkpoint_path: str | Path,
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> TaskT:
        """A task of this class from a checkpoint: built from the hyperparameters in it, with its weights.

        Args:
            checkpoint_path: the file: of a ModelCheckpoint, of ``Trainer.save_checkpoint``, or in a run's folder.
            map_location: the device that it is to be on; None for the CPU, and so is a dict or a function of torch.load's.
            hparams_file: a logger's ``hparams.yaml``, whose values take the place of those in the checkpoint.
            strict: whether all weights must be there, and no others; None for ``strict_loading``.
            weights_only: checkpoints are always read without running code; False is refused.
            kwargs: arguments of ``__init__``, in place of those that ``save_hyperparameters`` kept, or beside them.

        Returns:
            The task, in train mode, with weights in the number format in which they were stored.

        Raises:
            CheckpointError: for a file that is damaged, arguments that it does not hold, and weights of another model.
            ConfigError: for ``kwargs`` that ``__init__`` does not take.
        """
        check_not_offered(weights_only)
        return load_task(cls, checkpoint_path, map_location, strict, kwargs, hparams_file)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """``print`` in the first of the processes, above the progress bar where there is one."""
        bar: Any = getattr(self._trainer, "progress_bar_callback", None)
        if not is_first():
            return
        (bar.print if getattr(bar, "is_enabled", False) else print)(*args, **kwargs)

    def freeze(self: TaskT) -> TaskT:
        """No parameter is trained; to eval mode."""
        self.requires_grad_(False)
        return self.eval()

    def unfreeze(self: TaskT) -> TaskT:
        """All parameters are trained; to train mode."""
        self.requires_grad_(True)
        return self.train()

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """``data``, its numbers as tensors: what one process knows outside of a step, the others know, too."""
        return as_tensors(data, self.device)

    def log(
        self,
        name: str,
        value: Any,
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
        """Log a scalar, or a metric object. Where neither ``on_step`` nor ``on_epoch`` is given, the calling hook decides.

        The epoch's mean weighs by ``batch_size``. Left out, it is the first dimension of the tensors in the batch; where
        they differ it must be given (Lightning guesses it then). With both, the names are ``name_step`` and
        ``name_epoch``. With several validation sources ``/dataloader_idx_0`` is added to the name, unless
        ``add_dataloader_idx`` says no. The same name with other arguments is a ConfigError. ``reduce_fx`` is mean (or avg),
        sum, min or max, or torch's function of that name.

        A metric object is an attribute of the task with ``update``, ``compute`` and ``reset``, as torchmetrics' are. Its
        step's value is what its ``forward`` returned, its epoch's what it computes; then it is reset. Its state stands in
        checkpoints.

        ``prog_bar`` shows the value in the progress bar, too; ``logger`` False keeps it out of the logs. ``on_step`` logs
        the value of each step, ``on_epoch`` that of the epoch.

        The arguments are Lightning's, in its order; with one process, and values without a graph, there is nothing to do
        for those not named here. Without a Trainer the value goes nowhere, and a line says so.

        Raises:
            ConfigError: a value that is no scalar; a name logged with other arguments before; a batch size that cannot be
                known; an unknown ``reduce_fx``.
        """
        trainer = self._trainer
        if trainer is None:  # a step that its author tries by hand
            warnings.warn(f"log({name!r}): {type(self).__name__} has no Trainer, so the value is lost", stacklevel=2)
            return
        if metric_attribute is not None:
            self._check_attribute(name, value, metric_attribute)
        if reduce_fx not in REDUCTIONS:
            reduce_fx = reduction(reduce_fx)
        arguments: Any = (on_step, on_epoch, prog_bar, logger is not False, reduce_fx, add_dataloader_idx)
        trainer.log_value(name, value, batch_size, arguments)

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """``log`` for each item of ``dictionary``, a dict or a torchmetrics collection, with the same arguments."""
        for name, value in _items(dictionary):
            self.log(name, value, *args, **kwargs)

    def _check_attribute(self, name: str, value: Any, attribute: str) -> None:
        try:
            found = operator.attrgetter(attribute)(self)
        except AttributeError:
            found = None
        if found is not value:
            raise ConfigError(f"log({name!r}): metric_attribute: expected the metric's name in the task, got {attribute!r}")

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """The optimizer, or the list of them; their ``step`` counts ``global_step``, unless torch's own are asked for."""
        wrapped = list(self.trainer.optimizers)
        found = wrapped if use_pl_optimizer else [each.optimizer for each in wrapped]
        return found[0] if len(found) == 1 else found

    def lr_schedulers(self) -> Any:
        """The scheduler, or the list of them, or None."""
        turn = self.trainer.turn
        found = [each.scheduler if turn is None else turn.scheduler(i) for i, each in enumerate(self.trainer.schedulers)]
        return found[0] if len(found) == 1 else found or None

    def manual_backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Backward with the backward hooks, for manual optimization; NonFiniteError for a loss that is not finite.

        What else is given, such as retain_graph=True, is for ``Tensor.backward``.
        """
        if self.automatic_optimization:
            raise ConfigError("manual_backward: expected automatic_optimization = False; else the Trainer calls backward")
        turn = self.trainer.turn
        self.trainer.backward(loss if turn is None else turn.weighed(loss), *args, **kwargs)
        self.check_finite(loss)

    def toggle_optimizer(self, optimizer: Any) -> None:
        """Only this optimizer's parameters get gradients, until ``untoggle_optimizer``; for several optimizers."""
        before: dict[nn.Parameter, bool] = {}
        for parameter in (p for each in self.trainer.optimizers for p in _parameters(each)):
            before.setdefault(parameter, parameter.requires_grad)
            parameter.requires_grad = False
        for parameter in _parameters(optimizer):
            parameter.requires_grad = before[parameter]
        self._toggled = before

    def untoggle_optimizer(self, optimizer: Any) -> None:
        """Parameters of all optimizers get gradients as they did before ``toggle_optimizer``."""
        own = {id(parameter) for parameter in _parameters(optimizer)}
        for parameter, requires_grad in self._toggled.items():
            if id(parameter) not in own:
                parameter.requires_grad = requires_grad
        self._toggled = {}

    @contextmanager
    def toggled_optimizer(self, optimizer: Any) -> Iterator[None]:
        """``toggle_optimizer`` for what is inside."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

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
        how, turn = clipping(self.trainer.config, gradient_clip_val, gradient_clip_algorithm), self.trainer.turn
        norm = clip(optimizer, *how) if turn is None else turn.clip(optimizer, *how)
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


def _parameters(optimizer: Any) -> Iterator[nn.Parameter]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _items(dictionary: Any) -> Any:
    if isinstance(dictionary, Mapping) or "copy_state" not in inspect.signature(dictionary.items).parameters:
        return dictionary.items()
    return dictionary.items(copy_state=False)  # torchmetrics: the metrics that share a state go on sharing it
