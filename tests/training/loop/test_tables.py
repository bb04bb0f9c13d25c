"""The table of a test's metrics, beside Lightning's."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch.loops import evaluation_loop

from training.loop.tables import results_table


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
