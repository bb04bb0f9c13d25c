"""Jobs side by side, one thread each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from training.determinism.any_threads import one_thread
from training.determinism.single_threads import in_single_threads
from training.determinism.unkept import Unkept


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_job_is_computed_by_one_thread_and_results_are_in_order(threads: int) -> None:
    torch.set_num_threads(threads)
    assert in_single_threads([partial(lambda n: (n, torch.get_num_threads()), n) for n in range(7)]) == [
        (n, 1) for n in range(7)
    ]
    assert torch.get_num_threads() == threads


def test_two_jobs_are_done_at_once() -> None:
    torch.set_num_threads(2)
    both = threading.Barrier(2, timeout=20)
    assert sorted(in_single_threads([both.wait, both.wait])) == [0, 1]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_where_one_thread_computes_jobs_are_still_side_by_side(threads: int) -> None:
    torch.set_num_threads(threads)
    told: list[str] = []
    unkept = Unkept(told.append)
    with one_thread(unkept):
        at_once = in_single_threads([threading.get_ident] * 2)
        assert (threading.get_ident() in at_once) == (threads == 1)
        assert in_single_threads([torch.get_num_threads] * 3) == [1, 1, 1]
    assert not told
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("threads", [1, 2])
def test_jobs_see_the_callers_inference_mode_and_their_errors_are_raised(threads: int) -> None:
    torch.set_num_threads(threads)
    for mode in (True, False):
        with torch.inference_mode(mode):
            assert in_single_threads([torch.is_inference_mode_enabled] * 3) == [mode] * 3
    with pytest.raises(ZeroDivisionError):
        in_single_threads([lambda: 1 // 0, lambda: 1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    torch.set_num_threads(2)
    in_single_threads([lambda: 1])
    child = os.fork()
    if not child:
        code = 70
        try:
            torch.set_num_threads(2)
            code = sum(in_single_threads([torch.get_num_threads] * 3))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
