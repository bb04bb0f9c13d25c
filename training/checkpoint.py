"""Checkpoints that are whole, verified and loaded without running code.

A checkpoint is a dict of tensors and plain Python values (see training/storable.py for what else), written by torch.save to
a temporary file, synced and renamed; its SHA-256 stands beside it in ``NAME.sha256``. It is read with
``weights_only=True``: a hostile file cannot run code. torch is imported where one is written or read: to look at digests
takes none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from mmap import MAP_PRIVATE, MAP_SHARED
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile

from training.bar import say
from training.errors import CheckpointError, CheckpointNotFoundError, DataError, DiskError, is_out_of_memory
from training.files import atomic_path, atomic_write, fault_point, inside, is_inside, remove_partial, sha256_file
from training.visible import short_digest, shortened

if TYPE_CHECKING:
    import torch

FORMAT = "samebits-checkpoint-1"
NAMES = {"state_dict": "weights", "optimizer_states": "optimizers", "lr_schedulers": "schedulers"}
"""Lightning's name of a part, and the one here: a checkpoint that a Trainer wrote has both."""
Checkpoint = dict[str, Any]


class Loaded(dict[str, Any]):
    """A checkpoint that was read from ``path``: a fit that goes on from it leaves that file where it is."""

    path: Path


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``, its digest first. DiskError where the disk does not take it.

    ConfigError for a value that could not be read again: better now than at the resume.
    """
    from training.storable import encode

    stored = encode(dict(checkpoint) if type(checkpoint) is Loaded else checkpoint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            _write({"format": FORMAT, **stored}, temporary)
            # The digest goes first: a checkpoint without one is never trusted, a digest without one is harmless.
            atomic_write(digest_path(path), sha256_file(temporary) + "\n")
    except (OSError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        said = (error.strerror if isinstance(error, OSError) else None) or "the disk did not take all of it"
        raise DiskError(f"{path}: the checkpoint could not be written ({said}); make room, or mend the disk") from error


def _write(checkpoint: Checkpoint, path: Path) -> None:
    """torch.save, which says of a full disk only "unexpected pos 2856000 vs 2855904": write on to hear the system's word."""
    import torch

    try:
        torch.save(checkpoint, path)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            with open(path, "ab") as stream:
                stream.write(b"\0" * (1 << 20))
        raise


def load(path: Path, *, mapped: bool = False) -> Loaded:
    """Read and verify a checkpoint onto the CPU. CheckpointError names what is wrong with it, or that there is none.

    ``mapped``: its tensors are the file's pages, which the system reads as they are used, and must not be changed.
    """
    fault = verify(path)
    if fault:
        raise (CheckpointError if path.is_file() else CheckpointNotFoundError)(f"{path}: {fault}")
    # Of a private mapping the system sets memory aside for each page, should it change.
    found = Loaded(_read(path, (MAP_SHARED if os.access(path, os.W_OK) else MAP_PRIVATE) if mapped else 0))
    _unify(found, path)
    found.path = path
    return found


def _unify(found: Checkpoint, path: Path) -> None:
    """One part under both of its names, so that who changes it changes it under both."""
    for name, own in NAMES.items():
        if name in found and own in found and not _same(found[name], found[own]):
            say(f"{path}: {name} holds other values than {own}, which counts; change {own} too, or delete it")
            found[name] = found[own]
        elif name in found:
            found[own] = found[name]


