"""Several processes of one program, forked from this one: as a launcher starts them, without the time that imports take.

started = processes.start(folder, 2, lambda: fit(...))
started.signal(signal.SIGKILL, rank=1)
assert [done.code for done in started.wait()] == [75, -9]
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.running import Done
from tests.running import start as start_one
from training.parallel import loss

LOST = 3.0
"""Seconds after which a process counts as lost here."""


@dataclass
class Started:
    """Processes at work, by rank; ``store`` is where they meet."""

    folder: Path
    pids: list[int]
    store: TCPStore

    def signal(self, number: signal.Signals, rank: int) -> None:
        """Send one of them a signal."""
        os.kill(self.pids[rank], number)

    def wait(self, seconds: float = 120) -> list[Done]:
        """How each ended, by rank; those that have not after so many seconds are killed, which fails the test."""
        codes: dict[int, int] = {}
        deadline = time.monotonic() + seconds
        while len(codes) < len(self.pids) and time.monotonic() < deadline:
            for rank in set(range(len(self.pids))) - set(codes):
                ended, status = os.waitpid(self.pids[rank], os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        hung = sorted(set(range(len(self.pids))) - set(codes))
        self.kill(hung)
        said = [(self.folder / f"said-{rank}.txt").read_text() for rank in range(len(self.pids))]
        assert not hung, f"processes {hung} have not ended after {seconds} s: {said}"
        return [Done(codes[rank], said[rank]) for rank in range(len(self.pids))]

    def kill(self, ranks: list[int]) -> None:
        """End those processes."""
        for rank in ranks:
            self.signal(signal.SIGKILL, rank)
            os.waitpid(self.pids[rank], 0)


def start(
    folder: Path, world: int, act: Callable[[], object], *, attempt: int = 0, lost: float = LOST,
    settings: Callable[[int], dict[str, str]] = lambda rank: {},
) -> Started:  # fmt: skip
    """Call ``act`` in ``world`` processes that are one group. What they say goes to said-RANK.txt in ``folder``.

    ``settings`` gives what more stands in the environment of each; ``attempt`` is the launcher's count of restarts.
    """
    listening = socket.create_server(("127.0.0.1", 0), backlog=world)
    port = listening.getsockname()[1]

    def begun(rank: int) -> None:
        listening.close()
        loss.seconds = loss.Seconds(lost)
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True",
            TORCHELASTIC_RESTART_COUNT=str(attempt), **settings(rank),
        )  # fmt: skip
        act()

    pids = [start_one(folder, lambda rank=rank: begun(rank), f"said-{rank}.txt") for rank in range(world)]  # type: ignore[misc]
    # after the forks, since a thread of its own serves it, which may hold a lock that a fork would hold for ever
    store = TCPStore(
        "127.0.0.1", port, is_master=True, timeout=timedelta(seconds=60), wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )  # fmt: skip
    return Started(folder, pids, store)


def run(folder: Path, world: int, act: Callable[[], object]) -> list[Done]:
    """Call ``act`` in ``world`` processes, to their ends; in this one's fork alone where ``world`` is 1."""
    return start(folder, world, act).wait()
