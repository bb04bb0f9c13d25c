"""Where a verb's batches come from: what it was given, or the loaders of the task or of a data module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from training.data.batches import Batches, close
from training.data.combined import CombinedLoader
from training.data.data_module import DataModule
from training.data.hooks import DataHooks
from training.data.loaders import as_batches
from training.errors import ConfigError
from training.loop.hooks import overridden
from training.loop.session import Session

HOOKS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class Data:
    """The sources of one call of a verb.

    ``given``: what it was given, None for what it was not; ``module``: a data module in place of that.
    """

    module: DataModule | None

    def __init__(self, session: Session, stage: str, module: Any, *given: Any) -> None:
        self.session, self.stage = session, stage
        if module is None and isinstance(given[0], DataModule):
            module, given = given[0], (None,) * len(given)
        if module is not None and any(each is not None for each in given):
            raise ConfigError(f"{stage}: expected loaders or a datamodule, got both")
        if module is not None and not isinstance(module, DataModule):
            raise ConfigError(f"{stage}: datamodule: expected a DataModule, got {type(module).__name__}")
        self.module, self._given = module, dict(zip(HOOKS[stage], given, strict=False))

    @property
    def is_given(self) -> bool:
        """Whether the sources are known before anything has run: no hook has to make them."""
        return self._given[HOOKS[self.stage][0]] is not None

    @contextmanager
    def sources(self) -> Iterator[tuple[list[Batches], list[Batches]]]:
        """The sources of the stage, and of a fit those to validate on; what reads them ends with the block."""
        with ExitStack() as stack:
            found = []
            for split in HOOKS[self.stage]:
                made = self._made(split)
                found.append(made)
                for each in made:
                    stack.callback(close, each)
            yield found[0], found[1] if len(found) > 1 else []

    def _made(self, split: str) -> list[Batches]:
        source = self._given.get(split)
        if source is None:
            source = self._from_hook(split)
        self.session.loaders[split] = source
        if source is None and self.stage != "fit" and self.session.limits[split][1]:
            task = type(self.session.task).__name__
            raise ConfigError(f"{self.stage}: expected batches, or {task} to have a {split}_dataloader, got neither")
        if source is None:
            return []
        config, session = self.session.config, self.session

        def batches(each: Any, purpose: str) -> Batches:
            fixed = bool(config.overfit_batches) and split in ("train", "val")
            return as_batches(
                each, seed=config.seed, purpose=purpose, tell=session.tell, fixed_order=fixed, keep_last=split == "predict"
            )

        if split == "train":
            return [batches(CombinedLoader(source, "max_size_cycle") if _is_several(source) else source, split)]
        if (
            isinstance(source, CombinedLoader) and source.mode == "sequential"
        ):  # in other modes it is one, of batches of each
            return [batches(each, f"{split}/{i}") for i, each in enumerate(source.flattened)]
        if _is_several(source):
            parts = list(source.values()) if isinstance(source, Mapping) else list(source)
            return [batches(each, f"{split}/{i}") for i, each in enumerate(parts)]
        return [batches(source, split)]

    def _from_hook(self, split: str) -> Any:
        """What the data module's, or the task's own, ``train_dataloader()`` and so on gives; None where it has none."""
        name = f"{split}_dataloader"
        if self.module is not None and overridden(self.module, name, DataHooks):
            return getattr(self.module, name)()
        if self.is_given or not overridden(self.session.task, name, DataHooks):
            return None
        return self.session.call_own(name)


def _is_several(source: Any) -> bool:
    """Whether it holds sources, not batches: a dict, or a list or tuple of what is no tensor, tuple or dict of a batch."""
    if isinstance(source, Mapping):
        return True
    if not isinstance(source, list | tuple) or hasattr(source, "plan"):
        return False
    return bool(source) and all(
        hasattr(each, "plan") or isinstance(each, DataLoader | CombinedLoader | list) or _is_iterable(each)
        for each in source
    )


def _is_iterable(each: Any) -> bool:
    no = (Tensor, tuple, Mapping, str, bytes, np.ndarray)
    return hasattr(each, "__iter__") and not isinstance(each, no)
