"""A run that is killed (SIGKILL) at a named point and resumed is, bit for bit, the run that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof.named_kills import KILLS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All trials' results, from one process of their own."""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'proof'}"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "proof" / "named_kills.py"), str(tmp_path_factory.mktemp("kills"))],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("kind", "point"), [(kind, str(kill)) for kind, kills in KILLS.items() for kill in kills])
def test_killed_at_a_named_point_and_resumed_it_ends_in_the_same_bits(trials: dict[str, Any], kind: str, point: str) -> None:
    trial = trials[kind][point]
    assert trial["killed"] == (75 if point.startswith("SIGTERM") else -signal.SIGKILL), "0: the point was not reached"
    assert trial["resumed"] == 0, trial["log"]
    assert trial["differ"] == []
