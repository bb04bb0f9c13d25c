"""The programs of examples/: each runs, twice to the same bits, and killed and resumed to the same bits again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import seqeval.metrics  # noqa: F401  (which takes a second, once here and not in each program)
import torch

from tests.running import Done, Kill, manifest, program, results, set_config
from word2vec import WordVectors

ROOT = Path(__file__).resolve().parents[2]
TERM, KILL = signal.SIGTERM, signal.SIGKILL
EVERY = ("--checkpoint-every", "2")


class Example(NamedTuple):
    """A program, its arguments and settings for a few batches, the name of its runs, and what it logs."""

    name: str
    arguments: tuple[str, ...]
    kind: str
    logs: tuple[str, ...]
    settings: Mapping[str, Any] = {}

    @property
    def file(self) -> Path:
        return ROOT / "examples" / f"{self.name}.py"

    def run(self, folder: Path) -> Path:
        return folder / "runs" / self.kind / "version_0"

    def go(self, folder: Path, *more: str, kill: Kill | None = None, **settings: Any) -> Done:
        def first() -> None:
            set_config({**self.settings, **settings})

        return program(self.file, folder, *self.arguments, *more, kill=kill, first=first)

    def go_on_threads(self, folder: Path, threads: int, **settings: Any) -> Done:
        """In a new interpreter: OpenMP's threads do not survive a fork, and a child that waits for them hangs."""
        arguments, chosen = [str(self.file), *self.arguments], {**self.settings, **settings}
        code = (
            f"import runpy, sys; from tests.running import set_config; set_config({chosen!r}); "
            f"sys.argv = {arguments!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        return Done(done.returncode, done.stdout + done.stderr)


DIGITS = Example(
    "digits",
    ("--epochs", "2"),
    "digits",
    ("train_accuracy", "val_loss"),
    {"limit_train_batches": 5, "checkpoint_every": "2"},
)
EXAMPLES = [
    DIGITS,
    Example("gan", ("--epochs", "2", "--points", "320", *EVERY), "gan", ("generator_loss", "distance")),
    Example("autoencoder", ("--epochs", "4", "--waves", "150", *EVERY), "autoencoder", ("lr-Adam", "val_loss", "test_loss")),
    Example(
        "transformer", ("--steps", "12", "--sums", "160", "--validate-every", "3", *EVERY), "transformer",
        ("lr-AdamW", "train_loss", "val_loss"),
    ),
    Example(
        "lecture",
        ("--data", "data", "--vectors", "vectors.txt", "--hidden-size", "8", "--batch-size", "24", "--epochs", "2"),
        "LitNERTagger", ("train_loss", "val_f1", "test_f1"),
    ),
]  # fmt: skip
STORIES = [
    (Kill(3, TERM), Kill(4, KILL)),
    (Kill(5, KILL), Kill(2, TERM, "on_validation_batch_end")),
    (Kill(3, KILL, "on_validation_batch_end"), Kill(1, KILL), Kill(3, TERM)),
]
"""Kills, one after the other: each of the run that goes on."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """What the programs read, and their runs that were never disturbed."""
    folder = tmp_path_factory.mktemp("examples")
    furnish(folder, small_data)
    return folder


def furnish(folder: Path, small_data: Path) -> None:
    (folder / "data").symlink_to(small_data)
    WordVectors(["the", "city", "Alcor"], torch.eye(3, 6)).save(folder / "vectors.txt")


def whole(example: Example, world: Path) -> Path:
    """Its undisturbed run."""
    run = example.run(world)
    if not run.exists():
        done = example.go(world)
        assert done.code == 0, done
        assert "Warning" not in done.said
        assert "Traceback" not in done.said
    return run


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_it_runs_and_its_run_says_what_it_is(example: Example, world: Path) -> None:
    described = manifest(whole(example, world))
    assert described["status"] == "finished"
    assert described["script"]["path"] == str(example.file)
    assert [*described["code"]["own"]] == [example.file.name]
    assert {*example.logs} <= {*described["metrics"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_run_twice_it_gives_the_same_bits(example: Example, world: Path, tmp_path: Path, small_data: Path) -> None:
    furnish(tmp_path, small_data)
    assert example.go(tmp_path).code == 0
    assert results(example.run(tmp_path)) == results(whole(example, world))


@pytest.mark.parametrize("kills", STORIES, ids=lambda kills: " then ".join(map(str, kills)))
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_killed_and_resumed_it_ends_in_the_same_bits(
    example: Example, kills: tuple[Kill, ...], world: Path, tmp_path: Path, small_data: Path
) -> None:
    furnish(tmp_path, small_data)
    run = example.run(tmp_path)
    for kill in kills:
        done = example.go(tmp_path, *resumed(run), kill=kill)
        assert done.code == (75 if kill.number == TERM else -KILL), done
        assert "Traceback" not in done.said
    assert example.go(tmp_path, *resumed(run)).code == 0
    assert results(run) == results(whole(example, world))
    assert not run.with_name("version_1").exists()


@pytest.mark.parametrize("example", [each for each in EXAMPLES if "test_loss" in each.logs], ids=lambda each: each.name)
def test_killed_in_the_test_it_ends_in_the_same_bits(example: Example, world: Path, tmp_path: Path) -> None:
    run = example.run(tmp_path)
    assert example.go(tmp_path, kill=Kill(2, KILL, "on_test_batch_end")).code == -KILL
    assert example.go(tmp_path, *resumed(run)).code == 0
    assert results(run) == results(whole(example, world))


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.name != "lecture"], ids=lambda each: each.name)
def test_with_any_threads_their_number_changes_no_bit(example: Example, tmp_path: Path) -> None:
    found = []
    for threads in (1, 4):
        folder = tmp_path / str(threads)
        folder.mkdir()
        done = example.go_on_threads(folder, threads, any_threads=True)
        assert done.code == 0, done.said
        described = manifest(example.run(folder))
        assert described["environment"]["level"] == "threads"
        assert "unkept" not in described
        found.append(results(example.run(folder)))
    assert found[0] == found[1]


def resumed(run: Path) -> tuple[str, ...]:
    return ("--resume", str(run)) if run.exists() else ()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_the_number_of_workers_changes_no_bit(workers: int, world: Path, tmp_path: Path) -> None:
    assert DIGITS.go(tmp_path, "--workers", str(workers)).code == 0
    assert results(DIGITS.run(tmp_path)) == results(whole(DIGITS, world))


@pytest.mark.parametrize(("before", "after"), [(0, 4), (4, 1), (1, 0)])
def test_a_resume_may_have_another_number_of_workers(before: int, after: int, world: Path, tmp_path: Path) -> None:
    assert DIGITS.go(tmp_path, "--workers", str(before), kill=Kill(7, TERM)).code == 75
    assert DIGITS.go(tmp_path, "--workers", str(after), *resumed(DIGITS.run(tmp_path))).code == 0
    assert results(DIGITS.run(tmp_path)) == results(whole(DIGITS, world))
