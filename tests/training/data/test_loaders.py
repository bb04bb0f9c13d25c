"""A DataLoader over indexed data: its batches are the same bits wherever they are taken up, whoever loads them."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from tests.training.data.toydata import COLLATES, AtOnce, Bucketed, Drawing, Numbers, batches, drawn, loader, read, same
from training.data.own_generators import get_own
from training.errors import ConfigError
from training.generators import get_generators

SAMPLERS = [
    "none",
    "shuffle",
    "seeded",
    "replacing",
    "weighted",
    "subset",
    "drawing",
    "list",
    "batches",
    "bucketed",
    "items",
]


def made(sampler: str, n: int, size: int, drop_last: bool, draws: str, collate: int, **named: Any) -> Any:
    """A new DataLoader of these."""
    dataset: Any = AtOnce(n) if draws == "at once" else Numbers(n, draws)
    if draws == "split":
        dataset = random_split(Numbers(n + 3), [n, 3], torch.Generator().manual_seed(1))[0]
    own: Any = {
        "none": {},
        "shuffle": {"shuffle": True},
        "seeded": {"shuffle": True, "generator": torch.Generator().manual_seed(n)},
        "replacing": {"sampler": RandomSampler(dataset, replacement=True, num_samples=2 * n)},
        "weighted": {"sampler": WeightedRandomSampler([1.0 + i for i in range(n)], n + 1)},
        "subset": {"sampler": SubsetRandomSampler(range(0, n, 2), generator=torch.Generator())},
        "drawing": {"sampler": Drawing(n)},
        "list": {"sampler": list(range(n - 1, -1, -1))},
        "batches": {"batch_sampler": BatchSampler(Drawing(n), size, drop_last)},
        "bucketed": {"batch_sampler": Bucketed(n)},
        "items": {"batch_size": None, "shuffle": True},
    }[sampler]
    if sampler not in ("batches", "bucketed", "items"):
        own |= {"batch_size": size, "drop_last": drop_last}
    return loader(dataset, **own, **({} if sampler == "items" else {"collate_fn": COLLATES[collate]}), **named)


CASES = st.fixed_dictionaries(
    {
        "sampler": st.sampled_from(SAMPLERS),
        "n": st.integers(1, 17),
        "size": st.integers(1, 6),
        "drop_last": st.booleans(),
        "draws": st.sampled_from(["all", "some", "own", "late", "none", "at once", "split"]),
        "collate": st.sampled_from([0, 1, 2]),
    }
)


@given(CASES, st.integers(0, 2))
@settings(max_examples=200)
def test_taken_up_at_any_batch_it_goes_on_with_the_same_bits(case: dict[str, Any], epoch: int) -> None:
    from_the_start = batches(made(**case))
    for before in range(epoch):
        read(from_the_start, before)
        drawn()
    expected = read(from_the_start, epoch)
    for k in range(len(expected) + 1):
        drawn()
        given_loader = made(**case)
        generators = get_generators()
        assert same(read(batches(given_loader), epoch, k), expected[k:]), k
        assert same(get_generators(), generators)
    assert same(read(from_the_start, epoch), expected)  # again, as a validation is
    assert same(read(from_the_start, 0), read(batches(made(**case)), 0))  # and back again


@given(CASES)
@settings(max_examples=60)
def test_nothing_is_loaded_but_what_is_asked_for(case: dict[str, Any]) -> None:
    source = made(**case | {"draws": "none"})
    plan = batches(source).plan(0)
    for k in range(len(plan)):
        source.dataset.loaded.clear()
        assert plan.has(k)
        assert not source.dataset.loaded
        batch = plan[k]
        assert len(source.dataset.loaded) == (1 if case["sampler"] == "items" else len(batch))
        if case["sampler"] == "none":
            assert source.dataset.loaded == list(range(k * case["size"], k * case["size"] + len(batch)))
    assert not plan.has(len(plan))
    with pytest.raises(IndexError):
        plan[len(plan)]


@given(CASES)
@settings(max_examples=40)
def test_without_randomness_it_is_what_torch_gives(case: dict[str, Any]) -> None:
    for sampler in ("none", "list"):
        source = made(**case | {"draws": "none", "collate": case["collate"] % 2, "sampler": sampler})
        assert same(read(batches(source), 0), list(source))
        assert len(batches(source).plan(0)) == len(source)


@pytest.mark.parametrize("draws", ["all", "some", "own", "late", "none", "at once", "split"])
@pytest.mark.parametrize(("workers", "named"), [(1, {}), (4, {"persistent_workers": True, "prefetch_factor": 1})])
def test_the_number_of_workers_changes_no_bit(draws: str, workers: int, named: dict[str, Any]) -> None:
    case: dict[str, Any] = {"sampler": "bucketed", "n": 17, "size": 2, "drop_last": False, "draws": draws, "collate": 2}
    expected = batches(made(**case))
    source = batches(made(**case, num_workers=workers, **named))
    for epoch, start in ((0, 0), (1, 0), (1, 3)):
        generators = get_generators()
        assert same(read(source, epoch, start), read(expected, epoch, start)), (epoch, start)
        assert same(get_generators(), generators)
    source.close()


@pytest.mark.slow
def test_workers_that_are_spawned_change_no_bit() -> None:
    case: dict[str, Any] = {"sampler": "drawing", "n": 9, "size": 2, "drop_last": False, "draws": "all", "collate": 2}
    source = batches(made(**case, num_workers=1, multiprocessing_context="spawn"))
    assert same(read(source, 1, 2), read(batches(made(**case)), 1, 2))
    source.close()


def test_a_workers_single_thread_is_this_ones_while_it_loads() -> None:
    class Sums(Numbers):
        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.tensor([torch.get_num_threads()])

    torch.set_num_threads(2)
    try:
        assert read(batches(loader(Sums(2), batch_size=None)), 0) == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("workers", [0, 1])
def test_where_each_item_draws_it_draws_the_same_in_any_batch(workers: int) -> None:
    """Its numbers are those of its place in the epoch's order, not of its batch."""
    one, other = (
        torch.cat(read(batches(loader(Numbers(12), batch_size=size, shuffle=True, num_workers=workers)), 0))
        for size in (3, 5)
    )
    assert same(one, other)


