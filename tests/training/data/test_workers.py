"""Worker processes: how they begin, how long they live, what they hold, and that none is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tests import running
from tests.training.data.toydata import Numbers, batches, loader, read


class Where(Dataset[Any]):
    """Items say which process loaded them, and what it is like."""

    def __init__(self, n: int = 8) -> None:
        self.n, self.prepared = n, ""

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        if i == 100:
            raise OSError("the file is gone")
        if i == 200:
            time.sleep(60)
        if i == 300:
            os.kill(os.getpid(), signal.SIGKILL)
        info = get_worker_info()
        return {
            "pid": os.getpid(), "prepared": self.prepared, "mine": info is None or info.dataset is self,
            "seed": 0 if info is None else info.seed, "dtype": str(torch.get_default_dtype()),
        }  # fmt: skip


def prepare(worker: int) -> None:
    """A worker_init_fn as they are written: it sets something on the worker's data set."""
    info: Any = get_worker_info()
    assert info.id == worker
    info.dataset.prepared = f"by {worker} of {info.num_workers}"


def items(**named: Any) -> DataLoader[Any]:
    return loader(Where(), batch_size=None, **named)


def alive(pids: set[int]) -> set[int]:
    """Those that still run."""
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def test_workers_begin_as_the_user_says() -> None:
    source = batches(items(num_workers=2, worker_init_fn=prepare))
    found = read(source, 0)
    assert {each["prepared"] for each in found} == {"by 0 of 2", "by 1 of 2"}
    assert all(each["mine"] for each in found)
    assert os.getpid() not in {each["pid"] for each in found}
    again = batches(items(num_workers=2))
    assert [each["seed"] for each in read(again, 0)] == [each["seed"] for each in found]
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_worker_that_inherits_nothing_is_set_up_as_this_process_is() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        source = batches(items(num_workers=1, multiprocessing_context="forkserver", worker_init_fn=prepare))
        assert source.plan(0)[3]["dtype"] == "torch.float64"
        assert source.plan(0)[4]["prepared"] == "by 0 of 1"
        source.close()
    finally:
        torch.set_default_dtype(torch.float32)


def test_workers_that_persist_live_as_long_as_the_batches_the_others_an_epoch() -> None:
    for persistent in (True, False):
        source = batches(items(num_workers=1, persistent_workers=persistent))
        first = {each["pid"] for each in read(source, 0)}
        assert len(multiprocessing.active_children()) == persistent
        second = {each["pid"] for each in read(source, 1, 2, 5)}  # left before its end
        third = {each["pid"] for each in read(source, 2)}
        assert len(first | second | third) == (1 if persistent else 3)
        source.close()
        assert not multiprocessing.active_children()
        assert len(read(source, 0)) == 8  # a closed one can be read anew
        source.close()


def test_closing_a_plan_ends_its_workers() -> None:
    source = batches(items(num_workers=2))
    plan = source.plan(0)
    plan[0]
    assert len(multiprocessing.active_children()) == 2
    plan.close()
    assert not multiprocessing.active_children()


def test_forgotten_batches_end_their_workers() -> None:
    source = batches(items(num_workers=1, persistent_workers=True))
    source.plan(0)[0]
    del source
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("index", "error", "said"), [(100, OSError, "the file is gone"), (300, RuntimeError, "exited|killed")]
)
@pytest.mark.parametrize("persistent", [False, True])
def test_after_an_error_none_is_left(index: int, error: type[Exception], said: str, persistent: bool) -> None:
    source = batches(items(num_workers=1, sampler=[0, index, 1], persistent_workers=persistent))
    with pytest.raises(error, match=said):
        read(source, 0)
    assert not multiprocessing.active_children()
    source.close()


def test_a_timeout_is_kept_and_a_worker_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    source = batches(items(num_workers=1, sampler=[0, 200], timeout=1))
    plan = source.plan(0)
    plan[0]
    with pytest.raises(RuntimeError, match="timed out after 1"):
        plan[1]
    assert not multiprocessing.active_children()


def test_signals_that_stop_a_run_do_not_end_its_workers() -> None:
    """They come to all processes of a group; the batch that is being trained on is to be ended all the same."""
    source = batches(items(num_workers=1))
    plan = source.plan(0)
    pid = plan[0]["pid"]
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert {plan[k]["pid"] for k in range(1, 8)} == {pid}
    source.close()


def test_no_more_batches_are_held_than_prefetch_says() -> None:
    dataset, drawn = Numbers(40, "none"), []

    class Watched(list[int]):
        def __iter__(self) -> Any:
            for i in super().__iter__():
                drawn.append(i)
                yield i

    class Requested(torch.utils.data.Sampler[int]):
        def __iter__(self) -> Any:
            return iter(Watched(range(40)))

    lines: list[str] = []
    source = batches(loader(dataset, batch_size=None, sampler=Requested(), num_workers=2, prefetch_factor=3), lines)
    for k in range(10):
        source.plan(0)[k]
        assert len(drawn) <= k + 1 + 2 * 3
    source.close()


SCRIPT = """
from tests.training.data.test_workers import begun
source = begun()
raise ValueError
"""


def begun() -> Any:
    """A source that has begun its two workers, and has printed their pids."""
    source = batches(items(num_workers=2, persistent_workers=True))
    print(*{source.plan(0)[k]["pid"] for k in range(8)}, flush=True)
    return source


@pytest.mark.slow
def test_when_the_process_raises_its_workers_end() -> None:
    """In an interpreter of its own, since its end is what ends them."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    pids = set(map(int, done.stdout.split()))
    assert (done.returncode, len(pids)) == (1, 2), done.stderr
    assert not alive(pids)


@pytest.mark.slow
def test_when_the_process_is_killed_its_workers_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data._utils.worker.MP_STATUS_CHECK_INTERVAL", 0.1)  # they look for it every 5 s

    def act() -> None:
        kept = begun()
        os.kill(os.getpid(), signal.SIGKILL)
        kept.close()

    ended = os.waitpid(running.start(tmp_path, act), 0)[1]
    pids = set(map(int, (tmp_path / "said.txt").read_text().split()))
    assert (os.waitstatus_to_exitcode(ended), len(pids)) == (-signal.SIGKILL, 2)
    assert not alive(pids)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_pin_memory_without_an_accelerator_warns_as_torch_does() -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    for workers in (0, 1):
        given_loader = items(pin_memory=True, num_workers=workers)
        source = batches(given_loader)
        with pytest.warns(UserWarning, match="no accelerator is found"):
            found = read(source, 0)
        assert len(found) == 8
        source.close()


def test_batches_come_in_order_even_where_they_need_not() -> None:
    lines: list[str] = []
    source = batches(loader(Numbers(6, "none"), num_workers=2, in_order=False), lines)
    assert torch.cat(read(source, 0))[:, 0].tolist() == list(range(6))
    assert [line.partition(":")[0] for line in lines] == ["in_order=False"]
    source.close()


def test_no_second_warning_of_too_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._utils.cpu_count", lambda: 1)
    with pytest.warns(UserWarning, match="This DataLoader will create 2 worker processes"):
        many = DataLoader(Numbers(2), num_workers=2)
    source = batches(many)
    source.plan(0)[0]
    source.close()
