"""What the tests share: one thread, and small data of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from training import checkpoint
from training.digest import weights_sha256
from training.run import seal
from training.run.folder import read_manifest
from training.run.manifest import as_text

# The fast suite draws the same cases every time; the soak tests draw others.
settings.register_profile("fast", derandomize=True, deadline=None)
settings.load_profile("fast")

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny tensors only lose time on several threads. Tests of thread counts set their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head(path: Path, sentences: int) -> str:
    """The first so many sentences of a CoNLL file."""
    return "\n\n".join(path.read_text(encoding="utf-8").split("\n\n")[:sentences]) + "\n\n"


def reseal(run: Path, **values: Any) -> None:
    """Give a finished run other values, and all digests and the seal as its files are now: it is what it says, then."""
    described = {**read_manifest(run), **values}
    if (run / seal.MODEL).is_file():
        described["weights_sha256"] = weights_sha256(checkpoint.load_weights(run / seal.MODEL))
    seal.put_on(run, described)
    (run / seal.MANIFEST).write_text(as_text(described))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, valid and test files of 120, 40 and 40 sentences of the sample."""
    folder = tmp_path_factory.mktemp("small")
    for name, count in (("train", 120), ("valid", 40), ("test", 40)):
        (folder / f"{name}.conll").write_text(head(SAMPLE / f"{name}.conll", count), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 400 paragraphs of the sample."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = (SAMPLE / "text.txt").read_text(encoding="utf-8").splitlines()[:400]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
