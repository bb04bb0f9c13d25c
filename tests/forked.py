"""A command in a forked process, with standard streams and limits of its own: as from a shell, without its imports."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import cli

CLOSED = None


class Done(NamedTuple):
    """How it ended: its exit code (minus a signal's number), and what it wrote into the streams that were files."""

    code: int
    out: str
    err: str


def begin(
    arguments: Sequence[str], *, stdin: int | None, stdout: int | None, stderr: int | None, cwd: Path,
    before: Callable[[], object] = lambda: None,
) -> int:  # fmt: skip
    """Fork; the child's PID. CLOSED streams are closed in the child, as with ``>&-``; ``before`` runs there first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        _streams(stdin, stdout, stderr)
        os.chdir(cwd)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGPIPE else signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["cli.py", *arguments]
        before()
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):  # as the interpreter does
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = 120
        os._exit(code)


def run(
    *arguments: str, cwd: Path, stdin: str | None = "/dev/null", stdout: str | None = "", stderr: str | None = "",
    before: Callable[[], object] = lambda: None,
) -> Done:  # fmt: skip
    """Run a command to its end; "" stands for a file that is read afterwards."""
    files = [cwd / f".{name}.said" for name in ("stdout", "stderr")]
    descriptors: list[int | None] = [None if stdin is CLOSED else os.open(stdin, os.O_RDONLY)]
    for given, file in zip((stdout, stderr), files, strict=True):
        file.write_bytes(b"")
        descriptors.append(None if given is CLOSED else os.open(given or file, os.O_WRONLY))
    child = begin(arguments, stdin=descriptors[0], stdout=descriptors[1], stderr=descriptors[2], cwd=cwd, before=before)
    for each in descriptors:
        if each is not None:
            os.close(each)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (file.read_bytes().decode(errors="surrogateescape") for file in files)
    for file in files:
        file.unlink()
    return Done(code, out, err)


def wait(child: int, seconds: float = 60) -> int:
    """The exit code of a begun one; it is killed where it takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"not ended after {seconds} s")


_ONE_FORK = threading.Lock()  # at a time: what warnings are ignored meanwhile is the process's


class Popen:
    """What training/commands/side_by_side.py uses of subprocess.Popen, for a command of ours: a fork, no interpreter."""

    def __init__(
        self, command: Sequence[str], *, stdout: IO[str], stderr: IO[str], start_new_session: bool, cwd: str | None
    ):
        assert (command[0], Path(command[1]).resolve()) == (sys.executable, Path(cli.__file__).resolve())
        with _ONE_FORK, open(os.devnull, "rb") as nothing:
            self.pid = begin(
                command[2:], stdin=nothing.fileno(), stdout=stdout.fileno(), stderr=stderr.fileno(), cwd=Path(cwd or "."),
                before=os.setsid if start_new_session else lambda: None,
            )  # fmt: skip
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self) -> int:
        """As ``poll``, at its end."""
        while self.poll() is None:
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)


def _streams(*descriptors: int | None) -> None:
    kept = [None if each is None else os.dup2(os.dup(each), 100 + i) for i, each in enumerate(descriptors)]
    streams: list[io.TextIOWrapper | None] = []
    for number, each in enumerate(kept):
        if each is None:
            os.close(number)
            streams.append(None)
        else:
            os.dup2(each, number)
            os.close(each)
            raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
            streams.append(io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape"))
    sys.stdin, sys.stdout, sys.stderr = streams