def test_seeds_purposes_epochs_and_items_have_numbers_of_their_own() -> None:
    found = [
        tuple(torch.cat(read(batches(loader(Numbers(6), batch_size=2), seed=seed), epoch))[:, 1].tolist())
        for seed, epoch in itertools.product((0, 1), (0, 1))
    ]
    assert len({x for each in found for x in each}) == 24


def test_the_users_loader_and_its_generators_are_left_alone() -> None:
    generator = torch.Generator().manual_seed(7)
    dataset = Numbers(8, "none")
    given_loader = loader(dataset, batch_size=2, sampler=Drawing(8), generator=generator)
    seeded = loader(dataset, shuffle=True, generator=torch.Generator().manual_seed(7))
    before, sampler = dict(vars(given_loader)), dict(vars(given_loader.sampler))
    for each in (given_loader, seeded):
        read(batches(each), 0)
        read(batches(each), 3)
    own = Numbers(4, "own")
    kept = get_own(list(own.own))
    read(batches(loader(own, batch_size=2)), 0)
    assert same(get_own(list(own.own)), kept)
    assert vars(given_loader) == before
    assert vars(given_loader.sampler) == sampler
    assert generator.get_state().equal(torch.Generator().manual_seed(7).get_state())
    assert seeded.generator.get_state().equal(torch.Generator().manual_seed(7).get_state())


def test_overfit_batches_come_in_the_datas_order() -> None:
    shuffled = loader(Numbers(6, "none"), batch_size=2, shuffle=True)
    with pytest.warns(UserWarning, match="shuffling is turned off"):
        source = batches(shuffled, fixed_order=True)
    for epoch in (0, 1):
        assert torch.cat(read(source, epoch))[:, 0].tolist() == list(range(6))
    batches(loader(Numbers(6, "none"), batch_size=2), fixed_order=True)  # no warning where there is nothing to turn off
    own = loader(Numbers(6), batch_sampler=Bucketed(6))
    assert same(read(batches(own, fixed_order=True), 0), read(batches(own), 0))


def test_predictions_are_made_for_the_last_batch_too() -> None:
    source = loader(Numbers(5), batch_size=2, drop_last=True, shuffle=True)
    assert [len(each) for each in read(batches(source, keep_last=True), 0)] == [2, 2, 1]
    assert [len(each) for each in read(batches(source), 0)] == [2, 2]


def test_a_reseeded_generator_was_drawn_from() -> None:
    class Reseeds(Numbers):
        def __getitem__(self, i: int) -> torch.Tensor:
            if i < 4:
                return torch.tensor(0.0)
            found = torch.tensor(random.random())
            random.seed(1)
            return found

    def made() -> Any:
        return batches(loader(Reseeds(8), batch_size=2))

    assert same(read(made(), 0)[3], made().plan(0)[3])


def test_torchs_own_data_are_looked_up_without_setting_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("set")

    monkeypatch.setattr("training.data.workers.get_generators", fail)
    data = TensorDataset(torch.arange(6))
    for dataset in (data, random_split(data, [4, 2])[0], [1, 2, 3]):
        read(batches(loader(dataset, batch_size=2)), 0)
    with pytest.raises(AssertionError, match="set"):
        read(batches(loader(Numbers(2))), 0)


def test_a_stop_iteration_in_an_item_is_an_error() -> None:
    class Stops(Numbers):
        def __getitem__(self, i: int) -> Any:
            return next(iter(()))

    with pytest.raises(RuntimeError, match=r"Stops: StopIteration for \[0\]"):
        batches(loader(Stops(2))).plan(0)[0]


def test_lists_batches_and_what_cannot_be_read() -> None:
    class Given:
        def plan(self, epoch: int) -> list[int]:
            return [epoch]

    given_batches = Given()
    assert batches(given_batches) is given_batches
    for listed in ([1, 2, 3], (1, 2, 3), range(1, 4)):
        source = batches(listed)
        assert len(source.plan(0)) == 3
        assert read(source, 5, 1) == [2, 3]
        assert list(source.plan(0)) == [1, 2, 3]
        assert source.plan(0)[-1] == 3
        source.close()
    for wrong in (3, None, "train", {"a": [1]}):
        with pytest.raises(ConfigError, match="train: expected a DataLoader"):
            batches(wrong)


def test_a_sequence_that_draws_is_the_same_wherever_it_is_taken_up() -> None:
    class Made(list[Any]):
        def __getitem__(self, i: Any) -> Any:
            return [super().__getitem__(i), *drawn()]

    source, generators = Made([1, 2, 3]), get_generators()
    expected = read(batches(source), 1)
    assert same(get_generators(), generators)
    assert read(batches(source), 1, 2) == expected[2:]
    assert len({x for each in (*expected, *read(batches(source), 0)) for x in each[1:]}) == 18


def test_plans_are_kept_for_their_epoch() -> None:
    source = batches(loader(Numbers(4), shuffle=True))
    assert source.plan(0) is source.plan(0)
    assert source.plan(0) is not source.plan(1)
    old, new = source.plan(0), source.plan(1)
    assert same([old[0], new[0], old[1]], [*read(source, 0, 0, 1), *read(source, 1, 0, 1), *read(source, 0, 1, 2)])
    assert np.isfinite(source.plan(0)[-1].numpy()).all()
