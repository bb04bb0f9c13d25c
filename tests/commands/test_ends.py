"""How commands end: memory that runs out, a full disk, kills and signals, in every command; and what is left behind."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

import cli
import training.commands.side_by_side
from ner.config import TaggerConfig
from ner.inputs.indexer import Indexer
from ner.tagging.tagger import TrainedTagger
from tests.commands.test_standard_streams import ARGUMENTS, FAILS, TINY, commands, place
from tests.forked import begin, run, wait
from training import checkpoint, files
from training.errors import DataError, DiskError, OutOfMemory, Preempted, SamebitsError, known
from training.leftovers import held, sweep, temporary_folder
from training.run.groups import is_group, open_group
from word2vec.vectors.write import write_table

__all__ = ["place"]
TORCH = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 64000000000 bytes. Error code 12 (Cannot allocate memory)"
)
ENDS: dict[str, tuple[BaseException, int, str]] = {
    "python's memory": (MemoryError(), 1, "not enough memory"),
    "torch's memory": (RuntimeError(TORCH), 1, "not enough memory: 64 GB more were asked for"),
    "torch's memory elsewhere": (RuntimeError(f"{TORCH}\nException raised from alloc_cpu"), 1, "not enough memory"),
    "numpy's memory": (MemoryError("Unable to allocate 7.45 GiB for an array"), 1, "7.45 GiB more"),
    "a GPU's memory": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), 1, "not enough memory"),
    "C++'s memory": (RuntimeError("std::bad_alloc"), 1, "not enough memory"),
    "the system's memory": (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "not enough memory"),
    "oneDNN's memory": (RuntimeError("could not create a primitive"), 1, "not enough memory"),
    "a thread's memory": (RuntimeError("can't start new thread"), 1, "not enough memory"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "a\nb"), 1, r"a\nb: No space left on device; make"),
    "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "make room"),
    "a damaged disk": (OSError(errno.EIO, "Input/output error", "x"), 1, "x: Input/output error"),
    "no more files": (OSError(errno.EMFILE, "Too many open files", "x"), 1, "Too many open files"),
    "a long name": (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 9999), 1, "File name too long"),
    "60,000 labels": (DataError(f"expected {', '.join(map(str, range(60_000)))}; mend it"), 2, "left out"),
    "a forged line": (DataError("a\nerror: b\r\x1b[2Jc\u2028"), 2, r"error: a\nerror: b\x0d\x1b[2Jc\u2028"),
    "an interrupt": (KeyboardInterrupt(), 130, "interrupted"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", commands())
def test_every_command_ends_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, end: str) -> None:
    error, code, said = ENDS[end]
    command: Any = cli.main
    for word in name.split():
        command = command.commands[word]

    def fail(**values: object) -> None:
        raise error

    monkeypatch.setattr(command, "callback", fail)
    result = CliRunner().invoke(cli.main, [*name.split(), *ARGUMENTS[name].split()])
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 1100
    assert said in result.stderr


def test_an_error_of_ours_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known(RuntimeError("shapes do not fit")) is None
    assert known(ValueError("x")) is None


PIECE = 1 << 24


def little_memory(more: int) -> Callable[[], object]:
    """A limit of so many bytes above what the process has; large pieces that the C library has kept are taken, too."""

    def limit() -> None:
        malloc = ctypes.CDLL(None).malloc
        malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)
        while malloc(PIECE):
            pass

    return limit


NO_EFFECT = "warning: --word-dim has no effect, because the vectors have a size of their own\n"


def test_real_memory_runs_out_in_one_line(place: Path) -> None:
    def ask_for_all(*_: object) -> None:
        torch.empty(1 << 50)

    # Larger than what is left in one piece: the system has to be asked for it.
    write_table(place / "large.bin", [f"w{i}" for i in range(50_000)], torch.ones(50_000, 200).numpy(), "binary")
    with_vectors = TINY.replace("vectors none", "vectors large.bin")
    tried: list[tuple[str, Callable[[], object]]] = [
        ("vectors nearest large.bin w1", little_memory(1_000_000)),
        (f"train-ner --data data --run none {with_vectors}", lambda: setattr(Indexer, "build", ask_for_all)),
        ("predict bundle text.txt --threads 1", lambda: setattr(TrainedTagger, "predict", ask_for_all)),
    ]
    for words, before in tried:
        done = run(*words.split(), cwd=place, before=before)
        assert done.code == 1, (words, done)
        assert done.err.removeprefix(NO_EFFECT).startswith("error: not enough memory"), done
        assert done.err.removeprefix(NO_EFFECT).count("\n") == 1
    assert not (place / "none").exists()


def test_memory_that_runs_out_is_no_damaged_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, {"weights": {"w": torch.ones(3)}})

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(TORCH)

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(RuntimeError, match="can't allocate"):
        checkpoint.load(path)


def test_a_full_disk_is_called_so(tmp_path: Path, place: Path) -> None:
    """By a limit on the size of files: torch.save itself says of both only where it stands."""
    content = {"weights": {"w": torch.ones(100_000)}}
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            checkpoint.save(tmp_path / "a.ckpt", content)
        except DiskError as error:
            os._exit(0 if "File too large" in str(error) and not list(tmp_path.iterdir()) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = run("train-ner", "--data", "data", "--run", "full", *TINY.split(), cwd=place, before=limit)
    assert done.code == 1, done
    last = done.err.splitlines()[-1]
    assert re.fullmatch(r"error: .*File too large.*; resume with: python cli.py train-ner --resume full", last)
    assert "Traceback" not in done.err
    assert run("train-ner", "--resume", "full", cwd=place).code == 0


# -- terminals --------------------------------------------------------------------------------------------------------

EVIL = "Ada\x1b]0;owned\x07 flew \x9b31m to \u202eolsO\u2066 .\x08\x7f"
OURS = re.compile(r"\x1b\[[0-9;]*[mK]|\x1b\[\?25[lh]|\r")


def on_a_terminal(place: Path, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    done = run(*arguments, cwd=place, stdout=name, stderr=name)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 1 << 16):
            said += piece
    except OSError:
        pass
    os.close(ours)
    assert "Traceback" not in said.decode(), done
    return said.decode()


def test_on_a_terminal_every_command_shows_controls_escaped(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{EVIL}\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": EVIL, EVIL: EVIL}) + "\n")
    (tmp_path / "a.conll").write_text("".join(f"{w}\tO\n" for w in EVIL.split(" ")) + f"Oslo\tB-{EVIL.replace(' ', '')}\n\n")
    write_table(tmp_path / "v.txt", ["Ada", "\x1b[31m\u202e"], torch.ones(2, 2).numpy())
    foreign = tmp_path / "ner" / "x\x1b[2J"
    foreign.mkdir(parents=True)
    (foreign / "manifest.json").write_text(json.dumps({"kind": "ner", "status": EVIL, "config": {EVIL: EVIL}}))
    bundle, run_folder = str(place / "bundle"), str(place / "run")
    tried = [["predict", bundle, f"a.{end}", "--threads", "1", "--format", form] for end in ("txt", "jsonl", "conll")
             for form in ("text", "jsonl", "conll", "html")]  # fmt: skip
    tried += [["predict", bundle, "a.txt", "--color", "never"], ["evaluate", bundle, "a.conll"]]
    tried += [["evaluate", bundle, "a.conll", "--json"], ["vectors", "nearest", "v.txt", "Ada"]]
    for words in (["data", "check", "a.conll"], ["runs", "list", "--root", "."]):
        tried += [words, [*words, "--json"]]
    tried += [["diff", run_folder, str(foreign)], ["compare", run_folder, str(foreign)], ["verify", str(foreign)]]
    tried += [["train-ner", "--data", EVIL], [EVIL], ["predict", bundle, f"--{EVIL}"]]
    tried += [["vectors", "evaluate", "v.txt", EVIL], ["data", "repair", EVIL, "x"], ["export", str(foreign), "y"]]
    for arguments in tried:
        said = OURS.sub("", on_a_terminal(tmp_path, *arguments))
        assert said
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]", said), (arguments, said)
    piped = run("predict", bundle, "a.txt", "--threads", "1", "--threshold", "1", cwd=tmp_path).out
    assert piped == f"{EVIL}\n"


# -- what is left behind ----------------------------------------------------------------------------------------------


def slow(place: Path, words: str) -> tuple[int, int]:
    """A command that waits for its input: (PID, the end to write into)."""
    ours, theirs = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    child = begin(words.split(), stdin=ours, stdout=null, stderr=null, cwd=place, before=lambda: os.close(theirs))
    os.close(ours)
    os.close(null)
    return child, theirs


SLOW = {
    "predict bundle --threads 1 --to out.txt": ".out.txt.*.part",
    "train-w2v --corpus - --run streamed --no-progress": ".reading-*",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("words", SLOW)
def test_a_killed_command_leaves_nothing_for_long(place: Path, words: str, number: int) -> None:
    child, theirs = slow(place, words)
    deadline = time.monotonic() + 60
    while not any(path.is_file() or any(path.iterdir()) for path in place.glob(SLOW[words])):  # in use, not just made
        assert time.monotonic() < deadline
        time.sleep(0.01)
    left = list(place.glob(SLOW[words]))
    sweep(place)
    assert left[0].exists(), "it lives"
    os.kill(child, number)
    assert wait(child) == (-number if number == signal.SIGKILL else 128 + number)
    os.close(theirs)
    assert left[0].exists() == (number == signal.SIGKILL)
    assert run("runs", "list", "--root", ".", cwd=place).code == 0
    assert not list(place.glob(SLOW[words]))


def test_only_what_is_left_over_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f".a.{ended.pid}.part", f".reading-{ended.pid}-abcdefgh", "samebits-verify-abcdefgh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
        with held(tmp_path / name):  # by a process that this one cannot see, on another machine
            sweep(tmp_path)
            assert (tmp_path / name).exists()
        sweep(tmp_path)
        assert not (tmp_path / name).exists()
    (tmp_path / f".b.{ended.pid}.part").touch()
    kept = [f".a.{os.getpid()}.part", f".reading-{os.getpid()}-abcdefgh", "mine.part", ".mine.part", f"a.{ended.pid}.part",
            f".mine.{ended.pid}.partial", ".reading-list", "samebits-verify-notes"]  # fmt: skip
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f".link.{ended.pid}.part").symlink_to(tmp_path / "mine.part")
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, f".link.{ended.pid}.part"])
    with temporary_folder("samebits-verify-", tmp_path) as folder:
        sweep(tmp_path)
        assert folder.is_dir()
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    assert not folder.exists()


# -- groups -----------------------------------------------------------------------------------------------------------


def test_a_group_killed_at_any_point_of_its_beginning_goes_on(tmp_path: Path) -> None:
    points: list[str] = []
    files.fault_hook = points.append
    open_group("ner", TaggerConfig(), 2, str(tmp_path / "whole"), "")
    files.fault_hook = None
    assert len(points) > 6
    for number in range(len(points)):
        folder = tmp_path / f"group_{number}"
        seen: list[str] = []

        def kill(name: str, number: int = number, seen: list[str] = seen) -> None:
            seen.append(name)
            if len(seen) == number + 1:
                os._exit(9)

        child = os.fork()
        if not child:
            files.fault_hook = kill
            open_group("ner", TaggerConfig(), 2, str(folder), "")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert is_group(folder) or open_group("ner", TaggerConfig(), 2, str(folder), "") == folder
        assert not list(tmp_path.glob(".*"))


def test_no_child_is_begun_or_left_once_all_are_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = training.commands.side_by_side.Children()
    begun: list[subprocess.Popen[bytes]] = []

    def stopped_meanwhile(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(*arguments, **settings))
        children.stop()  # the signal comes before the child is in the list
        return begun[-1]

    monkeypatch.setattr(training.commands.side_by_side, "subprocess", type("S", (), {"Popen": stopped_meanwhile}))
    with open(tmp_path / "log", "w") as log:
        assert children.run(["sleep", "60"], log) == -signal.SIGTERM
        assert children.run(["sleep", "60"], log) is None
    assert len(begun) == 1


@pytest.mark.parametrize(("codes", "code", "said"), [
    ({0: 0, 1: -9}, 75, "1 of 2 seeds were killed (seed 1 by SIGKILL"),
    ({0: -11, 1: 75}, 75, "seed 0 by SIGSEGV"),
    ({0: 75, 1: 75}, 75, "2 of 2 seeds were stopped"),
    ({0: 2, 1: 75}, 2, "seed 0 failed: see"),
    ({0: 0, 1: 1}, 1, "seed 1 failed: see"),
    ({0: -9, 1: 1}, 1, "seed 1 failed: see"),
])  # fmt: skip
def test_a_group_ends_with_what_ended_its_seeds(tmp_path: Path, codes: dict[int, int], code: int, said: str) -> None:
    with pytest.raises(SamebitsError) as caught:
        training.commands.side_by_side._judge(tmp_path, codes, "ner")
    assert caught.value.exit_code == code
    assert said in str(caught.value)
    assert (caught.value.run == str(tmp_path)) == (code != 2)
    training.commands.side_by_side._judge(tmp_path, {0: 0, 1: 0}, "ner")
    assert isinstance(caught.value, Preempted) == (code == 75)


def test_a_seed_that_is_killed_ends_its_group_with_the_command_that_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(training.commands.side_by_side, "_command", lambda *_: ["sh", "-c", "kill -KILL $$"])
    words = f"train-ner --data data {TINY} --seeds 2 --jobs 2 --run g"
    result = CliRunner().invoke(cli.main, words.split())
    assert result.exit_code == 75, result.output
    assert "killed by SIGKILL" in result.stdout
    assert "\nresume with: python cli.py train-ner --resume g\n" in result.stderr


def test_errors_are_classes_of_ours() -> None:
    assert isinstance(known(MemoryError()), OutOfMemory)
    for broken in (BrokenPipeError(), ConnectionResetError(errno.ECONNRESET, "reset"), ConnectionRefusedError()):
        assert known(broken) is None
    assert isinstance(click.Abort(), RuntimeError)


def test_a_working_folder_that_was_deleted_is_said(tmp_path: Path) -> None:
    def lose() -> None:
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()

    (tmp_path / "gone").mkdir()
    done = run("runs", "list", cwd=tmp_path, before=lose)
    expected = "error: the working folder: expected one that is there, got a deleted one; change to another\n"
    assert done == (2, "", expected)


@pytest.mark.parametrize("name", commands())
@pytest.mark.parametrize("number", ["", "y", "9" * 5000])
def test_a_number_of_processes_that_is_none_is_said_by_who_needs_it(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: str
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("WORLD_SIZE", number)
    words = ARGUMENTS[name].replace("RUN", str(tmp_path / "new")).split()
    result = CliRunner().invoke(cli.main, [*name.split(), *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    trains = name.startswith("train-") or name in ("data suspects", "verify", "ask")
    if number and trains:
        said = "error: WORLD_SIZE: expected a number in the environment, as torchrun puts it there, got"
        assert result.exit_code == 2, result.output
        assert result.stderr.splitlines()[-1].startswith(said)
        assert name == "data suspects" or not (tmp_path / "new").exists()
    else:
        assert (result.exit_code == 0) != (name in FAILS), result.output
