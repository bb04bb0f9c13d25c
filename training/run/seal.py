"""The seal of a finished run: is it what it says?

``manifest.json`` has the SHA-256 of every file that a command reads or a person relies on: under ``outputs`` those that a
repetition makes again byte for byte, under ``files`` the others, and under ``unsealed`` the names of those that it has no
digest of. Its ``seal`` is the SHA-256 of all its values but itself. So one number, which may stand in a paper, binds them
all. What it leaves out, and why, is in docs/reproducibility.md.

A manifest that has a seal has a ``format``, too: where one of them is gone the run is no run of an earlier version.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from training import checkpoint
from training.config import read_settings
from training.errors import DataError
from training.files import LARGEST_JSON, inside, sha256_file
from training.run import stored_weights
from training.run.manifest import as_text, differences, digest, plain
from training.run.tensorboard import EVENTS

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST, CONFIG, MODEL = "manifest.json", "config.json", "checkpoints/model.ckpt"
FORMAT = 2
"""Of manifests that have a seal; those of the version that had none do not name theirs."""
MARKS = ("format", "files", "seal")
"""Values that a manifest has only together with its seal."""
TIMES = ("timings.jsonl", EVENTS)
"""Files of a run's own folder that hold times of day: no repetition makes them again, and no command reads them of a
finished run."""
NOT_REPEATED = (CONFIG, "*.ckpt", "*.ckpt.sha256", f"*/{EVENTS}")
"""Of the sealed files those whose bytes a repetition need not make again: torch.save does not promise them."""
TAKEN_AWAY = "its seal was taken away after the run had finished"
CHANGED = "it was changed after the run had finished"
OTHER_WEIGHTS = "its weights were changed after the run had finished"
ADDED = "it was not there when the run finished; move it away, or --resume the run, which removes what a kill left"
NO_SEAL = "no seal: made by an earlier version, which sealed less of a run; repeat it to have one"


def put_on(run: Path, described: dict[str, Any], scratch: Collection[str] = ()) -> str:
    """Put the digests of the run's files and the seal into its manifest's values; returns the seal.

    ``scratch``: patterns of files that are deleted once the run has finished.
    """
    names = list(_names(run))
    digests = {name: sha256_file(inside(run, name)) for name in names if not _has_times(name) and not _like(name, scratch)}
    described["format"] = FORMAT
    described["outputs"] = {name: value for name, value in digests.items() if not _like(name, NOT_REPEATED)}
    described["files"] = {name: value for name, value in digests.items() if _like(name, NOT_REPEATED)}
    described["unsealed"] = [name for name in names if _has_times(name)]
    described["seal"] = of(described)
    return str(described["seal"])


def is_sealed(described: Mapping[str, Any]) -> bool:
    """Whether a manifest, or a group's summary, is one that was sealed, whatever was taken out of it since."""
    return any(name in described for name in MARKS)


def of(described: Mapping[str, Any]) -> str:
    """The seal of a manifest's values: SHA-256 of all of them but ``seal``, as JSON with sorted keys."""
    return digest({name: value for name, value in described.items() if name != "seal"})


def faults(run: Path, described: Mapping[str, Any], names: Collection[str] | None = None) -> list[str]:
    """What of a finished run is not as it was when it finished, a line each.

    ``described``: its manifest's values. ``names``: of its files these alone are looked at, beside the manifest; None for
    all of them, and for files that came to them. Where there is no seal, what the manifest knows is looked at all the same.
    """
    sealed = is_sealed(described)
    found = [f"{run / MANIFEST}: {fault}" for fault in [file_fault(run / MANIFEST, described)] if fault]
    digests = {**described.get("outputs", {}), **described.get("files", {})}
    wanted = {*digests, CONFIG} if names is None else names
    for name in sorted(wanted):
        found += [f"{run / name}: {fault}" for fault in _file_faults(run, name, described, digests.get(name))]
    if names is None and not any(line.startswith(f"{run / MODEL}:") for line in found):
        found += [f"{run / MODEL}: {fault}" for fault in _weights_faults(run, described)]
    if names is None and sealed:
        found += [f"{run / name}: {fault}" for name, fault in _others(run, digests, described.get("unsealed", []))]
    return found


