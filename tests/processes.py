"""Several processes of one program, forked from this one: as a launcher starts them, without the time that imports take.

started = processes.start(folder, 2, lambda: fit(...))
started.signal(signal.SIGKILL, rank=1)
assert [done.code for done in started.wait()] == [75, -9]
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.running import Done, Kill, arm
from tests.running import start as start_one
from training.parallel import loss

Act = Callable[[], object]
LOST = 5.0
"""Seconds after which a process counts as lost here."""
PORT = 8
"""Bytes in which the store's port is told to a process."""


@dataclass
class Started:
    """Processes at work, by rank; ``store`` is where they meet."""

    folder: Path
    pids: list[int]
    store: TCPStore | None

    def signal(self, number: signal.Signals, rank: int) -> None:
        """Send one of them a signal."""
        os.kill(self.pids[rank], number)

    def wait(self, seconds: float = 120, without: Collection[int] = ()) -> list[Done]:
        """How each ended, by rank; those that have not after so many seconds are killed, which fails the test.

        Those ``without`` whom it goes are killed once the others have ended.
        """
        codes: dict[int, int] = {}
        deadline = time.monotonic() + seconds
        while len(codes) < len(self.pids) - len(without) and time.monotonic() < deadline:
            for rank in set(range(len(self.pids))) - {*codes, *without}:
                ended, status = os.waitpid(self.pids[rank], os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        hung = sorted(set(range(len(self.pids))) - {*codes, *without})
        self.kill([*hung, *without])
        codes.update(dict.fromkeys(without, -signal.SIGKILL))
        self.store = None  # its thread ends here, not beside the next fork
        said = [self._said(rank) for rank in range(len(self.pids))]
        assert not hung, f"processes {hung} have not ended after {seconds} s: {said}"
        return [Done(codes[rank], said[rank]) for rank in range(len(self.pids))]

    def _said(self, rank: int) -> str:
        file = self.folder / f"said-{rank}.txt"
        return file.read_text() if file.exists() else ""  # it may have been killed before it said anything

    def ends_within(self, seconds: float) -> bool:
        """Whether all end by themselves within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in self.pids]
            if all(found):
                return True
            time.sleep(0.005)
        return False

    def wait_until_stopped(self, rank: int) -> None:
        """Wait for the SIGSTOP that a process sends itself."""
        os.waitid(os.P_PID, self.pids[rank], os.WSTOPPED | os.WNOWAIT)

    def kill(self, ranks: list[int]) -> None:
        """End those processes."""
        for rank in ranks:
            self.signal(signal.SIGKILL, rank)
            os.waitpid(self.pids[rank], 0)


def start(
    folder: Path, world: int, act: Act | Sequence[Act], *, attempt: int = 0, lost: float = LOST,
    settings: Sequence[Mapping[str, str]] = (), kills: Mapping[int, Kill] = MappingProxyType({}),
) -> Started:  # fmt: skip
    """Call ``act``, or each its own, in ``world`` processes that are one group. What they say goes to said-RANK.txt.

    ``settings`` is what more stands in the environment of each, ``kills`` which signal one sends itself, and when;
    ``attempt`` is the launcher's count of restarts.
    """
    read, write = os.pipe()

    def begun(rank: int) -> None:
        os.close(write)
        port = os.read(read, PORT)
        loss.seconds = loss.Seconds(lost)
        given = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port.decode().strip(), "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": str(attempt),
        }  # fmt: skip
        os.environ.update(given | dict(settings[rank] if settings else {}))
        if rank in kills:
            arm(kills[rank])
        (act if callable(act) else act[rank])()

    pids = [start_one(folder, lambda rank=rank: begun(rank), f"said-{rank}.txt") for rank in range(world)]  # type: ignore[misc]
    # The store comes after the forks: its thread might hold a lock in one, and its sockets would be theirs, too.
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=60), wait_for_workers=False)
    os.write(write, b"".join(b"%*d" % (PORT, store.port) for _ in pids))
    for each in (read, write):
        os.close(each)
    return Started(folder, pids, store)


def run(folder: Path, world: int, act: Callable[[], object]) -> list[Done]:
    """Call ``act`` in ``world`` processes, to their ends; in this one's fork alone where ``world`` is 1."""
    return start(folder, world, act).wait()
