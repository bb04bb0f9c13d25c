"""The check of the README's claims: each claim has a check, and what is found becomes the right verdict and exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check_claims, make_results, record
from benchmarks.check_claims import FAILS, HOLDS, SKIPPED, WITHIN, Broken, NoData, Outcome, Work

CLAIMS = make_results.claims()["claim"]
PROMISES = make_results.records()["promises"]["rows"]


def test_every_claim_has_a_check_and_every_check_a_claim() -> None:
    assert {claim["check"] for claim in CLAIMS} == check_claims.CHECKS.keys()
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim["statement"] for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_what_a_claim_names_is_there(claim: dict[str, Any]) -> None:
    expect = claim.get("expect", {})
    for path in (*expect.get("files", []), *([expect["script"]] if "script" in expect else [])):
        assert (record.ROOT / path).is_file()
    if claim["check"] == "promises":
        assert set(expect["rows"]) <= PROMISES.keys()
    if claim["check"] in ("beside_gensim", "epoch"):
        assert expect["least"] > 0


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path, None)


SPEED = {"record": "a-record", "row": "a row", "figure": "share", "as": ".1f", "unit": "%"}
SCORE = {"record": "a-record", "row": "a row", "figure": "F1"}
FIGURES = {"share": record.summary([7.5, 8.1, 9.0]), "F1": record.summary([0.9431, 0.9328, 0.9392])}


@pytest.fixture
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_results, "records", lambda: {"a-record": {"rows": {"a row": FIGURES}}})


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize(
    ("value", "less", "verdict"),
    [(8.1, False, HOLDS), (8.0, False, WITHIN), (5.0, False, WITHIN), (4.9, False, FAILS),
     (8.1, True, HOLDS), (8.2, True, WITHIN), (20.0, True, WITHIN), (20.1, True, FAILS)],
)  # fmt: skip
def test_a_measured_claim(value: float, less: bool, verdict: str) -> None:
    claim = {"cells": [SPEED, SPEED], "expect": {"most": 20.0} if less else {"least": 5.0}}
    assert check_claims.measured(claim, value, less).verdict == verdict


def test_a_measured_claim_without_a_figure_for_this_cpu() -> None:
    claim = {"cells": ["not measured", "not measured"], "expect": {"least": 5.0}}
    assert check_claims.measured(claim, 9.0).verdict == WITHIN
    assert check_claims.measured(claim, 4.0).verdict == FAILS


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.9328, HOLDS), (0.9431, HOLDS), (0.9468, WITHIN), (0.929, WITHIN), (0.948, FAILS), (0.92, FAILS)],
)
def test_a_score_in_the_range_of_its_seeds(value: float, verdict: str) -> None:
    assert check_claims.in_range({"cells": [SCORE]}, value).verdict == verdict


def test_one_digest_or_several() -> None:
    assert check_claims.same({"1": "ab", "2": "ab"}).verdict == HOLDS
    assert check_claims.same({"1": "ab", "2": "ac"}).verdict == FAILS


def test_a_row_of_promises_is_lost_where_weights_are_others(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "a": {"samebits": "3 of 3 same bits", "Lightning": "other weights"},
        "b": {"samebits": "2 of 3 same bits, 1 of 3 other weights"},
    }
    monkeypatch.setattr(Work, "record", lambda self, *words, **environment: rows)
    assert check_claims.promises({"expect": {"rows": ["a"]}}, work) == Outcome(HOLDS, "Lightning: other weights")
    assert check_claims.promises({"expect": {"rows": ["a", "b"]}}, work).verdict == FAILS


@pytest.mark.parametrize(
    "bad", ["runs that differ or failed", "of them not the same bits", "runs that differ, fail or hang"]
)
def test_runs_that_a_soak_lost(work: Work, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    def rows(lost: int) -> dict[str, Any]:
        kills = {"undisturbed runs with the same bits, of 2": {"a": 2}, bad: {"a": lost, "all": lost}}
        return {row: {name: record.summary(n) for name, n in cells.items()} for row, cells in kills.items()}

    claim = {"expect": {"script": "x", "kills": 3}}
    for lost, verdict in ((0, HOLDS), (2, FAILS)):
        monkeypatch.setattr(Work, "record", lambda self, *words, lost=lost, **environment: rows(lost))
        found = check_claims.soak(claim, work)
        assert found == Outcome(verdict, f"{lost} runs lost after 3 kills or more")


def test_a_program_that_fails_is_named(work: Work) -> None:
    with pytest.raises(Broken, match="ended with 2"):
        work.run("cli.py", "train-ner", "--no-such-option")


def test_what_is_not_there_is_not_checked(work: Work, tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"needs enwiki.txt"):
        work.need("enwiki.txt")
    (dear,) = (claim for claim in CLAIMS if claim["id"] == "conll2003")
    assert check_claims.check(dear, work).verdict == SKIPPED
    assert check_claims.check(dear, Work(tmp_path, tmp_path)) == Outcome(SKIPPED, "needs conll2003 in the folder of --data")


@pytest.mark.parametrize(("verdict", "code"), [(HOLDS, 0), (WITHIN, 0), (SKIPPED, 0), (FAILS, 1)])
def test_the_exit_code(
    verdict: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(check_claims.CHECKS, "loop", lambda claim, work: Outcome(verdict, "so it was"))
    monkeypatch.setattr(sys, "argv", ["check_claims.py", "--only", "loop", "--work", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        check_claims.main()
    assert ended.value.code == code
    output = capsys.readouterr().out
    assert f"loop: {verdict} (" in output
    assert "so it was" in output
    assert output.endswith(f"{verdict}: 1\n")


def test_a_check_that_breaks_does_not_hold(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(claim: Any, work: Work) -> Outcome:
        raise Broken("x ended with 3")

    monkeypatch.setitem(check_claims.CHECKS, "loop", broken)
    assert check_claims.check({"check": "loop"}, work) == Outcome(FAILS, "x ended with 3")


def test_a_benchmark_runs_once_for_several_claims(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def run(self: Work, *words: object, **more: Any) -> str:
        calls.append(words)
        path = Path(str(words[-1])).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"rows": {"a": {}}}')
        return ""

    monkeypatch.setattr(Work, "run", run)
    assert work.record("x.py", 1) == work.record("x.py", 1) == {"a": {}}
    work.record("x.py", 2)
    assert len(calls) == 2


def test_what_records_nothing_is_broken(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "run", lambda self, *words, **more: "")
    with pytest.raises(Broken, match=r"x.py recorded nothing"):
        work.record("x.py")


def test_a_claim_about_a_package_that_is_not_here_is_not_checked(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_claims, "find_spec", lambda name: None)
    outcome = check_claims.check({"check": "beside_others", "expect": {"system": "spacy", "least": 2.0}}, work)
    assert (outcome.verdict, "pip install spacy" in outcome.words) == (SKIPPED, True)
