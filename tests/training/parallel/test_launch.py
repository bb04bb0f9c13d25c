"""Starting processes: what is shown of them, how all of them end, signals, restarts, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests import running
from training import TrainConfig
from training.errors import ConfigError
from training.parallel import launch, loss
from training.visible import counted

BEGIN = """
import os, signal, sys, time
rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
def say(line): print(line, file=sys.stderr, flush=True)
def die(number=signal.SIGKILL): os.kill(os.getpid(), number)
def meet(count):
    open(f"begun-{rank}", "w").close()
    while not all(os.path.exists(f"begun-{i}") for i in range(count)): time.sleep(0.005)
"""
HERE = "process {} on " + re.escape(os.uname().nodename)

ENDS = [
    ("all are done", "say(f'done {rank}')", 0, ["done 0"]),
    ("all make the same error", "say('error: bad'); sys.exit(2)", 2, ["error: bad"]),
    ("all stop", "say(f'stopped {rank}'); sys.exit(75)", 75, ["stopped 0"]),
    ("one makes an error of its own", "say('mine' if rank else 'lost'); sys.exit(1 if rank == 1 else 75)", 1,
     ["lost", HERE.format(1) + ": mine"]),
    ("one ends in a traceback", "if rank == 1: raise ValueError('odd')\nsay(f'lost {rank}'); sys.exit(75)", 1,
     ["lost 0", HERE.format(1) + ": ValueError: odd"]),
    ("one is killed", "if rank == 1: die()\nsay(f'1 is lost, {rank}'); sys.exit(75)", 75, ["1 is lost, 0"]),
    ("the first is killed", "if not rank: die()\nsay(f'0 is lost, {rank}\\nresume with: me'); sys.exit(75)", 75,
     ["0 is lost, 1", "resume with: me"]),
    ("all are killed", "die()", 75, [HERE.format(0) + " was ended by SIGKILL"]),
    ("one hangs, and the others end", "meet(3)\nif rank == 1: time.sleep(60)\nsay(f'1 is lost, {rank}'); sys.exit(75)", 75,
     ["1 is lost, 0"]),
    ("the first hangs", "meet(3)\nif rank == 0: die(signal.SIGSTOP)\nsay(f'0 is lost, {rank}'); sys.exit(75)", 75,
     ["0 is lost, 1"]),
    ("one says more than a line", "say('some\\n\\nlines\\n') if rank == 1 else 0; sys.exit(3 if rank == 1 else 0)", 3,
     [HERE.format(1) + ": lines"]),
]  # fmt: skip


def begin(folder: Path, program: str, devices: int, restarts: int = 0, lost: float = 60) -> int:
    """Start the launcher; its PID. Processes have ``lost`` seconds to end, once one of them has."""
    file = folder / "program.py"
    file.write_text(BEGIN + program)

    def act() -> None:
        loss.seconds = loss.Seconds(lost)
        sys.exit(launch.run([sys.executable, "-S", str(file)], devices, restarts))

    return running.start(folder, act)


def ended(folder: Path, child: int) -> tuple[int, list[str]]:
    """The launcher's exit code, and the lines that are seen."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, (folder / "said.txt").read_text().splitlines()


@pytest.mark.parametrize(("what", "program", "code", "lines"), ENDS, ids=[case[0] for case in ENDS])
def test_ends_and_what_is_seen_of_them(tmp_path: Path, what: str, program: str, code: int, lines: list[str]) -> None:
    found, said = ended(tmp_path, begin(tmp_path, program, 3, lost=1.5 if "hangs" in what else 60))
    assert (found, len(said)) == (code, len(lines)), said
    assert all(re.fullmatch(expected, line) for expected, line in zip(lines, said, strict=True)), said


@pytest.mark.parametrize("users", [None, "timeout:7"])
def test_no_name_server_holds_them_up_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str | None
) -> None:
    """torch looks up the name behind each address: what it asks by is in the launcher's environment, and in theirs."""
    for name in launch.RESOLVER:
        monkeypatch.delenv(name, raising=False)
        if users is not None:
            monkeypatch.setenv(name, users)
    program = f"say(' '.join(os.environ.get(name, 'none') for name in {[*launch.RESOLVER]}))"
    code, said = ended(tmp_path, begin(tmp_path, program, 2))
    assert (code, said) == (0, [" ".join(users or value for value in launch.RESOLVER.values())])


