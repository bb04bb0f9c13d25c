"""The table of a model's layers: their types, parameters and modes, and the sizes of what goes in and comes out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from training.data.hooks import DataHooks
from training.errors import ConfigError
from training.generators import kept_generators
from training.loop.device import convert

UNITS = (" ", "K", "M", "B", "T")
UNKNOWN_SIZE = "?"
OTHER = ("other params", "n/a", "n/a")


class LayerSummary:
    """One layer: ``layer_type``, ``num_parameters``, ``training``, ``in_size`` and ``out_size``, "?" where not known."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.in_size: Any = UNKNOWN_SIZE
        self.out_size: Any = UNKNOWN_SIZE

    @property
    def layer_type(self) -> str:
        """The name of its class."""
        return type(self._module).__name__

    @property
    def training(self) -> bool:
        """Whether it is in train mode."""
        return self._module.training

    @property
    def num_parameters(self) -> int:
        """How many it has, of all its layers."""
        return count(self._module)

    def note(self, module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], outputs: Any) -> None:
        """The sizes of the layer's first call."""
        if self.in_size == self.out_size == UNKNOWN_SIZE:
            inputs = (*given, *named.values())
            self.in_size = size(inputs[0] if len(inputs) == 1 else inputs)
            self.out_size = size(outputs)


class ModelSummary:
    """A model's layers. ``str()`` of it is a table: index, name, type, parameters, mode, sizes; below it totals (no FLOPs).

    Args:
        model: the task, or any module. With an ``example_input_array``, which a task may have, it is run once, in eval mode
            and without gradients, to see the sizes.
        max_depth: 1 lists the direct children, 2 their children too, -1 all; 0 the totals alone.
        bytes_each: the size of a parameter (8 for 64-true), for the size in MB (10⁶ bytes).

    Raises:
        ConfigError: for a depth below -1.

    Source: Lightning 2.6's ``ModelSummary``.
    """

    def __init__(self, model: nn.Module, max_depth: int = 1, bytes_each: int = 4) -> None:
        if not isinstance(max_depth, int) or max_depth < -1:
            raise ConfigError(f"ModelSummary: max_depth: expected -1, 0 or more, got {max_depth}")
        named = list(model.named_modules())[1:]
        shown = [(n, m) for n, m in named if max_depth == -1 or n.count(".") < max_depth]
        self._layers = {name: LayerSummary(module) for name, module in shown}
        self.has_sizes = getattr(model, "example_input_array", None) is not None
        if self.has_sizes:  # first, since lazy layers have parameters then
            _run_example(model, [(self._layers[name], module) for name, module in shown])
        self.total_parameters = count(model)
        self.trainable_parameters = sum(_numbers(p) for p in model.parameters() if p.requires_grad)
        self.model_size = self.total_parameters * bytes_each * 1e-6
        modes = [module.training for _, module in named]
        self.total_training_modes = {"train": modes.count(True), "eval": modes.count(False)}

    def summarize(self) -> dict[str, LayerSummary]:
        """The layers, by name."""
        return dict(self._layers)

    @property
    def layer_names(self) -> list[str]:
        """The layers' names, in the order in which they were made."""
        return list(self._layers)

    @property
    def layer_types(self) -> list[str]:
        """The names of their classes."""
        return [each.layer_type for each in self._layers.values()]

    @property
    def param_nums(self) -> list[int]:
        """Their numbers of parameters."""
        return [each.num_parameters for each in self._layers.values()]

    @property
    def in_sizes(self) -> list[Any]:
        """What goes in, as lists; "?" where that is not known."""
        return [each.in_size for each in self._layers.values()]

    @property
    def out_sizes(self) -> list[Any]:
        """What comes out."""
        return [each.out_size for each in self._layers.values()]

    @property
    def training_modes(self) -> list[bool]:
        """Whether they are in train mode."""
        return [each.training for each in self._layers.values()]

    @property
    def total_layer_params(self) -> int:
        """The parameters of the layers together; of nested ones more than once."""
        return sum(self.param_nums)

    def __str__(self) -> str:
        rows = [
            (str(i), name, each.layer_type, human_count(each.num_parameters), "train" if each.training else "eval")
            + ((str(each.in_size), str(each.out_size)) if self.has_sizes else ())
            for i, (name, each) in enumerate(self._layers.items())
        ]
        # As Lightning does it: with nested rows the sum counts parameters more than once, and the rest stays hidden.
        if (rest := self.total_parameters - self.total_layer_params) > 0:
            rows.append((" ", *OTHER[:2], human_count(rest), OTHER[2], *(OTHER[2:] * 2 if self.has_sizes else ())))
        header = (" ", "Name", "Type", "Params", "Mode", *(("In sizes", "Out sizes") if self.has_sizes else ()))
        return "\n".join([*_table(header, rows), *(f"{value:<10}{what}" for value, what in self._totals())])

    __repr__ = __str__

    def _totals(self) -> list[tuple[str, str]]:
        return [
            (human_count(self.trainable_parameters), "Trainable params"),
            (human_count(self.total_parameters - self.trainable_parameters), "Non-trainable params"),
            (human_count(self.total_parameters), "Total params"),
            (f"{self.model_size:,.3f}", "Total estimated model params size (MB)"),
            (str(self.total_training_modes["train"]), "Modules in train mode"),
            (str(self.total_training_modes["eval"]), "Modules in eval mode"),
        ]


