"""OpenMP's settings are in the environment before OpenMP is; users' own stay; quotas are read as the kernel writes them."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ner.config import TaggerConfig
from training import openmp
from training.commands.seeds import share_cores

ROOT = Path(__file__).resolve().parents[2]
LIBGOMP = Path(torch.__file__).parent / "lib" / "libgomp.so.1"
FOUR = {0, 1, 2, 3}
SETTINGS = [*openmp.WAIT_SETTINGS, *openmp.COUNT_SETTINGS]

MOUNTS = {
    "v2": "25 21 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    "v1": "26 21 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "27 26 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "28 26 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "29 26 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
}
OF_PROCESS = {"v2": "0::{path}\n", "v1": "9:memory:/elsewhere\n3:cpu,cpuacct:{path}\n0::/user.slice\n"}
MOUNTED = {"v2": "sys/fs/cgroup", "v1": "sys/fs/cgroup/cpu,cpuacct"}


def machine(root: Path, version: str, path: str, limits: dict[str, float]) -> Path:
    """The files of a process in the group ``path``, where these groups have limits in cores (inf: written as none)."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + MOUNTS[version])
    (root / "proc/self/cgroup").write_text(OF_PROCESS[version].format(path=path))
    (root / "proc/stat").write_text("cpu  9 0 0 9 0 0 0 0 0 0\ncpu0 9 0 0 9 0 0 0 0 0 0\n")
    for group, limit in limits.items():
        folder = root / MOUNTED[version] / group.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        time = None if math.isinf(limit) else round(limit * 50_000)
        if version == "v2":
            (folder / "cpu.max").write_text(f"{'max' if time is None else time} 50000\n")
        else:
            (folder / "cpu.cfs_quota_us").write_text(f"{-1 if time is None else time}\n")
            (folder / "cpu.cfs_period_us").write_text("50000\n")
    return root


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: FOUR)


LIMITS = (None, math.inf, 0.25, 1.5, 3.0)


@pytest.mark.parametrize("version", MOUNTS)
@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(LIMITS, LIMITS)))
def test_the_lowest_limit_of_the_groups_around_a_process_counts(
    version: str, outer: float | None, inner: float | None, tmp_path: Path
) -> None:
    limits = {"/a": outer, "/a/b": inner, "/a/b/c": 0.1, "/d": 0.1}  # of the last two it is in neither
    root = machine(tmp_path, version, "/a/b", {name: limit for name, limit in limits.items() if limit is not None})
    expected = min((limit for limit in (outer, inner) if limit is not None), default=math.inf)
    assert openmp.quota(root) == expected
    assert openmp.cores(root) == (4 if math.isinf(expected) else max(1, math.ceil(expected)))


@pytest.mark.parametrize("version", MOUNTS)
@pytest.mark.parametrize("path", ["/docker/0123abcd", "/", "/../.."])
def test_in_a_container_the_mount_is_the_group(version: str, path: str, tmp_path: Path) -> None:
    assert openmp.quota(machine(tmp_path, version, path, {"/": 2.5})) == 2.5


@given(st.text("0123456789 :-/,max\ncgroup", max_size=60), st.sampled_from(["cgroup", "mountinfo", "cpu.max"]))
def test_files_that_are_written_otherwise_limit_nothing(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    root = machine(tmp_path_factory.mktemp("odd"), "v2", "/a", {"/a": 1.0})
    (root / ("sys/fs/cgroup/a/cpu.max" if name == "cpu.max" else f"proc/self/{name}")).write_text(text)
    assert openmp.quota(root) >= 0
    assert 1 <= openmp.cores(root) <= 4


def test_without_these_files_the_mask_counts(tmp_path: Path) -> None:
    assert openmp.quota(tmp_path) == math.inf
    assert openmp.cores(tmp_path) == 4


@pytest.mark.parametrize("limit", [1.0, 3.5, 9.0])
@pytest.mark.parametrize("users", [(), *((name,) for name in SETTINGS), ("GOMP_SPINCOUNT", "MKL_NUM_THREADS")])
def test_what_the_user_set_stays_and_the_rest_is_set(users: tuple[str, ...], limit: float, tmp_path: Path) -> None:
    environment = {"HOME": "/", **dict.fromkeys(users, "7")}
    before = dict(environment)
    openmp.prepare(environment, machine(tmp_path, "v2", "/", {"/": limit}))
    ours = {} if {*users} & {*openmp.WAIT_SETTINGS} else {"GOMP_SPINCOUNT": openmp.SPINS}
    if limit == 1.0 and not {*users} & {*openmp.COUNT_SETTINGS}:
        ours["OMP_NUM_THREADS"] = "1"
    assert environment == before | ours


@pytest.mark.parametrize(("jobs", "threads"), [(1, 0), (2, 2), (3, 1), (9, 1)])
def test_runs_side_by_side_share_the_cores_of_the_mask(jobs: int, threads: int) -> None:
    assert share_cores(TaggerConfig(), jobs).threads == threads
    assert share_cores(TaggerConfig(threads=5), jobs).threads == 5


@pytest.mark.parametrize("first", ["cli", "training", "word2vec", "ner"])
@pytest.mark.parametrize("users", [{}, {"GOMP_SPINCOUNT": "17"}])
def test_whatever_is_imported_first_openmp_gets_them(first: str, users: dict[str, str]) -> None:
    """As OpenMP itself says when it is loaded; cli has all commands, and imports no torch."""
    code = f"import sys, {first}, ctypes; assert 'torch' not in sys.modules; ctypes.CDLL({str(LIBGOMP)!r})"
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment = {**clean, **users, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    assert found
    assert found[1] == users.get("GOMP_SPINCOUNT", openmp.SPINS)
