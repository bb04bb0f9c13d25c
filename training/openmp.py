"""How OpenMP's threads wait, and how many they are: said in the environment before torch, or NumPy, loads OpenMP.

libgomp's threads spin for some milliseconds wherever one waits for another, which is in each of torch's parallel operations.
That costs nothing where all of them run. Where one does not, since another program has its core, the others burn the time
that it needs, and what the scheduler would give them later. A thread that sleeps at once is woken late, most of all on a
virtual machine that is otherwise idle. So they spin about as long as a quiet machine needs them to, and hardly at all while
others need the cores (determinism/waiting.py); where the system does not say what others do, for a short time. Neither
setting is read once OpenMP is there: a program that imports torch first goes on with what it began with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from pathlib import Path

WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SPINS = "20000"
"""A millisecond or less: on a quiet machine as good as libgomp's own 300,000 (benchmarks/busy_machine.py)."""
BLIND_SPINS = "1000"
"""Some microseconds, if nothing says what others do: beside a busy neighbor 5,000 lose most of the time, and none at all
make a quiet machine three times as slow."""
COUNT_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def prepare(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Let threads that wait sleep soon, and be no more than a quota's cores. What the user set stays as it is.

    Args:
        environment: the variables of this process, which are changed.
        root: the folder that ``proc`` and the control groups are in.
    """
    if not any(name in environment for name in WAIT_SETTINGS):
        environment["GOMP_SPINCOUNT"] = BLIND_SPINS if busy_seconds(root) is None else SPINS
    if not any(name in environment for name in COUNT_SETTINGS) and (found := cores(root)) < affine_cores():
        environment["OMP_NUM_THREADS"] = str(found)


def users_own(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the user said how threads wait, and not ``prepare``, here or in the process that began this one."""
    said = {name: environment[name] for name in WAIT_SETTINGS if name in environment}
    return bool(said) and said != {"GOMP_SPINCOUNT": SPINS}


def cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: those of its affinity mask, or of the quota of its control groups, rounded up."""
    limit = quota(root)
    return affine_cores() if limit >= affine_cores() else max(1, math.ceil(limit))


def affine_cores() -> int:
    """The cores of this process's affinity mask, as ``taskset`` sets it. OpenMP asks for them by itself."""
    return len(_affinity())


def _affinity() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def busy_seconds(root: Path = Path("/")) -> float | None:
    """The time that the cores of the affinity mask were not idle since the machine began; None where that is not said.

    What a host of virtual machines took from them counts, too: it is as lost as what other programs take. Source: proc(5),
    /proc/stat.
    """
    names, ticks = {f"cpu{core}" for core in _affinity()}, 0
    try:
        for line in _lines(root / "proc/stat"):
            name, *counts = line.split()
            if name in names:
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
                ticks += user + nice + system + irq + softirq + steal
        return ticks / os.sysconf("SC_CLK_TCK") if ticks else None
    except (ValueError, OSError):  # a system that writes this file in another way
        return None


def quota(root: Path = Path("/")) -> float:
    """How many cores' time the control groups of this process allow it, by cgroup v1 or v2; inf where nothing limits it.

    A group's limit holds for the groups inside it, too: the lowest counts. Source: the kernel's admin-guide/cgroup-v2
    (``cpu.max``) and scheduler/sched-bwc (``cpu.cfs_quota_us``).
    """
    try:
        return min((_limit(folder) for folder in _groups(root)), default=math.inf)
    except (ValueError, LookupError, ArithmeticError):  # a system that writes these files in another way
        return math.inf


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the control groups that this process is in, from the innermost out, wherever they are mounted."""
    mounts = list(_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        for kind, mount in mounts:
            if (kind == "v2" and not kinds) or (kind == "v1" and "cpu" in kinds.split(",")):
                # A container may see its own group as the mount, under a path that only its host knows.
                yield from (mount / part for part in (inner, *inner.parents))


def _mounts(root: Path) -> Iterator[tuple[str, Path]]:
    """Where control groups are mounted: v2, or the v1 of processors."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        folder = root / mount.split(" ")[4].lstrip("/")
        if kind == "cgroup2":
            yield "v2", folder
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield "v1", folder


def _limit(group: Path) -> float:
    """A group's own limit, in cores."""
    for line in _lines(group / "cpu.max"):
        time, period = line.split()
        return math.inf if time == "max" else int(time) / int(period)
    for time, period in zip(_lines(group / "cpu.cfs_quota_us"), _lines(group / "cpu.cfs_period_us"), strict=False):
        return math.inf if int(time) < 0 else int(time) / int(period)
    return math.inf


def _lines(file: Path) -> list[str]:
    """The lines of a file; none where it is not there, or not for this user."""
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
