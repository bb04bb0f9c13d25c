"""The order in which a DataLoader's sampler takes the data: a function of (seed, purpose, epoch).

Samplers draw from the global generators or from one of their own, and some count the epochs that they gave. torch's are
iterated as they are. Others are iterated on a copy, which goes through the epochs before first: it is then as if it had been
iterated from the beginning, and the user's own stays as it is.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from training.data.own_generators import own_generators, set_own
from training.data.plans import length_said_by
from training.generators import Carried, Keys, kept_generators, key_of, set_generators

MOST_AT_ONCE = 4_000_000
"""Orders of more batches are drawn when they are needed, not before the epoch starts."""
Epoch = tuple[int, int]
"""The epoch, and how often the loader was read in it before: of several loaders, shorter ones are read over and over."""

_TORCHS = (RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)
_PLAIN = (list, tuple, range, np.ndarray, torch.Tensor)
_NO_STATE_OF_ITS = (Dataset, nn.Module, DataLoader)


class Order:
    """One epoch's order: what the sampler gives for each batch."""

    def __init__(self, draw: Callable[[], Iterator[Any]], length: int | None, known: bool) -> None:
        self._draw = draw
        self.length = length
        """How many batches there are at most; None where nothing is said of it."""
        self.known = known
        """Whether there are just as many."""

    def __iter__(self) -> Iterator[Any]:
        return self._draw()


class Orders:
    """The orders of a DataLoader's data.

    Args:
        loader: the DataLoader; neither it nor its sampler is changed.
        seed: the run's.
        purpose: what the loader is for, a key of its random numbers.
        tell: gets a line for each promise that this sampler does not let us keep.
        fixed_order: whether to take the data in their own order, for overfit_batches.
        keep_last: whether to keep a last batch that is not full, against the loader's drop_last, for predictions.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        seed: int,
        purpose: str,
        tell: Callable[[str], None],
        fixed_order: bool = False,
        keep_last: bool = False,
    ) -> None:
        self.seed, self.purpose, self._tell = seed, f"{purpose}/order", tell
        self._keys = Keys(seed, self.purpose)
        self._dataset = loader.dataset
        self._sampler: Any = loader._index_sampler
        if fixed_order and not isinstance(loader.sampler, SequentialSampler):
            warnings.warn("overfit_batches: the loader's shuffling is turned off, so that each epoch has the same batches")
            self._sampler = _unshuffled(loader)
        if keep_last and type(self._sampler) is BatchSampler:
            self._sampler = BatchSampler(self._sampler.sampler, self._sampler.batch_size, drop_last=False)
        self._name = f"the {'batch ' if loader._auto_collation else ''}sampler {type(self._sampler).__name__}"
        self._copies = None if _keeps_nothing(self._sampler) else _Copies(self._sampler, loader.dataset)
        if self._copies is not None:
            self._tell_what_cannot_be(self._copies)

    def _tell_what_cannot_be(self, copies: _Copies) -> None:
        if not copies.possible and isinstance(self._sampler, Iterator):
            self._tell(f"{self._name} can be read only once: a second epoch or a second fit gets nothing from it")
        elif not copies.possible:
            self._tell(
                f"{self._name} cannot be copied: if it keeps anything from one epoch to the next, a second fit with it in "
                "this process does not repeat the first"
            )
        elif length_said_by(self._sampler) is None:
            self._tell(f"{self._name} has no length: each epoch begins with it as it was given, whatever it keeps")

    def order(self, epoch: int, again: int = 0) -> Order:
        """The order of an epoch; ``again`` says how often the loader was read in it before."""
        length = length_said_by(self._sampler)
        if length is None or length > MOST_AT_ONCE:
            return Order(lambda: self._drawn((epoch, again)), length, known=False)
        batches = self._whole((epoch, again))
        return Order(lambda: iter(batches), len(batches), known=True)

    def _whole(self, epoch: Epoch) -> list[Any]:
        if self._copies is None:
            return self._iterated(self._sampler, epoch)
        sampler, before = self._copies.for_epoch(epoch, self._tell_of_change)
        for each in before:
            self._iterated(sampler, each)
        return self._iterated(sampler, epoch)

    def _iterated(self, sampler: Any, epoch: Epoch) -> list[Any]:
        """What the sampler gives in an epoch, to its end, and not more than it says that there is."""
        own = self._own_generators(sampler)
        lent = [each for each in own if self._copies is None and isinstance(each, torch.Generator)]
        before = [each.get_state() for each in lent]
        with kept_generators():
            set_generators(self._keys(*epoch))
            self._begin(sampler, own, epoch)
            length = length_said_by(sampler)
            # One more than there are, so that what stands behind a sampler's last yield runs, too.
            drawn = list(map(_batch, itertools.islice(iter(sampler), None if length is None else length + 1)))
        for each, state in zip(lent, before, strict=True):
            each.set_state(state)
        return drawn[:length]

    def _drawn(self, epoch: Epoch) -> Iterator[Any]:
        """What the sampler gives in an epoch, drawn when it is asked for: its generators stand still in between."""
        sampler = (self._copies or _Copies(self._sampler, self._dataset)).fresh()
        carried = Carried(self._keys(*epoch))
        with carried:
            self._begin(sampler, self._own_generators(sampler), epoch)
            iterator = iter(sampler)
        while True:
            with carried:
                try:
                    batch = _batch(next(iterator))
                except StopIteration:
                    return
            yield batch

    def _begin(self, sampler: Any, own: list[Any], epoch: Epoch) -> None:
        set_own(own, key_of(self.seed, f"{self.purpose}/own", *epoch))
        set_epoch(sampler, epoch[0])

    def _own_generators(self, sampler: Any) -> list[Any]:
        return own_generators(sampler, apart_from=(self._dataset,), leaves=_NO_STATE_OF_ITS)

    def _tell_of_change(self) -> None:
        self._tell(f"{self._name} was changed since the training began: a resume needs it changed in the same way before")


class _Copies:
    """Copies of a user's sampler that may keep something from one epoch to the next."""

    def __init__(self, sampler: Any, dataset: object) -> None:
        self._given, self._dataset = sampler, dataset
        self._looks = _look(sampler)
        self._begun: Epoch = (0, 0)
        """The epoch from which on the sampler is as it is given now."""
        self._done: list[Epoch] = []
        self._told = False
        try:
            self._working = self._copied()
            self.possible = True
            """Whether it can be copied; where not, it is iterated itself."""
        except Exception:  # whatever a user's object says
            self._working, self.possible = sampler, False

    def fresh(self) -> Any:
        """A copy of the sampler as it was given; itself where there can be none."""
        return self._copied() if self.possible else self._given

    def for_epoch(self, epoch: Epoch, tell_of_change: Callable[[], None]) -> tuple[Any, list[Epoch]]:
        """The copy to iterate in an epoch, and the epochs that it is to go through before."""
        if self.possible and self._changed(tell_of_change):
            self._begun, self._working, self._done = epoch, self._copied(), []
        if epoch < self._begun:
            self._begun = (0, 0)
        wanted = [(before, 0) for before in range(epoch[0])] + [(epoch[0], again) for again in range(epoch[1] + 1)]
        wanted = [each for each in wanted if each >= self._begun]
        done = len(self._done)
        if done and (done >= len(wanted) or self._done != wanted[:done]):  # back again
            self._working, done = self.fresh(), 0 if self.possible else len(wanted) - 1
        self._done = wanted
        return self._working, wanted[done:-1]

    def _copied(self) -> Any:
        """A copy that shares the data, and models, with what it is a copy of."""
        shared = [self._dataset, *_values(self._dataset)]
        for each in _chain(self._given):
            shared += [value for value in _values(each) if isinstance(value, _NO_STATE_OF_ITS)]
        return copy.deepcopy(self._given, {id(each): each for each in shared})

    def _changed(self, tell: Callable[[], None]) -> bool:
        """Whether somebody has set something on the user's sampler. Its epoch is set anyway."""
        before, self._looks = self._looks, _look(self._given)
        if any(callable(getattr(each, "set_epoch", None)) for each in _chain(self._given)):
            before, now = ([each for each in look if each[0] != "epoch"] for look in (before, self._looks))
        else:
            now = self._looks
        if _same(before, now):
            return False
        if not self._told:
            self._told = True
            tell()
        return True


