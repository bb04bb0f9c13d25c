"""Comparing runs: equal ones are said to be equal, and the first difference is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.config import TrainConfig
from training.errors import DataError
from training.run.compare import compare
from training.run.folder import Run
from training.run.ledger_file import chained, first_break


def make_run(root: Path, *, seed: int = 0, losses: tuple[float, ...] = (3.0, 2.0, 1.0), gradient: str = "0a") -> Path:
    """A run's folder with a ledger and metrics written by hand."""
    run = Run.create("toy", TrainConfig(seed=seed), root=str(root))
    chain = "0" * 64
    with open(run.path / "ledger.jsonl", "w") as stream:
        for i, loss in enumerate(losses):
            line = {
                "epoch": 0,
                "batch": i,
                "step": i + 1,
                "ids": "ff",
                "loss": loss.hex(),
                "gradients": {"w": "01", "b": gradient},
            }
            chain = chained(chain, line)
            stream.write(json.dumps({**line, "chain": chain}) + "\n")
    for i, loss in enumerate(losses):
        run.log_metrics({"loss": loss}, i)
    run.finish(f"{losses[-1]:064.0f}", {"test_f1": 0.5})
    return run.path


def test_equal_runs_are_equal(tmp_path: Path) -> None:
    result = compare(make_run(tmp_path), make_run(tmp_path))
    assert result.same_bits
    assert result.causes == []


def test_the_first_difference_is_named_with_its_cause(tmp_path: Path) -> None:
    result = compare(make_run(tmp_path), make_run(tmp_path, seed=1, losses=(3.0, 2.5, 1.5)))
    assert not result.same_bits
    assert result.results[0] == "first difference at epoch 0, batch 1, step 2"
    assert any(line.startswith("loss: ") for line in result.results)
    assert any("metrics first differ at step 1: loss 2.0 and 2.5" in line for line in result.results)
    assert any(line.startswith("weights: ") for line in result.results)
    assert result.causes == ["config.seed: 0 and 1"]


def test_a_gradient_that_differs_is_named(tmp_path: Path) -> None:
    result = compare(make_run(tmp_path), make_run(tmp_path, gradient="0b"))
    assert "gradients that differ: b" in result.results


def test_a_changed_ledger_is_found(tmp_path: Path) -> None:
    good, bad = make_run(tmp_path), make_run(tmp_path)
    path = bad / "ledger.jsonl"
    assert first_break(path) is None
    path.write_text(path.read_text().replace('"batch": 1', '"batch": 7'))
    assert first_break(path) == 2
    assert any("the ledger's chain is broken here" in line for line in compare(good, bad).results)


def test_shorter_runs_differ(tmp_path: Path) -> None:
    result = compare(make_run(tmp_path), make_run(tmp_path, losses=(3.0, 2.0)))
    assert any("the ledgers have 3 lines and 2; the 2 of the same steps agree" in line for line in result.results)


def test_a_setting_that_an_earlier_version_did_not_have_is_its_default(tmp_path: Path) -> None:
    earlier, now, other = make_run(tmp_path), make_run(tmp_path), make_run(tmp_path, seed=1)
    for run in (earlier, other):
        path = run / "manifest.json"
        described = json.loads(path.read_text())
        for name in ("shards", "max_restarts", "seed" if run == earlier else "devices"):  # seed's default is 0
            del described["config"][name]
        path.write_text(json.dumps({k: v for k, v in described.items() if k not in ("seal", "format", "files")}))
    assert compare(earlier, now).causes == []
    assert compare(now, earlier).causes == []
    assert compare(earlier, other).causes == ["config.seed: 0 and 1"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a run folder"):
        compare(make_run(tmp_path), tmp_path)