@pytest.mark.parametrize(("number", "handles", "code"), [
    (signal.SIGTERM, True, 75), (signal.SIGINT, True, 75), (signal.SIGTERM, False, 143), (signal.SIGHUP, False, 129),
])  # fmt: skip
def test_signals_go_on_to_all(tmp_path: Path, number: signal.Signals, handles: bool, code: int) -> None:
    handler = "lambda *_: sys.exit(75)" if handles else "signal.SIG_DFL"
    child = begin(tmp_path, f"signal.signal({int(number)}, {handler})\nopen(f'up-{{rank}}', 'w').close()\ntime.sleep(60)", 2)
    while not all((tmp_path / f"up-{rank}").exists() for rank in range(2)):
        time.sleep(0.01)
    os.kill(child, number)
    assert ended(tmp_path, child) == (code, [])


@pytest.mark.parametrize(("restarts", "code"), [(0, 75), (1, 75), (2, 0), (5, 0)])
def test_lost_processes_are_started_again(tmp_path: Path, restarts: int, code: int) -> None:
    program = "if attempt < 2:\n    if rank == attempt: die()\n    sys.exit(75)\nsay('done')"
    found, said = ended(tmp_path, begin(tmp_path, program, 2, restarts))
    again = [line for line in said if line.startswith("starting again")]
    assert (found, len(again), "done" in said) == (code, min(2, restarts), code == 0), said


@pytest.mark.parametrize("program", ["sys.exit(1 if rank else 75)", "sys.exit(75)", "sys.exit(2)", "sys.exit(0)"])
def test_errors_and_stops_are_not_tried_again(tmp_path: Path, program: str) -> None:
    assert not any("again" in line for line in ended(tmp_path, begin(tmp_path, program, 2, restarts=3))[1])


def test_two_launches_at_once_do_not_meet(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    children = [begin(folder, "say(os.environ['MASTER_PORT']); time.sleep(0.3)", 2) for folder in folders]
    ports = [ended(folder, child)[1] for folder, child in zip(folders, children, strict=True)]
    assert ports[0] != ports[1]


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("MASTER_PORT", str(other.getsockname()[1]))
        with pytest.raises(ConfigError, match=r"MASTER_PORT: expected a free port, got [0-9]+, which another program uses"):
            launch.run([sys.executable, "-S", "-c", ""], 2)


@pytest.mark.parametrize(("settings", "expected"), [
    ({"devices": 2}, "shards: expected a multiple of the 2 processes, got 1; give 2 shards"),
    ({"devices": 4, "shards": 2}, "shards: expected a multiple of the 4 processes, got 2; give 4 shards"),
    ({"devices": 3, "shards": 8}, "shards: expected a multiple of the 3 processes, got 8; give 1 or 2 or 4 or 8 processes"),
    ({"devices": 2, "shards": 6}, "shards: expected a power of two (1, 2, 4, 8, …), got 6"),
    ({"devices": 2, "shards": 2, "device": "cuda"}, "devices: expected 2 GPUs, one a process, got 0; give fewer"),
    ({"devices": 2, "shards": 2}, "devices: expected a program in a file, to start it 2 times, got none, as in a notebook"),
])  # fmt: skip
def test_what_cannot_be_started(monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], expected: str) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError) as raised:
        launch.begin(TrainConfig(**settings))  # type: ignore[arg-type]
    assert str(raised.value).startswith(expected)


@pytest.mark.parametrize(("there", "lines"), [(1, 1), (3, 1), (4, 0), (64, 0)])
def test_more_processes_than_cores_are_told(monkeypatch: pytest.MonkeyPatch, there: int, lines: int) -> None:
    said: list[str] = []
    monkeypatch.setattr(launch, "cores", lambda: there)
    monkeypatch.setattr(launch, "run", lambda *_: 7)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    with pytest.raises(SystemExit) as ended:
        launch.begin(TrainConfig(devices=4, shards=4, device="cpu"), said.append)
    assert ended.value.code == 7
    assert len(said) == lines
    assert all(line.startswith(f"devices: 4 processes share {counted(there, 'core')}: ") for line in said)


def test_one_process_and_a_started_one_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    launch.begin(TrainConfig(shards=4))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    launch.begin(TrainConfig(shards=4, devices=2))
