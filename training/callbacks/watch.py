"""Watch: what chosen steps had of what nobody logged: values, gradients, activations, what was in the batch."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from training.data.tensors import map_tensors, size
from training.digest import weights_sha256
from training.errors import ConfigError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument

OF_THE_STEP = ("batch", "loss", "gradient_norm")
GRADIENT = ".grad"
NUMBER = "-?[0-9]{1,15}"
INDEX = re.compile(f"({NUMBER})|({NUMBER})?:({NUMBER})?")
WHOLE = 8  # elements; of larger tensors the text has a summary


@dataclass(frozen=True)
class Watched:
    """What one training batch had of the watched names.

    Args:
        step: the optimizer steps taken once the batch is over, as in the ledger.
        epoch: which epoch, from 0.
        batch: which of its batches, from 0.
        values: by name as it was given: a tensor; lines of text for "batch"; a number for "loss" and "gradient_norm"; of a
            module what it returned, a list of that where it was called several times; None where there was none.
    """

    step: int
    epoch: int
    batch: int
    values: Mapping[str, Any]

    def lines(self) -> list[str]:
        """As text: a line for each tensor, with its size, its norm and the digest of its bits."""
        return [line for name, value in self.values.items() for line in _lines(name, value)]


class Watch(Callback):
    """Records named values of the training batches of some steps, exactly. It changes no bit itself.

    A name is ``batch``, ``loss``, ``gradient_norm`` (before clipping); a parameter or buffer (as it was before the step); a
    parameter with ``.grad`` (the gradient before clipping, as in the ledger); or a module (what it returned). The end of a
    name is enough where nothing else ends so: ``lstm.bias`` for ``model.lstm.bias``. A tensor may have indices:
    ``linear.weight[0:2, 5]``.

    Args:
        names: what to watch.
        first_step: the first step, from 1.
        last_step: the last step, itself included; None for the end of the fit.
        tell: called with each ``Watched`` once its batch is over; without it they are kept in ``found``.

    Raises:
        ConfigError: for steps that are not whole numbers from 1; when the fit begins, for a name that the task does not
            have, with the nearest names.

    Example:
        >>> import torch
        >>> from training import FixedBatches, Task, TrainConfig, Trainer, Watch
        >>> class Line(Task):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(1, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> watch = Watch(["layer", "layer.bias.grad"], first_step=2, last_step=3)
        >>> config = TrainConfig(max_epochs=1, progress=False)
        >>> Trainer(config, callbacks=[watch]).fit(Line(), FixedBatches([torch.ones(4, 1)] * 5))
        >>> [(each.step, tuple(each.values["layer"].shape)) for each in watch.found]
        [(2, (4, 1)), (3, (4, 1))]
    """

    def __init__(
        self,
        names: Sequence[str],
        first_step: int = 1,
        last_step: int | None = None,
        tell: Callable[[Watched], None] | None = None,
    ) -> None:
        self.names = list(dict.fromkeys(names))
        self.first_step: int = argument(first_step, int, "Watch: first_step", least=1)
        self.last_step: int | None = argument(last_step, int | None, "Watch: last_step", least=1)
        self.found: list[Watched] = []
        self._tell = tell or self.found.append
        self._places: dict[str, _Place] = {}
        self._hooks: list[Any] = []
        self._values: dict[str, Any] | None = None
        """What the batch that is being trained on has shown so far; None where it is not watched."""

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        known = _known(task)
        self._places = {name: _place(name, known) for name in self.names}
        states = _states(task)
        for place in self._places.values():  # indices that do not fit are told now, where the size is known
            if place.kind == "value" or (place.kind == "gradient" and task.automatic_optimization):
                place.check(states[place.name])

    def on_train_batch_start(self, trainer: TrainerView, task: Task, batch: Any, batch_idx: int) -> None:
        self._forget()
        following = trainer.global_step + 1
        if (self.last_step is not None and following > self.last_step) or (
            task.automatic_optimization and following < self.first_step
        ):
            return
        values: dict[str, Any] = dict.fromkeys(self.names)
        self._values = values
        states, modules = _states(task), dict(task.named_modules())
        for name, place in self._places.items():
            if place.kind == "value":
                values[name] = place.of(states[place.name])
            elif place.kind == "output":
                hook = partial(self._keep_output, name, place)
                self._hooks.append(modules[place.name].register_forward_hook(hook))
        if "batch" in values:
            values["batch"] = list(task.describe_batch(batch))

    def on_before_optimizer_step(self, trainer: TrainerView, task: Task, optimizer: Any) -> None:
        if self._values is None or not any(place.kind == "gradient" for place in self._places.values()):
            return
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        parameters, gradients = dict(task.named_parameters()), task.ledger_tensors()
        for name, place in self._places.items():
            if place.kind != "gradient":
                continue
            # A task that makes its gradients itself may name them by the parameter's last name.
            found = next((n for n in gradients if place.name == n or place.name.endswith(f".{n}")), None)
            if found is not None and (found not in parameters or id(parameters[found]) in own):
                self._values[name] = place.of(gradients[found])

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        values = self._values
        self._forget()
        if values is None or trainer.global_step + trainer.accumulating < self.first_step:
            return
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if "loss" in values and loss is not None:
            values["loss"] = float(loss)
        if "gradient_norm" in values and not trainer.accumulating:
            values["gradient_norm"] = trainer.gradient_norm
        self._tell(Watched(trainer.global_step, trainer.current_epoch, batch_idx, values))

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        self._forget()

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        self._forget()

    def _forget(self) -> None:
        """The batch that was watched is over."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._values = [], None

    def _keep_output(self, name: str, place: _Place, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._values is None:
            return
        value = map_tensors(output, place.of)
        before = self._values[name]
        if before is None:
            self._values[name] = value
        else:
            self._values[name] = _Calls([*(before if isinstance(before, _Calls) else [before]), value])


class _Calls(list[Any]):
    """What a module returned that was called several times for one batch."""


@dataclass(frozen=True)
class _Place:
    """Where a watched name is found."""

    kind: str  # step, value, gradient, output
    name: str
    index: tuple[int | slice, ...] = ()
    asked: str = ""

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of the tensor, or of the part that was asked for."""
        plain = tensor.detach()
        if not self.index:
            return plain.clone()
        plain = plain.to_dense() if plain.is_sparse else plain
        try:
            return plain[self.index].clone()
        except IndexError:
            raise self._not_within(plain) from None

    def check(self, tensor: torch.Tensor) -> None:
        """ConfigError for indices that do not fit, or leave nothing of a tensor that has something."""
        if tensor.numel() and not self.of(tensor).numel():
            raise self._not_within(tensor)

    def _not_within(self, tensor: torch.Tensor) -> ConfigError:
        return ConfigError(f"watch: {self.asked}: expected indices within {size(tensor)}, got others")


def _states(task: Task) -> dict[str, torch.Tensor]:
    return {**dict(task.named_parameters()), **dict(task.named_buffers())}


def _known(task: Task) -> dict[str, str]:
    """Every name that can be watched, by the kind of thing that it stands for."""
    found = dict.fromkeys((name for name, _ in task.named_modules() if name), "output")
    found |= dict.fromkeys(_states(task), "value")
    found |= {f"{name}{GRADIENT}": "gradient" for name, _ in task.named_parameters()}
    return {**found, **dict.fromkeys(OF_THE_STEP, "step")}


def _place(asked: str, known: Mapping[str, str]) -> _Place:
    """ConfigError for a name that is not known, or for one of several."""
    wanted, index = _split(asked) if asked not in known and re.search(r"\[.*\]$", asked) else (asked, ())
    if wanted in known and (known[wanted] != "step" or not index):
        found = wanted
    else:
        ends = [name for name in known if name.endswith(f".{wanted}")] if wanted else []
        if len(ends) > 1:
            raise ConfigError(f"watch: expected the name of one thing, got {asked!r}, which may be {', '.join(ends[:5])}")
        if not ends:
            raise ConfigError(f"watch: expected a name that the model has, got {asked!r}; {_nearest(wanted, known)}")
        found = ends[0]
    kind = known[found]
    return _Place(kind, found.removesuffix(GRADIENT) if kind == "gradient" else found, index, asked)


def _split(asked: str) -> tuple[str, tuple[int | slice, ...]]:
    """A name and the indices behind it. ConfigError for what are none, and for a range that is empty at any size."""
    name, _, inside = asked.removesuffix("]").partition("[")
    indices: list[int | slice] = []
    for part in inside.split(","):
        found = INDEX.fullmatch(part.strip())
        if found is None:
            expected = "expected indices such as [0], [2:5] or [0,2:5]: whole numbers, or FIRST:END without a step"
            raise ConfigError(f"watch: {expected}, got {asked!r}")
        first, end = (int(each) if each else None for each in found.groups()[1:])
        indices.append(int(found[1]) if found[1] else slice(first, end))
        if found[1] is None and _is_empty(first or 0, end):
            raise ConfigError(f"watch: expected a range with something in it (its END is excluded), got {asked!r}")
    return name, tuple(indices)


def _is_empty(first: int, end: int | None) -> bool:
    """Whether a range is empty, however many there are: it ends before the first, or before it begins."""
    return end is not None and (end == 0 or (end <= first and (end < 0) == (first < 0)))


def _nearest(wanted: str, known: Mapping[str, str]) -> str:
    """The names most like ``wanted``, by their ends, too; or, where none is, how to name one."""
    dots = wanted.count(".")
    ends = {".".join(name.split(".")[-1 - dots :]): name for name in known}
    near = [*difflib.get_close_matches(wanted, known, n=3), *(ends[e] for e in difflib.get_close_matches(wanted, ends, n=3))]
    if near:
        return f"the nearest are {', '.join(dict.fromkeys(near))}"
    some = [*OF_THE_STEP, *(name for name in known if name not in OF_THE_STEP)][:8]
    return f"there are {', '.join(some)} and {max(0, len(known) - len(some))} more"


def _lines(name: str, value: Any) -> Iterator[str]:
    """A watched value as text."""
    if value is None:
        yield f"{name}: none in this batch"
    elif name == "batch":
        yield f"{name}:"
        yield from (f"  {line}" for line in value)
    elif isinstance(value, float | int):
        yield f"{name} {value!r}"
    elif isinstance(value, _Calls):
        for number, each in enumerate(value, 1):
            yield from _lines(f"{name} (call {number})", each)
    elif isinstance(value, torch.Tensor):
        yield f"{name} {_summary(value)}"
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _lines(f"{name} ({key})", each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, each in enumerate(value, 1):
            yield from _lines(f"{name} (output {number})", each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _lines(name, {item.name: getattr(value, item.name) for item in dataclasses.fields(value)})
    else:
        yield f"{name}: {type(value).__name__}"


def _summary(tensor: torch.Tensor) -> str:
    """Size, type, norm and range, or all of a few values; and 16 digits of the SHA-256 of its type, shape and bits."""
    if tensor.is_sparse:
        tensor = tensor.coalesce().to_dense()
    plain = tensor.detach().cpu()
    head = f"{size(plain)} {str(plain.dtype).removeprefix('torch.')}"
    digest = weights_sha256({"": plain})
    bits = f"bits {digest[:16]}"
    if plain.numel() <= WHOLE:
        return f"{head}: {', '.join(map(_number, plain.reshape(-1)))}; {bits}"
    wide = plain.to(torch.complex128 if plain.is_complex() else torch.float64)
    norm, mean = float(torch.linalg.vector_norm(wide)), wide.mean().item()
    if plain.is_complex():
        return f"{head}: norm {norm:.9g}, mean {mean:.6g}; {bits}"
    low, high = _number(plain.min()), _number(plain.max())
    return f"{head}: norm {norm:.9g}, mean {mean:.6g}, from {low} to {high}; {bits}"


def _number(value: torch.Tensor) -> str:
    """The shortest text that stands for these bits in their own type."""
    if value.dtype in (torch.float32, torch.float16):
        return str(value.numpy())
    return repr(value.float().item() if value.dtype == torch.bfloat16 else value.item())
