"""The weights in a checkpoint's file, by their digests, without torch: to list and compare runs takes no more.

torch.save writes a zip archive: ``data.pkl``, in which each tensor names its storage, and the bytes of each storage as a
member of their own. What is read here is a dict of contiguous tensors on the CPU, as a run writes it. Any other file is read
by torch, which says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from training.checkpoint import check_stored

# Classes of torch.save's pickles, which stand for a dtype: its name, and the bytes of a number.
STORAGES = {
    "DoubleStorage": ("torch.float64", 8), "FloatStorage": ("torch.float32", 4), "HalfStorage": ("torch.float16", 2),
    "BFloat16Storage": ("torch.bfloat16", 2), "LongStorage": ("torch.int64", 8), "IntStorage": ("torch.int32", 4),
    "ShortStorage": ("torch.int16", 2), "CharStorage": ("torch.int8", 1), "ByteStorage": ("torch.uint8", 1),
    "BoolStorage": ("torch.bool", 1),
}  # fmt: skip


class Stored(NamedTuple):
    """A tensor in the file: ``dtype`` and ``shape``, and where its bytes stand in the member ``key``."""

    dtype: str
    shape: tuple[int, ...]
    key: str
    start: int
    size: int


def weights_sha256(path: Path) -> str:
    """The digest of the weights in a checkpoint, as training/digest.py defines it. CheckpointError where it has none."""
    found = _read(path)
    if found is None:
        from training import checkpoint, digest

        return digest.weights_sha256(checkpoint.load_weights(path))
    whole = hashlib.sha256()
    for name, (dtype, shape, data) in sorted(found.items()):
        whole.update(f"{name} {dtype} {shape}\n".encode())
        whole.update(data)
    return whole.hexdigest()


def differing(first: Path, second: Path) -> list[str]:
    """The names of the weights that are not the same, bit for bit, in two checkpoints."""
    ours, theirs = _each_digest(first), _each_digest(second)
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def _each_digest(path: Path) -> dict[str, str]:
    found = _read(path)
    if found is None:
        from training import checkpoint, digest

        return {name: digest.weights_sha256({"": tensor}) for name, tensor in checkpoint.load_weights(path).items()}
    return {
        name: hashlib.sha256(f" {dtype} {shape}\n".encode() + data).hexdigest()
        for name, (dtype, shape, data) in found.items()
    }


def _read(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """(dtype, shape, bytes) by name; None for a file that is not as a run writes it."""
    try:
        with ZipFile(path) as archive:
            check_stored(archive)
            names = archive.namelist()
            (values,) = (name for name in names if name.endswith("/data.pkl"))
            folder = values.removesuffix("/data.pkl")
            if len(set(names)) < len(names) or archive.read(f"{folder}/byteorder") != b"little":
                return None
            with archive.open(values) as stream:
                weights = _Reader(stream).load()["weights"]
            return {name: (each.dtype, each.shape, _bytes(archive, folder, each)) for name, each in weights.items()}
    except Exception:  # zip, pickle and Python each have their own for a file that is none of theirs
        return None


def _bytes(archive: ZipFile, folder: str, tensor: Stored) -> bytes:
    if not tensor.size:
        return b""
    with archive.open(f"{folder}/data/{tensor.key}") as stream:
        stream.seek(tensor.start)
        data = stream.read(tensor.size)
    if len(data) != tensor.size:
        raise ValueError("the member is too short")
    return data


class _Reader(pickle.Unpickler):
    """Reads ``data.pkl``; nothing that it names is imported or run."""

    def find_class(self, module: str, name: str) -> Any:
        known = {("collections", "OrderedDict"): OrderedDict, ("torch._utils", "_rebuild_tensor_v2"): _tensor}
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return known[module, name]

    def persistent_load(self, pid: Any) -> tuple[tuple[str, int], str]:
        kind, storage, key, location, _ = pid
        if kind != "storage" or location != "cpu":
            raise ValueError("no storage on the CPU")
        return storage, key


def _tensor(
    storage: tuple[tuple[str, int], str], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> Stored:
    (dtype, width), key = storage
    count = math.prod(shape)
    if count and any(n > 1 and step != one for n, step, one in zip(shape, stride, _contiguous(shape), strict=True)):
        raise ValueError("its numbers do not stand side by side")
    return Stored(dtype, tuple(shape), key, offset * width, count * width)


def _contiguous(shape: tuple[int, ...]) -> Iterator[int]:
    """The strides of a tensor whose numbers stand side by side, the last dimension's first."""
    return (math.prod(shape[i + 1 :]) for i in range(len(shape)))
