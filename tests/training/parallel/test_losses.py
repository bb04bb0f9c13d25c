"""A process that is killed, stops, lags or is told to stop: the others end in time, say whom they lost, and can go on."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import processes, running
from tests.running import Kill
from tests.training.parallel.test_processes import fit
from training.run import preemption

KILLS = [
    (2, 1, Kill(4)),
    (2, 0, Kill(3)),
    (4, 2, Kill(2, hook="on_validation_batch_end")),
    (4, 3, Kill(5, hook="on_before_backward")),
    (2, 0, Kill(2, hook="on_save_checkpoint")),
    (2, 1, Kill(7, signal.SIGTERM)),
    (4, 0, Kill(1, signal.SIGINT)),
    (4, 2, Kill(3, signal.SIGTERM, "on_validation_batch_end")),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert processes.run(folder, 1, fit("run", checkpoint_every="2"))[0].code == 0
    return folder / "run"


@pytest.mark.parametrize(("world", "rank", "kill"), KILLS, ids=str)
def test_the_others_end_and_any_number_goes_on(tmp_path: Path, whole: Path, world: int, rank: int, kill: Kill) -> None:
    ended = processes.start(tmp_path, world, fit("run", checkpoint_every="2"), kills={rank: kill}).wait()
    asked = kill.number != signal.SIGKILL
    assert [done.code for done in ended] == [75 if asked or i != rank else -kill.number for i in range(world)], ended
    lines = [line for done in ended for line in done.said.splitlines() if "resume with" in line]
    said = f"{kill.number.name} received" if asked else f"process {rank} on "
    assert len(lines) == 1, ended
    assert said in lines[0]
    assert "Traceback" not in str(ended)
    assert running.manifest(tmp_path / "run")["status"] == ("running" if rank == 0 and not asked else "stopped")
    for more, code in ((4 if world == 2 else 1, 0), (2, 0)):  # the second finds it finished
        ended = processes.run(tmp_path, more, fit("run", resume=True))
        assert [done.code for done in ended] == [code] * more, ended
    assert running.results(tmp_path / "run") == running.results(whole)


@pytest.mark.parametrize(("world", "rank", "then"), [(2, 1, 4), (4, 0, 1), (4, 2, 2)])
def test_where_time_is_up_for_one_all_stop_at_the_same_batch(
    tmp_path: Path, whole: Path, world: int, rank: int, then: int
) -> None:
    def act() -> None:
        if os.environ["RANK"] == str(rank):  # its clock alone is past the limit, from its seventh look on
            looks = itertools.count(1)
            monkey = pytest.MonkeyPatch()
            monkey.setattr(preemption, "time", SimpleNamespace(monotonic=lambda: 3600.0 * (next(looks) > 6)))
        fit("run", max_time="30m")()

    ended = processes.run(tmp_path, world, act)
    assert [done.code for done in ended] == [75] * world, ended
    (line,) = [line for done in ended for line in done.said.splitlines() if "stopped at" in line]
    assert "the time limit of 1800 s is reached" in line
    assert len(list((tmp_path / "run" / "checkpoints").glob("resume-*.ckpt"))) == 1
    ended = processes.run(tmp_path, then, fit("run", resume=True, checkpoint_every="2"))
    assert [done.code for done in ended] == [0] * then, ended
    assert running.results(tmp_path / "run") == running.results(whole)


def test_one_that_hangs_is_named_and_ends_the_others(tmp_path: Path, whole: Path) -> None:
    started = processes.start(tmp_path, 4, fit("run", checkpoint_every="2"), kills={2: Kill(5, signal.SIGSTOP)})
    started.wait_until_stopped(2)
    ended = started.wait(without=[2])
    assert [done.code for done in ended] == [75, 75, -9, 75], ended
    assert re.search("\nprocess 2 on .* is lost: no sign of life for [56] s; resume with resume=", ended[0].said)
    assert [done.said for done in ended[1:]] == ["", "", ""]
    assert running.manifest(tmp_path / "run")["status"] == "stopped"
    processes.run(tmp_path, 2, fit("run", resume=True))
    assert running.results(tmp_path / "run") == running.results(whole)


def test_one_that_lags_is_waited_for(tmp_path: Path, whole: Path) -> None:
    started = processes.start(tmp_path, 2, fit("run", checkpoint_every="2"), kills={1: Kill(5, signal.SIGSTOP)})
    started.wait_until_stopped(1)
    time.sleep(processes.LOST / 3)  # what a process that is waited for can be seen by
    started.signal(signal.SIGCONT, 1)
    assert [done.code for done in started.wait()] == [0, 0]
    assert running.results(tmp_path / "run") == running.results(whole)