def file_fault(path: Path, described: Mapping[str, Any]) -> str:
    """What is wrong with the sealed JSON file that holds these values; "" where nothing is, and for one without a seal."""
    if not is_sealed(described):
        return ""
    if "seal" not in described:
        return TAKEN_AWAY
    if of(described) != described["seal"] or not is_plain(path) or path.read_bytes() != as_text(described).encode():
        return CHANGED
    named = described.get("format")
    wrong = f"expected format {FORMAT}, got {plain(named)}: it was changed, or takes a newer samebits"
    return "" if named == FORMAT else wrong


def check(
    run: Path, described: Mapping[str, Any], names: Collection[str], tell: Callable[[str], None] = lambda line: None
) -> None:
    """Before files of a finished run are used: DataError where they, or its manifest, are not as the run left them.

    ``tell`` hears where there is no seal.
    """
    for fault in faults(run, described, names):
        raise DataError(f"{fault}; restore it, or train again")
    if not is_sealed(described):
        tell(f"{run}: {NO_SEAL}")


def check_weights(run: Path, described: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """DataError where the model's weights are not those that the manifest has the digest of."""
    from training.digest import weights_sha256

    if described.get("weights_sha256", digest := weights_sha256(weights)) != digest:
        raise DataError(f"{run / MODEL}: {OTHER_WEIGHTS}; restore it, or train again")


def _file_faults(run: Path, name: str, described: Mapping[str, Any], stated: str | None) -> Iterator[str]:
    path = inside(run, name, f"{run / MANIFEST}")
    if not path.is_file():
        yield "it is gone"
    elif stated is None and is_sealed(described):
        yield f"{MANIFEST} has no digest of it"
    elif name == CONFIG:
        yield from _settings_faults(inside(run, CONFIG, largest=LARGEST_JSON), described, stated)
    elif stated is not None and sha256_file(path) != stated:
        yield (checkpoint.verify(path) if name.endswith(".ckpt") else "") or CHANGED


def _settings_faults(path: Path, described: Mapping[str, Any], stated: str | None) -> Iterator[str]:
    """The settings that are others than the manifest's; or, where none is, that the file's bytes are."""
    named = False
    for name, was, now in differences(described["config"], read_settings(path)):
        named = True
        yield f"{name} is {plain(now)}, and was {plain(was)} in the run"
    if not named and stated is not None and sha256_file(path) != stated:
        yield CHANGED


def _weights_faults(run: Path, described: Mapping[str, Any]) -> Iterator[str]:
    path = inside(run, MODEL)
    if "weights_sha256" not in described or not path.is_file():
        return
    if fault := checkpoint.verify(path):
        yield fault
    elif stored_weights.weights_sha256(path) != described["weights_sha256"]:
        yield OTHER_WEIGHTS


def _others(run: Path, sealed: Collection[str], unsealed: Collection[str]) -> Iterator[tuple[str, str]]:
    """What stands in the run's folder and was not there when it finished, or is a link in place of what was."""
    for name in _names(run):
        if name not in sealed and not (name in unsealed and _has_times(name)):
            yield name, ADDED
        elif name not in sealed and not is_plain(run / name):
            yield name, CHANGED


def _names(run: Path) -> Iterator[str]:
    """The names of all files of the run but its manifest, and of links, in order; hidden ones are the system's, or are
    half-written."""
    for folder, folders, names in os.walk(run):
        links = [each for each in folders if (Path(folder) / each).is_symlink()]
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        at = Path(folder).relative_to(run)
        for name in sorted([*names, *links]):
            if not name.startswith(".") and (at / name).as_posix() != MANIFEST:
                yield (at / name).as_posix()


def _has_times(name: str) -> bool:
    return "/" not in name and _like(name, TIMES)


def _like(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def is_plain(path: Path) -> bool:
    """Whether a file is there, and is no link: what a link stands for may be another tomorrow."""
    try:
        return S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False