def summarize(model: nn.Module, max_depth: int = 1) -> ModelSummary:
    """``ModelSummary(model, max_depth)``."""
    return ModelSummary(model, max_depth)


def count(module: nn.Module) -> int:
    """Its parameters; of lazy layers that were not run yet none, of which a warning tells."""
    parameters = list(module.parameters())
    if any(isinstance(each, UninitializedParameter) for each in parameters):
        warnings.warn(
            "ModelSummary: a lazy layer has no parameters yet, and counts as none; give the task an example_input_array",
            stacklevel=3,
        )
    return sum(map(_numbers, parameters))


def _numbers(parameter: nn.Parameter) -> int:
    return 0 if isinstance(parameter, UninitializedParameter) else parameter.numel()


def size(value: Any) -> Any:
    """A tensor's shape as a list, of lists and tuples a list of their parts' sizes; "?" for anything else, and for none."""
    if hasattr(value, "shape"):
        return list(value.shape) or UNKNOWN_SIZE
    if isinstance(value, list | tuple):
        return [size(each) for each in value] or UNKNOWN_SIZE
    return UNKNOWN_SIZE


def _run_example(model: nn.Module, layers: Sequence[tuple[LayerSummary, nn.Module]]) -> None:
    """Call the model with its example, for ``layers`` to note their sizes; nothing else is changed by it."""
    example: Any = model.example_input_array
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if isinstance(model, DataHooks):
        for hook, more in (("before_batch_transfer", (0,)), ("", (device, 0)), ("after_batch_transfer", (0,))):
            function = getattr(model, f"on_{hook}" if hook else "transfer_batch_to_device")
            example = function(example, *more) if callable(function) else example
    if any(p.dtype == torch.float64 for p in model.parameters()):
        example = convert(example)
    modes = [(module, module.training) for module in model.modules()]
    scripted = torch.jit.ScriptModule
    handles = [m.register_forward_hook(s.note, with_kwargs=True) for s, m in layers if not isinstance(m, scripted)]
    model.eval()
    try:
        with torch.no_grad(), kept_generators():
            if isinstance(example, list | tuple):
                model(*example)
            elif isinstance(example, Mapping):
                model(**example)
            else:
                model(example)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of columns of the same width, between rules."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = "-" * (sum(widths) + 3 * (len(widths) + 1))
    lines = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in [header, *rows]]
    return [lines[0], rule, *lines[1:], rule]


def human_count(n: int) -> str:
    """123 → "123  ", 1234 → "1.2 K", 2·10⁶ → "2.0 M"; trillions are not abbreviated further."""
    digits = int(math.floor(math.log10(n)) + 1) if n > 0 else 1
    groups = min(math.ceil(digits / 3), len(UNITS))
    scaled = n * 10.0 ** (-3 * (groups - 1))
    return f"{int(scaled):,d} {UNITS[groups - 1]}" if groups == 1 or scaled >= 100 else f"{scaled:,.1f} {UNITS[groups - 1]}"