def set_epoch(thing: Any, epoch: int) -> None:
    """Call ``set_epoch`` where a sampler, or one that it takes its indices from, has it; or a loader, or its data set."""
    for each in _chain(thing):
        if callable(function := getattr(each, "set_epoch", None)):
            function(epoch)


def _keeps_nothing(sampler: Any) -> bool:
    """Whether it is one of torch's samplers, or a plain list: what they give hangs on the generators alone."""
    if type(sampler) is BatchSampler:
        return _keeps_nothing(sampler.sampler)
    return type(sampler) in (*_TORCHS, *_PLAIN)


def _unshuffled(loader: DataLoader[Any]) -> Any:
    sampler: Any = SequentialSampler(loader.dataset)  # type: ignore[arg-type]
    if loader.batch_size is None:
        return sampler
    return BatchSampler(sampler, loader.batch_size, loader.drop_last)


def _batch(given: Any) -> Any:
    """What a sampler gave for a batch, as nobody changes it later: some fill the same list again and again."""
    return list(given) if type(given) is list or isinstance(given, Iterator) else given


def _chain(sampler: Any) -> list[Any]:
    """The sampler, and those that it takes its indices from."""
    found: list[Any] = []
    left = [sampler]
    while left:
        each = left.pop()
        if each is not None and all(each is not other for other in found):
            found.append(each)
            left += [getattr(each, name, None) for name in ("sampler", "batch_sampler")]
    return found


def _values(thing: object) -> list[Any]:
    return list(vars(thing).values()) if hasattr(thing, "__dict__") else []


def _look(sampler: Any) -> list[tuple[str, Any, Any]]:
    """What the attributes are, and how often tensors among them were written to."""
    found = []
    for each in _chain(sampler):
        for name, value in vars(each).items() if hasattr(each, "__dict__") else ():
            version = value._version if isinstance(value, torch.Tensor) and not value.is_inference() else None
            found.append((name, value, version))
    return found


def _same(one: list[tuple[str, Any, Any]], other: list[tuple[str, Any, Any]]) -> bool:
    return len(one) == len(other) and all(
        a[0] == b[0] and a[1] is b[1] and a[2] == b[2] for a, b in zip(one, other, strict=True)
    )
