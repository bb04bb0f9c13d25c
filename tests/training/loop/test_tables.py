"""The two tables, beside Lightning's."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loops import evaluation_loop
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary as LightningSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from torch import nn

from training.loop.tables import ModelSummary, human_count, results_table


def build(model: Any) -> Any:
    model.embedding = nn.Embedding(5000, 100)
    model.encoder = nn.LSTM(100, 50, bidirectional=True)
    model.head = nn.Sequential(nn.Linear(100, 20), nn.ReLU(), nn.Linear(20, 9))
    model.scale = nn.Parameter(model.head[0].weight.detach()[:3].clone())
    model.embedding.weight.requires_grad = False
    model.head.eval()
    return model


@pytest.mark.parametrize("depth", [-1, 0, 1, 2])
def test_the_summary_is_lightnings_without_flops(depth: int) -> None:
    ours = str(ModelSummary(build(nn.Module()), depth)).splitlines()
    theirs = str(LightningSummary(build(pl.LightningModule()), depth)).splitlines()
    rules = [i for i, line in enumerate(theirs) if set(line) == {"-"}]
    without = [line[: line.rindex(" | ")] if i < rules[1] and i not in rules else line for i, line in enumerate(theirs)]
    ours = ["---" if set(line) == {"-"} else line for line in ours]
    assert ours == ["---" if i in rules else line for i, line in enumerate(without[:-1])]


@given(st.integers(0, 10**17))
def test_counts_are_written_as_lightning_does(n: int) -> None:
    assert human_count(n) == get_human_readable_count(n)


def test_bytes_of_double_precision() -> None:
    assert ModelSummary(nn.Linear(999, 1000), bytes_each=8).megabytes == pytest.approx(8.0)


def test_a_depth_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="max_depth: expected -1, 0 or more, got -2"):
        ModelSummary(nn.Linear(1, 1), -2)


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("sources", [1, 2, 5])
def test_the_test_table_is_lightnings(
    width: int, sources: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results: list[Any] = [
        {f"{name}/dataloader_idx_{i}" if sources > 1 else name: (i + 1) * value for name, value in metrics.items()}
        for i, metrics in enumerate([{"test_loss": 0.125, "test_f1": 0.75, "a": 1.0}] * sources)
    ]
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(evaluation_loop, "_RICH_AVAILABLE", False)
    evaluation_loop._EvaluationLoop._print_results(results, "test")
    assert results_table(results, "test") + "\n" == capsys.readouterr().out


def test_a_metric_that_only_one_source_has() -> None:
    table = results_table([{"a/dataloader_idx_0": 1.0}, {"b/dataloader_idx_1": 2.0}], "validate", width=120)
    rows = [line.split() for line in table.splitlines()]
    assert rows[1] == ["Validate", "metric", "DataLoader", "0", "DataLoader", "1"]
    assert rows[3:5] == [["a", "1.0"], ["b", "2.0"]]


def test_no_metrics_no_table_and_long_names_are_broken() -> None:
    assert results_table([{}], "test") == ""
    table = results_table([{"x" * 45: 1.0}], "test", width=40)
    assert [line.split() for line in table.splitlines()[3:6]] == [["x" * 20, "1.0"], ["x" * 20], ["x" * 5]]
