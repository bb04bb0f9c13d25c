"""The door of the command line: however a command ends, what is said is one line, and the exit code tells what it was.

| exit code | what it was |
| --- | --- |
| 0 | done |
| 1 | bits differ, a check found an error, the disk, memory or standard output failed |
| 2 | an option or an input that cannot be used |
| 75 | a run that was stopped, and can go on |
| 130, 143, 129 | interrupted (SIGINT), terminated (SIGTERM), hung up (SIGHUP) |
| 141 | whoever read standard output went away, as for programs that SIGPIPE ends |
"""

from __future__ import annotations

import errno
import io
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from training import interrupts
from training.bar import is_first
from training.commands.help import Group, program
from training.errors import ConfigError, DataError, DiskError, Preempted, SamebitsError, StreamError, known
from training.parallel.loss import heard
from training.run.kinds import Kinds
from training.visible import encodable, one_line, shell_words, visible

FULL_OR_BROKEN = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: what is open is closed and deleted, as after an interrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name} received")
        self.number = number


class ReaderGone(StreamError):
    """Whoever read standard output went away, as ``head`` does."""

    exit_code = 128 + signal.SIGPIPE


class Commands(Group):
    """The group of all commands. Its context's ``obj`` is the table of the kinds of runs that they make."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run a command and end the process; without ``standalone_mode`` errors come out as they are."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        with _streams(), _signals(), heard(_end):
            try:
                interrupts.over()  # from here on it is told in a line
                code = super().main(args, prog_name, standalone_mode=False, **extra)
                sys.stdout.flush()
            except BaseException as error:
                code = _end(error)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _check_place()
            with heard(lambda lost: _go_on(ctx, lost)):
                return super().invoke(ctx)
        except KeyboardInterrupt as stopped:  # before click makes an Abort of it
            raise _Stopped(stopped.number if isinstance(stopped, Terminated) else signal.SIGINT) from None
        except (SamebitsError, OSError, MemoryError, RuntimeError) as error:
            ours = _of_the_disk(error) if isinstance(error, SamebitsError) else known(error)
            if ours is None:
                raise
            _go_on(ctx, ours)
            raise ours from error


def _of_the_disk(error: SamebitsError) -> SamebitsError:
    """The error; where a disk that is full or broken is behind it, as one of the disk: no other option would help."""
    cause = error.__context__
    if type(error) in (ConfigError, DataError) and isinstance(cause, OSError) and cause.errno in FULL_OR_BROKEN:
        what, *rest = re.split(r"(?:: | \()" + re.escape(os.strerror(cause.errno)), str(error))
        if rest:
            return DiskError(f"{what}: {known(OSError(cause.errno, os.strerror(cause.errno)))}")
    return error


def _check_place() -> None:
    """ConfigError where the working folder is gone: libraries that torch loads end the process then."""
    try:
        os.getcwd()
    except OSError:
        raise ConfigError("the working folder: expected one that is there, got a deleted one; change to another") from None


def _go_on(ctx: click.Context, error: SamebitsError) -> None:
    """Let the error say which command goes on with its run."""
    kind = (ctx.obj or {}).get(error.kind)
    if error.run and kind is not None:
        error.go_on = resume_command(kind.command, error.run)


def kinds() -> Kinds:
    """The kinds of runs that the commands make, by name."""
    return click.get_current_context().obj or {}


class _Stopped(Exception):
    """A signal ended the command."""


def _end(error: BaseException) -> int:
    """Say in a line what ended the command; its exit code."""
    if isinstance(error, click.Abort | KeyboardInterrupt):  # while the options are read
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        error = _Stopped(cause.number if isinstance(cause, Terminated) else signal.SIGINT)
    if isinstance(error, _Stopped):
        number = error.args[0]
        _say("interrupted" if number == signal.SIGINT else f"stopped: {signal.Signals(number).name} received")
        return 128 + int(number)
    if isinstance(error, SamebitsError) and error.silent:
        return error.exit_code
    if isinstance(error, Preempted):
        _say(f"{error}\nresume with: {error.go_on}" if error.go_on else str(error))
        return error.exit_code
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        if context is not None:
            _say(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n")
        _say(f"Error: {one_line(error.format_message())}")
        return error.exit_code
    ours = error if isinstance(error, SamebitsError) else known(error)
    if ours is None:
        raise error
    said = f"error: {ours}; resume with: {ours.go_on}" if ours.go_on else f"error: {ours}"
    _say(said if is_first() else f"process {os.environ['RANK']} on {platform.node()}: {said}")
    return ours.exit_code


def _say(line: str) -> None:
    click.echo(encodable(line), err=True)


def resume_command(command: str, run: str) -> str:
    """What to type, in the folder that the stopped command was typed in."""
    return shell_words([*program(), command, "--resume", run])


# -- signals ----------------------------------------------------------------------------------------------------------


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP close and delete what is open, as an interrupt does, where the process does not ignore them."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGTERM, signal.SIGHUP):  # a second one would break off the cleaning up
        signal.signal(each, signal.SIG_IGN)
    raise Terminated(number)


# -- streams ----------------------------------------------------------------------------------------------------------


class Stream:
    """Standard output or the stream of errors: what is refused is a StreamError, or nothing where only progress is lost.

    On a terminal, text is shown with what the terminal would obey escaped, but for what we style ourselves.
    """

    def __init__(self, inner: Any, needed: bool, styled: bool = False) -> None:
        self.inner, self.needed, self.styled = inner, needed, styled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def buffer(self) -> Stream:
        """The stream of bytes."""
        return Stream(self.inner.buffer, self.needed)

    def write(self, text: Any) -> int:
        """Write text, or bytes into a ``buffer``."""
        if isinstance(text, str) and not text:
            return 0  # click writes nothing to try a stream out, and hides it where an unbuffered one refuses even that
        if isinstance(text, str) and not self.styled and self.inner.isatty():
            text = visible(text)
        with self._refusals():
            self.inner.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Bring it out."""
        with self._refusals():
            self.inner.flush()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _drop(self.inner)
            if not self.needed:
                return
            if isinstance(error, BrokenPipeError):
                raise ReaderGone("standard output: its reader closed it, so the rest is not written") from None
            raise StreamError(f"standard output cannot be written: {error.strerror}; give it another place") from None


def _drop(stream: Any) -> None:
    """Send what is still to be flushed, now or at the exit, nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def for_styles(stream: Any) -> Any:
    """The stream as it takes escape sequences of our own, also on a terminal."""
    return Stream(stream.inner, stream.needed, styled=True) if isinstance(stream, Stream) else stream


@contextmanager
def _streams() -> Iterator[None]:
    """Standard streams that are there, and say in one line what they refuse, while the body runs."""
    before = sys.stdin, sys.stdout, sys.stderr
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _closed(number))
    for stream in (sys.stdout, sys.stderr):  # a damaged file may hold what no encoding can write: half a character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = Stream(sys.stdout, True), Stream(sys.stderr, False)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _closed(number: int) -> Any:
    """A stream for one that was closed before we began, its number taken so that no file of ours gets it.

    It refuses as a closed one does (Bad file descriptor): the null device, opened the wrong way round.
    """
    descriptor = os.open(os.devnull, os.O_WRONLY if number == 0 else os.O_RDONLY)
    raw = io.FileIO(descriptor, "r" if number == 0 else "w", closefd=False)
    buffer: Any = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")
