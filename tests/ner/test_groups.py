"""Several seeds of one experiment: trained, taken up again, summed up, compared with a significance test."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from ner.groups import compare_sentences, read_group
from ner.significance import Summary, permutation_test, randomization_test
from training.errors import DataError

VALUES = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=3)


@given(VALUES, VALUES)
def test_the_permutation_test_is_the_one_that_tries_every_order(first: list[float], second: list[float]) -> None:
    observed = abs(np.mean(first) - np.mean(second))
    n, orders = len(first), list(permutations([*first, *second]))
    extreme = sum(abs(np.mean(order[:n]) - np.mean(order[n:])) >= observed - 1e-12 for order in orders)
    assert permutation_test(first, second) == pytest.approx(extreme / len(orders))


def test_five_against_five_apart_is_the_least_that_can_be() -> None:
    assert permutation_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 2 / math.comb(10, 5)
    assert permutation_test(list(range(15)), list(range(20, 35))) < 0.001  # by random splits
    assert permutation_test([1.0], [1.0]) == 1.0


def test_randomization_over_sentences() -> None:
    generator = np.random.default_rng(3)
    gold = generator.integers(0, 4, 400)
    good = np.stack([np.minimum(gold, generator.integers(0, 4, 400)), gold, gold], axis=1)
    assert randomization_test(good, good) == 1.0
    worse = good.copy()
    worse[:200, 0] = np.maximum(0, worse[:200, 0] - 1)
    assert randomization_test(good, worse) < 0.001
    other = good.copy()
    other[0, 0] = 0 if other[0, 0] else gold[0]
    assert randomization_test(good, other) > 0.1
    assert randomization_test(good, worse, rounds=1000) == randomization_test(good, worse, rounds=1000)
    with pytest.raises(DataError, match=r"expected two tables of \(sentences, 3\) counts"):
        randomization_test(good, worse[1:])


def test_a_summary() -> None:
    found = Summary.of([1.0, 2.0, 6.0])
    assert (found.median, found.mean, found.minimum, found.maximum, found.n) == (2.0, 3.0, 1.0, 6.0, 3)
    assert found.deviation == pytest.approx(math.sqrt(7))
    assert Summary.of([1.0]).deviation == 0.0


QUICK = "--vectors none --max-epochs 1 --hidden-size 8 --word-dim 8 --threads 1 --no-progress --deterministic".split()


def command(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def group(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups") / "a"
    printed = command("train-ner", "--data", str(small_data), *QUICK, "--seeds", "3", "--seed", "4", "--run", str(folder))
    assert "test_f1" in printed
    assert "3 seeds" in printed
    return folder


def test_a_group_is_runs_and_their_summary(group: Path) -> None:
    assert {p.name for p in group.iterdir()} == {"config.json", "group.json", "summary.json", "seed_4", "seed_5", "seed_6"}
    summary = json.loads((group / "summary.json").read_text())
    values = [json.loads((group / f"seed_{s}" / "manifest.json").read_text())["metrics"]["test_loss"] for s in (4, 5, 6)]
    assert summary["metrics"]["test_loss"]["median"] == sorted(values)[1]
    assert summary["seeds"] == [4, 5, 6]


def test_a_group_goes_on_where_it_was_left(group: Path, small_data: Path, tmp_path: Path) -> None:
    """Stopped in its first run, the others not begun; then with two at a time."""
    folder = tmp_path / "b"
    arguments = ["--data", str(small_data), *QUICK, "--seeds", "3", "--seed", "4", "--run", str(folder), "--max-time", "0s"]
    result = CliRunner().invoke(main, ["train-ner", *arguments])
    assert result.exit_code == 75
    assert f"--resume {folder}" in result.output
    settings = json.loads((folder / "config.json").read_text())
    for path in (folder, folder / "seed_4"):
        (path / "config.json").write_text(json.dumps({**settings, "max_time": ""}))
    assert "3 seeds" in command("train-ner", "--resume", str(folder), "--jobs", "2")
    ours, theirs = read_group(folder).metrics, read_group(group).metrics
    assert ours == theirs
    assert "finished" in command("train-ner", "--resume", str(folder))


def test_compare(group: Path, small_data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    command("train-ner", "--data", str(small_data), *QUICK, "--lr", "0.01", "--seeds", "2", "--run", str(other))
    printed = command("compare", str(group), str(other))
    assert "permutation test" in printed
    assert "test_f1" in printed
    found = json.loads(command("compare", str(group / "seed_4"), str(other / "seed_0"), "--json"))
    assert 0 < found["p_over_sentences"] <= 1
    assert "randomization" in command("compare", str(group / "seed_4"), str(other / "seed_0"))
    assert "no test" in command("compare", str(group), str(other / "seed_0"))
    assert compare_sentences(group / "seed_4", group / "seed_4") == 1.0


def test_what_cannot_be_compared_is_said(group: Path, tmp_path: Path) -> None:
    (tmp_path / "group.json").write_text("[]")
    for bad, said in ((tmp_path, "group.json: expected"), (tmp_path / "none", "none")):
        result = CliRunner().invoke(main, ["compare", str(group), str(bad)])
        assert result.exit_code in (1, 2)
        assert said in result.output
        assert "Traceback" not in result.output
    result = CliRunner().invoke(main, ["train-ner", "--seeds", "2", "--run", str(group)])
    assert result.exit_code == 2
    assert "exists already" in result.output