def _same(a: Any, b: Any) -> bool:
    """Whether two values of a checkpoint are equal; tensors are where they lie in the same memory, or in their bits."""
    import torch

    from training.digest import weights_sha256

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        laid = [(each.data_ptr(), each.shape, each.stride(), each.dtype) for each in (a, b)]
        return laid[0] == laid[1] or weights_sha256({"": a}) == weights_sha256({"": b})
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return repr(a) == repr(b)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint, tensors by name. CheckpointError as of ``load``, and where it has none."""
    import torch

    weights = load(path).get("weights")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: expected weights, tensors by name, got none")
    return weights


def _read(path: Path, mmap: int = 0) -> Checkpoint:
    import torch
    from torch.serialization import set_default_mmap_options

    from training.storable import decode

    try:
        with ZipFile(path) as archive:
            check_stored(archive)
        with set_default_mmap_options(mmap or MAP_PRIVATE):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=bool(mmap))
    except Exception as error:  # pickle, zip and torch errors alike: the file is not one of ours
        if is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"{path}: not a samebits checkpoint ({shortened((str(error) or type(error).__name__).splitlines()[0], 120)})"
        ) from None
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a samebits checkpoint (expected format {FORMAT})")
    try:
        return dict(decode(checkpoint))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def check_stored(archive: ZipFile) -> None:
    """ValueError for an archive that would become larger than it is: torch.save packs nothing, torch.load unpacks it."""
    members, size = archive.infolist(), os.stat(str(archive.filename)).st_size
    if any(each.compress_type != ZIP_STORED for each in members) or sum(each.file_size for each in members) > size:
        raise ValueError("expected an archive that is not compressed")


def verify(path: Path) -> str:
    """What is wrong with the file, judged by its digest; "" where nothing is."""
    if not path.is_file():
        return "no such checkpoint"
    if path.stat().st_size == 0:
        return "the checkpoint is empty"
    if not digest_path(path).is_file():
        return (
            f"expected its digest in {digest_path(path).name} next to it, got none; change a checkpoint by "
            "training.checkpoint's load and save, not with torch's"
        )
    with open(digest_path(path), encoding="ascii", errors="replace") as stream:
        expected = stream.read(2 * 64).strip()
    found = sha256_file(path)
    return "" if found == expected else f"damaged: its SHA-256 is {short_digest(found)}, expected {short_digest(expected)}"


def written_at(path: Path) -> int:
    """The optimizer step that a Trainer wrote a checkpoint at; its tensors are not read. CheckpointError for other files."""
    progress = _read(path, MAP_PRIVATE).get("progress")
    step = progress.get("global_step") if isinstance(progress, dict) else None
    if type(step) is not int:
        raise CheckpointError(f"{path}: expected a checkpoint with counters, got none")
    return step


def remove(path: Path) -> None:
    """Delete a checkpoint and its digest; the file first, so that no checkpoint stands without a digest."""
    path.unlink(missing_ok=True)
    fault_point(f"removed:{path.name}")
    digest_path(path).unlink(missing_ok=True)


def digest_path(path: Path) -> Path:
    """Where the digest of ``path`` stands."""
    return path.with_name(path.name + ".sha256")


def named(folder: Path, name: Any, where: str, extension: str = ".ckpt", may_be_link: bool = False) -> Path:
    """The checkpoint in ``folder`` that a ModelCheckpoint's state names. DataError for what it cannot have written there.

    It is written over or deleted, not read: a symbolic link, where it may be one, is but a name then.
    """
    if may_be_link and is_inside(name) and (folder / name).is_symlink():
        above = name.rpartition("/")[0]
        path = (inside(folder, above, where) if above else folder) / Path(name).name
    else:
        path = inside(folder, name, where)
    if not path.name.endswith(extension) or ResumeStore.pattern.fullmatch(path.name):
        raise DataError(f"{where}: expected the name of a checkpoint, got {shortened(name, 80)!r}: a forged or damaged file")
    return path


class ResumeStore:
    """The checkpoints that a stopped run goes on from: the newest, and the one before it until the newest is verified.

    With ``keep`` the older ones stay too: ``verify --from`` replays from them.
    """

    pattern = re.compile(r"resume-(\d+)\.ckpt")

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self.folder, self.keep = folder, keep
        self.mapped = False
        """Whether tensors are not read, but mapped into memory: who uses them must not change them."""

    def paths(self) -> list[Path]:
        """All of them, newest first."""
        found = [p for p in self.folder.glob("resume-*.ckpt") if self.pattern.fullmatch(p.name)]
        return [inside(self.folder, path.name) for path in sorted(found, key=_number, reverse=True)]

    def save(self, checkpoint: Checkpoint) -> Path:
        """Add one; the older ones go only after the new one has been read back and its digest found right."""
        older = self.paths()
        path = self.folder / f"resume-{_number(older[0]) + 1 if older else 1:06d}.ckpt"
        save(path, checkpoint)
        fault = verify(path)
        if fault:
            raise CheckpointError(f"{path}: {fault}; the older checkpoints were kept")
        fault_point("verified:resume")
        try:
            for old in [] if self.keep else older:
                remove(old)
        except OSError as error:
            raise CheckpointError(f"{path}: saved, but the one before could not be removed ({error})") from error
        return path

    def tidy(self) -> None:
        """Delete what a kill left behind: temporary files, and digests of checkpoints that are gone."""
        remove_partial(self.folder)
        for path in self.folder.glob("*.ckpt.sha256"):
            if not path.with_suffix("").exists():
                path.unlink()

    def forget_others(self) -> None:
        """Delete the folder's other checkpoints: a run that begins anew would make room for them by other names."""
        for path in self.folder.glob("*.ckpt"):
            if not self.pattern.fullmatch(path.name):
                remove(path)

    def clear(self) -> None:
        """A finished run needs none of them, unless they are to be kept."""
        for path in [] if self.keep else self.paths():
            remove(path)

    def steps(self, tell: Callable[[str], None]) -> list[tuple[int, Path]]:
        """The optimizer step that each was written at, newest first, without reading its tensors.

        ``tell`` hears of those that cannot be read.
        """
        found = []
        for path in self.paths():
            try:
                found.append((written_at(path), path))
            except CheckpointError as error:
                tell(str(error))
        return found

    def latest(self, tell: Callable[[str], None]) -> tuple[Path, Checkpoint] | None:
        """The newest good one; ``tell`` hears of each that is not. None where there is none.

        It is the run's own, which goes on as if it had not been left: not one to be kept (see ``Loaded``).
        """
        for path in self.paths():
            try:
                return path, dict(load(path, mapped=self.mapped))
            except CheckpointError as error:
                tell(f"{error}; trying the one before it")
        return None


def _number(path: Path) -> int:
    found = ResumeStore.pattern.fullmatch(path.name)
    assert found
    return int(found[1])
