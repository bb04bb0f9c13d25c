"""Hyperparameters: the arguments of a class's ``__init__``, kept as plain values to build it again from a checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch

from training.errors import CheckpointError, ConfigError
from training.yaml import read_yaml

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
STAR, STARS = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
T = TypeVar("T")


class AttributeDict(dict[str, Any]):
    """A dict whose items are attributes, too.

    Example:
        >>> from training.hyperparameters import AttributeDict
        >>> values = AttributeDict(lr=0.1)
        >>> values.hidden = 8
        >>> values["hidden"], values.lr
        (8, 0.1)
        >>> values
        "hidden": 8
        "lr":     0.1
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __repr__(self) -> str:
        width = max((len(str(name)) for name in self), default=0) + 3
        return "\n".join(f'"{name}":'.ljust(width) + f" {self[name]}" for name in sorted(self, key=str))


class HyperparametersMixin:
    """What Task and DataModule have for their hyperparameters. Names and behavior are Lightning 2.6's."""

    CHECKPOINT_HYPER_PARAMS_KEY = "hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "hparams_name"
    """Where they stand in a checkpoint, and where the name of the argument does that is all of them."""

    _hparams_initial: AttributeDict
    _hparams_name: str | None = None
    _log_hyperparams = False

    def save_hyperparameters(
        self,
        *args: Any,
        ignore: Sequence[str] | str | None = None,
        frame: FrameType | None = None,
        logger: bool = True,
    ) -> None:
        """Keep the arguments of ``__init__`` as ``hparams``; they stand in each checkpoint (see ``load_from_checkpoint``).

        Called in ``__init__``, of a base class as well: then those of its subclasses are kept, too.

        Args:
            args: names of the arguments to keep, or one dict or Namespace to keep instead of them; nothing for all.
            ignore: names of arguments to leave out.
            frame: the frame of the ``__init__``; None for that of the caller.
            logger: whether the loggers are told.

        Raises:
            ConfigError: for a value that is not plain, such as a module, a function or a tensor; and for a name that is
                none of an argument.
        """
        self._log_hyperparams = logger
        if len(args) == 1 and (args[0] is None or (isinstance(args[0], Mapping | str) and not args[0])):
            return
        ignored = {ignore} if isinstance(ignore, str) else set(ignore or ())
        own, given = _arguments(self, frame or sys._getframe(1))
        given = {name: value for name, value in given.items() if name not in ignored}
        chosen, self._hparams_name = _chosen(type(self).__name__, args, given)
        # Arguments of a subclass may still be ignored there.
        _check_plain({name: value for name, value in chosen.items() if args or name in own}, "save_hyperparameters")
        self.hparams.update(chosen)
        for name in ignored:
            self.hparams.pop(name, None)
        self._hparams_initial = _initial(self.hparams)

    @property
    def hparams(self) -> AttributeDict:
        """What ``save_hyperparameters`` kept; it may be changed."""
        if not hasattr(self, "_hparams"):
            self._hparams = AttributeDict()
        return self._hparams

    @property
    def hparams_initial(self) -> AttributeDict:
        """A copy of what ``save_hyperparameters`` kept, as it was then."""
        return copy.deepcopy(self._hparams_initial) if hasattr(self, "_hparams_initial") else AttributeDict()

    def check_hyperparameters(self) -> None:
        """ConfigError for hyperparameters that a checkpoint can't hold."""
        _check_plain(self.hparams, "hparams")

    def hyperparameters_state(self) -> dict[str, Any]:
        """What stands in a checkpoint for them; nothing where there are none."""
        if not self.hparams:
            return {}
        return {
            self.CHECKPOINT_HYPER_PARAMS_KEY: _stored(self.hparams),
            self.CHECKPOINT_HYPER_PARAMS_NAME: self._hparams_name,
        }


def hyperparameters_to_log(*owners: HyperparametersMixin | None) -> dict[str, Any]:
    """What the loggers are told: the owners' initial hyperparameters together. ConfigError where two have other values."""
    told: dict[str, Any] = {}
    for owner in owners:
        initial = owner.hparams_initial if owner is not None and owner._log_hyperparams else {}
        odd = [name for name in initial if name in told and not _same(told[name], initial[name])]
        if odd:
            raise ConfigError(
                f"hparams: expected the same values in the task and the data, got different ones for {', '.join(odd)}"
            )
        told |= initial
    return told


def check_not_offered(weights_only: bool | None) -> None:
    """ConfigError for what ``load_from_checkpoint`` has in Lightning and not here."""
    if weights_only is False:
        raise ConfigError("load_from_checkpoint: weights_only=False is not offered; give what the checkpoint lacks by name")


def put_hyperparameters(cls: Any, checkpoint: dict[str, Any], hparams_file: str | Path | None) -> None:
    """Those of a file of a logger's in place of the checkpoint's, as in Lightning, where there is one."""
    if hparams_file is not None:
        checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY] = read_yaml(Path(hparams_file))


