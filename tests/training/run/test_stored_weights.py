"""The digests of weights, read from a checkpoint's file without torch: those that torch gives."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import nn

from training import checkpoint
from training.digest import weights_sha256
from training.errors import CheckpointError
from training.run import stored_weights

DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
PLAIN = {
    **{name: torch.arange(24).reshape(2, 3, 4).to(getattr(torch, name)) for name in DTYPES},
    "a single number": torch.tensor(7.0),
    "empty": torch.zeros(0, 3),
    "part of a storage": torch.arange(10.0)[4:7],
    "another part": torch.arange(12.0).reshape(3, 4)[1],
}
shared = torch.arange(8.0)
SHARED = {"b": shared, "a": shared[2:], "c": shared}


@pytest.mark.parametrize("weights", [PLAIN, SHARED, nn.LSTM(3, 4).state_dict(), {}])
def test_digests_are_those_of_torch(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    checkpoint.save(tmp_path / "a.ckpt", {"weights": weights, "epoch": 3})
    assert stored_weights._read(tmp_path / "a.ckpt") is not None
    assert stored_weights.weights_sha256(tmp_path / "a.ckpt") == weights_sha256(weights)


@pytest.mark.parametrize("weights", [
    {"turned": torch.arange(6.0).reshape(2, 3).t()},
    {"of a class of its own": nn.Parameter(torch.ones(2))},
    {"complex": torch.ones(2, dtype=torch.complex64)},
])  # fmt: skip
def test_others_are_read_by_torch(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    checkpoint.save(tmp_path / "a.ckpt", {"weights": weights})
    assert stored_weights._read(tmp_path / "a.ckpt") is None
    assert stored_weights.weights_sha256(tmp_path / "a.ckpt") == weights_sha256(weights)


def test_weights_that_differ_are_named(tmp_path: Path) -> None:
    first = {"same": torch.ones(2), "value": torch.tensor([0.0]), "shape": torch.ones(4), "gone": torch.ones(1)}
    second = {"same": torch.ones(2), "value": torch.tensor([-0.0]), "shape": torch.ones(2, 2), "new": torch.ones(1)}
    checkpoint.save(tmp_path / "a.ckpt", {"weights": first})
    checkpoint.save(tmp_path / "b.ckpt", {"weights": second})
    assert set(stored_weights.differing(tmp_path / "a.ckpt", tmp_path / "b.ckpt")) == {"value", "shape", "gone", "new"}
    second["same"] = torch.arange(4.0).reshape(2, 2).t()  # read by torch
    checkpoint.save(tmp_path / "b.ckpt", {"weights": second})
    found = stored_weights.differing(tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    assert set(found) == {"same", "value", "shape", "gone", "new"}


def test_files_of_others_are_left_to_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, {"weights": {"a": torch.ones(2)}})
    whole = path.read_bytes()
    with ZipFile(path, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/0"))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"\1" * 8)  # which of the two counts is each reader's affair
    assert stored_weights._read(path) is None
    for data in (b"", b"no archive", whole[:-40], whole.replace(b"FloatStorage", b"OtherStorage")):
        path.write_bytes(data)
        assert stored_weights._read(path) is None
        with pytest.raises(CheckpointError):
            stored_weights.weights_sha256(path)
