"""Where a run's relative paths begin: in the folder that it was started in, wherever it is used from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.config import ConfigT
from training.errors import ConfigError, DataError
from training.leftovers import temporary_folder
from training.run.experiment import RunOptions
from training.run.folder import read_manifest


def start_folder(run: Path, described: Mapping[str, Any], kind: str = "") -> Path:
    """The folder that the paths of the run's inputs begin in: where it was started; else, if it was moved with its data,
    its own or one above it; this one only where that folder is gone. ``kind``: the inputs whose names begin so. Who reads
    them checks their digests.
    """
    wanted = relative_inputs(described, kind)
    places = _places(run, described)
    for same_size in (True, False):
        for place in places:
            if wanted and all(_is_there(place / path, size if same_size else None) for path, size in wanted.items()):
                return place
    started = places[0]
    return started if wanted or started.is_dir() else Path.cwd()


def relative_inputs(described: Mapping[str, Any], kind: str = "") -> dict[str, int | None]:
    """The run's inputs that have relative paths, and their sizes."""
    inputs = {name: each for name, each in described.get("inputs", {}).items() if name.startswith(kind)}
    return {each["path"]: each.get("bytes") for each in inputs.values() if not os.path.isabs(each["path"])}


def looked_for(run: Path, described: Mapping[str, Any]) -> str:
    """For the line that says that an input is gone."""
    started = _places(run, described)[0]
    return f"looked in {started}, where it was started, in the run's own folder {run}, and in the folders above it"


def _places(run: Path, described: Mapping[str, Any]) -> list[Path]:
    started, own = described.get("folder"), Path(os.path.abspath(run))
    return [*([Path(started)] if isinstance(started, str) and started else []), own, *own.parents, Path.cwd()]


def _is_there(path: Path, size: int | None) -> bool:
    return os.path.isfile(path) and (size is None or os.path.getsize(path) == size)


def placed(config: ConfigT, options: RunOptions) -> tuple[ConfigT, RunOptions]:
    """The settings with their paths as they lead from here, and the options with the folder that they lead from there.

    Of a resumed run's settings, those that were given anew are taken as they were typed.
    """
    folder, known = options.folder, None
    if options.resume and not folder:
        run, known = Path(options.resume), read_manifest(Path(options.resume))
        folder = str(start_folder(run, known))
        wanted = relative_inputs(known)
        gone = [path for path in wanted if not os.path.isfile(Path(folder) / path)]
        anew = [name for name in config.paths() if config.to_dict()[name] != known["config"].get(name)]
        if gone and not anew:
            raise DataError(f"{run}: its inputs are gone: {', '.join(gone)}; put them back ({looked_for(run, known)})")
    if not folder or Path(folder) == Path.cwd():
        return config, options
    return config.located(Path(folder), known["config"] if known else None), replace(options, folder=folder)


@contextmanager
def reading_place(options: RunOptions) -> Iterator[Path]:
    """A temporary folder on the run's disk, for text that is read before there is a run: a bad one leaves no run behind.

    ConfigError where it cannot be made.
    """
    run = options.resume or options.path
    beside = Path(run).parent if run else Path(options.root)
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            place = stack.enter_context(temporary_folder(".reading-", beside))
            left = stack.pop_all()
    except OSError as error:
        raise ConfigError(f"run: cannot write into {beside} ({error.strerror}); give --run another folder") from None
    with left:
        yield place


def check_folder(path: Path, setting: str, expected: str) -> None:
    """ConfigError for a setting that names a folder, such as "the folder of a finished run", where there is none."""
    if not path.is_dir():
        got = "a file" if path.exists() else "nothing"
        raise ConfigError(f"{setting}: expected {expected}, got {got}: {path}")
