"""A user's program that makes runs: which file it is, which code of its own it uses, and how it is run again.

``verify`` runs it anew in a process of its own. The environment variable REPEAT then says, as JSON, which of the program's
runs is to be repeated (the how-manieth that it opens), into which folder, and with which settings of the place it ran in;
``experiment`` and a bare Trainer do as it says. What else the program does it does again.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.config import ConfigT
from training.errors import DataError
from training.files import sha256_file
from training.run.environment import ROOT, sources
from training.visible import shortened

REPEAT = "SAMEBITS_REPEAT"
_opened = 0


@dataclass(frozen=True)
class Script:
    """A program, as a manifest names it."""

    path: str
    """Its file."""
    module: str
    """Its name, where it was started by ``python -m``; else ""."""
    number: int
    """Which run of the process this is, from 1."""

    def entry(self) -> list[str]:
        """What Python is started with, before the program's own arguments."""
        return ["-m", self.module] if self.module else [self.path]


@dataclass(frozen=True)
class Repetition:
    """What ``verify`` or ``ask`` asks of a program that it runs again."""

    number: int
    """The run that is repeated, of those that the program opens."""
    folder: str
    """Where it is put; the program's other runs go beside it."""
    settings: dict[str, Any]
    """Settings of the place that the run ran in, such as its number of threads."""
    resume: bool = False
    """Whether the folder holds a state to go on from."""
    last: int | None = None
    """The step to stop after; None for all of the run."""
    watch: tuple[str, ...] = ()
    """What ``ask`` asks about: names, as ``Watch`` has them."""
    first: int = 1
    """The first step that it asks about."""
    until: int | None = None
    """The last step that it asks about; None for the run's end."""

    def to_json(self) -> str:
        """For the environment of a process."""
        return json.dumps(asdict(self))

    def settled(self, config: ConfigT) -> ConfigT:
        """The program's own settings, but for these."""
        return replace(config, **self.settings)

    def place(self, number: int) -> str:
        """The folder of the program's run of that number."""
        return self.folder if number == self.number else f"{self.folder}.other-{number}"


def opened() -> Script | None:
    """The program that this process runs, which opens one more run; None where it is no file, as in a notebook."""
    global _opened
    _opened += 1
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if file is None or not os.path.isfile(file):
        return None
    spec = getattr(main, "__spec__", None)
    # Links are followed: Python looks for the modules of a program that is a link beside the file that it leads to.
    return Script(os.path.realpath(file), spec.name if spec is not None else "", _opened)


def repetition() -> Repetition | None:
    """What ``verify`` asks of this process; None where it does not run it."""
    asked = os.environ.get(REPEAT)
    return Repetition(**json.loads(asked)) if asked else None


def own_code(script: Script | None) -> dict[str, str]:
    """SHA-256 of the program's file and of the modules beside it, or below, that it has imported so far; by path."""
    if script is None:
        return {}
    folder = Path(script.path).parent
    found = {Path(script.path).name: sha256_file(script.path)}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and (own := _own_name(file, folder)):
            found[own] = sha256_file(file)
    return dict(sorted(found.items()))


@functools.cache
def ours() -> frozenset[Path]:
    """The files of this library."""
    return frozenset(sources())


def _own_name(file: str, folder: Path) -> str:
    """Its path within the program's folder, as it stands or with links followed; "" for what is not the user's own."""
    paths = [path for path in (Path(os.path.abspath(file)), Path(os.path.realpath(file))) if path.is_relative_to(folder)]
    if not paths or not paths[0].is_file():
        return ""
    path = paths[0]
    others = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib", "platlib")]
    if any(path.is_relative_to(other) for other in others) or "site-packages" in path.parts or path in ours():
        return ""
    return path.relative_to(folder).as_posix()


def check_script(run: Path, described: dict[str, Any], named: str, *, allow_changes: bool = False) -> Script:
    """The program that made a run, if it is the one that the user named, and is what it was. DataError where it is not.

    With ``allow_changes`` it may have changed. A run that somebody else made must not choose what is run here: so it has to
    be named.
    """
    entry = described["script"]
    script = Script(str(entry["path"]), str(entry["module"]), int(entry["number"]))
    known = ", ".join(described["code"].get("own", {}))
    if not named:
        raise DataError(
            f"{run}: it was made by the program {script.path}: to run that again, name it: --script {script.path}"
        )
    if not os.path.isfile(named):
        raise DataError(f"--script: expected the program that made {run} ({script.path}), got no file {named}")
    if Path(named).resolve().name != Path(script.path).name:
        raise DataError(f"--script: expected the program that made {run} ({script.path}), got {named}")
    code = described["code"].get("own", {})
    if script.path.rpartition("/")[2] not in code:
        raise DataError(f"{run / 'manifest.json'}: expected the digest of its program {script.path}, got none")
    for name, digest in code.items() if not allow_changes else ():
        path = Path(named).resolve().parent / name
        if not path.is_file() or sha256_file(path) != digest:
            gone = "has changed" if path.is_file() else "is gone"
            raise DataError(f"{path} {gone} since {run} was made with {known}; restore it, or see verify --allow-changes")
    return replace(script, path=os.path.realpath(named))


def check_module(script: Script, folder: str) -> None:
    """DataError where Python, started in ``folder``, would find another file by the program's name as a module.

    The name stands in the run, and may be that of anything that is installed here.
    """
    parts = script.module.split(".")
    for place in (folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)):
        if Path(place, parts[0]).exists() or Path(place, f"{parts[0]}.py").exists():
            file = Path(place, *parts[:-1], f"{parts[-1]}.py")
            if all(map(str.isidentifier, parts)) and file.is_file() and file.samefile(script.path):
                return
            break
    raise DataError(
        f"{script.path}: it was started as the module {shortened(script.module, 80)!r}, which is another file in {folder}; "
        "run verify where it was started, or start it by its file"
    )


def run_again(script: Script, arguments: list[str], folder: str, asked: Repetition) -> int:
    """Run the program in a process of its own; its exit code. What it says is seen."""
    if script.module:
        check_module(script, folder)
    paths = [*([folder] if script.module else []), os.environ.get("PYTHONPATH", ""), str(ROOT)]
    environment = {**os.environ, REPEAT: asked.to_json(), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, *script.entry(), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode
