"""OpenMP's threads sleep sooner while others need the cores: when, how, and without another bit."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ner.commands.computing import compute_with, computing
from training import openmp
from training.determinism import waiting
from training.determinism.threads import try_threads
from training.determinism.waiting import ShortSpins, considerate, libgomp, needed
from training.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
CORES = openmp.affine_cores()
pytestmark = pytest.mark.skipif(libgomp() is None, reason="torch computes with another OpenMP")


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As the commands leave the environment, whatever these tests run under; and nothing stays in force."""
    for name in openmp.WAIT_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(waiting, "FIRST", 0.01)
    monkeypatch.setattr(waiting, "INTERVAL", 0.01)
    yield
    assert not waiting._watched
    assert not [thread for thread in threading.enumerate() if thread.name in ("considerate", "idle team")]


def stat(root: Path, ticks: dict[int, int]) -> None:
    """/proc/stat, where each of these cores was busy for so many ticks, in all kinds of ways."""
    (root / "proc").mkdir(exist_ok=True)
    lines = ["cpu  1 2 3 4 5 6 7 8 9 10"]
    for core, busy in ticks.items():
        each = busy // 6
        lines.append(f"cpu{core} {busy - 5 * each} {each} {each} 999999 888888 {each} {each} {each} 777777 0")
    made = root / "proc/new"
    made.write_text("\n".join([*lines, "intr 5 5 5", "ctxt 7"]) + "\n")
    made.replace(root / "proc/stat")


@given(st.dictionaries(st.integers(0, 5), st.integers(0, 10**9)))
def test_busy_time_is_that_of_the_cores_of_the_mask(ticks: dict[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 9})
        stat(Path(folder), ticks)
        expected = ticks.get(1, 0) + ticks.get(3, 0)
        assert openmp.busy_seconds(Path(folder)) == (expected / os.sysconf("SC_CLK_TCK") if expected else None)


