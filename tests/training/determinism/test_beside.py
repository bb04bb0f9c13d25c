"""Two threads that compute at the same time: what they return, where it fails, and what torch is told of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from training.determinism.beside import both, helped, worker


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
    with helped():
        here, there = both(where, where)
        assert here == (threading.current_thread().name, each, True)
        assert there == ("helper_0", each, False)
        assert both(lambda: 1, lambda: 2) == (1, 2)
    assert torch.get_num_threads() == threads
    assert both(where, where) == (where(), where())


def test_one_thread_computes_both_in_turn() -> None:
    torch.set_num_threads(1)
    done = iter([1, 2])
    with helped():
        assert both(lambda: (next(done), where()), lambda: (next(done), where())) == ((1, where()), (2, where()))


def test_an_error_in_either_is_raised_when_both_have_ended() -> None:
    torch.set_num_threads(2)
    begun, ended = threading.Event(), threading.Event()

    def slow() -> None:
        begun.wait(30)
        ended.set()

    def fails() -> None:
        begun.set()
        raise ValueError("first")

    with helped():
        with pytest.raises(ValueError, match="first"):
            both(fails, slow)
        assert ended.is_set()
        with pytest.raises(ZeroDivisionError):
            both(lambda: 1, lambda: 1 // 0)
        assert both(lambda: 1, lambda: 2) == (1, 2)  # and it goes on
    assert torch.get_num_threads() == 2


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