def rebuilt(cls: type[T], checkpoint: Mapping[str, Any], given: Mapping[str, Any], where: str) -> T:
    """An instance of ``cls`` from the hyperparameters in a checkpoint, and what is ``given`` in their place or beside them.

    CheckpointError, beginning with ``where``, for arguments that are in neither; ConfigError for one that there is not.
    """
    keys: Any = cls
    stored = checkpoint.get(keys.CHECKPOINT_HYPER_PARAMS_KEY) or {}
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{where}: expected hyperparameters by name, got {type(stored).__name__}")
    name = checkpoint.get(keys.CHECKPOINT_HYPER_PARAMS_NAME)
    parameters = [each for each in list(inspect.signature(keys.__init__).parameters.values())[1:] if each.kind is not STAR]
    open_ended = any(each.kind is STARS for each in parameters)
    names = [each.name for each in parameters if each.kind is not STARS]
    if name in names:  # the whole of them is one argument
        arguments = {name: AttributeDict({**stored, **given}), **{key: given[key] for key in given if key in names}}
    else:
        if unknown := [key for key in given if key not in names and not open_ended]:
            known = ", ".join(names) or "none"
            raise ConfigError(f"load_from_checkpoint: {cls.__name__} takes no {', '.join(unknown)}; it takes {known}")
        arguments = {key: value for key, value in {**stored, **given}.items() if key in names or open_ended}
    needed = [each.name for each in parameters if each.kind is not STARS and each.default is inspect.Parameter.empty]
    if missing := [each for each in needed if each not in arguments]:
        raise CheckpointError(
            f"{where}: {cls.__name__} needs {', '.join(missing)}, which the checkpoint does not hold; pass "
            f"{', '.join(f'{each}=…' for each in missing)}, or train it with save_hyperparameters() in its __init__"
        )
    return cls(**arguments)


def _arguments(owner: Any, frame: FrameType | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of the ``__init__`` that ``frame`` runs in; and with those of the subclasses' that called it."""
    if dataclasses.is_dataclass(owner):
        fields = {each.name: getattr(owner, each.name) for each in dataclasses.fields(owner) if each.init}
        return fields, fields
    own: dict[str, Any] = {}
    given: dict[str, Any] = {}
    inside = False
    while frame is not None:
        code = frame.f_code
        first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if code.co_name == "__init__" and first is owner:
            found = _arguments_of(frame)
            own = own if inside else found
            given |= found
            inside = True
        elif inside:
            break
        frame = frame.f_back
    return own, given


def _arguments_of(frame: FrameType) -> dict[str, Any]:
    names, _, keywords, values = inspect.getargvalues(frame)
    found = {name: values[name] for name in names[1:] if name in values}
    return {**found, **(values.get(keywords, {}) if keywords else {})}


def _chosen(owner: str, args: Sequence[Any], given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The hyperparameters that ``args`` ask for, and the name of the argument that holds all of them, or "kwargs"."""
    if not args:
        return given, "kwargs" if given else None
    if all(isinstance(each, str) for each in args):
        if unknown := [each for each in args if each not in given]:
            known = ", ".join(given) or "none"
            raise ConfigError(
                f"save_hyperparameters: expected arguments of {owner}.__init__ ({known}), got {', '.join(unknown)}"
            )
        return {each: given[each] for each in args}, "kwargs"
    if len(args) > 1 or not isinstance(args[0], Mapping | Namespace):
        kinds = ", ".join(type(each).__name__ for each in args)
        raise ConfigError(f"save_hyperparameters: expected names of arguments, or one dict or Namespace, got {kinds}")
    whole = args[0]
    name = next((name for name, value in given.items() if value is whole or _same(value, whole)), None)
    return dict(vars(whole) if isinstance(whole, Namespace) else whole), name


def _same(first: Any, second: Any) -> bool:
    try:
        return type(first) is type(second) and bool(first == second)
    except (ValueError, TypeError, RuntimeError):  # arrays
        return False


def _check_plain(values: Mapping[str, Any], where: str) -> None:
    odd = {name: value for name, value in ((name, _odd(value)) for name, value in values.items()) if value is not None}
    if odd:
        got = ", ".join(f"{name} (a {type(value).__name__})" for name, value in odd.items())
        names = ", ".join(repr(name) for name in odd)
        raise ConfigError(
            f"{where}: expected numbers, text, paths, or lists and dicts of them, got {got}; leave it out by "
            f"save_hyperparameters(ignore=[{names}]), and pass it to load_from_checkpoint"
        )


def _odd(value: Any) -> Any:
    """What in ``value`` a checkpoint can't hold as a plain value; None where nothing is."""
    kind = type(value)
    if kind in PLAIN or isinstance(value, PurePath | np.generic):
        return None
    if isinstance(value, Mapping | Namespace):
        value = [each for item in (vars(value) if kind is Namespace else value).items() for each in item]
    elif kind not in (list, tuple, set, frozenset):
        return value
    return next((found for found in map(_odd, value) if found is not None), None)


def _stored(value: Any) -> Any:
    """``value`` for a checkpoint: dicts of any kind as dicts."""
    if isinstance(value, Mapping):
        return {key: _stored(each) for key, each in value.items()}
    if type(value) is Namespace:
        return Namespace(**_stored(vars(value)))
    return type(value)(_stored(each) for each in value) if type(value) in (list, tuple) else value


def _initial(values: AttributeDict) -> AttributeDict:
    """A copy, with what can't be copied as it is: a subclass ignores it yet, or the run refuses it."""
    try:
        return copy.deepcopy(values)
    except Exception:
        return AttributeDict(values)
