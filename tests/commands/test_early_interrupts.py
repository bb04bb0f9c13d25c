"""A signal before a command begins, or after it has ended, ends the process by the signal, without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cli

ROOT = Path(cli.__file__).parent
INTERRUPT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ner.commands.evaluate":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


def program(text: str) -> subprocess.CompletedProcess[str]:
    """Run it with Python's own handlers, also where the tests were started with signals ignored, as by nohup or ``&``."""
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    begin += "for each in (signal.SIGTERM, signal.SIGHUP): signal.signal(each, signal.SIG_DFL)\n"
    return subprocess.run([sys.executable, "-c", begin + text], cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_interrupt_of_the_imports_says_nothing() -> None:
    done = program(INTERRUPT + "import cli")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_after_the_imports_it_is_pythons_again() -> None:
    done = program("import signal, cli; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_who_ignores_it_goes_on_ignoring_it() -> None:
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = program(ignore + INTERRUPT + "import cli\nprint(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


# When the signal comes, and how it is made to.
MOMENTS = {
    "before the streams are ready": "door._streams = sending(door._streams)",
    "while the options are read": "click.core.Command.parse_args = sending(click.core.Command.parse_args)",
    "when the threads have ended": "threading._register_atexit(send)",
    "while the interpreter ends": "atexit.register(send)",
}
SENDING = """
import atexit, os, sys, threading
import click, cli
from training.commands import door
def send():
    os.kill(os.getpid(), NUMBER)
def sending(function):
    def first_send(*arguments, **more):
        send()
        return function(*arguments, **more)
    return first_send
MOMENT
sys.argv[1:] = ["runs", "list", "--root", "FOLDER"]
cli.start()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_around_a_command_has_no_traceback(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    text = SENDING.replace("MOMENT", MOMENTS[moment]).replace("FOLDER", str(tmp_path))
    done = program(text.replace("NUMBER", str(int(number))))
    told = {signal.SIGINT: "interrupted"}.get(number, f"stopped: {number.name} received")
    expected = (128 + number, f"\n{told}\n") if moment == "while the options are read" else (-number, "")
    assert (done.returncode, done.stderr) == expected
