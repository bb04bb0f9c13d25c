"""Records of benchmarks: what is written, what counts as the same code, and that RESULTS.md and README say what they say."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import confirm, make_results, record

RECORDS = make_results.records()
EARLIER = make_results.records(record.EARLIER)
SUBJECTS = make_results.subjects()
FIELDS = {
    "subject", "command", "arguments", "rows", "data", "weights", "commit", "modules", "digest", "versions", "cpu", "cores",
    "threads", "load", "date", "note",
}  # fmt: skip
ROOT = record.ROOT


def test_the_page_says_what_the_records_say() -> None:
    """All but the marks of stale rows, which come and go with each change of code: `make results` makes them anew."""
    made = make_results.results(RECORDS, EARLIER, SUBJECTS)
    kept = make_results.RESULTS.read_text(encoding="utf-8")
    assert make_results.without_marks(kept) == make_results.without_marks(made), "run `make results`"


def test_the_page_of_earlier_results_says_what_their_records_say() -> None:
    made = make_results.earlier(EARLIER, SUBJECTS)
    kept = make_results.EARLIER.read_text(encoding="utf-8")
    assert make_results.without_marks(kept) == make_results.without_marks(made), "run `make results`"
    assert all(f"(results/earlier/{name}.json)" in made for name in EARLIER)


def test_each_subject_that_was_ever_measured_is_on_the_page_with_figures_or_a_link() -> None:
    one = next(iter(RECORDS.values()))
    named = [{"id": id_, "heading": f"Speed of {id_}'s", "text": "What it is."} for id_ in ("new", "old", "neither")]
    made = make_results.results({"a": {**one, "subject": "new"}}, {"b": {**one, "subject": "old"}}, named)
    assert "## Speed of new's\n\nWhat it is.\n" in made
    assert "## Speed of old's\n\nNot measured with this version; [earlier results](EARLIER.md#speed-of-olds).\n" in made
    assert "neither" not in made


def test_the_readme_says_what_the_records_say() -> None:
    text = make_results.README.read_text(encoding="utf-8")
    assert make_results.with_tables(text, RECORDS) == text, "run `make results`"


@pytest.mark.parametrize("name", list(make_results.claims()["table"]))
def test_a_table_of_the_readme_has_a_cell_for_each_column(name: str) -> None:
    rows = make_results.readme_table(name, RECORDS).splitlines()
    assert len(rows) > 2
    assert len({row.count(" | ") for row in rows}) == 1


@pytest.mark.parametrize("name", list(RECORDS))
def test_a_record_is_whole(name: str) -> None:
    one = RECORDS[name]
    assert one.keys() - {"confirmed"} == FIELDS
    assert one.get("confirmed", {}).keys() in (set(), {"commit", "digest", "date", "steps"})
    assert one["subject"] in {subject["id"] for subject in SUBJECTS}
    assert one["rows"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?", one["date"])
    assert one["cpu"].keys() == {"model", "family", "number", "instructions"}
    for row in one["rows"].values():
        for figure in row.values():
            assert isinstance(figure, str) or figure["least"] <= figure["median"] <= figure["most"]
            assert isinstance(figure, str) or "runs" not in figure or figure == record.summary(figure["runs"])
    assert not re.search(r"/(work|home|root|tmp)/", json.dumps(one))


def test_subjects_are_named_once() -> None:
    names = [subject["id"] for subject in SUBJECTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", "LOOP RUN WORDS VECTORS MODEL TAGGER PREDICT PROCESSES".split())
def test_the_globs_of_code_match_code(name: str) -> None:
    for each in getattr(record, name):
        assert list(ROOT.glob(each)), each


def test_each_file_of_determinism_counts_for_all_runs_or_for_portable_ones() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "training" / "determinism").glob("*.py")}
    assert sorted(there) == sorted((*record.DETERMINISM, *record.PORTABLE))


def test_a_record_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "text.txt"
    data.write_text("a b c\n", encoding="utf-8")
    script = str(ROOT / "benchmarks" / "loop_overhead.py")
    monkeypatch.setattr(sys, "argv", [script, str(data), "--steps", "10", "--record", "one"])
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    rows: record.Rows = {"a row": {"several": [3, 1, 2.5], "one": 7, "words": "same bits", "none": []}}
    record.write(
        "one",
        "loop",
        rows,
        modules=record.VECTORS,
        threads=2,
        data=[data],
        weights={"run": "12ab"},
        note="x",
        folder=tmp_path,
    )
    one = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert one.keys() - {"confirmed"} == FIELDS
    assert one.get("confirmed", {}).keys() in (set(), {"commit", "digest", "date", "steps"})
    assert one["command"] == "ATEN_CPU_CAPABILITY=avx2 python benchmarks/loop_overhead.py text.txt --steps 10"
    assert one["rows"]["a row"] == {
        "several": {"runs": [3, 1, 2.5], "median": 2.5, "least": 1, "most": 3},
        "one": {"runs": [7], "median": 7, "least": 7, "most": 7}, "words": "same bits", "none": "",
    }  # fmt: skip
    assert one["data"] == {"text.txt": hashlib.sha256(b"a b c\n").hexdigest()}
    assert one["modules"] == ["benchmarks/loop_overhead.py", *record.VECTORS]
    assert one["digest"] == record.digest(one["modules"])
    assert not make_results.is_stale(one)
    assert make_results.is_stale({**one, "digest": ""})
    assert make_results.is_stale({**one, "modules": ["cli.py"]})


def test_a_record_that_was_confirmed_is_stale_again_with_other_code() -> None:
    one = {"modules": ["cli.py"], "digest": "0" * 64, "commit": "7efbfee"}
    assert make_results.commit_of(one) == "7efbfee, stale"
    found = confirm.confirmed(one, "seed 0, steps 1 to 9")
    assert not make_results.is_stale(found)
    assert make_results.commit_of(found) == f"7efbfee; same bits at {found['confirmed']['commit']} (seed 0, steps 1 to 9)"
    assert make_results.is_stale({**found, "modules": ["setup.cfg"]})


@pytest.mark.parametrize(("weights", "line"), [("12ab", None), ("34cd", "got none of its digests")])
def test_a_run_of_a_record_is_verified(
    weights: str, line: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"modules": ["cli.py"], "digest": "0" * 64, "commit": "7efbfee", "weights": {"seed 3": "12ab"}}
    (tmp_path / "one.json").write_text(json.dumps(one), encoding="utf-8")
    (tmp_path / "manifest.json").write_text(json.dumps({"weights_sha256": weights}), encoding="utf-8")
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(record, "FOLDER", tmp_path)
    monkeypatch.setattr(record, "commit", lambda globs: "abc1234")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["confirm.py", "one", str(tmp_path), "--to-step", "9"])
    if line:
        with pytest.raises(SystemExit, match=line):
            confirm.main()
    else:
        confirm.main()
        assert commands[0][2:] == ["verify", str(tmp_path), "--to-step", "9"]
    after = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert after.get("confirmed", {}).get("steps") == (None if line else "seed 3, steps 1 to 9")


def test_without_a_name_nothing_is_written(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    record.add_option(parser)
    record.write(parser.parse_args([]).record, "loop", {}, modules=(), threads=1, folder=tmp_path)
    assert not list(tmp_path.iterdir())


SOURCE = '''"""A module."""

import os  # what it needs


def f(x: int) -> str:
    """What it does."""
    text = """kept # as it is"""
    return text + "#" * x  # and why
