"""Two hosts and the link between them: dead, lossy, or gone for a moment. None hangs, and none differs."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import processes, running
from tests.hosts import Hosts, NotAllowed, two_hosts
from tests.processes import Started
from tests.running import Kill
from tests.training.parallel.test_processes import fit


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    try:
        with two_hosts() as found:
            yield found
    except NotAllowed as reason:
        pytest.skip(f"no network namespaces here: {reason}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert processes.run(folder, 1, fit("run", checkpoint_every="2"))[0].code == 0
    return folder / "run"


def begin(folder: Path, hosts: Hosts, kill: Kill, lost: float = processes.LOST) -> Started:
    """A fit with a process on each host; that on host 1 stops in its fifth batch until it is sent SIGCONT."""
    act = fit("run", checkpoint_every="2")

    def on_its_host(rank: int) -> Callable[[], None]:
        def begun() -> None:
            hosts.enter(rank)
            act()

        return begun

    return processes.start(
        folder, 2, [on_its_host(0), on_its_host(1)], lost=lost, settings=[hosts.settings()] * 2, kills={1: kill}
    )


def goes_on(folder: Path, whole: Path) -> None:
    assert running.manifest(folder / "run")["status"] == "stopped"
    assert [done.code for done in processes.run(folder, 4, fit("run", resume=True))] == [0] * 4
    assert running.results(folder / "run") == running.results(whole)


STOP = Kill(5, signal.SIGSTOP)
SOON = processes.LOST / 3
"""Seconds to count as lost after, where one is lost in any case."""


@pytest.mark.parametrize("how", ["link", "packets"])
def test_a_dead_link_ends_both_in_time(tmp_path: Path, hosts: Hosts, whole: Path, how: str) -> None:
    started = begin(tmp_path, hosts, STOP, SOON)
    started.wait_until_stopped(1)
    hosts.link("down") if how == "link" else hosts.drop_all(True)
    started.signal(signal.SIGCONT, 1)
    begun = time.monotonic()
    try:
        ended = started.wait(30 * SOON)
    finally:
        hosts.link("up") if how == "link" else hosts.drop_all(False)
    assert time.monotonic() - begun < 12 * SOON
    assert [done.code for done in ended] == [75, 75], ended
    for other, done in ((1, ended[0]), (0, ended[1])):
        assert re.search(rf"process {other} on .* is lost: .*; resume with resume=", done.said), ended
        assert "Traceback" not in done.said
    goes_on(tmp_path, whole)


@pytest.mark.parametrize("how", ["link", "packets"])
def test_what_is_over_soon_changes_nothing(tmp_path: Path, hosts: Hosts, whole: Path, how: str) -> None:
    started = begin(tmp_path, hosts, STOP)
    started.wait_until_stopped(1)
    hosts.link("down") if how == "link" else hosts.drop_all(True)
    started.signal(signal.SIGCONT, 1)
    time.sleep(processes.LOST / 5)
    hosts.link("up") if how == "link" else hosts.drop_all(False)
    ended = started.wait()
    assert [done.code for done in ended] == [0, 0], ended
    assert running.results(tmp_path / "run") == running.results(whole)


def test_packets_that_are_dropped_are_sent_again(tmp_path: Path, hosts: Hosts, whole: Path) -> None:
    try:
        hosts.drop_some(True)
    except NotAllowed as reason:
        pytest.skip(f"no queues of packets here: {reason}")
    try:
        ended = begin(tmp_path, hosts, Kill(0)).wait()
        assert hosts.lost() > 0
    finally:
        hosts.drop_some(False)
    assert [done.code for done in ended] == [0, 0], ended
    assert running.results(tmp_path / "run") == running.results(whole)
