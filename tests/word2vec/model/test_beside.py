"""Two threads that compute at the same time: what they return, where it fails, and what torch is told of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from training.determinism.any_threads import one_thread
from training.determinism.unkept import Unkept
from word2vec.model.beside import both, helped, shared, worker


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def where() -> tuple[str, int, bool]:
    """The thread that this runs in, how many threads torch computes with there, and whether it records gradients."""
    return threading.current_thread().name, torch.get_num_threads(), torch.is_grad_enabled()


@pytest.mark.parametrize(("threads", "each"), [(2, 1), (3, 1), (4, 2)])
def test_each_of_two_threads_has_half_of_torchs(threads: int, each: int) -> None:
    torch.set_num_threads(threads)
    begun = threading.Event()

    def first() -> tuple[str, int, bool]:
        begun.wait(30)
        return where()

    def second() -> tuple[str, int, bool]:
        begun.set()
        return where()

    with helped():
        here, there = both(first, second)
        assert here == (threading.current_thread().name, each, True)
        assert there == ("helper_0", each, False)
        assert both(lambda: 1, lambda: 2) == (1, 2)
    assert torch.get_num_threads() == threads
    assert both(where, where) == (where(), where())


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_where_operations_are_not_shared_out_two_threads_still_compute(threads: int) -> None:
    torch.set_num_threads(threads)
    begun, told = threading.Event(), list[str]()

    def first() -> tuple[int, int]:
        begun.wait(30 if threads > 1 else 0)  # else this thread may do both
        return torch.get_num_threads(), threading.get_ident()

    def second() -> int:
        begun.set()
        return threading.get_ident()

    with one_thread(Unkept(told.append)), helped():
        here, there = both(first, second)
        assert here == (1, threading.get_ident())
        assert (there == threading.get_ident()) == (threads == 1)
        assert torch.get_num_threads() == 1
    assert not told
    assert torch.get_num_threads() == threads


def test_one_thread_computes_both_in_turn() -> None:
    torch.set_num_threads(1)
    done = iter([1, 2])
    with helped():
        assert both(lambda: (next(done), where()), lambda: (next(done), where())) == ((1, where()), (2, where()))


def test_an_error_in_either_is_raised_when_both_have_ended() -> None:
    torch.set_num_threads(2)
    begun, failed, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        failed.wait(30)
        ended.set()

    def fails() -> None:
        begun.wait(30)
        failed.set()
        raise ValueError("first")

    with helped():
        with pytest.raises(ValueError, match="first"):
            both(fails, slow)
        assert ended.is_set()
        with pytest.raises(ZeroDivisionError):
            both(lambda: 1, lambda: 1 // 0)
        assert both(lambda: 1, lambda: 2) == (1, 2)  # and it goes on
    assert torch.get_num_threads() == 2


class Jobs:
    """Jobs that say their number; ``done`` has those that were computed, in that order, and by which thread."""

    def __init__(self, count: int) -> None:
        self.done: list[tuple[int, str]] = []
        self.all = [partial(self._compute, number) for number in range(count)]

    def _compute(self, number: int) -> int:
        self.done.append((number, threading.current_thread().name))
        return number


def test_what_a_busy_helper_has_not_begun_the_other_thread_computes() -> None:
    torch.set_num_threads(2)
    free, jobs = threading.Event(), Jobs(3)
    with helped() as helper:
        assert helper is not None
        busy = helper.submit(free.wait, 30)
        assert shared(where, *jobs.all) == (where(), [0, 1, 2])
        assert jobs.done == [(number, threading.current_thread().name) for number in (2, 1, 0)]
        free.set()
        assert busy.result()
        assert both(lambda: 1, lambda: 2) == (1, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_results_come_in_order_and_each_is_computed_once(threads: int) -> None:
    torch.set_num_threads(threads)
    with helped():
        for count in range(12):
            jobs = Jobs(count)
            assert shared(lambda: "first", *jobs.all) == ("first", list(range(count)))
            assert sorted(number for number, _ in jobs.done) == list(range(count))


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_in_any_leaves_none_running(bad: int) -> None:
    torch.set_num_threads(2)
    running = set[int]()

    def work(k: int) -> int:
        running.add(k)
        try:
            return 1 // (k != bad)
        finally:
            running.remove(k)

    with helped():
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                shared(lambda: work(3), *(lambda k=k: work(k) for k in range(3)))
            assert not running


def test_the_helper_ends_with_an_error_inside() -> None:
    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt), helped():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
    assert both(where, where) == (where(), where())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("helper")]


def test_a_worker_has_its_own_number_of_threads() -> None:
    torch.set_num_threads(2)
    with worker("own", 1) as executor:
        assert executor.submit(where).result() == ("own_0", 1, False)
        assert torch.get_num_threads() == 2