'''


def test_comments_docstrings_and_layout_are_no_code() -> None:
    code = record.code_of(SOURCE)
    assert "What" not in code
    assert "why" not in code
    assert record.code_of(SOURCE.replace("What it does", "What\n    it does").replace("and why", "for that")) == code
    assert record.code_of(SOURCE.replace('"#" * x', '(\n"#"\n* x)')) == code
    assert record.code_of(SOURCE.replace("kept", "Kept")) != code
    assert record.code_of(SOURCE.replace("* x", "* (x + 1)")) != code


def test_the_message_of_an_error_is_no_code() -> None:
    source = 'if x:\n    z = 2\n    raise DataError(\n        f"{x}: what"\n    )\nwhile y: raise ValueError("é")\nz = 1\n'
    code = record.code_of(source)
    assert "what" not in code
    assert record.code_of(source.replace("what", "why")) == code
    assert record.code_of(source.replace("DataError", "TypeError")) != code


CHECKED = """from training.errors import ConfigError, DataError
from training.values import checked, typed
x = checked(1)
if typed(x):
    raise ConfigError(
        "1"
    ) from None
if x: raise ConfigError("2")
try:
    z = x
    w = z
except OSError as error:
    raise DataError(f"{error}") from None
if x:
    y = 2
elif y:
    raise ConfigError("3")
"""


def test_a_check_that_only_raises_is_no_code() -> None:
    plain = "from training.values import checked\nx = checked(1)\nz = x\nw = z\nif x:\n    y = 2\n"
    assert record.code_of(CHECKED) == record.code_of(plain)
    assert record.code_of(plain.replace("checked", "typed")) != record.code_of(plain)


@pytest.mark.parametrize(
    "source",
    [
        "if x:\n    raise ValueError(1)\nelse:\n    y = 2\n",
        "if x:\n    y = 2\n    raise ValueError(1)\n",
        "if (y := x):\n    raise ValueError(1)\n",
        "if x:\n    raise ValueError(1)\nelif y:\n    z = 1\n",
        "if x:\n    raise StopIteration\n",
        "if x:\n    raise KeyError(1)\n",
        "if x:\n    raise\n",
        "if y:\n    return x\n",
        "try:\n    z = 1\nexcept x:\n    z = 2\n",
        "try:\n    z = 1\nexcept x:\n    raise ValueError(1)\nelse:\n    y = 2\n",
        "try:\n    z = 1\nexcept ValueError:\n    raise ValueError(1)\nfinally:\n    x = 2\n",
    ],
)
def test_a_check_that_does_more_is_code(source: str) -> None:
    assert record.code_of(re.sub(r"\bx\b", "w", source)) != record.code_of(source)


OPTIONS = """class Config:
    x: int = option(5, "é: what", least=1)
    y: str = option(
        "a",
        "How it is.",
    )
"""


def test_the_help_of_an_option_is_no_code() -> None:
    code = record.code_of(OPTIONS)
    assert "what" not in code
    assert "How" not in code
    assert record.code_of(OPTIONS.replace("what", "why").replace("How it", "What it")) == code
    assert record.code_of(OPTIONS.replace('"a"', '"b"')) != code
    assert record.code_of(OPTIONS.replace("least=1", "least=2")) != code


def test_a_digest_is_of_names_and_code(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        return record.digest(["*.py", "a*.py"], folder)

    first = digest(a="x = 1\n", b="y = 2\n")
    assert digest(b="y = 2\n", a="x = 1  # one\n") == first
    assert digest(a="x = 2\n", b="y = 2\n") != first
    assert digest(a="x = 1\n", c="y = 2\n") != first


@given(st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-2)))
def test_a_number_keeps_four_digits(value: float) -> None:
    shown = float(make_results.number(value, make_results.decimals(value)).replace(",", ""))
    assert shown == value if isinstance(value, int) else shown == float(f"{value:.4g}")


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ([0.93, 0.9287, 0.9309], "0.9300 (0.9287 to 0.9309)"),
        ([12.04, 11.7], "11.87 (11.70 to 12.04)"),
        (2820000.4, "2,820,000"),
        (1000065811, "1,000,065,811"),
        ([5, 5], "5"),
        (2.95e-7, "2.9e-07"),
        ("same bits", "same bits"),
        (0, "0"),
    ],
)
def test_a_cell(figure: Any, expected: str) -> None:
    assert make_results.cell(record.summary(figure)) == expected


def test_a_processor_in_few_words() -> None:
    here = record.cpu()
    assert here["model"]
    assert here["instructions"] in ("AVX-512", "AVX2", "SSE")
    xeon = {"model": "Intel(R) Xeon(R) Processor", "family": 6, "number": 167, "instructions": "AVX2"}
    assert make_results.processor(xeon) == "Intel Xeon, family 6 model 167, AVX2"
    assert make_results.processor({"model": "AMD EPYC", "family": None, "number": None, "instructions": ""}) == "AMD EPYC"


def test_only_tables_between_markers_are_made() -> None:
    text = "before\n<!-- claims:speed -->\nold\n<!-- /claims -->\nafter\n"
    made = make_results.with_tables(text, RECORDS)
    assert made.startswith("before\n<!-- claims:speed -->\n| two virtual cores")
    assert made.endswith("|\n<!-- /claims -->\nafter\n")
    assert make_results.with_tables(made, RECORDS) == made


def test_marks_of_stale_rows_are_told_apart() -> None:
    row = f"| a | 7efbfee{make_results.STALE} | [2026-11-29](results/a.json) |"
    assert make_results.without_marks(row) == "| a | 7efbfee | [2026-11-29](results/a.json) |"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("every `make test`", "every `make test`"),
        ({"figure": "a", "as": ".1f", "unit": "%"}, "2.0%"),
        ({"figure": "b"}, "1,200"),
        ({"figure": ["a", "b"], "unit": " kills"}, "1,202 kills"),
        ({"figure": ["a", "b"], "of": "another row", "unit": " runs"}, "1,202 of 3,000 runs"),
        ({"figure": "words"}, "1 of 10 same bits, 9 of 10 other weights"),
        ({"figure": "words", "match": r"(\d+ of \d+) other", "unit": " runs"}, "9 of 10 runs"),
    ],
)
def test_a_cell_of_the_readme(value: Any, expected: str) -> None:
    row = {
        "a": record.summary([1, 2, 4]),
        "b": record.summary(1200),
        "words": "1 of 10 same bits, 9 of 10 other weights",
    }
    other = {"a": record.summary(1000), "b": record.summary(2000)}
    named = value if isinstance(value, str) else {"record": "one", "row": "a row", **value}
    assert make_results.shown(named, {"one": {"rows": {"a row": row, "another row": other}}}) == expected


SCRIPTS = sorted({*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests" / "proof").glob("soak_*.py")})
NO_FIGURES = {
    "record.py",
    "make_results.py",
    "check_claims.py",
    "confirm.py",
    "digests.py",
    "network_hosts.py",
    "network_work.py",
}


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.name not in NO_FIGURES], ids=lambda path: path.name)
def test_a_benchmark_keeps_what_it_measures_for_a_table(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert re.search(r"records?\.add_option\(|w2v_speed\.parser\(|\"--record\"", text)
    named = re.findall(r"records?\.write\(\s*[\w.]+,\s*f?\"([\w-]+)", text)
    assert set(named) <= {subject["id"] for subject in SUBJECTS} | {"network-", "beside-"}


@pytest.mark.parametrize("head", ["| |", "| kills in |"])
def test_the_rows_of_a_table(head: str) -> None:
    table = f"{head} a | b |\n| --- | ---: | ---: |\n| all kills | 3 | 40 |\n| bits | same | 1.5 |"
    assert record.rows_of(table) == {"all kills": {"a": 3, "b": 40}, "bits": {"a": "same", "b": "1.5"}}