@pytest.mark.parametrize(
    "text", ["", "cpu0 1 2 3\n", "cpu0 a b c d e f g h\n", "cpu0 0 0 0 7 7 0 0 0 0 0\n", "\n\n", "\x00"]
)
def test_a_system_that_says_nothing_of_use_is_not_asked(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert openmp.busy_seconds(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(text)
    assert openmp.busy_seconds(tmp_path) is None
    with considerate(2, tmp_path):
        assert not waiting._watched
    environment: dict[str, str] = {}
    openmp.prepare(environment, tmp_path)
    assert environment["GOMP_SPINCOUNT"] == openmp.BLIND_SPINS


@given(st.integers(2, 64), st.integers(1, 64), st.floats(0, 64))
def test_others_need_cores_where_all_do_not_fit(threads: int, cores: int, others: float) -> None:
    assert needed(threads, others, cores) == (others > cores - threads + waiting.MARGIN)


@pytest.mark.parametrize(
    ("environment", "users"),
    [
        ({}, False),
        ({"GOMP_SPINCOUNT": openmp.SPINS}, False),  # inherited from a process of ours
        ({"GOMP_SPINCOUNT": "17"}, True),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, True),
        ({"GOMP_SPINCOUNT": openmp.SPINS, "OMP_WAIT_POLICY": "PASSIVE"}, True),
        ({"KMP_BLOCKTIME": "0"}, True),
    ],
)
def test_how_the_user_wants_threads_to_wait_stays(
    environment: dict[str, str], users: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert openmp.users_own() is users
    with considerate(2):
        assert waiting._watched is not users


@pytest.mark.parametrize("threads", [0, 1])
def test_one_thread_waits_for_none(threads: int) -> None:
    with considerate(threads):
        assert not waiting._watched


def test_inside_another_one_it_does_nothing() -> None:
    with considerate(2), considerate(2):
        assert waiting._watched
        assert len([thread for thread in threading.enumerate() if thread.name == "considerate"]) == 1


def test_it_ends_with_an_error_inside() -> None:
    with pytest.raises(ZeroDivisionError), considerate(2):
        raise ZeroDivisionError


class Switch:
    """Stands in for ShortSpins: what was put, in order."""

    def __init__(self, threads: int) -> None:
        self.puts: list[bool] = []
        switches.append(self)

    def put(self, short: bool) -> None:
        if short != (self.puts or [False])[-1]:
            self.puts.append(short)


switches: list[Switch] = []


@pytest.fixture
def switched(monkeypatch: pytest.MonkeyPatch) -> list[Switch]:
    switches.clear()
    monkeypatch.setattr(waiting, "ShortSpins", Switch)
    return switches


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_it_follows_the_load(tmp_path: Path, switched: list[Switch], monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbor comes, goes, and comes again; at the end nothing is left in force."""
    stop, load = threading.Event(), [0]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def world() -> None:
        """Ticks go by as on a machine of two cores that are busy, or idle but for this process."""
        began, base = time.perf_counter(), 1000.0
        while not stop.wait(0.001):
            now = time.perf_counter()
            base, began = base + load[0] * 200 * (now - began), now
            stat(tmp_path, {0: int(base + 100 * time.process_time()), 1: 1000})

    stat(tmp_path, {0: 1000, 1: 1000})
    thread = threading.Thread(target=world, daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch, considerate(2, tmp_path):
            patch.setattr(waiting, "INTERVAL", 0.1)
            wait_for(lambda: switched[0].puts == [True, False])
            load[0] = 2
            wait_for(lambda: switched[0].puts[-1:] == [True])
            load[0] = 0
            wait_for(lambda: switched[0].puts[-1:] == [False])
            load[0] = 2
            wait_for(lambda: switched[0].puts[-1:] == [True])
    finally:
        stop.set()
        thread.join()
    assert switched[0].puts[0] is True  # before the first look
    assert switched[0].puts[-1] is False


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def wait_for_tasks(count: int) -> None:
    wait_for(lambda: tasks() == count)


def settled() -> int:
    """The number of tasks, once it has stayed the same for a while: on a busy machine those of other tests end late."""
    found, since = tasks(), time.monotonic()
    while time.monotonic() < since + 0.2:
        time.sleep(0.002)
        if tasks() != found:
            found, since = tasks(), time.monotonic()
    return found


def idle_team() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "idle team"]


def test_the_idle_team_comes_and_goes() -> None:
    """So that libgomp manages more threads than there are cores, and then not."""
    torch.ones(100_000).add_(1)
    spins = ShortSpins(2)
    for _ in range(5):
        before = settled()
        try:
            spins.put(True)
            spins.put(True)
            assert len(idle_team()) == 1
            wait_for_tasks(before + spins.idle)  # one of them is the thread of Python
        finally:
            spins.put(False)
            spins.put(False)
        assert not idle_team()
        wait_for_tasks(before)


def test_with_those_that_compute_there_are_more_threads_than_cores() -> None:
    for threads in range(2, 2 * CORES + 2):
        managed = threads + ShortSpins(threads).idle - 1  # the first of a team is not counted twice
        assert managed > CORES


@pytest.mark.parametrize("missing", ["library", "threads", "thread"])
def test_what_cannot_be_had_is_done_without(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(n: int) -> None:
        raise ConfigError("no more threads")

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if missing == "library":
        monkeypatch.setattr(waiting, "libgomp", lambda: None)
    elif missing == "threads":
        monkeypatch.setattr(waiting, "try_threads", none)
    else:
        monkeypatch.setattr(waiting, "try_threads", lambda n: None)
        monkeypatch.setattr(threading.Thread, "start", refuse)
    spins = ShortSpins(2)
    spins.put(True)
    spins.put(False)
    assert spins.team is None


def test_where_no_thread_can_look_nothing_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with considerate(2):
        assert not waiting._watched


def test_no_bit_changes_while_it_switches() -> None:
    """An LSTM's gradients, whose bits depend on the number of threads, while teams come and go without a pause."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = [trained(seed) for seed in range(2)]
        stop, switches = threading.Event(), [0]

        def switch() -> None:
            spins = ShortSpins(2)
            while not stop.is_set():
                spins.put(True)
                spins.put(False)
                switches[0] += 1

        thread = threading.Thread(target=switch)
        thread.start()
        try:
            for _ in range(3):
                assert [trained(seed) for seed in range(2)] == expected
        finally:
            stop.set()
            thread.join()
        assert switches[0] > 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def trained(seed: int) -> list[bytes]:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lstm = torch.nn.LSTM(40, 64, bidirectional=True)
    optimizer = torch.optim.SGD(lstm.parameters(), 0.1)
    for _ in range(4):
        out, _ = lstm(torch.randn(15, 16, 40, generator=generator))
        optimizer.zero_grad()
        out.square().mean().backward()
        optimizer.step()
    return [parameter.detach().numpy().tobytes() for parameter in lstm.parameters()]


def test_it_is_in_force_while_a_run_computes_with_several_threads() -> None:
    from training.config import TrainConfig
    from training.determinism.flags import determinism

    for settings, expected in [
        (TrainConfig(threads=2), True),
        (TrainConfig(threads=2, deterministic=True), True),
        (TrainConfig(threads=1), False),
        (TrainConfig(threads=2, any_threads=True, deterministic=True), False),
    ]:
        with determinism(settings):
            assert waiting._watched is expected


def test_a_process_ends_while_it_is_in_force() -> None:
    """As one that is told to exit inside: without an error, and without waiting for the threads."""
    code = (
        "import sys, threading\n"
        "import torch\n"
        "from training.determinism import waiting\n"
        "torch.set_num_threads(2)\n"
        "held = waiting.considerate(2)\n"
        "held.__enter__()\n"
        "assert waiting._watched\n"
        "spins = waiting.ShortSpins(2)\n"
        "spins.put(True)\n"
        "print(float(torch.ones(100_000).sum()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "100000.0\n", "")


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_it_is_in_force_to_the_end_of_a_command(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As predict and evaluate have it, through ``--threads``."""
    seen: list[bool] = []
    before = torch.get_num_threads()

    @click.command()
    @computing
    def command(threads: int, device: str) -> None:
        compute_with(threads)
        seen.append(waiting._watched)

    try:
        command(["--threads", str(threads)], standalone_mode=False)
    finally:
        torch.set_num_threads(before)
    assert seen == [(threads or openmp.cores()) > 1]


def test_a_child_that_is_forked_goes_on_by_itself() -> None:
    with considerate(2):
        child = os.fork()
        if child == 0:
            with considerate(2):
                looks = [thread for thread in threading.enumerate() if thread.name == "considerate"]
                os._exit(0 if waiting._watched and len(looks) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_libgomp_is_torchs_own() -> None:
    library = libgomp()
    assert isinstance(library, ctypes.CDLL)
    assert os.path.realpath(library._name).startswith(os.path.realpath(Path(torch.__file__).parent))


def test_too_few_threads_are_found_before_libgomp_ends_the_process() -> None:
    """As under a limit of processes; root has none, so the limit of memory stands in for it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, before[1]))
    try:
        with pytest.raises(ConfigError):
            try_threads(500)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
