"""Several loaders as one, beside Lightning's CombinedLoader: forms, order, numbers, and what is there when one has ended."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities.combined_loader import CombinedLoader as Lightnings

import training.lightning_names as ours
from tests.pairwise import pairwise
from tests.training.data.toydata import batches, drawn, loader, read, same
from training import CombinedLoader
from training.data.combined import MODES
from training.data.loaders import combined
from training.errors import ConfigError

Two = namedtuple("Two", ["one", "other"])


class Unsized:
    """An iterable that does not say how much it has."""

    def __init__(self, values: list[str]) -> None:
        self.values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


FORMS: list[Any] = [
    lambda a: a,
    lambda a: [a],
    lambda a, b: [a, b],
    lambda a, b: {"x": a, "y": b},
    lambda a, b, c: (a, {"x": [b], "y": c}),
    lambda a, b: Two(a, OrderedDict(z=b)),
    lambda a, b, c: [[a, b], c, [1, 2, 3]],
    lambda: [[]],
]
CASES = st.tuples(
    st.sampled_from(FORMS),
    st.sampled_from(list(MODES)),
    st.lists(st.integers(0, 5), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.sampled_from([None, 0, 1, 2, [1, 3, 2]]),
)


def loaders(form: Any, sizes: list[int], sized: list[bool]) -> Any:
    made: list[Any] = [
        loader([f"{i}.{j}" for j in range(n)], batch_size=None) if known else Unsized([f"{i}.{j}" for j in range(n)])
        for i, (n, known) in enumerate(zip(sizes, sized, strict=True))
    ]
    return form(*made[: form.__code__.co_argcount])


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@given(CASES)
@settings(max_examples=400)
def test_it_is_as_there(case: Any) -> None:
    form, mode, sizes, sized, limits = case
    theirs, ours = Lightnings(loaders(form, sizes, sized), mode), CombinedLoader(loaders(form, sizes, sized), mode)
    count = len(theirs.flattened)
    assert len(ours.flattened) == count
    if limits is not None:
        limits = limits[:count] if isinstance(limits, list) else [limits] * count
        limits += [9] * (count - len(limits))
        theirs.limits, ours.limits = list(limits), list(limits)
    iter(theirs)
    try:
        length: float = len(theirs)
    except TypeError:
        length = float("inf")  # Python's len wants a whole number
    except ValueError:
        assert count == 0
        length = 0
    expected: list[Any] = []
    for batch, _, _ in theirs:
        if len(expected) >= length:  # where the loop ends the epoch
            break
        expected.append(batch)
    if count == 0:
        expected = []  # it gives empty batches without end there
    plan = batches(ours).plan(0)
    assert plan.length == (None if length == float("inf") else length)
    assert list(plan) == expected


@given(CASES, st.booleans(), st.booleans())
@settings(max_examples=150)
def test_taken_up_at_any_batch_it_goes_on_with_the_same_bits(case: Any, with_state: bool, looks: bool) -> None:
    form, mode, sizes, sized, _ = case

    def made() -> Any:
        values: list[Any] = [
            loader(list(range(n)), batch_size=2, shuffle=True) if known and n else Unsized([f"{i}.{j}" for j in range(n)])
            for i, (n, known) in enumerate(zip(sizes, sized, strict=True))
        ]
        return batches(CombinedLoader(form(*values[: form.__code__.co_argcount]), mode), [])

    source = made()
    expected = [read(source, epoch) for epoch in range(2)]
    assert same(read(source, 1), expected[1])
    assert same(read(source, 0), expected[0])
    for epoch in range(2):
        for k in range(len(expected[epoch])):
            left, resumed = made(), made()
            read(left, epoch, 0, k)
            if looks:
                left.plan(epoch).has(k)
            drawn()
            if with_state:
                resumed.load_state_dict(left.state_dict())
            assert same(read(resumed, epoch, k), expected[epoch][k:]), (epoch, k)
            left.close()


def test_shorter_loaders_are_shuffled_anew_each_time() -> None:
    made = {"a": loader(range(40)), "b": loader(range(20), shuffle=True)}
    found = [int(each["b"]) for each in read(combined(made, seed=0, purpose="train", tell=print), 0)]
    assert sorted(found[:20]) == sorted(found[20:]) == list(range(20))
    assert found[:20] != found[20:]


def test_users_batches_take_part_and_workers_end() -> None:
    class Given:
        def plan(self, epoch: int) -> list[int]:
            return [10 * epoch, 10 * epoch + 1]

    given_loaders = [Given(), loader(range(3), num_workers=1, batch_size=None)]
    source: Any = combined(given_loaders, seed=0, purpose="train", tell=print)
    assert read(source, 1) == [[10, 0], [11, 1], [10, 2]]
    source.plan(0)[0]
    source.close()
    with pytest.raises(ConfigError, match="mode: expected one of min_size, max_size_cycle, max_size, sequential, got 'max'"):
        CombinedLoader([], "max")


EVALUATIONS: dict[str, list[Any]] = {
    "mode": list(MODES),
    "sizes": [(8, 4), (5, 9), (2, 2)],
    "limit": [1.0, 2, 0.5, 0],
    "verb": ["fit", "validate", "test"],
}


def evaluated(side: Any, mode: str, sizes: tuple[int, int], limit: Any, verb: str) -> Any:
    """What the steps of ``verb`` see of a CombinedLoader, and its results."""
    seen: list[Any] = []

    class Model(side.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch["a"][:, None].float()).sum()

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            seen.append((repr(batch), batch_idx, dataloader_idx))
            self.log("mean", float(batch_idx), batch_size=2)

        test_step = validation_step

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    source = {name: loader(list(range(n)), batch_size=2) for name, n in zip("ab", sizes, strict=True)}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    limits = {"limit_val_batches": limit, "limit_test_batches": limit, "limit_train_batches": 1}
    trainer = side.Trainer(max_epochs=1, accelerator="cpu", **limits, **quiet)
    both = side.utilities.CombinedLoader(source, mode)
    try:
        given_loaders = (side.utilities.CombinedLoader(source, "min_size"), both) if verb == "fit" else (both,)
        results = getattr(trainer, verb)(Model(), *given_loaders, **({} if verb == "fit" else {"verbose": False}))
    except Exception as error:  # a share of a loader that is less than a batch
        return str(type(error).__name__ in ("ConfigError", "MisconfigurationException"))
    return seen, results, {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", pairwise(EVALUATIONS), ids=lambda row: "-".join(map(str, row.values())))
def test_evaluation_reads_it_as_there(row: dict[str, Any]) -> None:
    assert evaluated(ours, **row) == evaluated(pl, **row)
