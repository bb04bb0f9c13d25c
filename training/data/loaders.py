"""Whatever users call a dataloader, as Batches: torch's DataLoaders, lists, dicts and iterables of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader, IterDataPipe
from torch.utils.data.dataloader import _DatasetKind

from training.data.batches import Batches
from training.data.combined import CombinedBatches, CombinedLoader
from training.data.iterables import IterableBatches
from training.data.map_style import MapBatches
from training.data.sequences import SequenceBatches
from training.data.sources import Iterated, Once, Source, Streamed, has_state
from training.errors import ConfigError


def as_batches(
    source: Any,
    *,
    seed: int,
    purpose: str,
    tell: Callable[[str], None],
    fixed_order: bool = False,
    keep_last: bool = False,
) -> Batches:
    """A dataloader as Batches: the same bits in each epoch whatever was done before, wherever it is taken up.

    Args:
        source: a DataLoader; a CombinedLoader; a list of batches or another iterable of them; Batches, which are given back.
        seed: the run's.
        purpose: what it is for ("train", "val", …), a key of its random numbers.
        tell: gets a line for each promise that the source does not let us keep.
        fixed_order: whether a DataLoader's shuffling is turned off, as Lightning does for overfit_batches.
        keep_last: whether a last batch that is not full is kept against a DataLoader's drop_last, as Lightning does for
            predictions.

    Returns:
        Batches whose plans also have ``has`` and ``close``, and which have ``state_dict``, ``load_state_dict`` and ``close``
        (see training/data/batches.py).

    Raises:
        ConfigError: where the source is nothing to read batches from.
    """
    if hasattr(source, "plan"):
        given: Batches = source
        return given
    if isinstance(source, CombinedLoader):
        parts = [
            as_batches(each, seed=seed, purpose=f"{purpose}/{i}", tell=tell, fixed_order=fixed_order, keep_last=keep_last)
            for i, each in enumerate(source.flattened)
        ]
        return CombinedBatches(parts, source)
    if isinstance(source, DataLoader) and _is_torchs(source) and source._dataset_kind == _DatasetKind.Map:
        return MapBatches(source, seed, purpose, tell, fixed_order, keep_last)
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return SequenceBatches(source, seed, purpose)
    return IterableBatches(_source(source, seed, purpose, tell), seed, purpose, tell)


def combined(sources: Any, mode: str = "max_size_cycle", **named: Any) -> Batches:
    """Several dataloaders as one, whose batches are made of one of each.

    Args:
        sources: dataloaders, in lists, tuples and dicts.
        mode: CombinedLoader's; the default is a fit's.
        named: the arguments of ``as_batches``.

    Returns:
        Batches, as of ``as_batches``.
    """
    return as_batches(CombinedLoader(sources, mode), **named)


def _source(given: Any, seed: int, purpose: str, tell: Callable[[str], None]) -> Source:
    """What can only be read from front to back."""
    name = type(given).__name__
    if isinstance(given, DataLoader):
        if not has_state(given) and _is_torchs(given) and not isinstance(given.dataset, IterDataPipe):
            return Streamed(given, seed, purpose)
        if given.num_workers and has_state(given):
            tell(f"{name}: after a resume, its workers draw other numbers from the global generators")
        elif given.num_workers:
            tell(f"{name} reads its data itself: the number of its workers may change the batches")
        return Iterated(given)
    if isinstance(given, Iterator) and type(given).__module__ in ("builtins", "itertools"):
        tell(
            f"{purpose}: a {name} can be read only once: each epoch continues where the last one ended, "
            "and a second fit gets nothing"
        )
        return Once(given)
    if isinstance(given, (str, bytes, Mapping)) or not any(hasattr(given, each) for each in ("__iter__", "__getitem__")):
        hint = "; put dataloaders in a CombinedLoader" if isinstance(given, Mapping) else ""
        raise ConfigError(f"{purpose}: expected a DataLoader or another iterable of batches, got {name}{hint}")
    return Iterated(given)


def _is_torchs(loader: DataLoader[Any]) -> bool:
    """Whether it is read as torch's own DataLoader is, so that ours can stand in for it."""
    modules = {getattr(type(loader), name).__module__ for name in ("__iter__", "_get_iterator")}
    return modules <= {"torch.utils.data.dataloader", "torchdata.stateful_dataloader.stateful_dataloader"}
