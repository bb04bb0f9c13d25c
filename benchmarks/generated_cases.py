"""Records of the long generated tests: programs run on Lightning and here, and damaged files passed to the commands.

    OMP_NUM_THREADS=1 python benchmarks/generated_cases.py conformance --cases 1500 --seed 301 --record conformance
    OMP_NUM_THREADS=1 python benchmarks/generated_cases.py fuzzing --cases 1000 --seed 903 --record fuzzing

The tests themselves are in tests/conformance and tests/fuzz. A case that differs, hangs or ends in a traceback fails them;
then this ends with pytest's report, and writes no record.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402

Rows = dict[str, dict[str, record.Figure]]
TESTS = {"conformance": ["tests/conformance/*.py"], "fuzzing": ["tests/fuzz/*.py"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("conformance", "fuzzing"))
    parser.add_argument("--cases", type=int, default=1000, help="fuzzing: of each kind of file")
    parser.add_argument("--seed", type=int, default=1)
    record.add_option(parser)
    given = parser.parse_args()
    rows = (conformance if given.what == "conformance" else fuzzing)(given.cases, given.seed)
    for row, figures in rows.items():
        print(f"{row}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    code = record.RUN if given.what == "conformance" else record.PREDICT
    record.write(given.record, given.what, rows, modules=(*code, *TESTS[given.what]), threads=1)


def tests(folder: str, **variables: str) -> str:
    """What the long tests of a folder print; their report and exit code 1 where one fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "soak", folder]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def conformance(cases: int, seed: int) -> Rows:
    """One row: how many programs ran on both, and how many different ones they were."""
    told = tests("tests/conformance/test_conformance.py", SOAK_CASES=str(cases), SOAK_SEED=str(seed))
    found = re.search(r"(\d+) runs on both, drawn from seed \d+: (\d+) different ones", told)
    if found is None:
        sys.exit(f"expected the number of runs, got:\n{told}")
    both, distinct = map(int, found.groups())
    return {f"seed {seed}": {"runs on both": both, "different cases": distinct, "runs that differed": 0}}


def fuzzing(cases: int, seed: int) -> Rows:
    """One row for each kind of file: how many commands ended with which exit code."""
    told = tests("tests/fuzz", FUZZ_CASES=str(cases), FUZZ_SEED=str(seed))
    rows: Rows = {}
    for kind, counted in re.findall(r"(\w+): [\d,]+ cases, (\{.*\})", told):
        ended = ast.literal_eval(counted)
        codes = {f"exit code {code}": ended.get(f"exit code {code}", 0) for code in (0, 1, 2, 75)}
        rows[kind] = {**codes, "tracebacks or hangs": 0}
    if not rows:
        sys.exit(f"expected the number of cases, got:\n{told}")
    return rows


if __name__ == "__main__":
    main()
