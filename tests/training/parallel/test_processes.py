"""A fit in several processes: the same bits as in one, one voice, and what is said where they can't work together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import processes, running
from tests.running import Kill
from training import FixedBatches, Task, TrainConfig, Trainer, experiment


class Line(Task):
    """Fits a plane to a few points."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def training_step(self, batch: Any) -> torch.Tensor:
        x, y = batch
        loss: torch.Tensor = (torch.dropout(self.layer(x), 0.25, True) - y).square().mean()
        if self.training:
            self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any) -> None:
        self.log("val_loss", self.training_step(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def batches(count: int = 6) -> FixedBatches:
    draw = torch.Generator().manual_seed(0)
    return FixedBatches([(torch.randn(8, 3, generator=draw), torch.randn(8, 2, generator=draw)) for _ in range(count)])


def fit(
    run: str, resume: bool = False, *, name: str = "line", inputs: dict[str, str] | None = None, **changes: Any
) -> Callable[[], None]:
    """A program that fits ``Line`` in a run of that folder."""
    settings = {"shards": 4, "max_epochs": 2, "device": "cpu", "progress": False, "log_every_n_steps": 1, **changes}

    def act() -> None:
        new, old = ("", run) if resume else (run, "")
        with experiment(name, TrainConfig(**settings), run=new, resume=old, inputs=inputs) as opened:
            Trainer(opened).fit(Line(), batches(), batches(3))

    return act


@pytest.mark.parametrize("world", [2, 4])
def test_a_fit_has_the_same_bits_and_one_voice(tmp_path: Path, world: int) -> None:
    alone = processes.run(tmp_path, 1, fit("alone"))
    several = processes.run(tmp_path, world, fit("several"))
    assert [done.code for done in [*alone, *several]] == [0] * (1 + world), several
    assert running.results(tmp_path / "several") == running.results(tmp_path / "alone")
    assert [done.said for done in several[1:]] == [""] * (world - 1)
    assert several[0].said.count("\n") == alone[0].said.count("\n")
    assert running.manifest(tmp_path / "several")["environment"]["threads"] == 1


@pytest.mark.parametrize(("world", "shards", "expected"), [
    (2, 1, "shards: expected a multiple of the 2 processes, got 1; give 2 shards"),
    (3, 4, "shards: expected a multiple of the 3 processes, got 4; give 1 or 2 or 4 processes"),
    (2, 6, "shards: expected a power of two (1, 2, 4, 8, …), got 6"),
])  # fmt: skip
def test_shards_that_cannot_be_dealt_out_are_refused(tmp_path: Path, world: int, shards: int, expected: str) -> None:
    for done in processes.run(tmp_path, world, fit("run", shards=shards)):
        assert done.code == 70
        assert expected in done.said
    assert not (tmp_path / "run").exists()


def test_a_failed_start_says_what_is_wrong_with_the_environment(tmp_path: Path) -> None:
    for name, value, expected in (
        ("WORLD_SIZE", "two", 'WORLD_SIZE: expected a number in the environment, as torchrun puts it there, got "two"'),
        ("RANK", "", "RANK: expected a number in the environment"),
        (
            "MASTER_PORT",
            "1",
            "expected the other processes to be met at MASTER_ADDR '127.0.0.1', MASTER_PORT '1', got no answer",
        ),
    ):
        settings = {name: value}
        started = processes.start(tmp_path, 2, fit("run"), lost=0.5, settings=[settings, settings])
        for done in started.wait():
            assert done.code == 70
            assert expected in done.said


def test_a_port_that_another_program_has_is_named_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}  # as without a launcher
        ended = processes.start(tmp_path, 2, fit("run"), lost=0.1, settings=[settings] * 2).wait()
    assert [done.code for done in ended] == [70, 70], ended
    assert f"MASTER_PORT: expected a free port, got {port}, which another program uses; give another" in ended[0].said
    assert "expected the other processes to be met at MASTER_ADDR '127.0.0.1'" in ended[1].said
    assert not (tmp_path / "run").exists()


def test_other_shards_on_resume_are_refused_and_the_run_is_left_as_it_was(tmp_path: Path) -> None:
    processes.start(tmp_path, 2, fit("run"), kills={0: Kill(5, signal.SIGTERM)}).wait()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for world in (1, 2):
        ended = processes.run(tmp_path, world, fit("run", resume=True, shards=2))
        assert [done.code for done in ended] == [70] * world
        assert all("shards: 4 → 2" in done.said for done in ended), ended
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


DIFFERENT: dict[str, dict[str, Any]] = {
    "settings.seed: 0 → 1": {"seed": 1},
    "settings.shards: 4 → 2": {"shards": 2},
    "settings.max_epochs: 2 → 3": {"max_epochs": 3},
    "kind: line → plane": {"name": "plane"},
    "inputs.text: ": {"inputs": {"text": "b.txt"}},
}


@pytest.mark.parametrize("expected", DIFFERENT)
def test_a_process_with_other_settings_data_or_code_is_named_once(tmp_path: Path, expected: str) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    usual: dict[str, Any] = {"name": "line", "inputs": {"text": "a.txt"}}

    def act() -> None:
        fit("run", **usual | (DIFFERENT[expected] if os.environ["RANK"] == "1" else {}))()

    ended = processes.run(tmp_path, 2, act)
    assert [done.code for done in ended] == [70, 70]
    assert (
        f"process 1 on {os.uname().nodename}: expected the same as in process 0, got differences ({expected}"
        in ended[0].said
    )
    assert not (tmp_path / "run").exists()


def test_what_does_not_change_numbers_may_differ(tmp_path: Path) -> None:
    def act() -> None:
        fit("run", devices=1 + int(os.environ["RANK"]), checkpoint_every="never", log_every_n_steps=0)()

    assert [done.code for done in processes.run(tmp_path, 2, act)] == [0, 0]
