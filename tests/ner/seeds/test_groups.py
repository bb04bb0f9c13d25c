"""Several seeds of one experiment: trained, taken up again, summed up, compared with a significance test."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from itertools import permutations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import ner.seeds.significance
import training.commands.side_by_side
from cli import main
from ner.config import TaggerConfig
from ner.corpus.conll import read_conll, write_conll
from ner.seeds.compare import compare_sentences
from ner.seeds.significance import permutation_test, randomization_test
from tests import forked
from tests.conftest import reseal
from training.errors import DataError
from training.run.folder import read_manifest
from training.run.groups import Summary, read_group, run_group

ROOT = Path(__file__).resolve().parents[3]
VALUES = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=3)


@given(VALUES, VALUES)
def test_the_permutation_test_is_the_one_that_tries_every_order(first: list[float], second: list[float]) -> None:
    observed = abs(np.mean(first) - np.mean(second))
    n, orders = len(first), list(permutations([*first, *second]))
    extreme = sum(abs(np.mean(order[:n]) - np.mean(order[n:])) >= observed - 1e-12 for order in orders)
    assert permutation_test(first, second) == pytest.approx(extreme / len(orders))


def test_five_against_five_apart_is_the_least_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert permutation_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == 2 / math.comb(10, 5)
    monkeypatch.setattr(ner.seeds.significance, "MOST_SPLITS", 20_000)
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


def test_randomization_is_the_one_that_tries_every_exchange() -> None:
    """Beside all 2^8 exchanges of few sentences: the share of random ones is within four standard errors."""
    gold = np.array([3, 2, 4, 1, 2, 3, 2, 1])
    found = np.array([3, 2, 3, 1, 1, 3, 2, 0]), np.array([2, 2, 4, 0, 1, 1, 1, 0])
    sides = [np.stack([right, gold, gold], axis=1) for right in found]

    def f1(table: np.ndarray) -> float:
        right, predicted, wanted = table.sum(0)
        return 2.0 * int(right) / int(predicted + wanted)

    observed = abs(f1(sides[0]) - f1(sides[1]))
    extreme = 0
    for exchange in product([False, True], repeat=8):
        mixed = [np.where(np.array(exchange)[:, None], a, b) for a, b in (sides, sides[::-1])]
        extreme += abs(f1(mixed[0]) - f1(mixed[1])) >= observed - 1e-12
    exact = extreme / 2**8
    assert 0.02 < exact < 0.98
    assert abs(randomization_test(sides[0], sides[1]) - exact) < 4 * math.sqrt(exact * (1 - exact) / 10_000)


def test_a_summary() -> None:
    found = Summary.of([1.0, 2.0, 6.0])
    assert (found.median, found.mean, found.minimum, found.maximum, found.n) == (2.0, 3.0, 1.0, 6.0, 3)
    assert found.deviation == pytest.approx(math.sqrt(7))
    assert Summary.of([1.0]).deviation == 0.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_a_summary_of_any_finite_values(values: list[float]) -> None:
    """Their squares, or their sum, may be more than a float holds."""
    found = Summary.of(values)
    assert found.minimum <= found.median <= found.maximum or math.isinf(found.median)
    assert found.deviation >= 0.0


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
    files = {"config.json", "group.json", "ensemble.json", "summary.json"}
    assert {p.name for p in group.iterdir()} == {*files, "seed_4", "seed_5", "seed_6"}
    summary = json.loads((group / "summary.json").read_text())
    values = [json.loads((group / f"seed_{s}" / "manifest.json").read_text())["metrics"]["test_loss"] for s in (4, 5, 6)]
    assert summary["metrics"]["test_loss"]["median"] == sorted(values)[1]
    assert summary["seeds"] == [4, 5, 6]


def test_a_group_goes_on_where_it_was_left(
    group: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its first run, the others not begun; then with two at a time, in processes that are forked."""
    monkeypatch.setattr(training.commands.side_by_side, "subprocess", SimpleNamespace(Popen=forked.Popen))
    folder = tmp_path / "b"
    arguments = ["--data", str(small_data), *QUICK, "--seeds", "3", "--seed", "4", "--run", str(folder), "--max-time", "0s"]
    result = CliRunner().invoke(main, ["train-ner", *arguments])
    assert result.exit_code == 75
    assert f"--resume {folder}" in result.output
    for path in (folder, folder / "seed_4"):
        settings = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**settings, "max_time": ""}))
    described = json.loads((folder / "seed_4" / "manifest.json").read_text())
    described["config"]["max_time"] = ""
    (folder / "seed_4" / "manifest.json").write_text(json.dumps(described))
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
    assert found["same_test_files"]
    assert "randomization" in command("compare", str(group / "seed_4"), str(other / "seed_0"))
    assert "no test" in command("compare", str(group), str(other / "seed_0"))
    assert compare_sentences(group / "seed_4", group / "seed_4") == 1.0


@pytest.mark.parametrize("typed", ["--from 1", "--to-step 1", "--to again", "--script p.py"])
def test_a_group_is_verified_whole(group: Path, typed: str) -> None:
    done = CliRunner().invoke(main, ["verify", str(group), *typed.split()])
    assert done.exit_code == 2
    assert done.stderr == (
        f"error: verify: {group} is a group: expected --from, --to-step, --to and --script with one of its runs alone\n"
    )


def test_runs_of_two_schemes_are_compared_by_their_entities(group: Path, small_data: Path, tmp_path: Path) -> None:
    """The same predictions written in IOBES and in IOB2 are no different; and IOB2 is not read as IOBES."""
    copy = tmp_path / "iob2"
    shutil.copytree(group / "seed_4", copy)
    gold = read_conll(small_data / "test.conll", docstart="drop")
    write_conll(copy / "predictions.conll", gold, [s.tags for s in gold])  # all right
    reseal(copy, config={**read_manifest(copy)["config"], "scheme": "IOB2"})
    assert compare_sentences(group / "seed_4", copy) < 0.01
    assert compare_sentences(copy, copy) == 1.0


def test_groups_tested_on_different_files_are_told_apart(group: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(group, other)
    for run in other.glob("seed_*"):
        inputs = read_manifest(run)["inputs"]
        reseal(run, inputs={**inputs, "test": {**inputs["test"], "sha256": "0"}})
    run_group(
        other, TaggerConfig, lambda config, run, started: pytest.fail("all seeds have finished")
    )  # sums up and seals anew
    assert "tested on different files" in command("compare", str(group), str(other))
    assert "tested on different files" not in command("compare", str(group), str(group))


def test_what_cannot_be_asked_together_is_said(group: Path) -> None:
    for arguments in (["--jobs", "2"], ["--resume", str(group), "--seeds", "3"]):
        result = CliRunner().invoke(main, ["train-ner", *arguments])
        assert result.exit_code == 2
        assert "--seeds" in result.output


def test_told_to_stop_it_stops_all_its_runs_and_goes_on_later(small_data: Path, tmp_path: Path) -> None:
    """SIGTERM to the one process that trains side by side: exit code 75, no run left behind at work."""
    folder = tmp_path / "group"
    words = ["train-ner", "--data", str(small_data), *QUICK, "--max-epochs", "100000"]
    words += ["--seeds", "2", "--jobs", "2", "--run", str(folder)]
    with open(tmp_path / "said", "w+") as log:  # the one is forked, its children are processes begun anew
        process = forked.Popen(
            [sys.executable, str(ROOT / "cli.py"), *words], stdout=log, stderr=log, start_new_session=True, cwd=str(tmp_path)
        )
        deadline = time.monotonic() + 120
        while not all((folder / f"seed_{seed}" / "ledger.jsonl").is_file() for seed in (0, 1)):
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        code = process.wait()
    said = (tmp_path / "said").read_text()
    assert code == 75, said
    assert f"--resume {folder}" in said
    for seed in (0, 1):
        assert json.loads((folder / f"seed_{seed}" / "manifest.json").read_text())["status"] == "stopped"


@pytest.mark.parametrize("command", [
    "ask {group} --steps 1 --watch batch", "train-ner --data {data} --start-from {group}",
    "train-ner --data {data} --vectors none --lm {group}", "train-w2v --corpus {data}/test.conll --start-from {group}",
    "train-ner --data {data} --vectors {group}", "train-lm --corpus {data}/test.conll --vectors {group}",
    "vectors analogy {group} a b c",
])  # fmt: skip
def test_a_run_that_is_named_in_place_of_a_group_is_there(small_data: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "group.json").write_text('{"seeds": [5, 6]}')
    refused = CliRunner().invoke(main, command.format(data=small_data, group=tmp_path / "group").split())
    assert refused.exit_code == 2, refused.output
    said = refused.stderr.splitlines()[-1]
    assert f"{tmp_path / 'group' / 'seed_'}{'N' if 'train-w2v' in command else 5}" in said
    assert "group" in said


def test_what_cannot_be_compared_is_said(group: Path, tmp_path: Path) -> None:
    (tmp_path / "group.json").write_text("[]")
    for bad, said in ((tmp_path, "group.json: expected"), (tmp_path / "none", "none")):
        result = CliRunner().invoke(main, ["compare", str(group), str(bad)])
        assert result.exit_code in (1, 2)
        assert said in result.output
        assert "Traceback" not in result.output
    odd = tmp_path / "odd"
    shutil.copytree(group, odd)
    first = sorted(odd.glob("seed_*"))[0]
    whole = (first / "manifest.json").read_bytes()
    for value in (math.nan, math.inf, 10**400):
        (first / "manifest.json").write_bytes(whole)
        reseal(first, metrics={"test_f1": value})
        with pytest.raises(DataError, match="entry 'metrics: test_f1' is missing or of another kind"):
            read_group(odd)
    (tmp_path / "group.json").write_text(json.dumps({"seeds": [10**300]}))  # no file can have such a name
    with pytest.raises(DataError, match=r"group\.json: expected a group's list of seeds"):
        read_group(tmp_path)
    result = CliRunner().invoke(main, ["train-ner", "--seeds", "2", "--run", str(group)])
    assert result.exit_code == 2
    assert "exists already" in result.output
